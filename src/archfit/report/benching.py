"""Samplers side by side: their table, their picture and their page."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from archfit.cost import Budget
from archfit.report.figures import CURVE_COLOURS, LOG_TICKS, styled
from archfit.report.markup import element, paragraph, section, table
from archfit.report.page import document, embedded, foot
from archfit.study.playing import Played
from archfit.study.run_folder import write_file

_RESAMPLES = 4000
_Z = 1.96


@dataclass(frozen=True)
class Band:
    """Means over searches with their 95 % intervals, one for each look at them."""

    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class SamplerResult:
    """What one sampler's searches came to.

    Attributes:
        name: Of the sampler.
        evaluations: After which the searches were looked at.
        regret: In percentage points of the reward; of the recommended network.
        regret_observed: The same of the network with the best single reward.
        regret_seen: The same of the best network that was trained.
        hypervolume: In percent of the table's, or None.
        ms_per_proposal: Milliseconds, in the mean.
        regrets: Of each search, by look.
        regrets_observed: The same.
    """

    name: str
    evaluations: tuple[int, ...]
    regret: Band
    regret_observed: Band
    regret_seen: Band
    hypervolume: Band | None
    ms_per_proposal: float
    regrets: tuple[tuple[float, ...], ...]
    regrets_observed: tuple[tuple[float, ...], ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def summarised(name: str, evaluations: tuple[int, ...], played: Sequence[Played]) -> SamplerResult:
    """Of searches by one sampler."""
    regrets = tuple(tuple(100 * value for value in one.regret) for one in played)
    observed = tuple(tuple(100 * value for value in one.regret_observed) for one in played)
    volumes = [[100 * value for value in one.hypervolume] for one in played if one.hypervolume is not None]
    return SamplerResult(
        name=name,
        evaluations=evaluations,
        regret=_band(regrets),
        regret_observed=_band(observed),
        regret_seen=_band([[100 * value for value in one.regret_seen] for one in played]),
        hypervolume=_band(volumes) if volumes else None,
        ms_per_proposal=float(np.mean([one.ms_per_proposal for one in played])),
        regrets=regrets,
        regrets_observed=observed,
    )


def _band(values: Sequence[Sequence[float]]) -> Band:
    found = np.asarray(values)
    mean = found.mean(axis=0)
    error = found.std(axis=0, ddof=1) / len(found) ** 0.5 if len(found) > 1 else np.zeros_like(mean)
    return Band(tuple(mean.tolist()), tuple((mean - _Z * error).tolist()), tuple((mean + _Z * error).tolist()))


def ratio_to(
    baseline: SamplerResult, result: SamplerResult, evaluations: Sequence[int]
) -> dict[int, tuple[float, float, float]]:
    """Mean regret over that of `baseline` keeping its best observation, with the bounds of 95 % of resamplings.

    Searches are resampled in pairs of equal seed. Where the baseline is without regret there is no ratio.
    """
    found = {}
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(result.regrets), size=(_RESAMPLES, len(result.regrets)))
    for count in evaluations:
        look = result.evaluations.index(count)
        ours = np.array([regrets[look] for regrets in result.regrets])
        theirs = np.array([regrets[look] for regrets in baseline.regrets_observed])
        if theirs.mean() <= 0:
            continue
        below = theirs[drawn].mean(axis=1)
        ratios = ours[drawn].mean(axis=1)[below > 0] / below[below > 0]
        low, high = np.quantile(ratios, (0.025, 0.975)).tolist()
        found[count] = (float(ours.mean() / theirs.mean()), low, high)
    return found


def head(evaluations: Sequence[int]) -> tuple[str, ...]:
    """Of `cells`."""
    return ("sampler", *(f"after {count}" for count in evaluations), "ms a proposal")


def cells(result: SamplerResult, evaluations: Sequence[int]) -> list[str]:
    """Regrets of a sampler's recommendations with half their 95 % interval, and its time."""
    looks = [result.evaluations.index(count) for count in evaluations]
    regrets = [
        f"{result.regret.mean[look]:.3f} ± {result.regret.high[look] - result.regret.mean[look]:.3f}" for look in looks
    ]
    return [result.name, *regrets, f"{result.ms_per_proposal:.1f}"]


def verdicts(bench: Mapping[str, Any]) -> list[str]:
    """What the ratios say, a sentence per sampler and number of evaluations; then how near each sampler had come."""
    ratios = [
        f"{name} after {count} evaluations: {ratio:.2f} times the regret of {bench['against']} that keeps its best "
        f"observation (95 % interval {low:.2f} to {high:.2f})"
        for name, by_count in bench["ratios"].items()
        for count, (ratio, low, high) in by_count.items()
    ]
    return ratios + [_reached(result, bench["evaluations"]) for result in bench["samplers"]]


def _reached(result: Mapping[str, Any], evaluations: Sequence[int]) -> str:
    means = dict(zip(result["evaluations"], result["regret_seen"]["mean"], strict=True))
    left = ", ".join(f"{means[count]:.3f} after {count}" for count in evaluations)
    return f"{result['name']}: points from the best network that it had trained to the table's best: {left} evaluations"


def curves(results: Sequence[SamplerResult], of: str, title: str) -> go.Figure:
    """Means against evaluations with their bands; `of` names an attribute of the results."""
    figure = go.Figure()
    for number, result in enumerate(results):
        band: Band | None = getattr(result, of)
        if band is None:
            continue
        colour = CURVE_COLOURS[number % len(CURVE_COLOURS)]
        x, name = list(result.evaluations), html.escape(result.name)
        figure.add_scatter(
            x=[*x, *reversed(x)],
            y=[*band.high, *reversed(band.low)],
            fill="toself",
            fillcolor=colour,
            opacity=0.18,
            line_width=0,
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
        )
        figure.add_scatter(
            x=x,
            y=list(band.mean),
            mode="lines+markers",
            name=name,
            legendgroup=name,
            line={"color": colour, "width": 2.2},
            marker={"size": 6},
            hovertemplate=name + " after %{x}<br>%{y:.3f}<extra></extra>",
        )
    figure.update_xaxes(type="log", tickvals=LOG_TICKS, title_text="evaluations")
    figure.update_yaxes(title_text=title, rangemode="tozero")
    return styled(figure)


def bench_page(bench: Mapping[str, Any], results: Sequence[SamplerResult]) -> str:
    """The page of a bench."""
    bounds = str(Budget(**bench["budget"])) if bench["budget"] else ""
    played = (
        f"{len(bench['seeds'])} searches by each sampler on {bench['table']}, the same seeds for all. The reward is "
        + (f"{bench['reward']!r} under {bounds}" if bounds else "the accuracy")
        + ", of one training drawn from those in the table. Regret: the best mean reward of the table less that of the "
        "network that a search recommends, in percentage points; recommended is the best by the accuracies of all "
        "similar networks and its own cost, as a search ranks its finalists. Bands are 95 % intervals of the mean. "
        "Where a search has trained the table's best network, its regret is that of telling it from the others by a "
        "training each."
    )
    body: list[object] = [
        element("header", element("h1", f"archfit: samplers on {bench['table']}")),
        section(
            "regret",
            "Regret",
            embedded("regret", curves(results, "regret", "regret, percentage points")),
            table(
                head(bench["evaluations"]),
                [cells(result, bench["evaluations"]) for result in results],
                numbers=range(1, len(bench["evaluations"]) + 2),
            ),
            paragraph(played),
            element("ul", *[element("li", text) for text in verdicts(bench)]),
        ),
    ]
    if any(result.hypervolume is not None for result in results):
        body.append(
            section(
                "hypervolume",
                "Hypervolume of accuracy and cost",
                embedded("hypervolume", curves(results, "hypervolume", "percent of the table's")),
            )
        )
    body.append(foot(bench["archfit"], bench["created"]))
    return document(f"archfit: samplers on {bench['table']}", body)


def write_bench(bench: Mapping[str, Any], results: Sequence[SamplerResult], path: Path) -> None:
    """Writes the page. Raises `RunError` where it cannot be written."""
    write_file(path, bench_page(bench, results).encode(), "archfit bench samplers ... --out FOLDER")
