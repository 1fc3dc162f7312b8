"""The report: one HTML file that needs nothing else, readable offline."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go
import plotly.io
import plotly.offline

from archfit.report import sections
from archfit.report.evidence import comparable
from archfit.report.figures import accuracy_against_cost, confusion_matrix, reward_over_trials, training_curves
from archfit.report.markup import Markup, element, escaped, joined
from archfit.report.record import RunResult
from archfit.report.sharing import reward_over_rounds, sharing
from archfit.study.record import TrialRecord
from archfit.study.run_folder import write_file

# Named one by one: the default bar may offer to send the figure to a server.
_CONFIG = {
    "responsive": True,
    "displaylogo": False,
    "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
}
# The browser itself refuses whatever would be fetched.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


def write_report(result: RunResult, trials: Sequence[TrialRecord], path: Path) -> None:
    """Writes the page to `path`, whole or not at all. Raises `RunError` where it cannot be written."""
    write_file(path, page(result, trials).encode())


def page(result: RunResult, trials: Sequence[TrialRecord]) -> str:
    """The whole page as HTML."""
    alike = comparable(result.search, trials)
    searched = sections.searched_accuracy(result, alike)
    body = [
        sections.headline(result),
        sections.accuracy_and_cost(
            result,
            alike,
            embedded("accuracy", accuracy_against_cost(alike, result.trained, result.budget, searched=searched)),
        ),
        _chance(result, trials),
        sections.network(result.layers, result.cells),
        sections.costs(result),
        sections.networks(result, embedded("curves", training_curves(result.trained))),
        sections.test(
            result.test,
            embedded("confusion", confusion_matrix(_class_names(result), result.test.confusion)),
            "The winner on the test split",
        ),
        sections.data(result.dataset),
        sections.method(result, trials),
        sections.all_trials(result, trials),
    ]
    body.append(foot(result.archfit_version, result.created))
    return document(f"archfit: {result.dataset.get('name', 'run')}", body)


def _chance(result: RunResult, trials: Sequence[TrialRecord]) -> Markup:
    if result.search.get("method") == "shared":
        return sharing(result, trials, embedded("reward", reward_over_rounds(result.search["shared"])))
    return sections.chance(trials, embedded("reward", reward_over_trials(trials)))


def document(title: str, body: Sequence[object]) -> str:
    """A whole page that needs nothing else: style and figures' script are inside, and nothing may be fetched."""
    style = files("archfit.report").joinpath("style.css").read_text(encoding="utf-8")
    whole = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escaped(title)}</title><style>{style}</style>"
        f"<script>{plotly.offline.get_plotlyjs()}</script></head>\n<body><main>{joined(body)}</main></body></html>\n"
    )
    return whole.encode(errors="backslashreplace").decode()  # names of files may be in another encoding


def _class_names(result: RunResult) -> list[str]:
    names = [str(name) for name in result.dataset.get("classes", ())]
    return names if len(names) == len(result.test.confusion) else list(result.test.per_class)


def embedded(name: str, figure: go.Figure) -> Markup:
    """A figure as a part of a page."""
    inner = plotly.io.to_html(
        figure,
        config=_CONFIG,
        include_plotlyjs=False,
        full_html=False,
        div_id=f"figure-{name}",
        default_height=f"{figure.layout.height}px",
    )
    return element("div", Markup(inner), Markup("<noscript>This figure needs JavaScript.</noscript>"), class_="figure")


def foot(version: str, created: str) -> Markup:
    return element("footer", f"archfit {version}, {created}")
