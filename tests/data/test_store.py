from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from archfit.data import FileSplit, MemorySplit, load_arrays, load_data, save_arrays
from archfit.data.assemble import assemble
from archfit.data.folder import read_folder
from archfit.errors import DataError, RunError
from archfit.testing.datasets import check_dataset


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    data = load_data("digits", train_images=50)
    save_arrays(data, tmp_path / "run" / "data")
    again = load_arrays(tmp_path / "run" / "data")
    check_dataset(again)
    for field in ("name", "classes", "channels", "image_size", "mean", "std", "flip", "notes"):
        assert getattr(again, field) == getattr(data, field), field
    for name in ("train", "validation", "test"):
        saved, read = getattr(data, name), getattr(again, name)
        assert isinstance(read, MemorySplit)
        assert torch.equal(saved.images, read.images)
        assert torch.equal(saved.labels, read.labels)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["data"]


def test_the_withheld_test_is_not_written(tmp_path: Path) -> None:
    save_arrays(load_data("digits").without_test(), tmp_path / "data")
    assert load_arrays(tmp_path / "data").test is None
    assert not list((tmp_path / "data").glob("test*"))


def test_files_are_kept_as_paths(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(4):
            Image.effect_noise((6, 6), 50 + i).save(tmp_path / "images" / label / f"{i}.png")
    source = read_folder(tmp_path / "images", None, memory_bytes=0)
    data = assemble(source, train_images=None, seed=0, validation=None)
    save_arrays(data, tmp_path / "data")
    again = load_arrays(tmp_path / "data")
    assert isinstance(again.train, FileSplit)
    check_dataset(again)


def test_saving_again_replaces_only_a_dataset(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    save_arrays(load_data("digits", train_images=50), folder)
    save_arrays(load_data("digits", train_images=20), folder)
    assert len(load_arrays(folder).train) == 20
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(RunError, match="no saved dataset"):
        save_arrays(load_data("digits"), tmp_path / "letters")
    assert (tmp_path / "letters" / "a.txt").read_text() == "dear"


def test_a_folder_that_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no whole saved dataset"):
        load_arrays(tmp_path)
    save_arrays(load_data("digits"), tmp_path / "data")
    (tmp_path / "data" / "train-images.npy").write_bytes(b"")
    with pytest.raises(DataError, match="no whole saved dataset"):
        load_arrays(tmp_path / "data")
