"""What a search with shared weights proves: its controller against chance, what it derived against random networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import plotly.graph_objects as go

from archfit.report.evidence import search_against_random
from archfit.report.figures import BLUE, GREY, styled
from archfit.report.markup import Markup, facts, paragraph, section, table
from archfit.report.record import RunResult, TrainedNetwork
from archfit.report.wording import milliseconds, percent
from archfit.study.record import TrialRecord

_SURE = 3.0
"""Standard errors between two means that are called different."""


@dataclass(frozen=True)
class SharingEvidence:
    """How a search with shared weights stands to drawing at random.

    Attributes:
        gain: Mean reward of what the controller draws minus that of random architectures, both by shared weights.
        gain_error: Its standard error.
        derived: Test accuracy of the winner, or None.
        control: Test accuracies of random networks within the budget, trained alike.
        sentence: What this says, with its limits.
    """

    gain: float
    gain_error: float
    derived: float | None
    control: tuple[float, ...]
    sentence: str


def sharing_evidence(shared: Mapping[str, Any], trained: Sequence[TrainedNetwork]) -> SharingEvidence:
    """From what a run kept of its supernet, and its networks that were trained in full."""
    controller, random = shared["controller"], shared["random"]
    gain = controller["mean_reward"] - random["mean_reward"]
    error = math.hypot(controller["standard_error"], random["standard_error"])
    derived = next((n.test_accuracy for n in trained if n.role == "winner"), None)
    control = tuple(n.test_accuracy for n in trained if n.role == "control" and n.test_accuracy is not None)
    learnt = _controller_sentence(controller, random, gain, error)
    return SharingEvidence(gain, error, derived, control, f"{learnt} {_control_sentence(derived, control)}")


def evidence_sentence(
    search: Mapping[str, Any], trained: Sequence[TrainedNetwork], trials: Sequence[TrialRecord]
) -> str:
    """Whether the search beat drawing at random, by whatever its method has to show for it."""
    if search.get("method") == "shared":
        return sharing_evidence(search["shared"], trained).sentence
    return search_against_random(trials).sentence


def _controller_sentence(controller: Mapping[str, Any], random: Mapping[str, Any], gain: float, error: float) -> str:
    means = (
        f"{controller['architectures']} architectures drawn from it have a mean reward of "
        f"{controller['mean_reward']:.3f} by shared weights, as many random ones {random['mean_reward']:.3f}"
    )
    if gain > _SURE * error:
        return f"The controller learnt to draw better than chance: {means}."
    if gain < -_SURE * error:
        return f"The controller draws worse than chance: {means}."
    return f"The controller cannot be told from chance: {means} (difference {gain:+.3f}, standard error {error:.3f})."


def _control_sentence(derived: float | None, control: Sequence[float]) -> str:
    if not control or derived is None:
        return "No random network was trained beside it, so nothing says whether the derived one is better (--control)."
    below = sum(accuracy < derived for accuracy in control)
    values = ", ".join(percent(accuracy) for accuracy in control)
    if len(control) == 1:
        verdict = "is above" if below else "is not above"
        return f"Trained alike, the derived network ({percent(derived)} test) {verdict} one random network: {values}."
    spread = f"mean {percent(fmean(control))}, standard deviation {percent(stdev(control))}"
    return (
        f"Trained alike, the derived network ({percent(derived)} test) is above {below} of {len(control)} random "
        f"networks within the budget: {values} ({spread})."
    )


def sharing(result: RunResult, figure: Markup) -> Markup:
    """The section that stands where a search by trials compares with its random trials."""
    shared = result.search["shared"]
    evidence = sharing_evidence(shared, result.trained)
    rows = [
        (name, one["architectures"], f"{one['mean_reward']:.4f}", f"{one['standard_error']:.4f}",
         f"{one['best_reward']:.4f}", percent(one["mean_accuracy"]))
        for name, one in (("drawn from the controller", shared["controller"]), ("drawn at random", shared["random"]))
    ]  # fmt: skip
    latency = shared.get("latency_table")
    return section(
        "chance",
        "Did the search beat chance?",
        paragraph(evidence.sentence),
        table(
            ("architectures", "number", "mean reward", "standard error", "best reward", "mean accuracy"),
            rows,
            numbers=(1, 2, 3, 4, 5),
        ),
        paragraph(
            f"Accuracies here are those of paths through the supernet on {shared['images']:,} validation images: they "
            "rank architectures and are no promise of what one trained alone will reach. "
            + ("Latencies here are predicted from a table." if latency else "Costs here are counted."),
            class_="text note",
        ),
        facts(
            [
                ("supernet", f"{shared['epochs']:g} epochs, {shared['steps']:,} steps"),
                (
                    "latency table",
                    f"{latency['networks']} networks measured, held-out median error {percent(latency['error'])}, "
                    f"overhead {milliseconds(latency['overhead_ms'])}"
                    if latency
                    else None,
                ),
            ]
        ),
        figure,
    )


def reward_over_rounds(shared: Mapping[str, Any]) -> go.Figure:
    """Mean reward of what the controller drew in each round, and the mean of random architectures at the end."""
    figure = go.Figure()
    rounds = [entry for entry in shared["rounds"] if entry["reward"] is not None]
    figure.add_hline(
        y=shared["random"]["mean_reward"],
        line={"color": GREY, "width": 1.5, "dash": "dot"},
        name="random architectures at the end, mean",
        showlegend=True,
    )
    figure.add_scatter(
        x=[entry["step"] for entry in rounds],
        y=[entry["reward"] for entry in rounds],
        mode="lines+markers",
        name="the controller's, mean of a round",
        line={"color": BLUE, "width": 2},
        hovertemplate="step %{x:,}<br>mean reward %{y:.4f}<extra></extra>",
    )
    figure.update_xaxes(title_text="step of the supernet")
    figure.update_yaxes(title_text="reward by shared weights")
    return styled(figure)
