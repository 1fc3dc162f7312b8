from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from archfit.errors import WeightsError
from archfit.nn.weights import load_into, read_weights


def _network(channels: int = 3, classes: int = 4, width: int = 6) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, classes),
    )


def _renamed(network: nn.Module) -> dict[str, Tensor]:
    """As another package would name the same layers."""
    return {f"features.layer{i}": value for i, value in enumerate(network.state_dict().values())}


@pytest.mark.parametrize("kind", ["safetensors", "pth", "wrapped"])
def test_files_are_read(tmp_path: Path, kind: str) -> None:
    state = {name: value.clone() for name, value in _network().state_dict().items()}
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(
            {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}} if kind == "wrapped" else state,
            path,
        )
    found = read_weights(path)
    assert {name: value.tolist() for name, value in found.items()} == {k: v.tolist() for k, v in state.items()}


class _Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("new", [True, False])
def test_a_file_that_would_run_code_is_not_opened(tmp_path: Path, new: bool) -> None:
    path, marker = tmp_path / "w.pth", tmp_path / "ran"
    if new:
        torch.save({"weights": _Runs(marker)}, path)
    else:
        path.write_bytes(pickle.dumps({"weights": _Runs(marker)}))
    with pytest.raises(WeightsError, match=r"w\.pth (holds more than tensors|is not a whole)"):
        read_weights(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_that_is_cut_off(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("pth"):
        torch.save(_network().state_dict(), path)
    else:
        save_file(_network().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(WeightsError, match=r"is not a whole .*fetch it again"):
        read_weights(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"is not a whole .*fetch it again"):
        read_weights(path)


def test_a_file_that_is_not_there_or_holds_no_tensors(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no weights file .*; give a"):
        read_weights(tmp_path / "none.pth")
    torch.save({"a": 1}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="holds no state_dict"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"archfit: 99 % of images\n", b"a text", b"0123", b"\x80\x02}q\x00."])
def test_a_file_of_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.pth (is not a whole|holds no state_dict)"):
        read_weights(path)


@pytest.mark.parametrize("rename", [False, True])
def test_weights_find_their_places(rename: bool) -> None:
    theirs, ours = _network(), _network()
    weights = _renamed(theirs) if rename else dict(theirs.state_dict())
    mapped = load_into(ours, weights, "w.pth")
    image = torch.randn(2, 3, 8, 8)
    assert torch.equal(ours.eval()(image), theirs.eval()(image))
    assert (mapped.adapted, mapped.fresh) == ((), ())
    assert mapped.pairs[0] == ("0.weight", "features.layer0" if rename else "0.weight")
    assert str(mapped) == ("7 tensors by order and shape" if rename else "7 tensors by name")


def test_names_in_another_order_are_matched_by_name() -> None:
    theirs, ours = _network(), _network()
    load_into(ours, OrderedDict(reversed(theirs.state_dict().items())), "w.pth")
    assert torch.equal(ours.state_dict()["5.weight"], theirs.state_dict()["5.weight"])


def test_grey_images_keep_the_filters_of_rgb() -> None:
    theirs, ours = _network(3), _network(1)
    mapped = load_into(ours, theirs.state_dict(), "w.pth")
    grey = torch.randn(2, 1, 8, 8)
    assert torch.allclose(ours.eval()(grey), theirs.eval()(grey.expand(-1, 3, -1, -1)), atol=1e-5)
    assert mapped.adapted == ("0.weight: 3 image channels to 1",)
    back = _network(3)
    load_into(back, ours.state_dict(), "w.pth")
    assert torch.allclose(back.eval()(grey.expand(-1, 3, -1, -1)), ours(grey), atol=1e-5)


def test_a_classifier_of_other_classes_stays_new() -> None:
    theirs, ours = _network(classes=10), _network(classes=4)
    before = ours.state_dict()["5.weight"].clone()
    mapped = load_into(ours, _renamed(theirs), "w.pth")
    assert mapped.fresh == ("5.weight", "5.bias")
    assert torch.equal(ours.state_dict()["5.weight"], before)
    assert torch.equal(ours.state_dict()["0.weight"], theirs.state_dict()["0.weight"])


def test_another_architecture_is_refused_by_its_first_layer() -> None:
    ours = _network()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(WeightsError, match=r"layer 0.weight is 6 x 3 x 3 x 3, the file's 0.weight is 8 x 3 x 3 x 3"):
        load_into(ours, _network(width=8).state_dict(), "w.pth")
    shorter = dict(list(_renamed(_network()).items())[:-1])
    with pytest.raises(WeightsError, match=r"it has 6 tensors, the network 7; the first that only the network has is"):
        load_into(ours, shorter, "w.pth")
    assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())
