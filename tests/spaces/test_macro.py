from __future__ import annotations

import importlib.util
import random
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from archfit.architecture import Task, from_indices, random_architecture, space_size
from archfit.cost import count_madds, count_params
from archfit.errors import InputError
from archfit.spaces import MacroSpace
from archfit.testing.spaces import check_space

TASK = Task(channels=3, image_size=8, classes=5)
SMALL = MacroSpace(filters=4, depth=6)


def test_size_is_the_papers() -> None:
    # Section 2.3: 6^L * 2^(L (L - 1) / 2), 1.6e29 with 12 layers
    assert space_size(MacroSpace()) == 6**12 * 2**66
    assert space_size(MacroSpace()) == pytest.approx(1.6e29, rel=0.01)


@pytest.mark.parametrize("task", [TASK, Task(1, 9, 2), Task(3, 70, 3), Task(1, 1, 2)], ids=["8", "odd", "70", "1"])
def test_conforms(task: Task) -> None:
    check_space(SMALL, task, samples=3)


def test_an_architecture_of_the_public_code_is_read_as_it_is_written() -> None:
    # Its numbers: operation (conv 3, sep 3, conv 5, sep 5, avg, max), then a bit for the stem, for layer 1, ...
    space = MacroSpace(depth=4)
    architecture = from_indices(space, [0, *(3, 0), *(4, 1, 0), *(2, 0, 0, 1)])
    assert space.specs(architecture) == [("conv3", ()), ("sep5", ()), ("avg3", (0,)), ("conv5", (2,))]
    assert architecture["layer4.skip2"] == 1


def test_skip_positions_are_those_of_the_skips() -> None:
    space = MacroSpace(depth=4)
    names = [[space.choices[position].name for position in row] for row in space.skip_positions]
    assert names == [
        ["layer2.skip0"],
        ["layer3.skip0", "layer3.skip1"],
        ["layer4.skip0", "layer4.skip1", "layer4.skip2"],
    ]


def test_parameters_by_hand() -> None:
    space = MacroSpace(filters=2, depth=3)
    architecture = from_indices(space, [0, *(3, 1), *(5, 0, 1)])
    # Stem 9*2 + batch norm 4 = 22.
    # Layer 1, conv 3: 1x1 4 + 4, 9*4 + 4 = 48. Layer 2, sep 5: 1x1 4 + 4, depthwise 50, 1x1 4 + 4 = 66, and the batch
    # norm after the sum 4. Layer 3, max: 1x1 4 + 4 = 8, and 4.
    # A reduction is 2 + 2 + 4 = 8. After layer 1: the stem for layer 2, layer 1 for layers 2 and 3; after layer 2:
    # layers 1 and 2 for layer 3. Four of them, 32.
    # Classifier 2*3 + 3 = 9. Together 22 + 48 + 70 + 12 + 32 + 9 = 193.
    assert count_params(space.build(architecture, Task(1, 8, 3))) == 193


def test_networks_differ_where_architectures_do() -> None:
    space = MacroSpace(filters=2, depth=3, operations=("sep3", "max3"))
    points = [from_indices(space, [int(bit) for bit in f"{number:06b}"]) for number in range(2**6)]
    assert len({str(space.literals(point, TASK)) for point in points}) == 2**6 == space_size(space)
    assert [space.canonical(point, TASK) for point in points] == points


@pytest.mark.parametrize("task", [Task(3, 32, 10), Task(1, 29, 2), Task(3, 70, 3)], ids=["32", "29", "70"])
@pytest.mark.parametrize("depth", [3, 7, 12])
def test_rows_and_pieces_add_up_to_the_network(task: Task, depth: int) -> None:
    space = MacroSpace(filters=6, depth=depth)
    architecture = random_architecture(space, random.Random(depth))
    network = space.build(architecture, task)
    rows = space.layers(architecture, task)
    assert sum(row.params for row in rows) == count_params(network)
    madds = count_madds(network, task)
    assert sum(row.madds for row in rows) == madds
    assert sum(piece.madds for piece in space.pieces(architecture, task)) == madds


def test_rows_say_what_there_is() -> None:
    space = MacroSpace(filters=4, depth=3)
    rows = space.layers(from_indices(space, [0, *(4, 1), *(3, 1, 1)]), TASK)
    assert [(row.name, row.kind, row.detail, row.shape) for row in rows] == [
        ("stem", "conv", "3x3", (4, 8, 8)),
        ("layer 1", "conv", "3x3", (4, 8, 8)),
        ("stem reduced", "reduction", "after layer 1", (4, 4, 4)),
        ("layer 1 reduced", "reduction", "after layer 1", (4, 4, 4)),
        ("layer 2", "pool", "mean 3x3, skips from stem", (4, 4, 4)),
        ("stem reduced", "reduction", "after layer 2", (4, 2, 2)),
        ("layer 1 reduced", "reduction", "after layer 2", (4, 2, 2)),
        ("layer 2 reduced", "reduction", "after layer 2", (4, 2, 2)),
        ("layer 3", "separable", "5x5, skips from stem, layer 1", (4, 2, 2)),
        ("pool", "pool", "mean over the image", (4,)),
        ("classifier", "linear", "5 classes", (5,)),
    ]


def test_pieces_say_what_is_computed_and_where() -> None:
    space = MacroSpace(filters=4, depth=3)
    pieces = space.pieces(from_indices(space, [0, *(4, 1), *(3, 1, 1)]), TASK)
    assert [piece.key for piece in pieces] == [
        "8x8 stem 3>4", "8x8 conv3 4", "8x8 reduction 4", "8x8 reduction 4", "4x4 avg3 norm 4", "4x4 sum 4",
        "4x4 reduction 4", "4x4 reduction 4", "4x4 reduction 4", "2x2 sep5 norm 4", "2x2 sum 4", "2x2 sum 4",
        "2x2 mean 4>5",
    ]  # fmt: skip
    # 1x1 convolution, mean and batch norm each read and write 4 channels of 4x4: 6 * 64. A sum reads two, writes one.
    assert pieces[4].elements == 384
    assert pieces[5].elements == 192


@pytest.mark.parametrize(("size", "strides"), [(32, (1,)), (64, (1,)), (65, (2,)), (224, (2, 2)), (257, (2, 2, 2))])
def test_large_images_are_halved_by_the_stem(size: int, strides: tuple[int, ...]) -> None:
    assert MacroSpace.stem_strides(Task(3, size, 2)) == strides


def test_smaller_narrows_then_shortens() -> None:
    steps, space = [], MacroSpace(depth=7)
    while space is not None:
        steps.append(space)
        space = space.smaller()
    assert [step.filters for step in steps] == [36, 30, 24, 20, 16, 14, 12, 10, 8, 8, 8]
    assert [step.depth for step in steps] == [7] * 9 + [6, 3]
    firsts = [from_indices(step, [0] * len(step.choices)) for step in steps]
    madds = [sum(row.madds for row in step.layers(first, TASK)) for step, first in zip(steps, firsts, strict=True)]
    assert all(after < before for before, after in pairwise(madds))
    assert MacroSpace(filters=4).smaller() == MacroSpace(filters=4, depth=9)
    assert MacroSpace(filters=200).smaller() == MacroSpace(filters=96)


def test_settings_restore_the_space() -> None:
    space = MacroSpace(8, 5, ("max3", "conv5"), 0.25)
    assert MacroSpace.from_settings(space.settings()) == space


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"filters": 5}, "filters is 5; it must be an even number"),
        ({"filters": 0}, "filters is 0"),
        ({"depth": 2}, "depth is 2; it must be at least 3"),
        ({"operations": ()}, "choose from"),
        ({"operations": ("max3", "max3")}, "each once"),
        ({"operations": ("cnov3",)}, "did you mean 'conv3'"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
    ],
)
def test_unusable_settings(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MacroSpace(**values)


def test_source_alone_gives_the_same_logits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    architecture = random_architecture(SMALL, random.Random(0))
    network = SMALL.build(architecture, TASK)
    images = torch.randn(4, 3, 8, 8)
    network(images)  # moves the batch norm statistics off their start
    text = SMALL.source(architecture, TASK, mean=[0.5] * 3, std=[0.25] * 3, class_names=list("abcde"))
    assert not [line for line in text.splitlines() if line.startswith(("import archfit", "from archfit"))]
    assert max(map(len, text.splitlines())) <= 120
    path = tmp_path / "network.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("macro_network", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    twin = module.Network(**module.ARGUMENTS)
    twin.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(twin.eval()(images), network.eval()(images))
