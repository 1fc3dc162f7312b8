"""The figures of the page: each a function from values to a Plotly figure, readable on light and dark ground."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from archfit.cost import Budget, Cost
from archfit.report.evidence import pareto_front, search_against_random
from archfit.report.record import TrainedNetwork
from archfit.report.wording import count, latency_range, percent
from archfit.study.record import GIVEN, TrialRecord

# Of medium lightness, so that they stand out on white and on near-black alike.
GREY, LINE, BLUE, RED = "#8a94a3", "rgba(128,138,150,0.28)", "#4f86c6", "#d9534f"
# Drawn in this order, so that the winner lies on top.
ROLE_STYLE = {
    "reference": ("square", "#a06cb8", 10),
    "control": ("triangle-up", "#8a94a3", 10),
    "finalist": ("diamond", "#2a9d8f", 11),
    "winner": ("star", "#e07b00", 17),
}
LOG_TICKS = [digit * 10.0**decade for decade in range(-4, 13) for digit in (1, 2, 5)]
"""Of logarithmic axes, where Plotly would write 2 for 0.2 and for 20."""
_EDGE = 0.2  # of the width: so near to an edge, a label on a phone would be cut off by it
CURVE_COLOURS = ("#2a9d8f", "#a06cb8", "#4f86c6", "#c46a8f", "#8f8f3a", "#8a94a3")


def accuracy_against_cost(
    trials: Sequence[TrialRecord],
    trained: Sequence[TrainedNetwork],
    budget: Budget,
    *,
    searched: str = "proxy accuracy",
) -> go.Figure:
    """Trials by the accuracy the search went by, networks trained in full by their final validation accuracy.

    The cost is the latency if any trial or network has one, else MAdds.

    Args:
        trials: Those without accuracy are ticks along the bottom if pruned, else left out.
        trained: Finalists (the winner too) and references.
        budget: Its bound of the cost shown is a vertical line.
        searched: What the accuracies of the trials are, as in "proxy accuracy".
    """
    cost_of, axis, bound, unit = _cost_axis(trials, trained, budget)
    done = [(cost_of(t.cost), t) for t in trials if t.state == "complete" and t.accuracy is not None and t.cost]
    shown = [(cost, t.accuracy, t) for cost, t in done if cost is not None and t.accuracy is not None]
    ended = [network for network in trained if network.role in ROLE_STYLE]
    finals = [(cost, network) for network in ended if (cost := cost_of(network.cost)) is not None]
    longest = max((t.rung for _, _, t in shown), default=0)
    figure = go.Figure()
    figure.add_scatter(
        x=[cost for cost, _, _ in shown],
        y=[accuracy for _, accuracy, _ in shown],
        mode="markers",
        name=f"trials ({searched.partition(',')[0]})",
        marker={
            "symbol": "circle-open",
            "size": 8,
            "color": BLUE,
            "line": {"width": 1.5},
            "opacity": [1.0 if t.rung == longest else 0.4 for _, _, t in shown],  # the longer trained stand out
        },
        text=[_trial_name(t) for _, _, t in shown],
        hovertemplate=f"%{{text}}<br>{searched.partition(',')[0]} %{{y:.1%}}<br>%{{x:.4~g}} {unit}<extra></extra>",
    )
    front = pareto_front([(cost, accuracy) for cost, accuracy, _ in shown])
    figure.add_scatter(
        x=[shown[i][0] for i in front],
        y=[shown[i][1] for i in front],
        mode="lines",
        name="Pareto front of the trials",
        line={"shape": "hv", "color": BLUE, "width": 1.5, "dash": "dot"},
        hoverinfo="skip",
    )
    for role, (symbol, colour, size) in ROLE_STYLE.items():
        group = [(cost, network) for cost, network in finals if network.role == role]
        if not group:
            continue
        figure.add_scatter(
            x=[cost for cost, _ in group],
            y=[network.validation_accuracy for _, network in group],
            mode="markers",
            name=f"{role if role == 'winner' else role + 's'} (final accuracy)",
            marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": 1, "color": "rgba(0,0,0,0.35)"}},
            text=[f"{role}: {html.escape(network.name)}" for _, network in group],
            hovertemplate=f"%{{text}}<br>final validation accuracy %{{y:.1%}}<br>%{{x:.4~g}} {unit}<extra></extra>",
        )
    heights = [accuracy for _, accuracy, _ in shown] + [network.validation_accuracy for _, network in finals]
    floor, top = _span(heights)
    pruned = [(cost, t) for t in trials if t.state == "pruned" and t.cost and (cost := cost_of(t.cost)) is not None]
    if pruned:
        figure.add_scatter(
            x=[cost for cost, _ in pruned],
            y=[floor] * len(pruned),
            mode="markers",
            name="pruned (never trained)",
            marker={"symbol": "line-ns-open", "size": 10, "color": GREY, "line": {"width": 1.5}},
            opacity=0.8,
            text=[f"trial {t.number}, pruned" for _, t in pruned],
            hovertemplate=f"%{{text}}<br>%{{x:.4~g}} {unit}<extra></extra>",
        )
    costs = [cost for cost, _, _ in shown] + [cost for cost, _ in finals] + ([bound] if bound is not None else [])
    # Plotly takes what lies on a logarithmic axis as exponents.
    wide = _is_wide(costs)
    low, high = map(math.log10, _cost_span(costs)) if wide else _cost_span(costs)
    figure.update_xaxes(type="log" if wide else "linear", range=[low, high])
    if wide:
        figure.update_xaxes(tickvals=LOG_TICKS, tickformat="~g" if unit == "ms" else "~s")
    if bound is not None:
        figure.add_vline(x=bound, line={"color": RED, "width": 1.5, "dash": "dash"})
        place = math.log10(bound) if wide else bound
        share = (place - low) / (high - low)
        figure.add_annotation(
            x=place, y=1, yref="paper", yanchor="bottom", showarrow=False,
            xanchor="left" if share < _EDGE else "right" if share > 1 - _EDGE else "center",
            text=f"budget {_bound_text(bound, unit)}", font={"color": RED, "size": 12}, name="budget",
        )  # fmt: skip
    figure.update_xaxes(title_text=axis)
    figure.update_yaxes(title_text="validation accuracy", tickformat=".2~%", range=[floor, top])
    return styled(figure)


def outside_figure(trials: Sequence[TrialRecord], trained: Sequence[TrainedNetwork], budget: Budget) -> int:
    """How many pruned trials cost so much that `accuracy_against_cost` opens without them in view."""
    cost_of, _, bound, _ = _cost_axis(trials, trained, budget)
    pruned = [cost_of(t.cost) for t in trials if t.state == "pruned" and t.cost]
    kept = [cost_of(t.cost) for t in trials if t.state == "complete" and t.accuracy is not None and t.cost]
    known = [c for c in (*kept, *(cost_of(network.cost) for network in trained), bound) if c is not None]
    return sum(cost is not None and cost > _cost_span(known)[1] for cost in pruned)


def reward_over_trials(trials: Sequence[TrialRecord]) -> go.Figure:
    """Every reward of a first training, the best so far, and the band from mean to best of the random trials."""
    figure = go.Figure()
    random = search_against_random(trials).random
    if random.mean is not None and random.best is not None:
        band = "random trials, mean to best"
        figure.add_hrect(
            y0=random.mean, y1=random.best, fillcolor=GREY, opacity=0.18, line_width=0, name=band, showlegend=True
        )
        for level in (random.mean, random.best):
            figure.add_hline(y=level, line={"color": GREY, "width": 1, "dash": "dot"})
    rewarded = [(t, t.reward) for t in trials if t.reward is not None and t.promotes is None]
    groups = (
        *(
            (name, colour, symbol, 1.0, [p for p in rewarded if p[0].state == "complete" and _kind(p[0]) == name])
            for name, colour, symbol in (
                ("given", BLUE, "diamond-open"),
                ("random", GREY, "circle-open"),
                ("proposed", BLUE, "circle"),
            )
        ),
        ("pruned", GREY, "x-thin-open", 0.5, [p for p in rewarded if p[0].state != "complete"]),
    )
    for name, colour, symbol, opacity, members in groups:
        if members:
            figure.add_scatter(
                x=[t.number for t, _ in members],
                y=[reward for _, reward in members],
                mode="markers",
                name=name,
                opacity=opacity,
                marker={"symbol": symbol, "size": 7, "color": colour, "line": {"width": 1.5, "color": colour}},
                text=[_trial_words(t) for t, _ in members],
                hovertemplate="%{text}<br>reward %{y:.4f}<extra></extra>",
            )
    numbers, levels, best = [], [], -math.inf
    for trial, reward in rewarded:
        if trial.state == "complete":
            best = max(best, reward)
            numbers.append(trial.number)
            levels.append(best)
    figure.add_scatter(
        x=numbers, y=levels, mode="lines", name="best so far", line={"shape": "hv", "color": "#e07b00", "width": 2},
        hovertemplate="best so far %{y:.4f}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title_text="trial")
    figure.update_yaxes(title_text="reward")
    return styled(figure)


def confusion_matrix(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> go.Figure:
    """Counts of true (rows) against predicted (columns), coloured by the share of the row.

    Args:
        classes: Names, in the order of the rows.
        confusion: `confusion[true][predicted]`.
    """
    totals = [sum(row) for row in confusion]
    shares = [[cell / total if total else 0.0 for cell in row] for row, total in zip(confusion, totals, strict=True)]
    full = [html.escape(name) for name in classes]
    small = len(classes) <= 20
    hover = [
        [f"true {true}<br>predicted {guess}<br>{cell} of {total}" for guess, cell in zip(full, row, strict=True)]
        for true, row, total in zip(full, confusion, totals, strict=True)
    ]
    # Steep near zero, so that one error in a hundred is still seen; see-through, so that it fits any ground.
    scale = [[share, f"rgba(79,134,198,{alpha})"] for share, alpha in ((0, 0.03), (0.02, 0.2), (0.2, 0.4), (1, 0.85))]
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            zmin=0,
            zmax=1,
            colorscale=scale,
            showscale=False,
            text=[[str(cell) if cell else "" for cell in row] for row in confusion],
            texttemplate="%{text}" if small else None,
            textfont={"size": 12 if len(classes) <= 12 else 10},
            customdata=hover,
            hovertemplate="%{customdata} (%{z:.1%})<extra></extra>",
            xgap=1 if small else 0,
            ygap=1 if small else 0,
        )
    )
    step = max(1, math.ceil(len(classes) / 25))
    ticks = list(range(0, len(classes), step))
    names = [html.escape(_shortened(classes[i])) for i in ticks]
    figure.update_xaxes(title_text="predicted", tickvals=ticks, ticktext=names, showgrid=False, tickangle=-45)
    figure.update_yaxes(title_text="true", tickvals=ticks, ticktext=names, showgrid=False, autorange="reversed")
    return styled(figure, height=520 if small else 720)


def training_curves(trained: Sequence[TrainedNetwork]) -> go.Figure:
    """Validation accuracy after each epoch of the full training, one line per network."""
    figure = go.Figure()
    others = iter(range(len(trained)))
    for network in trained:
        winner = network.role in ("winner", "trained")
        colour = ROLE_STYLE["winner"][1] if winner else CURVE_COLOURS[next(others) % len(CURVE_COLOURS)]
        figure.add_scatter(
            x=[min(epoch, network.epochs) for epoch, _, _ in network.curve],  # the last one can be cut short
            y=[accuracy for _, _, accuracy in network.curve],
            mode=_line_mode(network),
            name=html.escape(network.name) + (f" ({network.role})" if network.role != "trained" else ""),
            line={
                "color": colour,
                "width": 3 if winner else 1.7,
                "dash": "dot" if network.role in ("reference", "control") else None,
            },
            hovertemplate="epoch %{x}<br>%{y:.1%}",
        )
    _epoch_axis(figure, max((len(network.curve) for network in trained), default=0))
    shown = _span([accuracy for network in trained for _, _, accuracy in network.curve])
    figure.update_yaxes(title_text="validation accuracy", tickformat=".2~%", range=shown)
    return styled(figure)


def loss_curve(network: TrainedNetwork) -> go.Figure:
    """Mean training loss of each epoch."""
    figure = go.Figure()
    figure.add_scatter(
        x=[epoch for epoch, _, _ in network.curve],
        y=[loss for _, loss, _ in network.curve],
        mode=_line_mode(network),
        line={"color": BLUE, "width": 2},
        hovertemplate="epoch %{x}<br>loss %{y:.3f}<extra></extra>",
    )
    _epoch_axis(figure, len(network.curve))
    figure.update_yaxes(title_text="training loss", range=_span([loss for _, loss, _ in network.curve]))
    return styled(figure, height=320)


def _line_mode(network: TrainedNetwork) -> str:
    """A line through one epoch would not be seen."""
    return "lines" if len(network.curve) > 1 else "markers"


def _epoch_axis(figure: go.Figure, epochs: int) -> None:
    """Epochs are whole numbers, however few there are."""
    figure.update_xaxes(title_text="epoch", dtick=1 if epochs <= 12 else None)


def _cost_axis(
    trials: Sequence[TrialRecord], trained: Sequence[TrainedNetwork], budget: Budget
) -> tuple[Callable[[Cost], float | None], str, float | None, str]:
    """How the cost is read, the title of its axis, its bound and its unit."""
    costs = [t.cost for t in trials if t.cost] + [network.cost for network in trained]
    if any(cost.latency for cost in costs):
        return _latency, "latency p50, ms", budget.latency_ms, "ms"
    if budget.params is not None and budget.madds is None:
        return _params, "parameters", budget.params, "parameters"
    return _madds, "multiply-adds", budget.madds, "MAdds"


def _latency(cost: Cost) -> float | None:
    return cost.latency.p50_ms if cost.latency else None


def _madds(cost: Cost) -> float | None:
    return cost.madds


def _params(cost: Cost) -> float | None:
    return cost.params


def _bound_text(bound: float, unit: str) -> str:
    return f"{bound:g} ms" if unit == "ms" else f"{count(bound)} {unit}"


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Lowest and highest value with a margin of 6 % of their distance."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    return low - margin, high + margin


def _cost_span(costs: Sequence[float]) -> tuple[float, float]:
    """The same of costs; where they are far apart, on a logarithmic axis, the margin is 15 % of themselves."""
    return (min(costs) / 1.15, max(costs) * 1.15) if _is_wide(costs) else _span(costs)


def _is_wide(values: Sequence[float]) -> bool:
    """Whether one network is so much larger that the others would crowd together on a linear axis."""
    return bool(values) and 0 < 8 * min(values) < max(values)


def _kind(trial: TrialRecord) -> str:
    if trial.origin in GIVEN:
        return "given"
    return "random" if trial.origin == "random" else "proposed"


def _trial_name(trial: TrialRecord) -> str:
    further = f", trained on from trial {trial.promotes}" if trial.promotes is not None else ""
    return f"trial {trial.number} · {html.escape(trial.origin)}{further}"


def _trial_words(trial: TrialRecord) -> str:
    words = [_trial_name(trial)]
    if trial.accuracy is not None:
        words.append(f"accuracy {percent(trial.accuracy)}")
    if trial.cost and trial.cost.latency:
        words.append(latency_range(trial.cost.latency))
    if trial.repeat_of is not None:
        words.append(f"repeat of trial {trial.repeat_of}")
    return "<br>".join(words)


def _shortened(name: str) -> str:
    """At most 15 characters; cut in the middle, as names of a series differ at their ends."""
    return name if len(name) <= 15 else f"{name[:8]}…{name[-6:]}"


def styled(figure: go.Figure, *, height: int = 430) -> go.Figure:
    """The look that all figures share."""
    figure.update_layout(
        template="none",
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13, "color": GREY},
        margin={"l": 12, "r": 12, "t": 26, "b": 12},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": BLUE},
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hovermode="closest",
        # A drag would otherwise zoom where a reader on a phone wants to scroll.
        dragmode=False,
    )
    for axes in (figure.update_xaxes, figure.update_yaxes):
        axes(automargin=True, gridcolor=LINE, linecolor=LINE, zeroline=False, title_standoff=8)
    return figure
