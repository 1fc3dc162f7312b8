from __future__ import annotations

import pickle
import time
from typing import Any

import pytest
import torch
from torch import nn

from archfit.architecture import Architecture
from archfit.data import ImageData, MemorySplit
from archfit.errors import DivergedError
from archfit.evaluators import Evaluator, ProxyTraining, proxy
from archfit.training import METRICS, Recipe, confusion_matrix, predict_logits, trainer

ARCHITECTURE = Architecture("toy", (("width", 2),))


def _split(count: int) -> MemorySplit:
    """Dark images of class 0, two bright ones of class 1 for each; a tenth has the wrong label."""
    labels = (torch.arange(count) % 3 > 0).long()
    images = (60 + 130 * labels).view(-1, 1, 1, 1).expand(count, 1, 4, 4).to(torch.uint8).contiguous()
    wrong = torch.arange(count) % 10 == 0
    return MemorySplit(images, torch.where(wrong, 1 - labels, labels))


DATA = ImageData("toy", ("dark", "bright"), 1, 4, _split(160), _split(60), None, (0.5,), (0.25,))


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def _evaluate(evaluator: Evaluator, seed: int = 0) -> tuple[float, nn.Module, list[float]]:
    told: list[float] = []
    network = _network()
    accuracy = evaluator.evaluate(ARCHITECTURE, network, DATA, seed=seed, on_progress=told.append)
    return accuracy, network, told


def test_it_is_an_evaluator_that_travels() -> None:
    evaluator = ProxyTraining(2.0, metric="balanced-accuracy")
    assert isinstance(evaluator, Evaluator)
    assert pickle.loads(pickle.dumps(evaluator)) == evaluator  # noqa: S301


def test_it_learns() -> None:
    accuracy, _, told = _evaluate(ProxyTraining(4.0))
    # A tenth of the labels is wrong; always "bright" is right for less than 2/3.
    assert accuracy >= 0.85
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_the_metric_is_the_one_asked_for() -> None:
    plain, network, _ = _evaluate(ProxyTraining(0.2))
    balanced, same, _ = _evaluate(ProxyTraining(0.2, metric="balanced-accuracy"))
    logits, labels = predict_logits(network, DATA.validation, DATA)
    confusion = confusion_matrix(logits.argmax(dim=1), labels, 2)
    assert plain == METRICS["accuracy"](confusion)
    assert balanced == METRICS["balanced-accuracy"](confusion)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), same.parameters(), strict=True))


def test_the_seed_decides() -> None:
    weights = [_evaluate(ProxyTraining(0.5), seed)[1].state_dict() for seed in (1, 1, 2)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


@pytest.mark.parametrize(("times", "images"), [(0.5, 8_000), (1.0, 16_000), (0.1, 2_000), (90.0, 128_000)])
def test_in_equal_time_a_fast_network_sees_more(monkeypatch: pytest.MonkeyPatch, times: float, images: int) -> None:
    seen: list[int] = []
    monkeypatch.setattr(proxy, "relative_rate", lambda *_, **__: times)
    monkeypatch.setattr(trainer, "fit", lambda _network, data, recipe, **_: seen.append(recipe.images(len(data.train))))
    evaluator = ProxyTraining(100.0, typical=_network)
    evaluator.evaluate(ARCHITECTURE, _network(), DATA, seed=0, on_progress=lambda _: None)
    assert seen == [images]


class Slow(nn.Module):
    """Takes a tenth of a second per step."""

    def __init__(self) -> None:
        super().__init__()
        self.network = _network()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.1)
        return self.network(images)


def test_timing_changes_neither_weights_nor_seeds() -> None:
    # The typical network is over eight times as slow.
    timed, network, _ = _evaluate(ProxyTraining(1.0, typical=Slow))
    accuracy, same, _ = _evaluate(ProxyTraining(8.0))
    assert timed == accuracy
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), same.parameters(), strict=True))


class Diverging(nn.Module):
    """Gives what is not a number in training mode, in the first `bad` batches of its life."""

    def __init__(self, bad: int) -> None:
        super().__init__()
        self.network = _network()
        self.bad = bad

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        if self.training and self.bad:
            self.bad -= 1
            logits = logits * torch.nan
        return logits


def test_what_diverges_is_begun_anew_at_half_the_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    recipes: list[Recipe] = []
    begun: list[torch.Tensor] = []
    fit = trainer.fit

    def watched(network: nn.Module, data: ImageData, recipe: Recipe, **options: Any) -> Any:
        recipes.append(recipe)
        begun.append(next(network.parameters()).clone())
        return fit(network, data, recipe, **options)

    monkeypatch.setattr(trainer, "fit", watched)
    monkeypatch.setattr("archfit.training.fit", watched)
    evaluator = ProxyTraining(4.0)
    accuracy = evaluator.evaluate(ARCHITECTURE, Diverging(1), DATA, seed=0, on_progress=lambda _: None)
    assert accuracy >= 0.85
    whole, half = recipes
    assert half.learning_rate == whole.learning_rate / 2
    assert half.filter_learning_rate == whole.filter_learning_rate / 2
    assert torch.equal(*begun)


def test_what_diverges_twice_has_failed() -> None:
    with pytest.raises(DivergedError, match="the loss is nan"):
        ProxyTraining(4.0).evaluate(ARCHITECTURE, Diverging(10**6), DATA, seed=0, on_progress=lambda _: None)
