from __future__ import annotations

import random
from itertools import pairwise, permutations

import pytest

from archfit.architecture import Architecture, Option, Task, random_architecture, space_size
from archfit.cost import count_madds, count_params
from archfit.errors import InputError
from archfit.nn.cells import Node
from archfit.spaces import CellSpace
from archfit.spaces.cells_forms import first_form
from archfit.testing import check_space

TASK = Task(3, 8, 5)
TINY = CellSpace(filters=4, cells=3, nodes=2)
WIDE = CellSpace(
    filters=8,
    cells=3,
    nodes=3,
    operations=("identity", "sep7", "max3", "dil3", "conv1x7", "conv3", "conv1"),
    stem="cells",
    stem_filters=6,
    outputs=((1, 2, 3), (2, 4)),
    eps=1e-3,
    last_relu=False,
)


def test_size_is_enas_own() -> None:
    # Node i of 1 to 5 chooses twice from i + 1 earlier outputs and 5 operations: (6! * 5^5)^2 a cell, two cells.
    assert space_size(CellSpace()) == (720 * 5**5) ** 4
    assert [choice.name for choice in TINY.choices[:5]] == [
        "normal.node1.input1", "normal.node1.op1", "normal.node1.input2", "normal.node1.op2", "normal.node2.input1",
    ]  # fmt: skip
    assert TINY.choices[4].options == (0, 1, 2)
    assert TINY.choices[-1].name == "reduce.node2.op2"


@pytest.mark.parametrize(
    ("space", "task"), [(TINY, TASK), (TINY, Task(1, 66, 2)), (WIDE, Task(1, 65, 2)), (WIDE, Task(1, 9, 2))]
)
def test_conforms(space: CellSpace, task: Task) -> None:
    check_space(space, task, samples=2)


def sides(*nodes: Node) -> tuple[Node, ...]:
    return nodes


def test_specs_are_read_from_the_choices() -> None:
    normal = sides((("sep3", 0), ("max3", 1)), (("identity", 2), ("avg3", 2)))
    reduction = sides((("sep5", 1), ("sep5", 1)), (("sep3", 0), ("identity", 1)))
    found = TINY.specs(TINY.architecture(normal, reduction))
    assert [spec.nodes for spec in found] == [normal, reduction]
    # Node 2 reads node 1 (state 2) in the normal cell; in the other one nobody reads either.
    assert [spec.outputs for spec in found] == [(3,), (2, 3)]


def test_sums_commute_and_nodes_change_places() -> None:
    nodes = sides((("sep3", 0), ("max3", 1)), (("avg3", 1), ("identity", 0)), (("sep5", 2), ("identity", 3)))
    mirrored = sides((("max3", 1), ("sep3", 0)), (("identity", 0), ("avg3", 1)), (("identity", 3), ("sep5", 2)))
    swapped = sides((("avg3", 1), ("identity", 0)), (("sep3", 0), ("max3", 1)), (("sep5", 3), ("identity", 2)))
    operations = CellSpace().operations
    # By (input, operation) identity of 0 comes before sep3 of 0: that node is first, the other's state is 3.
    least = sides((("identity", 0), ("avg3", 1)), (("sep3", 0), ("max3", 1)), (("identity", 2), ("sep5", 3)))
    for form in (nodes, mirrored, swapped):
        assert first_form(form, operations, free=True) == least
    assert first_form(swapped, operations, free=False) == sides(
        (("identity", 0), ("avg3", 1)), (("sep3", 0), ("max3", 1)), (("identity", 2), ("sep5", 3))
    )
    assert first_form(nodes, operations, free=False)[0] == (("sep3", 0), ("max3", 1))


def test_nodes_that_begin_alike_are_told_apart_by_their_readers() -> None:
    alike = (("sep3", 0), ("sep3", 1))
    one = sides(alike, alike, (("max3", 2), ("avg3", 0)), (("sep5", 3), ("avg3", 0)))
    other = sides(alike, alike, (("max3", 3), ("avg3", 0)), (("sep5", 2), ("avg3", 0)))
    both = sides(alike, alike, (("max3", 2), ("avg3", 0)), (("sep5", 2), ("avg3", 0)))
    operations = CellSpace().operations
    assert first_form(one, operations, free=True) == first_form(other, operations, free=True)
    assert first_form(one, operations, free=True) != first_form(both, operations, free=True)


def test_every_order_of_a_cell_has_one_form() -> None:
    rng = random.Random(0)
    space = CellSpace(nodes=4)
    for _ in range(5):
        nodes = space.specs(random_architecture(space, rng))[0].nodes
        form = first_form(nodes, space.operations, free=True)
        for order in permutations(range(4)):
            names = {0: 0, 1: 1, **{old + 2: new + 2 for new, old in enumerate(order)}}
            moved = [((a, names[i]), (b, names[j])) for (a, i), (b, j) in (nodes[old] for old in order)]
            if all(state < new + 2 for new, node in enumerate(moved) for _, state in node):
                assert first_form(moved, space.operations, free=True) == form


def test_rows_and_pieces_add_up_to_the_network() -> None:
    rng = random.Random(1)
    for space, task in ((TINY, TASK), (TINY, Task(1, 70, 2)), (WIDE, Task(1, 71, 2))):
        architecture = random_architecture(space, rng)
        network = space.build(architecture, task)
        rows, pieces = space.layers(architecture, task), space.pieces(architecture, task)
        assert sum(row.params for row in rows) == count_params(network)
        assert sum(row.madds for row in rows) == count_madds(network, task)
        assert sum(piece.madds for piece in pieces) == count_madds(network, task)


def test_rows_and_pieces_say_what_is_where() -> None:
    normal = sides((("sep3", 0), ("max3", 0)), (("max3", 2), ("avg3", 0)))
    reduction = sides((("max3", 1), ("identity", 0)), (("sep5", 1), ("identity", 1)))
    architecture = TINY.architecture(normal, reduction)
    rows = TINY.layers(architecture, TASK)
    assert [(row.name, row.kind, row.shape) for row in rows] == [
        ("stem", "conv", (12, 8, 8)), ("cell 1", "normal", (4, 8, 8)), ("cell 2", "reduction", (16, 4, 4)),
        ("cell 3", "reduction", (32, 2, 2)), ("classifier", "linear", (5,)),
    ]  # fmt: skip
    assert rows[1].detail == "4 filters, 2 max3, 1 sep3, 1 avg3, 1 output"
    pieces = {piece.key: piece for piece in TINY.pieces(architecture, TASK)}
    # The normal cell reads only input 0; sep3 is twice (3 * 3 + 4) * 4 * 64 multiply-adds and 4 * 2 * 4 * 64 elements.
    sep3 = pieces["8x8 sep3 s1 4>4"]
    assert (sep3.kind, sep3.madds, sep3.elements) == ("sep3", 2 * 13 * 4 * 64, 8 * 4 * 64)
    assert "8x8 max3 s2 8>8" in pieces
    # A pool reads 64 pixels and writes 16, of 8 channels.
    assert pieces["8x8 max3 s2 8>8"].elements == 8 * 80
    assert pieces["4x4 sum 8"].elements == 3 * 8 * 16
    assert [key for key in pieces if key.startswith("8x8 conv1 ")] == [
        "8x8 conv1 s1 12>4",
        "8x8 conv1 s1 12>8",
        "8x8 conv1 s1 4>8",
    ]


def test_smaller_narrows_then_shortens_to_the_end() -> None:
    space: CellSpace | None = CellSpace()
    steps = []
    while space is not None:
        steps.append((space.filters, space.cells))
        space = space.smaller()
    assert steps == [(20, 8), (16, 8), (12, 8), (8, 8), (6, 8), (4, 8), (4, 5), (4, 3)]
    space = CellSpace(nodes=2)
    architecture = random_architecture(space, random.Random(0))
    madds = [
        sum(row.madds for row in CellSpace(filters, cells, 2).layers(architecture, TASK)) for filters, cells in steps
    ]
    assert all(after < before for before, after in pairwise(madds))


def test_settings_restore_the_space() -> None:
    for space in (TINY, WIDE):
        assert CellSpace.from_settings(space.settings()) == space


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"filters": 2}, "filters is 2; it must be at least 4"),
        ({"cells": 2}, "cells is 2; it must be at least 3"),
        ({"nodes": 0}, "nodes is 0"),
        ({"operations": ("sep3", "sep4")}, "unknown operation of a cell 'sep4'; did you mean 'sep"),
        ({"operations": ()}, "operations is \\[\\]"),
        ({"operations": ("sep3", "sep3")}, "each once"),
        ({"stem": "cell"}, "unknown stem 'cell'; did you mean 'cells'"),
        ({"outputs": ((2, 7), (2,))}, "ascending numbers from 0 to 6"),
        ({"outputs": ((3, 2), (2,))}, "ascending"),
        ({"eps": 0.0}, "eps is 0.0"),
    ],
)
def test_unusable_settings(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CellSpace(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("choice", "option"), [("normal.node1.op1", "sep7"), ("reduce.node1.input2", 2)])
def test_an_option_of_no_choice_is_refused(choice: str, option: Option) -> None:
    architecture = random_architecture(TINY, random.Random(0))
    choices = tuple((name, option if name == choice else value) for name, value in architecture.choices)
    with pytest.raises(InputError, match=f"{choice} is"):
        TINY.build(Architecture("enas-micro", choices), TASK)
