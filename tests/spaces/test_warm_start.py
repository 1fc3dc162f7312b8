"""The mnas space around a trained network."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from archfit.architecture import Task
from archfit.catalogue import get_reference
from archfit.spaces import Trained, WarmMnasSpace, read_trained
from archfit.testing import check_space

TASK = Task(3, 64, 10)


def trained(name: str) -> Trained:
    reference = get_reference(name)
    torch.manual_seed(5)
    network = reference.build(Task(3, 224, 7))
    statistics = reference.statistics
    return Trained(name, reference.space, reference.architecture, 3, 7, network.state_dict(), statistics)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    path = tmp_path / "init.safetensors"
    path.write_bytes(trained("efficientnet-lite0").to_bytes())
    return path


def test_what_is_written_is_read_back(origin: Path) -> None:
    found, written = read_trained(origin), trained("efficientnet-lite0")
    assert (found.name, found.space, found.architecture) == (written.name, written.space, written.architecture)
    assert found.statistics == written.statistics
    assert found.weights.keys() == written.weights.keys()
    assert all(torch.equal(value, written.weights[name]) for name, value in found.weights.items())


def test_it_is_a_space(origin: Path) -> None:
    check_space(WarmMnasSpace.around(trained("efficientnet-lite0"), origin, width=0.35), Task(3, 16, 4))


def test_it_has_the_activation_and_the_strides_of_the_trained_network(origin: Path) -> None:
    space = WarmMnasSpace.around(trained("efficientnet-lite0"), origin)
    first = space.starting_points(TASK)[0]
    built = space.literals(first, TASK)
    assert built["activation"] == "relu6"
    assert built["stem_stride"] == 2
    assert [layer[2] for layer in built["layers"] if layer[2] == 2] == [2, 2, 2, 2]


def test_the_nearest_point_is_the_network_itself_where_the_space_has_it(origin: Path) -> None:
    source = trained("efficientnet-lite0")
    space = WarmMnasSpace.around(source, origin)
    nearest, smaller = space.starting_points(TASK)
    assert [spec[:2] for spec in space.literals(nearest, TASK)["layers"]] == [
        spec[:2] for spec in source.space.literals(source.architecture, TASK)["layers"]
    ]
    filters = [block[0].filters for block in space.blocks(nearest, TASK)]
    assert filters == [16, 24, 40, 80, 112, 192, 320]
    assert len(space.literals(smaller, TASK)["layers"]) < len(space.literals(nearest, TASK)["layers"])
    weights = space.build(nearest, TASK).layers[3].body[0].weight
    assert torch.equal(weights, source.weights["layers.3.body.0.weight"])


def test_a_scaled_space_and_one_in_another_process_inherit_too(origin: Path) -> None:
    space = WarmMnasSpace.around(trained("efficientnet-lite0"), origin)
    smaller = space.smaller()
    assert smaller is not None
    again = pickle.loads(pickle.dumps(smaller))  # noqa: S301 - its own, as it goes to the workers
    assert len(pickle.dumps(smaller)) < 5_000
    point = again.starting_points(TASK)[0]
    kernels = {tuple(kernel.flatten().tolist()) for kernel in trained("efficientnet-lite0").weights["stem.0.weight"]}
    stem = again.build(point, TASK).stem[0].weight
    assert all(tuple(kernel.flatten().tolist()) in kernels for kernel in stem)
