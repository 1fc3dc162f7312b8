"""Networks side by side: the rows, their picture and their page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from archfit.catalogue import Published
from archfit.cost import Cost
from archfit.report.figures import BLUE, CURVE_COLOURS, LOG_TICKS, styled
from archfit.report.markup import Markup, element, paragraph, section, table
from archfit.report.page import document, embedded, foot
from archfit.report.wording import count, megabytes, milliseconds
from archfit.study.run_folder import write_file


@dataclass(frozen=True)
class Compared:
    """One network of a comparison.

    Attributes:
        label: As it is shown.
        name: In the catalogue.
        image_size: Pixels.
        published: Figures of its authors.
        cost: Counted and measured here; None where the network cannot be had.
        note: How it differs from the published network.
        why: Why there is no cost.
    """

    label: str
    name: str
    image_size: int
    published: Published
    cost: Cost | None
    note: str = ""
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "name": self.name,
            "image_size": self.image_size,
            "cost": self.cost.to_json() if self.cost is not None else None,
            "published": asdict(self.published),
            "differs": {
                name: round(value, 4)
                for name in ("params", "madds")
                if (value := difference(self.cost, self.published, name)) is not None
            },
            "note": self.note,
            "why": self.why,
        }


def difference(cost: Cost | None, published: Published, name: str) -> float | None:
    """How far a count lies from the published one, as a share of it: 0.02 is 2 % above."""
    stated = getattr(published, name)
    return getattr(cost, name) / stated - 1 if cost is not None and stated else None


def signed_percent(share: float | None) -> str:
    """0.0213 -> "+2.1 %"; None -> ""."""
    return "" if share is None else f"{100 * share:+.1f} %"


HEAD = ("network", "pixels", "params", "published", "MAdds", "published", "latency", "memory", "top-1", "top-5")


def cells(row: Compared) -> list[str]:
    """A row of the table, as text under `HEAD`; published figures have how far ours lies from them."""
    cost, published = row.cost, row.published

    def beside(name: str) -> str:
        stated = getattr(published, name)
        if not stated:
            return ""
        gap = signed_percent(difference(cost, published, name))
        return f"{count(stated)} ({gap})" if gap else count(stated)

    latency = cost.latency if cost is not None else None
    return [
        row.label,
        str(row.image_size),
        count(cost.params) if cost is not None else "–",
        beside("params"),
        count(cost.madds) if cost is not None else "–",
        beside("madds"),
        milliseconds(latency.p50_ms) if latency is not None else "–",
        megabytes(cost.memory_bytes) if cost is not None else "–",
        f"{published.top1:g} %" if published.top1 else "",
        f"{published.top5:g} %" if published.top5 else "",
    ]


def remarks(rows: Sequence[Compared]) -> list[str]:
    """What there is to say on single rows: a reconstruction, a network that cannot be had."""
    said = [(row.label, row.why or row.note) for row in rows]
    return [f"{label}: {text}" for label, text in said if text]


def latency_figure(rows: Sequence[Compared]) -> go.Figure:
    """Latency against multiply-adds; networks of one family at several sizes are joined by a line."""
    figure = go.Figure()
    families: dict[str, list[Compared]] = {}
    for row in rows:
        if row.cost is not None and row.cost.latency is not None:
            families.setdefault(row.label, []).append(row)
    several = any(len(members) > 1 for members in families.values())
    for number, (label, members) in enumerate(families.items()):
        figure.add_scatter(
            x=[row.cost.madds for row in members if row.cost],
            y=[row.cost.latency.p50_ms for row in members if row.cost and row.cost.latency],
            mode="lines+markers" if several else "markers+text",
            name=html.escape(label),
            showlegend=several,
            text=[html.escape(row.label) for row in members],
            textposition="top center",
            textfont={"size": 10},
            cliponaxis=False,
            marker={"size": 9, "color": CURVE_COLOURS[number % len(CURVE_COLOURS)] if several else BLUE},
            customdata=[[row.image_size, count(row.cost.params if row.cost else None)] for row in members],
            hovertemplate="%{text}, %{customdata[0]} pixels<br>%{x:.4~s} MAdds, %{customdata[1]} parameters"
            "<br>%{y:.4~g} ms<extra></extra>",
        )
    figure.update_xaxes(type="log", tickvals=LOG_TICKS, tickformat="~s", title_text="multiply-adds of one image")
    figure.update_yaxes(type="log", tickvals=LOG_TICKS, tickformat="~g", title_text="latency of one image, ms")
    return styled(figure, height=560 if several else 480)


def comparison_page(comparison: Mapping[str, Any], rows: Sequence[Compared]) -> str:
    """The page of a comparison.

    Args:
        comparison: Title, classes, runtime, device, threads, archfit, created.
        rows: Its networks.
    """
    threads = f"{comparison['threads']} thread{'' if comparison['threads'] == 1 else 's'}"
    measured = (
        f"Built with {comparison['classes']} classes and measured on {comparison['device']} by "
        f"{comparison['runtime']}, {threads}, one image at a time: the median. Published "
        "figures are ImageNet's, as their authors print them, rounded; in brackets, how far the network built here is "
        "from them. Accuracies are theirs, not measured here."
    )
    said = remarks(rows)
    body: list[object] = [
        element("header", element("h1", f"archfit: {comparison['title']}")),
        section("figure", "Latency against multiply-adds", embedded("latency", latency_figure(rows))),
        section(
            "networks",
            "The networks",
            paragraph(measured),
            table(HEAD, [cells(row) for row in rows], numbers=range(1, len(HEAD))),
            element("ul", *[element("li", text) for text in said]) if said else Markup(""),
        ),
        foot(comparison["archfit"], comparison["created"]),
    ]
    return document(f"archfit: {comparison['title']}", body)


def write_comparison(comparison: Mapping[str, Any], rows: Sequence[Compared], path: Path) -> None:
    """Writes the page. Raises `RunError` where it cannot be written."""
    write_file(path, comparison_page(comparison, rows).encode(), "archfit compare ... --out FOLDER")
