from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archfit.data import Augmentation, ImageData, MemorySplit
from archfit.errors import DivergedError, InputError
from archfit.training import (
    Progress,
    Recipe,
    Training,
    check_accelerator,
    fit,
    get_metric,
    predict_logits,
    score,
)


def _split(count: int, seed: int) -> MemorySplit:
    """Class 0 is dark, class 1 bright, with noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 100, (count, 1, 6, 6), generator=generator) + 60 * labels.view(-1, 1, 1, 1)
    return MemorySplit(images.to(torch.uint8), labels)


DATA = ImageData("toy", ("dark", "bright"), 1, 6, _split(50, 0), _split(20, 1), None, (0.3,), (0.15,))
RECIPE = Recipe(3, batch_size=8, learning_rate=0.05, ema_decay=0.9, augmentation=Augmentation(1, True))


class _Stop(Exception):
    pass


def _network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 4, 2)
    )


def _trained(recipe: Recipe, seed: int = 0, checkpoints: Path | None = None) -> tuple[Training, dict[str, Tensor]]:
    network = _network()
    training = fit(network, DATA, recipe, seed=seed, checkpoints=checkpoints)
    return training, network.state_dict()


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def straight() -> tuple[Training, dict[str, Tensor]]:
    return _trained(RECIPE)


def test_it_learns_and_says_how(straight: tuple[Training, dict[str, Tensor]]) -> None:
    training, weights = straight
    assert [epoch for epoch, _, _ in training.curve] == [1, 2, 3]
    assert training.curve[-1][1] < training.curve[0][1]
    assert training.curve[-1][2] >= 0.9
    # 50 // 8 = 6 whole batches of 8 in each of 3 epochs; 18 steps were counted by the batch norm as well, as far as
    # the average was updated: last at step 17.
    assert training.images == 3 * 48
    assert int(weights["1.num_batches_tracked"]) == 17
    assert training.seconds > 0


def test_the_last_accuracy_is_of_the_weights_that_are_kept(straight: tuple[Training, dict[str, Tensor]]) -> None:
    network = _network()
    network.load_state_dict(straight[1])
    assert score(network, DATA.validation, DATA, get_metric("accuracy")) == straight[0].curve[-1][2]


def test_a_network_in_eval_mode_is_trained_like_any_other(straight: tuple[Training, dict[str, Tensor]]) -> None:
    """Its batch norms would go on normalising by what they knew before."""
    network = _network().eval()
    assert fit(network, DATA, RECIPE, seed=0).curve == straight[0].curve
    assert _same(network.state_dict(), straight[1])


def test_it_repeats_exactly(straight: tuple[Training, dict[str, Tensor]]) -> None:
    training, weights = _trained(RECIPE)
    assert training.curve == straight[0].curve
    assert _same(weights, straight[1])
    assert not _same(_trained(RECIPE, seed=1)[1], straight[1])


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_training_that_was_cut_off_goes_on(
    straight: tuple[Training, dict[str, Tensor]], tmp_path: Path, epochs: int
) -> None:
    def stop(progress: Progress) -> None:
        # In the epoch after the last checkpoint.
        if progress.step > 6 * epochs:
            raise _Stop

    with pytest.raises(_Stop):
        fit(_network(), DATA, RECIPE, seed=0, checkpoints=tmp_path, on_progress=stop)
    training, weights = _trained(RECIPE, checkpoints=tmp_path)
    assert training.curve == straight[0].curve
    assert _same(weights, straight[1])
    assert training.images == straight[0].images


def test_a_training_that_had_ended_is_read_back(straight: tuple[Training, dict[str, Tensor]], tmp_path: Path) -> None:
    assert _same(_trained(RECIPE, checkpoints=tmp_path)[1], straight[1])
    training, weights = _trained(RECIPE, checkpoints=tmp_path)
    assert training.curve == straight[0].curve
    assert _same(weights, straight[1])


def test_a_checkpoint_that_was_cut_off_is_no_checkpoint(
    straight: tuple[Training, dict[str, Tensor]], tmp_path: Path
) -> None:
    _trained(Recipe(1, batch_size=8), checkpoints=tmp_path)
    file = tmp_path / "last.ckpt"
    file.write_bytes(file.read_bytes()[:-100])
    training, weights = _trained(RECIPE, checkpoints=tmp_path)
    assert training.curve == straight[0].curve
    assert _same(weights, straight[1])


def test_divergence() -> None:
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) after .* lower the learning rate \(it is 1e\+06\)"):
        fit(
            nn.Sequential(nn.Flatten(), nn.Linear(36, 2)),
            DATA,
            Recipe(40, batch_size=8, learning_rate=1e6, warmup=0),
            seed=0,
        )


def test_part_of_an_epoch() -> None:
    told: list[Progress] = []
    training = fit(_network(), DATA, Recipe(0.5, batch_size=8), seed=0, on_progress=told.append)
    # 25 of 50 images: 3 whole batches.
    assert [epoch for epoch, _, _ in training.curve] == [1]
    assert training.images == 24
    assert (told[-1].step, told[-1].steps, told[-1].epoch, told[-1].epochs) == (3, 3, 1, 1)


def test_an_epoch_and_a_half_is_validated_at_its_end() -> None:
    told: list[Progress] = []
    network = _network()
    training = fit(network, DATA, Recipe(1.5, batch_size=8), seed=0, on_progress=told.append)
    # 6 steps, then 3.
    assert [epoch for epoch, _, _ in training.curve] == [1, 2]
    assert training.images == 9 * 8
    assert (told[-1].step, told[-1].steps, told[-1].epochs) == (9, 9, 2)
    assert score(network, DATA.validation, DATA, get_metric("accuracy")) == training.curve[-1][2]


def test_progress_ends_whole() -> None:
    told: list[Progress] = []
    training = fit(_network(), DATA, RECIPE, seed=0, on_progress=told.append)
    assert [progress.step for progress in told] == sorted(progress.step for progress in told)
    assert (told[-1].step, told[-1].steps, told[-1].epoch, told[-1].epochs) == (18, 18, 3, 3)
    assert told[-1].accuracy == training.curve[-1][2]


def test_without_validation_there_is_no_curve() -> None:
    network = _network()
    training = fit(network, DATA, Recipe(1, batch_size=8), seed=0, validate=False)
    assert training.curve == ()
    assert not network.training


def test_predictions_follow_the_split() -> None:
    network = _network()
    network.train()
    logits, labels = predict_logits(network, DATA.validation, DATA)
    assert torch.equal(labels, DATA.validation.labels)
    images = (DATA.validation.images.float() / 255 - 0.3) / 0.15  # type: ignore[attr-defined]
    with torch.no_grad():
        assert torch.allclose(logits, network.eval()(images), atol=1e-5)


def test_accelerators() -> None:
    assert check_accelerator("cpu") == "cpu"
    assert check_accelerator("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(InputError, match="unknown accelerator 'gpu'"):
        check_accelerator("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_absent_accelerator() -> None:
    with pytest.raises(InputError, match="'cuda' is not available on this machine; use --accelerator cpu or auto"):
        check_accelerator("cuda")


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    # Labels by chance: no epoch can be better than another but by luck.
    generator = torch.Generator().manual_seed(0)
    chance = MemorySplit(_split(40, 2).images, torch.randint(0, 2, (40,), generator=generator))
    data = replace(DATA, validation=chance)
    recipe = Recipe(6, batch_size=8, learning_rate=3.0, ema_decay=0.5)
    for seed in range(20):
        network = _network()
        training = fit(network, data, recipe, seed=seed, checkpoints=tmp_path / str(seed), keep_best=True)
        best = max(accuracy for _, _, accuracy in training.curve)
        if training.curve[-1][2] < best:
            break
    assert training.curve[-1][2] < best
    assert score(network, chance, data, get_metric("accuracy")) == pytest.approx(best)


def test_the_best_epoch_is_found_again_in_a_folder_that_was_moved(tmp_path: Path) -> None:
    recipe = Recipe(6, batch_size=8, learning_rate=0.05)
    left = fit(_network(), DATA, recipe, seed=0, checkpoints=tmp_path / "left", keep_best=True, until=2)
    best = max(accuracy for _, _, accuracy in left.curve)
    (tmp_path / "left").rename(tmp_path / "moved")
    # Nothing is learned from noise at this rate: what was best by then still is.
    spoiled = replace(DATA, validation=MemorySplit(DATA.validation.images, 1 - DATA.validation.labels))
    network = _network()
    fit(network, spoiled, recipe, seed=0, checkpoints=tmp_path / "moved", keep_best=True)
    assert best > 0.5
    assert score(network, DATA.validation, DATA, get_metric("accuracy")) == pytest.approx(best)


def test_a_checkpoint_is_written_beside_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "there is no such folder"))
    _trained(RECIPE, checkpoints=tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["last.ckpt"]


def test_patience_ends_a_training_early(tmp_path: Path) -> None:
    training = fit(_network(), DATA, Recipe(50, batch_size=8, learning_rate=1e-6), seed=0, patience=2)
    accuracies = [accuracy for _, _, accuracy in training.curve]
    assert len(accuracies) == accuracies.index(max(accuracies)) + 1 + 2 < 50


def test_logs_are_written(tmp_path: Path) -> None:
    fit(_network(), DATA, Recipe(2, batch_size=8), seed=0, logs=tmp_path)
    rows = (tmp_path / "csv" / "metrics.csv").read_text().splitlines()
    assert "validation_accuracy" in rows[0]
    assert len(rows) == 3


def test_tensorboard_can_read_the_logs(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    training = fit(_network(), DATA, Recipe(2, batch_size=8), seed=0, logs=tmp_path)
    events = reader.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    logged = [scalar.value for scalar in events.Scalars("validation_accuracy")]
    assert logged == pytest.approx([accuracy for _, _, accuracy in training.curve])


def test_keep_best_needs_a_folder() -> None:
    with pytest.raises(InputError, match="keep_best needs a folder"):
        fit(_network(), DATA, Recipe(1), seed=0, keep_best=True)


@pytest.mark.parametrize("sharpness", [0.0, 0.1])
def test_mixing_unfreezing_and_sharpness_repeat_and_resume(tmp_path: Path, sharpness: float) -> None:
    recipe = Recipe(4, batch_size=8, learning_rate=0.05, mixup=0.4, cutmix=0.4, unfreeze=0.5, layer_decay=0.5)
    recipe = replace(recipe, sharpness=sharpness)
    _, whole = _trained(recipe)

    def stop(progress: Progress) -> None:
        if progress.epoch == 2:
            raise _Stop

    with pytest.raises(_Stop):
        fit(_network(), DATA, recipe, seed=0, checkpoints=tmp_path, on_progress=stop)
    _, resumed = _trained(recipe, checkpoints=tmp_path)
    assert _same(whole, resumed)


def test_training_leaves_the_global_generator_alone() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    state = torch.get_rng_state()
    fit(network, DATA, Recipe(1, batch_size=8), seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_flag_that_lightning_refuses() -> None:
    with pytest.raises(InputError, match="Lightning does not take precision='half a bit': "):
        fit(_network(), DATA, Recipe(1, batch_size=8), seed=0, flags={"precision": "half a bit"})


def test_gathered_gradients_make_fewer_steps_of_the_same_epochs(tmp_path: Path) -> None:
    seen: list[Progress] = []
    recipe = Recipe(2.5, batch_size=8)  # 6 batches an epoch, so steps of 4 and of 2 batches
    flags = {"accumulate_grad_batches": 4}

    def tell(progress: Progress) -> None:
        seen.append(progress)
        if progress.epoch == 1 and len(seen) < 5:
            raise _Stop

    whole = _network()
    training = fit(whole, DATA, recipe, seed=0, flags=flags)
    assert ([epoch for epoch, *_ in training.curve], training.images) == ([1, 2, 3], 2 * 48 + 4 * 8)
    with pytest.raises(_Stop):
        fit(_network(), DATA, recipe, seed=0, flags=flags, checkpoints=tmp_path, on_progress=tell)
    seen.extend(5 * [seen[-1]])
    resumed = _network()
    fit(resumed, DATA, recipe, seed=0, flags=flags, checkpoints=tmp_path, on_progress=tell)
    assert (seen[-1].step, seen[-1].steps, seen[-1].epoch) == (5, 5, 3)
    assert _same(whole.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("count", [0, 2.0, "two"])
def test_gradients_of_a_whole_number_of_batches_make_a_step(count: Any) -> None:
    with pytest.raises(InputError, match=f"accumulate_grad_batches is {count!r}; it must be a whole number from 1"):
        fit(_network(), DATA, Recipe(1, batch_size=8), seed=0, flags={"accumulate_grad_batches": count})


@pytest.mark.parametrize("precision", ["bf16-mixed"])
def test_lightnings_flags_are_passed_on(precision: str) -> None:
    network = _network()
    fit(network, DATA, Recipe(1, batch_size=8), seed=0, flags={"precision": precision, "limit_train_batches": 1})
    assert all(value.isfinite().all() for value in network.state_dict().values())
