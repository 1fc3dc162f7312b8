from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from archfit.data import ImageData, MemorySplit
from archfit.errors import InputError
from archfit.training import Recipe, final_recipe, proxy_recipe, transfer_recipe
from archfit.training.recipes import augmentation_for, batch_size_for


def _data(images: int, *, flip: bool = True) -> ImageData:
    split = MemorySplit(torch.zeros(images, 1, 8, 8, dtype=torch.uint8), torch.arange(images) % 2)
    return ImageData("toy", ("a", "b"), 1, 8, split, split, None, (0.5,), (0.5,), flip=flip)


@pytest.mark.parametrize("epochs", [0, -1, float("nan"), float("inf")])
def test_epochs_are_positive(epochs: float) -> None:
    with pytest.raises(InputError, match=r"epochs is .*above zero"):
        Recipe(epochs)


def test_batch_size_is_positive() -> None:
    with pytest.raises(InputError, match="batch_size is 0; it must be at least 1"):
        Recipe(1, batch_size=0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("optimiser", "adam", "unknown optimiser 'adam'; did you mean 'adamw'"),
        ("schedule", "cosin", "unknown schedule 'cosin'; did you mean 'cosine'"),
        ("learning_rate", 0.0, "learning_rate is 0.0; it must be a positive number"),
        ("ema_decay", 1.0, "ema_decay is 1.0; it must be from 0 to below 1"),
        ("label_smoothing", 1.5, "label_smoothing is 1.5; it must be from 0 to 0.99"),
        ("layer_decay", 2.0, "layer_decay is 2.0; it must be from"),
        ("unfreeze", 1.0, "unfreeze is 1.0; it must be from 0 to 0.9"),
        ("restarts", 1.5, "restarts is 1.5; it must be a whole number"),
        ("restarts", 11, "restarts is 11; it must be from 0 to 10"),
        ("drop_path", 1.0, "drop_path is 1.0; it must be from 0 to 0.9"),
        ("auxiliary", -0.4, "auxiliary is -0.4; it must be from 0"),
        ("mixup", -1.0, "mixup is -1.0; it must be from 0"),
    ],
)
def test_fields_are_checked(field: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(Recipe(1), **{field: value})  # type: ignore[arg-type]


def test_only_a_cosine_restarts() -> None:
    with pytest.raises(InputError, match="restarts is 2, the schedule one-cycle; only a cosine restarts"):
        Recipe(1, schedule="one-cycle", restarts=2)


@pytest.mark.parametrize(("epochs", "restarts"), [(5, 0), (29, 0), (30, 1), (69, 1), (70, 2), (310, 4), (630, 5)])
def test_cells_are_trained_as_by_enas(epochs: int, restarts: int) -> None:
    recipe = final_recipe(_data(64), epochs, cells=True)
    assert (recipe.restarts, recipe.auxiliary) == (restarts, 0.4)
    assert 0 < recipe.drop_path <= 0.4
    assert (recipe.drop_path == 0.4) == (epochs >= 600)
    plain = final_recipe(_data(64), epochs)
    assert (plain.restarts, plain.auxiliary, plain.drop_path) == (0, 0.0, 0.0)


def test_transfer_spares_the_pretrained_layers() -> None:
    recipe = transfer_recipe(_data(640), 5)
    assert (recipe.optimiser, recipe.whiten) == ("adamw", False)
    assert recipe.layer_decay < 1
    assert recipe.unfreeze > 0


def test_images_seen() -> None:
    assert Recipe(2).images(100) == 200
    assert Recipe(0.25).images(100) == 25
    assert Recipe(0.001).images(100) == 1  # at least one


def test_batch_size_grows_with_the_training() -> None:
    sizes = [batch_size_for(images) for images in (2_000_000, 1_999_999, 4_000, 3_999, 1)]
    assert sizes == [128, 64, 64, 32, 32]


def test_rates_from_scratch_fall_in_the_long_run() -> None:
    short, longer = (proxy_recipe(_data(6_400), epochs) for epochs in (5, 125))
    assert (short.learning_rate, short.filter_learning_rate) == (0.07, 0.08)  # 32,000 images, below 50,000
    # 6,400 x 125 images are 16 times 50,000, whose fourth root is 2.
    assert longer.learning_rate == pytest.approx(0.035)
    assert longer.filter_learning_rate == pytest.approx(0.04)


def test_an_image_seen_more_often_is_varied_more() -> None:
    data = replace(_data(64), image_size=32)
    found = [augmentation_for(data, epochs) for epochs in (19, 20, 24, 32)]
    # 32 / 16 = 2, 32 / 8 = 4, 32 / 4 = 8
    assert [(a.crop_padding, a.flip, a.cutout) for a in found] == [
        (0, True, 0),
        (2, True, 0),
        (4, True, 0),
        (4, True, 8),
    ]


@pytest.mark.parametrize(
    ("flip", "epochs", "size", "expected"),
    [
        (False, 20, 24, (10.0, 0.1)),
        (True, 20, 24, (0.0, 0.0)),
        (False, 19, 24, (0.0, 0.0)),
        (False, 20, 23, (0.0, 0.0)),
    ],
)
def test_digits_are_turned_and_scaled_where_there_are_pixels_and_epochs_enough(
    flip: bool, epochs: float, size: int, expected: tuple[float, float]
) -> None:
    found = augmentation_for(replace(_data(64, flip=flip), image_size=size), epochs)
    assert (found.rotation, found.zoom) == expected


@pytest.mark.parametrize(("flip", "size", "cutout"), [(False, 28, 0), (True, 28, 7), (False, 8, 2)])
def test_nothing_is_cut_out_of_what_is_turned(flip: bool, size: int, cutout: int) -> None:
    assert augmentation_for(replace(_data(64, flip=flip), image_size=size), 32).cutout == cutout


@pytest.mark.parametrize("make", [proxy_recipe, final_recipe])
def test_recipes_follow_the_data(make: type[Recipe]) -> None:
    recipe = make(_data(640, flip=False), 3)
    # 32 images a step are half of 64: the rates are 0.07 and 0.08 over the root of 2.
    assert (recipe.epochs, recipe.batch_size, recipe.optimiser, recipe.whiten) == (3, 32, "muon", True)
    assert (recipe.learning_rate, recipe.filter_learning_rate) == pytest.approx((0.0495, 0.0566), abs=1e-4)
    assert recipe.augmentation is not None
    assert (recipe.augmentation.crop_padding, recipe.augmentation.flip) == (0, False)


def test_only_the_full_training_smooths_and_averages() -> None:
    proxy, final = proxy_recipe(_data(64), 20), final_recipe(_data(64), 20)
    assert (proxy.label_smoothing, proxy.ema_decay) == (0, None)
    assert final.label_smoothing > 0
    assert final.ema_decay is not None
