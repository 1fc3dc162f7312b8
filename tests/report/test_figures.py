from __future__ import annotations

import dataclasses
import math

import pytest

from archfit.cost import Budget
from archfit.report import figures


def named(figure):
    return {trace.name: trace for trace in figure.data}


def test_proxy_and_final_accuracies_are_separate_marks(result, trials):
    figure = figures.accuracy_against_cost(trials, result.trained, result.budget, searched="proxy accuracy, 3 epochs")
    traces = named(figure)
    proxy = traces["trials (proxy accuracy)"]
    assert len(proxy.x) == 36
    assert list(traces["winner (final accuracy)"].y) == [0.918]
    assert list(traces["finalists (final accuracy)"].y) == [0.914, 0.921]
    assert list(traces["references (final accuracy)"].x) == [0.412, 0.655]
    assert len(traces["pruned (never trained)"].x) == 3
    symbols = {proxy.marker.symbol, *(t.marker.symbol for n, t in traces.items() if "final" in n)}
    assert len(symbols) == 4


def test_what_was_stopped_has_no_final_accuracy(result, trials):
    stopped = tuple(
        dataclasses.replace(network, role="stopped") if network.role == "finalist" else network
        for network in result.trained
    )
    traces = named(figures.accuracy_against_cost(trials, stopped, result.budget))
    assert [name for name in traces if "final" in name] == ["references (final accuracy)", "winner (final accuracy)"]
    assert "trial 33 (stopped)" in named(figures.training_curves(stopped))


def test_budget_is_a_line_and_pruned_ones_past_the_view_are_counted(result, trials):
    figure = figures.accuracy_against_cost(trials, result.trained, result.budget)
    assert [shape.x0 for shape in figure.layout.shapes] == [0.3]
    assert figure.layout.annotations[0].text == "budget 0.3 ms"
    # Of the pruned at 0.4415, 0.9 and 0.45 ms only 0.9 lies right of the slowest network, 0.655 ms and its margin.
    assert figures.outside_figure(trials, result.trained, result.budget) == 1
    assert figure.layout.xaxis.range[1] < 0.9


@pytest.mark.parametrize(("bound", "anchor"), [(0.1, "left"), (0.3, "center"), (0.9, "right")])
def test_the_budget_s_label_stays_inside_the_figure(result, trials, bound, anchor):
    figure = figures.accuracy_against_cost(trials, result.trained, Budget(latency_ms=bound))
    assert figure.layout.annotations[0].xanchor == anchor


def test_without_latency_the_axis_is_the_bounded_cost(result_of, trials):
    result = result_of(p50_ms=None)
    bare = [dataclasses.replace(t, cost=dataclasses.replace(t.cost, latency=None)) for t in trials]
    params = figures.accuracy_against_cost(bare, result.trained, Budget(params=300_000))
    madds = figures.accuracy_against_cost(bare, result.trained, Budget())
    assert params.layout.xaxis.title.text == "parameters"
    assert madds.layout.xaxis.title.text == "multiply-adds"
    # References of 2.23M parameters beside trials of 0.09M: a logarithmic axis, its range and note in exponents.
    assert params.layout.xaxis.type == "log"
    assert params.layout.xaxis.range[0] < math.log10(300_000) < params.layout.xaxis.range[1] < 7
    assert params.layout.annotations[0].x == pytest.approx(math.log10(300_000))
    assert {100_000, 200_000, 500_000} < set(params.layout.xaxis.tickvals)  # in full, where Plotly writes 2 and 5


def test_best_so_far_never_falls_and_skips_pruned(trial_of):
    trials = [trial_of(0, 0.5, origin="random"), trial_of(1, 0.9, state="pruned"), trial_of(2, 0.4), trial_of(3, 0.6)]
    traces = named(figures.reward_over_trials(trials))
    assert list(traces["best so far"].x) == [0, 2, 3]
    assert list(traces["best so far"].y) == [0.5, 0.5, 0.6]
    assert list(traces["pruned"].y) == [0.9]


def test_reward_band_is_the_random_level(trial_of):
    # Random rewards 0.2 and 0.6: mean 0.4, best 0.6.
    trials = [trial_of(0, 0.2, origin="random"), trial_of(1, 0.6, origin="random"), trial_of(2, 0.7)]
    band = figures.reward_over_trials(trials).layout.shapes[0]
    assert (band.y0, band.y1) == (pytest.approx(0.4), 0.6)


def test_confusion_colours_row_shares_and_writes_counts():
    heat = figures.confusion_matrix(["a", "<b>&x"], [[3, 1], [0, 0]]).data[0]
    assert [list(row) for row in heat.z] == [[0.75, 0.25], [0.0, 0.0]]
    assert [list(row) for row in heat.text] == [["3", "1"], ["", ""]]
    assert heat.customdata[0][1] == "true a<br>predicted &lt;b&gt;&amp;x<br>1 of 4"


def test_confusion_of_100_classes_thins_its_labels():
    names = [f"a long class name {i}" for i in range(100)]
    figure = figures.confusion_matrix(names, [[int(i == j) for j in range(100)] for i in range(100)])
    # 100 classes in at most 25 labels: every 4th.
    assert list(figure.layout.xaxis.tickvals) == list(range(0, 100, 4))
    assert figure.layout.xaxis.ticktext[3] == "a long c…ame 12"
    assert figure.data[0].texttemplate is None


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_training_of_one_epoch_is_seen_in_its_curves(result, epochs):
    network = dataclasses.replace(result.trained[0], epochs=epochs, curve=((1, 0.61, 0.82), (2, 0.52, 0.85))[:epochs])
    for figure, value in ((figures.training_curves([network]), 0.82), (figures.loss_curve(network), 0.61)):
        assert figure.data[0].mode == ("markers" if epochs == 1 else "lines")
        low, high = figure.layout.yaxis.range
        assert 0 < low < value < high < 1


def test_curves_that_begin_at_chance_do_not_reach_past_all(result, trials):
    curve = ((1, 2.3, 0.1), (2, 0.2, 0.94))
    network = dataclasses.replace(result.trained[0], epochs=2, curve=curve)
    low, high = figures.training_curves([network]).layout.yaxis.range
    assert (low, high) == pytest.approx((0.1 - 0.06 * 0.84, 0.94 + 0.06 * 0.84))
    at_chance = [dataclasses.replace(trial, accuracy=0.1 if trial.number == 0 else trial.accuracy) for trial in trials]
    low, high = figures.accuracy_against_cost(at_chance, result.trained, result.budget).layout.yaxis.range
    assert 0 < low < 0.1
    assert high < 1


def test_training_curves_have_a_line_per_network(result):
    figure = figures.training_curves(result.trained)
    assert [len(trace.x) for trace in figure.data] == [30] * 5
    assert figure.data[0].name == "trial 38 (winner)"


def test_a_last_epoch_that_was_cut_short_ends_where_it_was_cut(result):
    figure = figures.training_curves([dataclasses.replace(result.trained[0], epochs=29.3)])
    assert list(figure.data[0].x[-2:]) == [29, 29.3]


def test_figures_of_nothing_are_empty_not_errors():
    assert figures.accuracy_against_cost([], [], Budget(latency_ms=1.0)).data[0].x == ()
    assert figures.reward_over_trials([]).data[0].x == ()
