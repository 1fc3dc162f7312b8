"""A dataset on disk as arrays, so that other processes and later runs read the same splits."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from archfit.data.dataset import ImageData, MemorySplit, Split
from archfit.data.files import FileSplit
from archfit.errors import DataError, RunError

_META = "data.json"


def save_arrays(data: ImageData, folder: Path) -> None:
    """Writes all splits and what is said of them; `folder` appears whole or not at all.

    Images that are decoded from files are kept as paths, all others as one `.npy` per split. A dataset that was
    saved there before is replaced.

    Raises:
        RunError: `folder` holds something else, or cannot be written.
    """
    if folder.exists() and not (folder / _META).is_file():
        raise RunError(f"{folder} exists and is no saved dataset; choose another folder")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        splits = {"train": data.train, "validation": data.validation, "test": data.test}
        meta = {
            "name": data.name,
            "classes": data.classes,
            "channels": data.channels,
            "image_size": data.image_size,
            "mean": data.mean,
            "std": data.std,
            "flip": data.flip,
            "notes": data.notes,
            "splits": {name: _save_split(split, partial, name) for name, split in splits.items() if split is not None},
        }
        (partial / _META).write_text(json.dumps(meta, indent=2), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except OSError as error:
        raise RunError(
            f"cannot write the dataset to {folder} ({error}); free space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_arrays(folder: Path) -> ImageData:
    """Inverse of `save_arrays`. Images are mapped into memory: processes that read the same folder share them.

    Raises:
        DataError: The folder does not hold a saved dataset.
    """
    try:
        meta = json.loads((folder / _META).read_text(encoding="utf-8"))
        splits = {name: _load_split(value, folder, name) for name, value in meta.pop("splits").items()}
        return ImageData(
            name=meta["name"],
            classes=tuple(meta["classes"]),
            channels=meta["channels"],
            image_size=meta["image_size"],
            train=splits["train"],
            validation=splits["validation"],
            test=splits.get("test"),
            mean=tuple(meta["mean"]),
            std=tuple(meta["std"]),
            flip=meta["flip"],
            notes=tuple(meta["notes"]),
        )
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"{folder} holds no whole saved dataset ({error}); save it again") from error


def _save_split(split: Split, folder: Path, name: str) -> dict[str, Any]:
    np.save(folder / f"{name}-labels.npy", split.labels.numpy())
    if isinstance(split, FileSplit):
        return {
            "paths": [str(path.resolve()) for path in split.paths],
            "image_size": split.image_size,
            "channels": split.channels,
            "num_workers": split.num_workers,
        }
    # Other kinds of split are read once and kept as they were read.
    images = split.images if isinstance(split, MemorySplit) else torch.cat([batch for batch, _ in split.raw(512)])
    np.save(folder / f"{name}-images.npy", images.numpy())
    return {}


def _load_split(value: dict[str, Any], folder: Path, name: str) -> Split:
    labels = torch.from_numpy(np.load(folder / f"{name}-labels.npy", allow_pickle=False))
    if "paths" in value:
        paths = tuple(Path(path) for path in value.pop("paths"))
        return FileSplit(paths, labels, **value)
    # Copy on write: torch warns of arrays that cannot be written to, and none of these pages ever is.
    images = np.load(folder / f"{name}-images.npy", mmap_mode="c", allow_pickle=False)
    return MemorySplit(torch.from_numpy(images), labels)
