from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

from archfit.data import MemorySplit, data_folder, load_data
from archfit.errors import DataError, InputError


class Pairs(Dataset[tuple[Any, int]]):
    classes = ("no", "yes")

    def __init__(self, images: list[Any]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.images[index], index % 2


def _held(split: object) -> MemorySplit:
    assert isinstance(split, MemorySplit)
    return split


def test_digits() -> None:
    data = load_data("digits")
    assert len(data.train) + len(data.validation) + len(data.test or ()) == 1797
    assert (data.channels, data.image_size, data.flip) == (1, 8, False)
    # Levels 0..16 over 0..255: the darkest is 0, the brightest 255.
    assert int(_held(data.train).images.max()) == 255
    assert load_data("digits", image_size=16).image_size == 16


def test_seed_and_shares() -> None:
    first, again, other = (_held(load_data("digits", seed=seed).train).images for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)
    assert len(load_data("digits", validation=0.3).validation) == pytest.approx(0.3 * 1797, abs=5)
    with pytest.raises(InputError, match=r"validation is 0\.9"):
        load_data("digits", validation=0.9)
    with pytest.raises(InputError, match="seed is -1"):
        load_data("digits", seed=-1)
    with pytest.raises(InputError, match="image_size is 0"):
        load_data("digits", image_size=0)


def test_train_images_are_balanced() -> None:
    data = load_data("digits", train_images=105)
    # 105 over 10 classes: 11 of each of the first five, 10 of the others.
    assert torch.bincount(data.train.labels).tolist() == [11] * 5 + [10] * 5
    with pytest.raises(InputError, match="2000 training images"):
        load_data("digits", train_images=2000)
    whole = load_data("digits")
    part = load_data(whole, train_images=105)
    assert torch.equal(_held(part.train).images, _held(data.train).images)
    assert (part.mean, part.std, part.notes) == (data.mean, data.std, data.notes)
    assert load_data(whole) is whole


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'fashion-mnist'"):
        load_data("fashionmnist")
    with pytest.raises(DataError, match="no folder or file"):
        load_data(tmp_path / "absent")
    (tmp_path / "table.csv").write_text("a,b")
    with pytest.raises(DataError, match=r"table\.csv is no dataset"):
        load_data(str(tmp_path / "table.csv"))


def test_a_published_dataset_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar10 is not there.*put cifar-10-python.tar.gz") as raised:
        load_data("cifar10", data_dir=tmp_path, download=False)
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_damaged_published_dataset(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"\0\0\x08\x03")
    with pytest.raises(DataError, match="mnist is not there, or not whole"):
        load_data("mnist", data_dir=tmp_path, download=False)


def test_npz_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = np.zeros((40, 28, 28), np.uint8), np.arange(40) % 10
    np.savez(tmp_path / "fashion-mnist.npz", x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    monkeypatch.setenv("ARCHFIT_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    data = load_data("fashion-mnist", download=False)
    assert (data.name, data.classes[9], data.flip) == ("fashion-mnist", "Ankle boot", True)


def test_real_mnist_statistics(real_data: Path) -> None:
    try:
        data = load_data("mnist", data_dir=real_data, download=False)
    except DataError as error:
        pytest.skip(str(error))
    # 0.1307 and 0.3081 are the figures commonly given for the 60,000 training images.
    assert data.mean == (pytest.approx(0.1307, abs=1e-3),)
    assert data.std == (pytest.approx(0.3081, abs=1e-3),)
    assert len(data.test or ()) == 10_000


def _same_image() -> list[Any]:
    array = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    tensor = torch.from_numpy(array.transpose(2, 0, 1).copy())
    return [array, tensor, tensor / 255, array / 255.0, Image.fromarray(array)]


def test_every_kind_of_image_is_the_same() -> None:
    data = load_data((Pairs(_same_image() * 4), Pairs(_same_image() * 2)))
    assert data.classes == ("no", "yes")
    images = _held(data.test).images
    assert torch.equal(images, images[:1].expand_as(images))
    assert torch.equal(images[0], _same_image()[1])


def test_grey_among_colour() -> None:
    grey = np.full((4, 4), 7, np.uint8)
    data = load_data(Pairs([grey, np.zeros((4, 4, 3), np.uint8)] * 10))
    assert data.channels == 3
    assert _held(data.train).images.unique().tolist() == [0, 7]


def test_three_datasets_and_tensors() -> None:
    train, validation, test = (
        TensorDataset(torch.zeros(count, 1, 4, 4), torch.arange(count) % 3) for count in (9, 6, 3)
    )
    data = load_data((train, validation, test))
    assert (len(data.train), len(data.validation), len(data.test or ())) == (9, 6, 3)
    assert data.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (3, InputError, "cannot read a dataset from int"),
        (iter([]), InputError, "cannot read a dataset from list_iterator"),
        ((), InputError, "0 datasets given"),
        (Pairs([]), DataError, "train dataset is empty"),
        (Pairs(["a.png"] * 8), DataError, "image 0 of train is a str"),
        (Pairs([torch.randn(3, 4, 4)] * 8), DataError, "scale them to 0..1"),
        (Pairs([np.zeros((4, 4), np.uint8), np.zeros((5, 5), np.uint8)] * 4), DataError, "image 1 .* give image_size"),
        (TensorDataset(torch.zeros(8, 1, 4, 4)), DataError, "must be a pair"),
        (TensorDataset(torch.zeros(8, 1, 4, 4), torch.zeros(8)), DataError, "labels of train .* integers"),
        (TensorDataset(torch.zeros(8, 1, 4, 4), torch.zeros(8, 3)), DataError, r"label 0 of train has shape \(3,\)"),
        (([(np.zeros((4, 4), np.uint8), [0, 1])] * 8,), DataError, "label 0 of train is a list; give one integer"),
    ],
)
def test_objects_that_are_refused(source: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_data(source)
