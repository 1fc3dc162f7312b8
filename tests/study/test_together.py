"""One network trained in two processes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cloudpickle
import pytest
import torch
from torch import Tensor, nn

from archfit.data import ImageData, load_data
from archfit.errors import ArchfitError
from archfit.study.together import fit_together
from archfit.training import Progress, Recipe, fit, get_metric, score

# Worker processes cannot import this module: what they need of it travels with the job.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def network() -> nn.Module:
    """Without batch norms, whose statistics are those of each process's own part."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 10)
    )


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits", train_images=300)


RECIPE = Recipe(2, batch_size=30, learning_rate=0.1, ema_decay=0.9)


def test_two_processes_learn_what_one_does(data: ImageData, tmp_path: Path) -> None:
    alone, together = network(), network()
    settings = {"seed": 0, "memory_format": "contiguous", "keep_best": True}
    expected = fit(alone, data, RECIPE, checkpoints=tmp_path / "alone", **settings)
    told: list[Progress] = []
    found = fit_together(
        together,
        data,
        RECIPE,
        devices=2,
        log=tmp_path / "workers.log",
        on_progress=told.append,
        checkpoints=tmp_path / "together",
        logs=tmp_path / "logs",
        **settings,
    )
    assert [row[0] for row in found.curve] == [1, 2]
    assert [row[2] for row in found.curve] == pytest.approx([row[2] for row in expected.curve], abs=0.02)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together.state_dict()[name], value, rtol=1e-3, atol=1e-4)
    assert told[-1].step == 20
    assert {path.name for path in (tmp_path / "together").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (tmp_path / "logs" / "csv" / "metrics.csv").is_file()
    accuracy = score(together, data.validation, data, get_metric("accuracy"), memory_format="contiguous")
    assert accuracy == pytest.approx(max(row[2] for row in found.curve))


class Remembers(nn.Module):
    """Answers with one class, by the last images that this process has trained on."""

    last: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(64, 10)
        self.register_buffer("last", torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.last.copy_(images.mean() * 1e4)
        return self.classifier(images.flatten(1)) + 1e3 * nn.functional.one_hot(self.last.long() % 10, 10)


def test_all_processes_score_the_network_of_the_first_one(data: ImageData, tmp_path: Path) -> None:
    network = Remembers()
    recipe = replace(RECIPE, epochs=3, ema_decay=None)
    found = fit_together(
        network, data, recipe, devices=2, log=tmp_path / "log", on_progress=lambda _: None, seed=0,
        memory_format="contiguous",
    )  # fmt: skip
    accuracy = score(network, data.validation, data, get_metric("accuracy"), memory_format="contiguous")
    assert found.curve[-1][2] == accuracy


def test_layers_that_open_later_are_kept_the_same_in_all_processes(data: ImageData, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=1, unfreeze=0.5, layer_decay=0.5, ema_decay=None)
    alone, together = network(), network()
    fit(alone, data, recipe, seed=0, memory_format="contiguous")
    fit_together(
        together,
        data,
        recipe,
        devices=2,
        log=tmp_path / "log",
        on_progress=lambda _: None,
        seed=0,
        memory_format="contiguous",
    )
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_each_process_climbs_by_its_part_of_a_batch_and_all_keep_one_network(data: ImageData, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=3, unfreeze=0.3, ema_decay=None, sharpness=0.05)
    together = network()
    found = fit_together(
        together, data, recipe, devices=2, log=tmp_path / "log", on_progress=lambda _: None, seed=0,
        memory_format="contiguous",
    )  # fmt: skip
    # Both processes scored half of the validation split: with weights of their own the whole would come out otherwise.
    accuracy = score(together, data.validation, data, get_metric("accuracy"), memory_format="contiguous")
    assert accuracy == found.curve[-1][2] > 0.5


def test_a_process_that_fails_ends_the_training_and_names_the_reason(data: ImageData, tmp_path: Path) -> None:
    with pytest.raises(ArchfitError, match="training diverged"):
        fit_together(
            network(),
            data,
            replace(RECIPE, learning_rate=1e30, epochs=30),
            devices=2,
            log=tmp_path / "log",
            on_progress=lambda _: None,
            seed=0,
        )
