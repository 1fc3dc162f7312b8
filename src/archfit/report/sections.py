"""The sections of the page, in reading order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archfit.cost import Cost
from archfit.report.cell_picture import cell_svg
from archfit.report.evidence import search_against_random
from archfit.report.figures import outside_figure
from archfit.report.markup import Markup, element, facts, joined, paragraph, plain, readable, section, table, tile
from archfit.report.network_picture import network_svg
from archfit.report.record import Layer, RunResult, TestResult, TrainedNetwork
from archfit.report.wording import (
    BOUND_NAMES,
    Verdict,
    accuracy_with_error,
    budget_verdicts,
    clock_note,
    count,
    duration,
    epochs_in_words,
    latency_range,
    megabytes,
    milliseconds,
    parity_sentence,
    percent,
)
from archfit.spaces import CellGraph
from archfit.study.record import TrialRecord

REWARD_FORMULAS = {
    "absolute": "absolute: accuracy − 0.10 · |latency / budget − 1|; other bounds cost 0.10 · max(0, cost / bound − 1)",
    "soft": "soft: accuracy · (latency / budget)^−0.07; other bounds multiply likewise",
    "hard": "hard: accuracy within the budget, accuracy · budget / latency beyond it; other bounds multiply likewise",
}
MEMORY_MEANS = "peak of live activations plus weights, float32, batch 1; 1 MB = 10⁶ bytes"
MADDS_MEANS = "multiply-adds of one image through convolutions and matrix products (FLOPs / 2)"
ROLES = {"winner": 0, "finalist": 1, "stopped": 2, "control": 3, "reference": 4}


def searched_accuracy(result: RunResult, trials: Sequence[TrialRecord]) -> str:
    """What the accuracies of the `comparable` trials are, as in "proxy accuracy, 3 epochs"."""
    if result.search.get("method") == "shared" and all(t.promotes is None for t in trials):
        return "shared-weight accuracy"
    recipe: Mapping[str, Any] = result.search.get("proxy") or {}
    epochs = recipe.get("epochs")
    if not epochs:
        return "proxy accuracy"
    how = "in the time a typical network takes for " if recipe.get("equal_time") else ""
    return f"proxy accuracy, {how}{epochs_in_words(epochs)}"


def headline(result: RunResult) -> Markup:
    cost, verdicts = result.winner.cost, {v.name: v for v in budget_verdicts(result.winner.cost, result.budget)}
    test, latency = result.test, result.winner.cost.latency
    quantiles = f"p10–p90 {milliseconds(latency.p10_ms)} to {milliseconds(latency.p90_ms)}" if latency else ""
    median = milliseconds(latency.p50_ms if latency else None)
    tiles = [
        tile(
            "Test accuracy",
            accuracy_with_error(test.accuracy, test.standard_error),
            f"two standard errors; {test.images:,} images, read once",
        ),
        _cost_tile("Latency, median", median, verdicts.get("latency"), quantiles or "not measured"),
        _cost_tile("Parameters", count(cost.params), verdicts.get("params"), "learnt"),
        _cost_tile("Multiply-adds", count(cost.madds), verdicts.get("madds"), "of one image"),
        _cost_tile("Memory", megabytes(cost.memory_bytes), verdicts.get("memory"), "activations and weights, peak"),
        tile("File", megabytes(cost.file_bytes), "network.onnx"),
    ]
    within = result.winner.within_budget
    call = "Ship" if within else "Best found:"
    bounded = bool(result.budget.names())
    words = "no budget was set" if not bounded else ("within the budget" if within else "over the budget")
    badge = element("span", words, class_="badge " + ("" if not bounded else "good" if within else "bad"))
    return element(
        "header",
        element("p", f"archfit search on {result.dataset.get('name', 'a dataset')}", class_="kicker"),
        element("h1", f"{call} {result.winner.name}", " ", badge),
        paragraph(result.recommendation, class_="text lead"),
        element("div", *tiles, class_="tiles"),
    )


def _cost_tile(label: str, value: str, verdict: Verdict | None, note: str) -> Markup:
    if verdict is None:
        return tile(label, value, note)
    mood = {True: "good", False: "bad", None: ""}[verdict.holds]
    return tile(label, value, f"{verdict.text}; {note}" if verdict.holds is not None else verdict.text, mood=mood)


def accuracy_and_cost(result: RunResult, trials: Sequence[TrialRecord], figure: Markup) -> Markup:
    """Of the `comparable` trials."""
    searched = searched_accuracy(result, trials)
    latency = any(t.cost and t.cost.latency for t in trials)
    note = (
        f"Open circles are the trials of the search with their {searched}. Filled marks are networks trained in full, "
        "with their final validation accuracy. The two kinds of accuracy are not comparable with each other."
    )
    if len({t.promotes is None for t in trials if t.state == "complete"}) > 1:
        note += " Pale circles were not trained to the end of the proxy's epochs."
    if latency:
        note += " Latency of trials was measured in the search; finalists and references were measured again after it."
    if outside := outside_figure(trials, result.trained, result.budget):
        note += f" {outside} pruned {'trial lies' if outside == 1 else 'trials lie'} beyond the right edge."
    title = "Accuracy against latency" if latency else "Accuracy against cost"
    return section("accuracy", title, figure, paragraph(note, class_="text note"))


def chance(trials: Sequence[TrialRecord], figure: Markup) -> Markup:
    evidence = search_against_random(trials)
    groups = [("random start-up", evidence.random), ("later proposals", evidence.later)]
    if evidence.given.trials or evidence.given.pruned:
        groups.insert(0, ("given at the start", evidence.given))
    rows = [
        (name, group.trials, _number(group.mean), _number(group.best), group.pruned)
        for name, group in groups
    ]  # fmt: skip
    return section(
        "chance",
        "Did the search beat chance?",
        paragraph(evidence.sentence),
        table(("trials", "trained", "mean reward", "best reward", "pruned"), rows, numbers=(1, 2, 3, 4)),
        paragraph(
            "Pruned trials count in neither mean nor best, a repeated network counts once. The larger group has the "
            "better chance of a high best, so compare the means.",
            class_="text note",
        ),
        figure,
    )


def network(layers: Sequence[Layer], cells: Sequence[CellGraph] = ()) -> Markup:
    pictures = [
        element("div", Markup(network_svg(layers, columns=columns)), class_=f"picture {name}")
        for name, columns in (("narrow", 2), ("middle", 4), ("wide", 6))
    ]
    rows = [
        (layer.name, layer.kind, layer.detail, "×".join(map(str, layer.shape)), f"{layer.params:,}", f"{layer.madds:,}")
        for layer in layers
    ]
    return section(
        "network",
        "The network",
        *_cells(cells),
        paragraph(
            "Layers in reading order. The height of a box grows with the square root of its output channels; "
            "the shape is channels × height × width.",
            class_="text note",
        ),
        *pictures,
        _folded(
            "The layers as a table",
            table(("layer", "kind", "detail", "output", "parameters", "MAdds"), rows, numbers=(4, 5)),
        ),
    )


def _cells(cells: Sequence[CellGraph]) -> list[Markup]:
    if not cells:
        return []
    note = (
        "It is made of two cells over and over. A node adds up two operations on what came before it; what leads to "
        "the output is concatenated. The reduction cell halves height and width."
    )
    pictures = [element("div", Markup(cell_svg(cell)), class_="picture graph") for cell in cells]
    return [paragraph(note, class_="text note"), *pictures]


def costs(result: RunResult) -> Markup:
    cost, verdicts = result.winner.cost, {v.name: v for v in budget_verdicts(result.winner.cost, result.budget)}

    def verdict(name: str) -> str:
        return verdicts[name].text if name in verdicts else "no bound"

    latency = cost.latency
    how = "not measured"
    if latency:
        how = (
            f"p50 (p10–p90) of {latency.runs:,} runs on {latency.device}, {latency.runtime}, "
            f"{latency.threads} thread{'' if latency.threads == 1 else 's'}, batch {latency.batch}; corrected for the "
            f"machine's drift, spread of the median {percent(latency.spread)}"
        )
        if (note := clock_note(latency)) is not None:
            how += f"; {note}"
    rows = [
        (BOUND_NAMES["latency"], latency_range(latency), verdict("latency"), how),
        (BOUND_NAMES["memory"], megabytes(cost.memory_bytes), verdict("memory"), MEMORY_MEANS),
        (BOUND_NAMES["params"], f"{cost.params:,}", verdict("params"), "learnt parameters"),
        (BOUND_NAMES["madds"], f"{cost.madds:,}", verdict("madds"), MADDS_MEANS),
        ("file", megabytes(cost.file_bytes), "no bound", "the exported ONNX file"),
    ]
    parity = result.parity
    return section(
        "costs",
        "What it costs",
        table(("cost", "value", "against the budget", "how it was determined"), rows),
        paragraph(parity_sentence(parity.same_top1, parity.images, parity.max_logit_difference)),
    )


def networks(result: RunResult, figure: Markup) -> Markup:
    rows = [_network_row(network, result) for network in sorted(result.trained, key=_rank)]
    controlled = any(network.role == "control" for network in result.trained)
    return section(
        "networks",
        "Finalists and references",
        paragraph(
            f"All were trained {_how_trained(result)} Of the finalists only the winner was tested; it was chosen "
            "before."
            + (" Control networks were drawn at random within the budget." if controlled else ""),
            class_="text note",
        ),
        table(
            ("network", "role", "validation", "test", "latency p50 (p10–p90)", "budget", "params", "MAdds",
             "memory", "epochs", "training"),
            rows,
            numbers=(2, 3, 6, 7, 8, 9, 10),
        ),
        element("h3", "Validation accuracy while training in full"),
        figure,
    )  # fmt: skip


def _how_trained(result: RunResult) -> str:
    """As in "in full by one recipe, for the epochs that the table gives, exported and measured again."."""
    processes = result.search.get("final_processes") or 1
    together = f", each by {processes} processes together" if processes > 1 else ""
    how = f"by one recipe, for the epochs that the table gives{together}, exported and measured again."
    if any(network.role == "stopped" for network in result.trained):
        return f"{how} Finalists that were behind on the validation split early on were stopped there."
    return f"in full {how}"


def _rank(network: TrainedNetwork) -> tuple[int, float]:
    return ROLES.get(network.role, len(ROLES)), -network.validation_accuracy


def _standing(network: TrainedNetwork, result: RunResult) -> str:
    if not result.budget.names():
        return "–"
    return "within" if network.within_budget else "over"


def _network_row(network: TrainedNetwork, result: RunResult) -> tuple[object, ...]:
    cost = network.cost
    return (
        element("strong", network.name) if network.role == "winner" else network.name,
        network.role,
        percent(network.validation_accuracy),
        percent(network.test_accuracy),
        latency_range(cost.latency),
        _standing(network, result),
        count(cost.params),
        count(cost.madds),
        megabytes(cost.memory_bytes),
        f"{network.epochs:g}",
        duration(network.seconds_train),
    )


def test(outcome: TestResult, figure: Markup, title: str) -> Markup:
    rows = [
        (name, percent(of.get("precision")), percent(of.get("recall")), percent(of.get("f1")), plain(of.get("images")))
        for name, of in outcome.per_class.items()
    ]
    return section(
        "test",
        title,
        paragraph(
            f"{accuracy_with_error(outcome.accuracy, outcome.standard_error)} of {outcome.images:,} images are right "
            f"(two binomial standard errors); balanced accuracy, the mean recall over classes, is "
            f"{percent(outcome.balanced_accuracy)}."
        ),
        facts(
            [
                ("precision", _mean(outcome.precision)),
                ("recall", _mean(outcome.recall)),
                ("F1", _mean(outcome.f1)),
                ("top-5", percent(outcome.top5) if outcome.top5 is not None else None),
                ("calibration error", percent(outcome.calibration_error) if outcome.calibration_error else None),
                ("answers", _answers(outcome)),
            ]
        ),
        figure,
        paragraph("Rows are the true classes; the colour is the share of the row.", class_="text note"),
        _folded(
            f"All {len(rows)} classes",
            table(("class", "precision", "recall", "F1", "images"), rows, numbers=(1, 2, 3, 4)),
            opened=len(rows) <= 12,
        ),
    )


def _mean(value: float | None) -> str | None:
    return f"{percent(value)}, mean over the classes" if value is not None else None


def _answers(outcome: TestResult) -> str | None:
    """How the answers are spread over the classes, where one is given far more or less often than it is true."""
    pairs = [
        (name, given, int(row["images"]))
        for (name, row), given in zip(outcome.per_class.items(), outcome.predicted, strict=False)
    ]
    off = [f"{name} {given} times for {true} images" for name, given, true in pairs if abs(given - true) > 0.1 * true]
    if not pairs:
        return None
    return "; ".join(off[:5]) if off else "every class is answered about as often as it is true (within 10 %)"


def data(dataset: Mapping[str, Any]) -> Markup:
    images, notes = dataset.get("images", {}), dataset.get("notes") or ()
    lines = [notes] if isinstance(notes, str) else list(notes)
    splits = plain({name: f"{n:,}" for name, n in images.items()}) if isinstance(images, Mapping) else plain(images)
    return section(
        "data",
        "The data",
        facts(
            [
                ("name", plain(dataset.get("name"))),
                ("images", splits),
                ("classes", len(dataset.get("classes", ()))),
                ("input", f"{dataset.get('channels')} × {dataset.get('image_size')} × {dataset.get('image_size')}"),
                *_others(dataset, ("name", "images", "classes", "channels", "image_size", "notes")),
            ]
        ),
        element("ul", *[element("li", plain(note)) for note in lines]) if lines else "",
    )


def method(result: RunResult, trials: Sequence[TrialRecord]) -> Markup:
    search, space, machine = result.search, result.space, result.machine
    states = search.get("trials") or {
        state: sum(t.state == state for t in trials) for state in ("complete", "pruned", "failed")
    }
    formula = REWARD_FORMULAS.get(str(search.get("reward")), plain(search.get("reward")))
    size = space.get("size")
    return section(
        "method",
        "How it was done",
        facts(
            [
                ("method", plain(search.get("method"))),
                ("sampler", plain(search.get("sampler"))),
                ("reward", formula),
                ("budget", str(result.budget)),
                ("trials", plain(states)),
                ("proxy recipe", plain(search.get("proxy", ""))),
                *_others(search, ("method", "sampler", "reward", "trials", "proxy", "stopped", "seed", "shared")),
                ("stopped", plain(search.get("stopped", ""))),
                ("seed", plain(search.get("seed"))),
                (
                    "space",
                    f"{plain(space.get('name'))}, {float(size):.2g} points" if size else plain(space.get("name")),
                ),
                ("space settings", plain(space.get("settings", ""))),
                ("scaled for the budget", plain(space.get("scaled") or "nothing")),
                ("time", _times(result.seconds)),
                ("memory format", result.memory_format),
                *[(readable(key), plain(value)) for key, value in machine.items() if value is not None],
            ]
        ),
        paragraph("To repeat it:"),
        element("pre", element("code", result.command), tabindex="0"),
    )


def _times(seconds: Mapping[str, float]) -> str:
    words = {
        "search": "search",
        "train": "training in full",
        "total": "in all",
        "measuring": "of the search: measuring",
        "training": "training of trials, summed over workers",
    }
    return ", ".join(f"{words.get(name, readable(name))} {duration(value)}" for name, value in seconds.items())


def _relation(trial: TrialRecord, *, shared: bool) -> str:
    if trial.promotes is not None:
        return f"trains trial {trial.promotes} {'alone' if shared else 'on'}"
    return "" if trial.repeat_of is None else f"repeats trial {trial.repeat_of}"


def all_trials(result: RunResult, trials: Sequence[TrialRecord]) -> Markup:
    shared = result.search.get("method") == "shared"
    rows = [
        (
            trial.number,
            trial.origin,
            trial.state,
            percent(trial.accuracy),
            _latency_ms(trial.cost),
            count(trial.cost.params if trial.cost else None),
            _number(trial.reward),
            {True: "yes", False: "no", None: "–"}[trial.within_budget],
            trial.reason or _relation(trial, shared=shared),
        )
        for trial in trials
    ]
    head = (
        "trial",
        "origin",
        "state",
        "accuracy by shared weights, or alone" if shared else searched_accuracy(result, trials),
        "latency p50",
        "parameters",
        "reward",
        "in budget",
        "remark",
    )
    return section(
        "trials",
        "All trials",
        _folded(f"{len(rows)} trials", table(head, rows, numbers=(0, 3, 4, 5, 6))),
    )


def _latency_ms(cost: Cost | None) -> str:
    return milliseconds(cost.latency.p50_ms) if cost and cost.latency else "–"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _others(values: Mapping[str, Any], known: Sequence[str]) -> list[tuple[str, object]]:
    """What a newer writer or the user added, so that nothing recorded is hidden."""
    return [(readable(key), plain(value)) for key, value in values.items() if key not in known and value is not None]


def _folded(title: str, *content: object, opened: bool = False) -> Markup:
    parts = joined([element("summary", title), *content])
    return element("details", parts, open="") if opened else element("details", parts)
