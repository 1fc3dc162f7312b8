from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archfit.data import ImageData, MemorySplit, load_data
from archfit.errors import DataError


def _arrays(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8),
        "y_train": np.arange(40) % 4,
        "x_test": rng.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8),
        "y_test": np.arange(8) % 4,
    }
    return {name: value for name, value in {**arrays, **changes}.items() if value is not None}


def _load(folder: Path, image_size: int | None = None, **changes: Any) -> ImageData:
    path = folder / "photos.npz"
    np.savez(path, **_arrays(**changes))
    return load_data(path, image_size=image_size)


def test_colour_images(tmp_path: Path) -> None:
    data = _load(tmp_path, classes=np.array(["a", "b", "c", "d"]))
    assert (data.name, data.classes, data.channels, data.image_size) == ("photos", ("a", "b", "c", "d"), 3, 8)
    # 10 % of the 10 images of each class are one each.
    assert (len(data.train), len(data.validation), len(data.test or ())) == (36, 4, 8)
    assert isinstance(data.test, MemorySplit)
    assert np.array_equal(data.test.images.permute(0, 2, 3, 1).numpy(), _arrays()["x_test"])


def test_grey_floats_and_column_labels(tmp_path: Path) -> None:
    x_test = np.full((8, 8, 8), 0.2)
    data = _load(
        tmp_path, x_train=np.zeros((40, 8, 8, 1), np.float32), y_train=_arrays()["y_train"][:, None], x_test=x_test
    )
    assert data.channels == 1
    assert isinstance(data.test, MemorySplit)
    # 0.2 * 255 = 51.
    assert data.test.images.unique().tolist() == [51]


def test_resized_and_cut_square(tmp_path: Path) -> None:
    # The left and right quarters are black, the middle white: the centre square of 8 x 16 is all white.
    wide = np.zeros((40, 8, 16), np.uint8)
    wide[:, :, 4:12] = 255
    data = _load(tmp_path, image_size=8, x_train=wide, x_test=wide[:8])
    assert data.image_size == 8
    assert data.mean == (1.0,)


_NAN = np.zeros((40, 8, 8), np.float32)
_NAN[3, 2, 1] = np.nan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": None, "x_test": None}, "lacks y_train, x_test"),
        ({"y_train": np.zeros(39, np.int64)}, r"y_train .*\(39,\) for 40 images"),
        ({"y_train": np.arange(40) % 4 + 0.0}, "y_train .* integers"),
        ({"y_train": np.arange(40) % 4 - 1}, "label -1"),
        ({"y_train": np.arange(40) % 3}, "label 3 of test is not in train"),
        ({"y_train": np.arange(40) % 3 * 10**9}, "has the label 2000000000, but 40 training images"),
        ({"classes": np.array(["a", "b", "crane", "crane"])}, "two classes are called 'crane'"),
        ({"y_train": np.arange(40) % 4 * 2}, "class '1' .* no training images but is in test"),
        ({"y_train": np.zeros(40, np.int64), "y_test": np.zeros(8, np.int64)}, "one class only"),
        ({"classes": np.array(["a", "b", "c"])}, "label 3 of train"),
        ({"classes": np.array(["a", "b", "c", "d", "e"])}, "class 'e' .* no training images"),
        ({"y_train": np.array([0] * 20 + [1] * 10 + [2] * 9 + [3])}, "class '3' has 1 image; at least 2"),
        ({"x_train": _NAN}, "NaN"),
        ({"x_train": np.full((40, 8, 8), 2.0)}, "floats from 2 to 2; scale"),
        ({"x_train": np.zeros((40, 8, 8), np.int64)}, "type int64; store uint8"),
        ({"x_train": np.zeros((40, 3, 8, 8), np.uint8)}, "move the channels last"),
        ({"x_train": np.zeros((40, 8), np.uint8)}, r"shape \(40, 8\)"),
        ({"x_train": np.zeros((0, 8, 8, 3), np.uint8), "y_train": np.zeros(0, np.int64)}, "x_train .* empty"),
        ({"x_train": np.zeros((40, 8, 9, 3), np.uint8)}, "8x9; give image_size"),
        ({"x_train": np.zeros((40, 9, 9, 3), np.uint8)}, "x_train and x_test differ"),
        ({"x_train": np.array([{}] * 40, dtype=object)}, "cannot be read as .npz"),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        _load(tmp_path, **changes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "empty file"), (b"not a zip", "is no .npz file"), (b"PK\3\4x", "cannot be read")]
)
def test_broken_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_data(path)


def test_a_damaged_array_is_found(tmp_path: Path) -> None:
    path = tmp_path / "damaged.npz"
    np.savez_compressed(path, **_arrays())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        load_data(path)


def test_a_single_array_is_not_enough(tmp_path: Path) -> None:
    path = tmp_path / "single.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="single array"):
        load_data(path)
