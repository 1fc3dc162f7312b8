"""Datasets from a `.npz` file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from archfit.data.arrays import images_to_uint8, labels_to_int64, make_square, numbered_classes
from archfit.data.assemble import Source
from archfit.data.dataset import MemorySplit
from archfit.errors import DataError

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_ARRAY_MAGIC = b"\x93N"
_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


def read_npz(path: Path, image_size: int | None) -> Source:
    """Reads `x_train`, `y_train`, `x_test`, `y_test` and, if there, `classes` (their names, by label).

    Raises:
        DataError: The file cannot be read, or an array is missing or not as `images_to_uint8` and `labels_to_int64`
            want it.
    """
    arrays = _read(path)
    classes = arrays.pop("classes", None)
    splits = {}
    for part in ("train", "test"):
        what = f"x_{part} of {path.name}"
        images = images_to_uint8(what, arrays.pop(f"x_{part}"))
        labels = labels_to_int64(f"y_{part} of {path.name}", arrays.pop(f"y_{part}"), len(images))
        splits[part] = MemorySplit(make_square(what, images, image_size), labels)
    train, test = splits["train"], splits["test"]
    if train.images.shape[1:] != test.images.shape[1:]:
        shapes = f"{tuple(train.images.shape[1:])} and {tuple(test.images.shape[1:])}"
        raise DataError(f"{path.name}: images of x_train and x_test differ, {shapes} (C, H, W); make them alike")
    if classes is None:
        names = numbered_classes(path.name, train.labels)
    elif classes.ndim != 1:
        raise DataError(f"classes of {path.name} has shape {classes.shape}; store one name per label")
    else:
        names = tuple(str(name) for name in classes.tolist())
    channels, size = train.images.shape[1:3]
    return Source(path.stem, names, channels, size, train, test=test)


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.stat().st_size == 0:
        raise DataError(f"{path} is an empty file; write it again with numpy.savez")
    try:
        # Opened here, because numpy leaves the file open when it turns out not to be a whole zip.
        with path.open("rb") as opened:
            if opened.read(2) not in (b"PK", _ARRAY_MAGIC):
                raise DataError(f"{path} is no .npz file; write it with numpy.savez(path, x_train=..., ...)")
            opened.seek(0)
            file = np.load(opened, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds a single array; write it with numpy.savez(path, x_train=..., ...)")
            if missing := [name for name in _ARRAYS if name not in file.files]:
                raise DataError(f"{path} lacks {', '.join(missing)}; it needs {', '.join(_ARRAYS)}")
            return {name: file[name] for name in (*_ARRAYS, "classes") if name in file.files}
    except _UNREADABLE as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read as .npz ({reason}); write it again with numpy.savez") from error
