from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from archfit.data import FileSplit, MemorySplit, load_data
from archfit.data.assemble import assemble
from archfit.data.files import decode, to_mode
from archfit.data.folder import read_folder
from archfit.errors import DataError
from archfit.testing.datasets import check_dataset


def _write(folder: Path, counts: dict[str, int], size: tuple[int, int] = (12, 12), mode: str = "RGB") -> Path:
    for label, count in counts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.effect_noise(size, 40 + i).convert(mode).save(folder / label / f"{i:03}.png")
    return folder


def test_single_folder(tmp_path: Path) -> None:
    data = load_data(_write(tmp_path / "pets", {"dog": 20, "cat": 20}))
    assert (data.name, data.classes, data.channels, data.image_size) == ("pets", ("cat", "dog"), 3, 12)
    # 15 % of 20 are 3 of each class.
    assert (len(data.train), len(data.validation), len(data.test or ())) == (28, 6, 6)
    assert isinstance(data.train, MemorySplit)
    assert any("12x12 pixels (the size of the images)" in note for note in data.notes)
    check_dataset(data)


def test_grey_and_of_different_sizes(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 3}, (20, 30), "L")
    _write(tmp_path, {"b": 3}, (80, 70), "L")
    data = load_data(tmp_path)
    assert (data.channels, data.image_size) == (1, 96)
    assert load_data(tmp_path, image_size=10).image_size == 10


def test_the_sample_reaches_the_last_class(tmp_path: Path) -> None:
    # 64 of 100 images are sampled: the last ten are colour and larger.
    _write(tmp_path, {"a": 90}, (8, 8), "L")
    _write(tmp_path, {"b": 10}, (9, 9), "RGB")
    data = load_data(tmp_path)
    assert (data.channels, data.image_size) == (3, 96)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_given_splits(tmp_path: Path, name: str) -> None:
    for split, count in (("train", 4), (name, 2), ("test", 3)):
        _write(tmp_path / split, {"a": count, "b": count})
    data = load_data(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test or ())) == (8, 4, 6)


@pytest.mark.parametrize("names", [("training", "testing"), ("training", "dev"), ("Train", "Test")])
def test_other_names_of_splits(tmp_path: Path, names: tuple[str, str]) -> None:
    for split in names:
        _write(tmp_path / split, {"a": 5, "b": 5})
    assert load_data(tmp_path).classes == ("a", "b")


@pytest.mark.parametrize("names", [("train", "test"), ("testing", "val")])
def test_splits_are_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    _write(tmp_path, dict.fromkeys(names, 5))
    with pytest.raises(DataError, match=rf"are called {' and '.join(sorted(names))}, as splits are"):
        load_data(tmp_path)


def test_missing_splits_are_cut_from_train(tmp_path: Path) -> None:
    _write(tmp_path / "train", {"a": 20, "b": 20})
    # Train alone: 15 % of 20 for each part. With a test split: 10 %. With validation only: 15 % for the test.
    data = load_data(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test or ())) == (28, 6, 6)
    _write(tmp_path / "test", {"a": 5, "b": 5})
    data = load_data(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test or ())) == (36, 4, 10)
    (tmp_path / "test").rename(tmp_path / "val")
    data = load_data(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test or ())) == (34, 10, 6)


def test_a_class_called_train(tmp_path: Path) -> None:
    assert load_data(_write(tmp_path, {"train": 5, "bus": 5})).classes == ("bus", "train")


def test_broken_images_are_named_and_skipped(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 30, "b": 30})
    (tmp_path / "a" / "000.png").write_bytes(b"")
    whole = (tmp_path / "b" / "001.png").read_bytes()
    (tmp_path / "b" / "001.png").write_bytes(whole[: len(whole) // 2])
    lines: list[str] = []
    data = load_data(tmp_path, progress=lines.append)
    assert len(data.train) + len(data.validation) + len(data.test or ()) == 58
    note = next(note for note in data.notes if "skipped" in note)
    assert note == f"skipped 2 of 60 images that cannot be read: {Path('a/000.png')}, {Path('b/001.png')}"
    with pytest.raises(DataError, match=r"2 of 60 images cannot be read \(a.000.png, .* more than the 3% "):
        load_data(tmp_path, max_corrupt=0.03)


def test_exif_of_another_type_is_a_broken_image(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 30, "b": 30})
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    exif[0x011A] = 72.0  # XResolution, a fraction
    path = tmp_path / "a" / "000.jpg"
    Image.effect_noise((12, 12), 40).convert("RGB").save(path, exif=exif)
    assert not any("000.jpg" in note for note in load_data(tmp_path).notes)
    content = path.read_bytes()
    fraction, text = b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x02"
    assert content.count(fraction) == 1
    path.write_bytes(content.replace(fraction, text))
    assert any("000.jpg" in note for note in load_data(tmp_path).notes)


def test_a_folder_of_another_encoding_has_a_name(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    data = load_data(_write(root, {"a": 5, "b": 5}))
    assert data.name == "caf\\udce9"


def test_streamed_like_in_memory(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 10, "b": 10})
    (tmp_path / "a" / "003.png").write_bytes(b"")
    streamed, held = (
        assemble(read_folder(tmp_path, 12, memory_bytes=limit), train_images=8, seed=0, validation=None)
        for limit in (0, 10**6)
    )
    check_dataset(streamed)
    assert isinstance(streamed.train, FileSplit)
    assert isinstance(held.train, MemorySplit)
    images, labels = next(iter(streamed.train.raw(99)))
    assert torch.equal(images, held.train.images)
    assert torch.equal(labels, held.train.labels)
    assert any("decoded in each epoch" in note for note in streamed.notes)


def test_worker_processes_read_the_same(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 4, "b": 4})
    order = torch.tensor([5, 0, 7, 2])
    alone, helped = (read_folder(tmp_path, 12, memory_bytes=0, num_workers=n).train for n in (0, 1))
    for (images, labels), (other_images, other_labels) in zip(alone.raw(3, order), helped.raw(3, order), strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


def test_a_streamed_file_that_goes_away(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 3, "b": 3})
    train = read_folder(tmp_path, 12, memory_bytes=0).train
    (tmp_path / "a" / "001.png").unlink()
    with pytest.raises(DataError, match=r"001.png can no longer be read"):
        list(train.raw(6))


def test_streaming_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    train = read_folder(_write(tmp_path, {"a": 3, "b": 3}), 12, memory_bytes=0).train
    state = torch.get_rng_state()
    list(train.raw(4))
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images; it needs a folder for each class"):
        load_data(tmp_path)
    _write(tmp_path, {"a": 5})
    with pytest.raises(DataError, match="one class only, 'a'"):
        load_data(tmp_path)
    _write(tmp_path, {"b": 2})
    with pytest.raises(DataError, match="class 'b' has 2 images; at least 3"):
        load_data(tmp_path)
    (tmp_path / "b").rename(tmp_path / "c")
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=r"class 'b' .* no training images"):
        load_data(tmp_path)


def test_a_class_of_one_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="class 'b' has 1 image; at least 3"):
        load_data(_write(tmp_path, {"a": 5, "b": 1}))


def test_loose_images(tmp_path: Path) -> None:
    _write(tmp_path, {".": 4})
    with pytest.raises(DataError, match="4 images without class folders"):
        load_data(tmp_path)


def test_a_class_only_in_test(tmp_path: Path) -> None:
    _write(tmp_path / "train", {"a": 4, "b": 4})
    _write(tmp_path / "test", {"a": 4, "z": 4})
    with pytest.raises(DataError, match="class 'z' is in test but not in train"):
        load_data(tmp_path)


def test_decoding_cuts_the_centre(tmp_path: Path) -> None:
    # 16 wide, 8 high: red, white, red in 4 + 8 + 4 columns.
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[..., 0] = 255
    pixels[:, 4:12] = 255
    path = tmp_path / "wide.png"
    Image.fromarray(pixels).save(path)
    assert decode(path, 8, 3).unique().tolist() == [255]
    assert decode(path, 8, 3).shape == (3, 8, 8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_every_mode_is_read(mode: str) -> None:
    image = Image.new("L", (2, 2), 255).convert(mode)
    assert to_mode(image, 3).mode == "RGB"
    assert to_mode(image, 1).mode == "L"


def test_sixteen_bits_keep_the_upper_eight() -> None:
    image = Image.fromarray(np.array([[0, 256], [32768, 65535]], np.uint16))
    assert np.asarray(to_mode(image, 1)).tolist() == [[0, 1], [128, 255]]


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    # Orientation 3 is upside down: the white upper row belongs at the bottom.
    image = Image.fromarray(np.array([[255, 255], [0, 0]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(tmp_path / "turned.png", exif=exif)
    assert decode(tmp_path / "turned.png", 2, 1)[0].tolist() == [[0, 0], [255, 255]]
