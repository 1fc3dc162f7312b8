"""Datasets from class folders: `root/CLASS/*.png`, or `root/{train,val,test}/CLASS/*.png`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from archfit.data.assemble import Source
from archfit.data.dataset import MemorySplit, Split
from archfit.data.files import DECODE_ERRORS, SUFFIXES, FileSplit, decode, is_grey
from archfit.errors import DataError

MEMORY_BYTES = 2 * 10**9
"""Decoded images that take no more than this are kept in memory.

Every image is decoded once in any case, to find the broken ones, and an epoch that decodes again is many times slower
than one from memory. The bound leaves room on a computer with 8 GB.
"""

_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_SAMPLE = 64
_KEPT_SIZE = 64
_DEFAULT_SIZE = 96
_REPORT_EVERY = 1000
_NAMED = 5


@dataclass(frozen=True)
class _Files:
    """The files of one split.

    Attributes:
        classes: Names of all class folders, empty ones too.
        paths: One per image.
        labels: The class of each.
    """

    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[str, ...]


def read_folder(
    root: Path,
    image_size: int | None,
    *,
    max_corrupt: float = 0.05,
    num_workers: int = 0,
    memory_bytes: int = MEMORY_BYTES,
    progress: Callable[[str], None] | None = None,
) -> Source:
    """Reads class folders, every image once.

    Classes are sorted by name; images are searched in all depths below a class, hidden files left out.

    Args:
        root: Holds a folder per class, or `train` (`training`) and perhaps `val` (`valid`, `validation`, `dev`) and
            `test` (`testing`) with those.
        image_size: None keeps the size that all sampled images share if it is square and at most 64, else 96.
        max_corrupt: Largest share of unreadable images that is skipped.
        num_workers: Processes that decode where the images are not kept in memory.
        memory_bytes: Largest size of the decoded images to keep them in memory.
        progress: Called with a line every 1000 images.

    Raises:
        DataError: There are no class folders or images, too many are unreadable, or a class of validation or test is
            not in train.
    """
    found, notes = _find_splits(root)
    classes = tuple(sorted(found["train"].classes))
    for name, files in found.items():
        if unseen := sorted(set(files.labels) - set(classes)):
            raise DataError(f"{root}: class {unseen[0]!r} is in {name} but not in train; add images or remove it")
    everything = [path for files in found.values() for path in files.paths]
    size, channels, note = _choose(everything, image_size)
    notes.append(note)
    in_memory = len(everything) * channels * size * size <= memory_bytes

    splits: dict[str, Split] = {}
    broken: list[Path] = []
    done = 0
    for name, files in found.items():
        labels = torch.tensor([classes.index(label) for label in files.labels], dtype=torch.int64)
        images = torch.empty(len(files.paths) if in_memory else 1, channels, size, size, dtype=torch.uint8)
        good = []
        for index, path in enumerate(files.paths):
            try:
                images[index if in_memory else 0] = decode(path, size, channels)
                good.append(index)
            except DECODE_ERRORS:
                broken.append(path)
            done += 1
            if progress and done % _REPORT_EVERY == 0:
                progress(f"reading images: {done} of {len(everything)}")
        splits[name] = _split(files, labels, images, good, in_memory, num_workers)
    notes.extend(_broken_notes(root, broken, len(everything), max_corrupt))
    if not in_memory:
        notes.append(f"{len(everything)} images of {size} pixels exceed memory and are decoded in each epoch")
    return Source(
        root.resolve().name.encode(errors="backslashreplace").decode(),
        classes,
        channels,
        size,
        splits["train"],
        splits.get("validation"),
        splits.get("test"),
        notes=tuple(notes),
    )


def _split(files: _Files, labels: Tensor, images: Tensor, good: list[int], in_memory: bool, num_workers: int) -> Split:
    whole: Split
    if in_memory:
        whole = MemorySplit(images, labels)
    else:
        whole = FileSplit(files.paths, labels, images.shape[2], images.shape[1], num_workers)
    return whole if len(good) == len(labels) else whole.subset(torch.tensor(good, dtype=torch.int64))


def _hidden(name: str) -> bool:
    # macOS adds the second to archives.
    return name.startswith(".") or name == "__MACOSX"


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _hidden(path.name))


def _images(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(_hidden(part) for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def _find_files(folder: Path) -> _Files:
    children = _folders(folder)
    found = [(path, child.name) for child in children for path in _images(child)]
    return _Files(
        tuple(child.name for child in children), tuple(path for path, _ in found), tuple(label for _, label in found)
    )


def _find_splits(root: Path) -> tuple[dict[str, _Files], list[str]]:
    """The files of train and, where there, of validation and test; and what to note about them."""
    children = {child.name.lower(): child for child in _folders(root)}
    called = set(children)
    found: dict[str, _Files] = {}
    notes: list[str] = []
    for split, names in _NAMES.items():
        for name in names:
            files = _find_files(children[name]) if name in children else None
            if files is None or not files.paths:
                continue
            if split in found:
                raise DataError(f"{root} has more than one folder for {split}, as {children[name].name!r}; keep one")
            found[split] = files
            del children[name]
    # A class may be called "train", but then it holds images and not folders of them, and others are called otherwise.
    if "train" not in found:
        if len(called) > 1 and called.issubset(name for names in _NAMES.values() for name in names):
            raise DataError(
                f"the folders of {root} are called {' and '.join(sorted(called))}, as splits are, but there is none "
                "for training with a folder for each class; sort its images into class folders"
            )
        return {"train": _check_found(root, _find_files(root))}, notes
    if children:
        notes.append(f"left out, as they hold no class folders of a split: {', '.join(sorted(children))}")
    return found, notes


def _check_found(root: Path, files: _Files) -> _Files:
    if files.paths:
        return files
    kinds = ", ".join(sorted(SUFFIXES))
    loose = sum(path.suffix.lower() in SUFFIXES for path in root.iterdir())
    problem = f"{loose} images without class folders" if loose else "no images"
    raise DataError(f"{root} holds {problem}; it needs a folder for each class with its images ({kinds})")


def _choose(paths: list[Path], image_size: int | None) -> tuple[int, int, str]:
    """Image size, channels and the note that says why, from up to 64 images spread over all."""
    count = min(len(paths), _SAMPLE)
    sizes: Counter[tuple[int, int]] = Counter()
    grey = True
    for path in (paths[position * len(paths) // count] for position in range(count)):
        try:
            with Image.open(path) as image:
                sizes[image.size] += 1
                grey = grey and is_grey(image)
        except DECODE_ERRORS:
            continue  # Counted and named when all images are read.
    colour = "grey" if grey and sizes else "RGB"
    if image_size is not None:
        size, why = image_size, "as given"
    elif len(sizes) == 1 and (only := next(iter(sizes)))[0] == only[1] <= _KEPT_SIZE:
        size, why = only[0], "the size of the images"
    else:
        size, why = _DEFAULT_SIZE, "the default for images that are larger than 64 pixels or differ in size"
    return size, 1 if colour == "grey" else 3, f"images are read as {colour}, {size}x{size} pixels ({why})"


def _broken_notes(root: Path, broken: list[Path], count: int, max_corrupt: float) -> list[str]:
    if not broken:
        return []
    named = ", ".join(str(path.relative_to(root)) for path in broken[:_NAMED])
    named += ", ..." if len(broken) > _NAMED else ""
    if len(broken) > max_corrupt * count:
        raise DataError(
            f"{root}: {len(broken)} of {count} images cannot be read ({named}), more than the {max_corrupt:.0%} "
            "that are skipped; repair or remove them, or skip more (--max-corrupt)"
        )
    return [f"skipped {len(broken)} of {count} images that cannot be read: {named}"]
