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
from archfit.study.record import PLAIN, TrialRecord

_PLAIN_WINS = (
    "The winner is no find of the controller: it is a network of one operation throughout, which was given beside what "
    "the controller derived."
)
_SURE = 3.0
"""Standard errors between two means that are called different."""


@dataclass(frozen=True)
class SharingEvidence:
    """How a search with shared weights stands to drawing at random.

    Attributes:
        gain: Mean reward of what the controller draws minus that of random architectures, both by shared weights.
        gain_error: Its standard error.
        winner: Its test accuracy, or None.
        control: Test accuracies of random networks within the budget, trained alike.
        sentence: What this says, with its limits.
    """

    gain: float
    gain_error: float
    winner: float | None
    control: tuple[float, ...]
    sentence: str


def sharing_evidence(
    shared: Mapping[str, Any], trained: Sequence[TrainedNetwork], trials: Sequence[TrialRecord] = ()
) -> SharingEvidence:
    """From what a run kept of its supernet, its networks that were trained in full, and all of its trials."""
    controller, random = shared["controller"], shared["random"]
    gain = controller["mean_reward"] - random["mean_reward"]
    error = math.hypot(controller["standard_error"], random["standard_error"])
    winner = next((n for n in trained if n.role == "winner"), None)
    accuracy = winner.test_accuracy if winner is not None else None
    plain = winner is not None and any(t.origin == PLAIN and f"trial {t.number}" == winner.name for t in trials)
    control = tuple(n.test_accuracy for n in trained if n.role == "control" and n.test_accuracy is not None)
    learnt = _controller_sentence(controller, random, gain, error)
    sentences = [learnt, *([_PLAIN_WINS] if plain else []), _control_sentence(accuracy, control, plain=plain)]
    return SharingEvidence(gain, error, accuracy, control, " ".join(sentences))


def evidence_sentence(
    search: Mapping[str, Any], trained: Sequence[TrainedNetwork], trials: Sequence[TrialRecord]
) -> str:
    """Whether the search beat drawing at random, by whatever its method has to show for it."""
    if search.get("method") == "shared":
        return sharing_evidence(search["shared"], trained, trials).sentence
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


def _control_sentence(winner: float | None, control: Sequence[float], *, plain: bool) -> str:
    what = "the plain network" if plain else "the derived network"
    if not control or winner is None:
        return f"No random network was trained beside it, so nothing says whether {what} is better (--control)."
    below = sum(accuracy < winner for accuracy in control)
    values = ", ".join(percent(accuracy) for accuracy in control)
    if len(control) == 1:
        verdict = "is above" if below else "is not above"
        return f"Trained alike, {what} ({percent(winner)} test) {verdict} one random network: {values}."
    spread = f"mean {percent(fmean(control))}, standard deviation {percent(stdev(control))}"
    return (
        f"Trained alike, {what} ({percent(winner)} test) is above {below} of {len(control)} random networks within "
        f"the budget: {values} ({spread})."
    )


def sharing(result: RunResult, trials: Sequence[TrialRecord], figure: Markup) -> Markup:
    """The section that stands where a search by trials compares with its random trials."""
    shared = result.search["shared"]
    evidence = sharing_evidence(shared, result.trained, trials)
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
        *_alone(trials),
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


def _alone(trials: Sequence[TrialRecord]) -> list[Markup]:
    """What shared weights gave the networks that were then trained alone, and what they got there."""
    scored = {trial.number: trial for trial in trials}
    alone = [trial for trial in trials if trial.promotes in scored and trial.accuracy is not None]
    if not alone:
        return []
    rows = [
        (f"trial {trial.number}", trial.origin, percent(scored[trial.promotes].accuracy), percent(trial.accuracy))
        for trial in sorted(alone, key=lambda trial: -(trial.accuracy or 0.0))
        if trial.promotes is not None
    ]
    return [
        table(("trained alone", "origin", "by shared weights", "alone"), rows, numbers=(2, 3)),
        paragraph(
            "The best derived networks and, on the mnas space, plain ones of one operation throughout were trained "
            "alone for a short time before the finalists were chosen. The controller hardly takes the path of a plain "
            "network, so its accuracy by shared weights says little.",
            class_="text note",
        ),
    ]


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
