from __future__ import annotations

import pytest
import torch

from archfit.data import Augmentation, cutout, random_affine, random_crop, random_flip
from archfit.errors import InputError


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(count: int, channels: int = 3, size: int = 6) -> torch.Tensor:
    return torch.randint(1, 256, (count, channels, size, size), dtype=torch.uint8, generator=_generator(9))


def _windows(image: torch.Tensor, padding: int) -> list[torch.Tensor]:
    """All crops there can be, cut out one by one."""
    size = image.shape[1]
    padded = torch.zeros(image.shape[0], size + 2 * padding, size + 2 * padding, dtype=image.dtype)
    padded[:, padding : padding + size, padding : padding + size] = image
    steps = range(2 * padding + 1)
    return [padded[:, y : y + size, x : x + size] for y in steps for x in steps]


def test_every_crop_is_a_window_and_all_windows_come() -> None:
    image = _images(1)
    windows = _windows(image[0], 1)
    crops = random_crop(image.expand(400, -1, -1, -1), 1, _generator())
    found = {next(i for i, window in enumerate(windows) if torch.equal(window, crop)) for crop in crops}
    # 9 windows, 400 draws: one is missed with a probability below 9 * (8/9)^400 = 3e-20.
    assert found == set(range(9))


def test_crop_by_reflection() -> None:
    # A row 1 2 3 reflected by 2 on each side is 3 2 1 2 3 2 1, so its windows are 321, 212, 123, 232, 321.
    images = torch.tensor([[1, 2, 3]] * 3, dtype=torch.uint8).expand(50, 1, 3, 3)
    crops = random_crop(images, 2, _generator(), mode="reflect")
    assert {tuple(crop[0, 0].tolist()) for crop in crops} == {(3, 2, 1), (2, 1, 2), (1, 2, 3), (2, 3, 2)}


def test_about_half_are_mirrored() -> None:
    images = _images(1000)
    flipped = random_flip(images, _generator())
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert bool((same | mirrored).all())
    # Binomial(1000, 1/2): four deviations of 15.8 are 63.
    assert 437 <= int(mirrored.sum()) <= 563


def test_cutout_hides_one_square() -> None:
    images = _images(200, channels=1)
    hidden = (cutout(images, 3, _generator()) == 0)[:, 0]
    rows, columns = hidden.any(2).sum(1), hidden.any(1).sum(1)
    assert torch.equal(hidden.sum((1, 2)), rows * columns)
    # Centred on a pixel of 6 with one to each side: 2 wide on the borders, else 3.
    assert set(rows.tolist()) == set(columns.tolist()) == {2, 3}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_type_shape_and_input_are_kept(dtype: torch.dtype) -> None:
    images = _images(16).to(dtype)
    before = images.clone()
    result = Augmentation(2, flip=True, cutout=2, rotation=10, zoom=0.1).apply(images, _generator())
    assert (result.dtype, result.shape) == (dtype, images.shape)
    assert torch.equal(images, before)
    assert not torch.equal(result, images)


def test_each_image_is_turned_and_scaled_on_its_own_about_its_centre() -> None:
    images = torch.zeros(200, 1, 31, 31, dtype=torch.uint8)
    images[:, :, 15, 25] = 255  # ten pixels to the right of the centre
    moved = random_affine(images, 30.0, 0.2, _generator())[:, 0].float()
    total, place = moved.sum((1, 2)), torch.arange(31.0) - 15
    x, y = (moved.sum(1) * place).sum(1) / total, (moved.sum(2) * place).sum(1) / total
    distance, angle = torch.hypot(x, y), torch.rad2deg(torch.atan2(y, x))
    # Drawn evenly from 8 to 12 pixels, within bilinear rounding, and from -30 to 30 degrees.
    assert (8 - 0.5 < float(distance.min()) < 8.5, 11.5 < float(distance.max()) < 12.5) == (True, True)
    assert (-31.5 < float(angle.min()) < -27, 27 < float(angle.max()) < 31.5) == (True, True)
    assert abs(float(torch.corrcoef(torch.stack([distance, angle]))[0, 1])) < 0.2


def test_an_image_that_is_not_square_is_turned_without_shear() -> None:
    images = torch.zeros(50, 1, 21, 41)
    images[:, :, 10, 28] = 1.0  # eight pixels to the right of the centre
    moved = random_affine(images, 45.0, 0.0, _generator())[:, 0]
    total = moved.sum((1, 2))
    x = (moved.sum(1) * (torch.arange(41.0) - 20)).sum(1) / total
    y = (moved.sum(2) * (torch.arange(21.0) - 10)).sum(1) / total
    torch.testing.assert_close(torch.hypot(x, y), torch.full((50,), 8.0), atol=0.3, rtol=0)


@pytest.mark.parametrize(("name", "value", "high"), [("rotation", -1.0, "180"), ("zoom", 1.0, "0.9")])
def test_angles_and_shares_are_in_range(name: str, value: float, high: str) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}; it must be from 0 to {high}"):
        Augmentation(**{name: value})


@pytest.mark.parametrize("name", ["crop_padding", "cutout"])
def test_pixels_are_not_negative(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is -1; it must be 0 or more pixels"):
        Augmentation(**{name: -1})


def test_the_generator_decides() -> None:
    images, augmentation = _images(16), Augmentation(2, flip=True, cutout=2, rotation=10, zoom=0.1)
    first, again, other = (augmentation.apply(images, _generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_batch_has_each_image_as_often_as_wanted_varied_anew() -> None:
    images, labels = _images(16), torch.arange(16)
    augmentation = Augmentation(2, repeats=3)
    found, theirs = augmentation.batch(images, labels, _generator())
    assert (found.dtype, found.shape) == (images.dtype, (48, *images.shape[1:]))
    assert theirs.tolist() == 3 * list(range(16))
    generator = _generator()
    for copy in found.split(16):
        assert torch.equal(copy, augmentation.apply(images, generator))
    assert not torch.equal(found[:16], found[16:32])


@pytest.mark.parametrize(
    ("repeats", "message"),
    [
        (0, "repeats is 0; it must be a whole number from 1 to 64"),
        (1.5, "repeats is 1.5; it must be a whole number"),
        (65, "repeats is 65"),
        (2, "repeats is 2, but nothing varies the copies; add one of crop_padding"),
    ],
)
def test_repeats_that_make_no_sense(repeats: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation(repeats=repeats)
