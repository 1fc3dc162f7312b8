"""The published networks made of cells.

Their cells are written as (operation, state) pairs, two a node: state 0 is the output of the cell before last, 1 that
of the last one, 2 that of the first node. TensorFlow code by the authors of NASNet counts the two inputs the other way
round.
"""

from __future__ import annotations

from archfit.catalogue.reference import Published, Reference
from archfit.nn.cells import Node
from archfit.spaces import CellSpace

_NASNET = "identity", "sep3", "sep5", "sep7", "avg3", "max3"
_TABLE = "arXiv:1807.11626, table 1"
_FIVE = (2, 3, 4, 5, 6)


def _cells(
    name: str,
    space: CellSpace,
    normal: tuple[Node, ...],
    reduction: tuple[Node, ...],
    published: Published,
    *,
    extension: str = "",
    note: str = "",
    weights: str = "",
) -> Reference:
    return Reference(name, space, space.architecture(normal, reduction), published, extension, note, weights)


NASNET_A = _cells(
    "nasnet-a",
    CellSpace(44, 14, 5, _NASNET, "cells", 32, outputs=((0, *_FIVE), (3, 4, 5, 6)), eps=1e-3),
    (
        (("sep5", 1), ("sep3", 0)),
        (("sep5", 0), ("sep3", 0)),
        (("avg3", 1), ("identity", 0)),
        (("avg3", 0), ("avg3", 0)),
        (("sep3", 1), ("identity", 1)),
    ),
    (
        (("sep5", 1), ("sep7", 0)),
        (("max3", 1), ("sep7", 0)),
        (("avg3", 1), ("sep5", 0)),
        (("identity", 3), ("avg3", 2)),
        (("sep3", 2), ("max3", 1)),
    ),
    Published(5_300_000, 564_000_000, 74.0, 91.6, pixel1_ms=183, source=f"arXiv:1707.07012, table 3; {_TABLE}"),
    extension="kernel 7; the cell before last is part of a normal cell's output",
)

AMOEBANET_A = _cells(
    "amoebanet-a",
    CellSpace(50, 14, 5, (*_NASNET, "conv1x7"), "cells", 32, outputs=((0, 3, 4, 6), _FIVE), eps=1e-3),
    (
        (("avg3", 1), ("max3", 1)),
        (("sep3", 0), ("identity", 0)),
        (("identity", 1), ("avg3", 0)),
        (("sep3", 1), ("sep5", 2)),
        (("avg3", 5), ("sep3", 1)),
    ),
    (
        (("sep3", 0), ("avg3", 1)),
        (("max3", 1), ("sep7", 2)),
        (("max3", 0), ("max3", 1)),
        (("sep3", 4), ("conv1x7", 1)),
        (("avg3", 0), ("sep7", 1)),
    ),
    Published(5_100_000, 555_000_000, 74.5, 92.0, pixel1_ms=190, source=f"arXiv:1802.01548, table 2; {_TABLE}"),
    extension="kernel 7, 1x7 with 7x1; more outputs than the loose ends",
    note="the cells are those of the authors' code (tensorflow/tpu, models/official/amoeba_net)",
)

_PNASNET = (
    (("sep5", 0), ("max3", 0)),
    (("sep7", 1), ("max3", 1)),
    (("sep5", 1), ("sep3", 1)),
    (("sep3", 4), ("max3", 1)),
)
PNASNET_5 = _cells(
    "pnasnet-5",
    CellSpace(54, 9, 5, ("identity", "sep3", "sep5", "sep7", "max3", "conv1"), "cells", 32, (_FIVE, _FIVE), 1e-3),
    (*_PNASNET, (("sep3", 0), ("identity", 1))),
    (*_PNASNET, (("sep3", 0), ("conv1", 1))),
    Published(5_100_000, 588_000_000, 74.2, 91.9, source=f"arXiv:1712.00559, table 5; {_TABLE}"),
    extension="kernel 7; all nodes are outputs; an identity with a stride is a 1x1 convolution",
)

DARTS = _cells(
    "darts",
    CellSpace(48, 14, 4, ("identity", "sep3", "max3", "dil3"), outputs=((2, 3, 4, 5), (2, 3, 4, 5)), last_relu=False),
    (
        (("sep3", 0), ("sep3", 1)),
        (("sep3", 0), ("sep3", 1)),
        (("sep3", 1), ("identity", 0)),
        (("identity", 0), ("dil3", 2)),
    ),
    (
        (("max3", 0), ("max3", 1)),
        (("identity", 2), ("max3", 1)),
        (("max3", 0), ("identity", 2)),
        (("identity", 2), ("max3", 1)),
    ),
    Published(4_700_000, 574_000_000, 73.3, 91.3, source="arXiv:1806.09055, table 3, second order"),
    extension="four nodes, all of them outputs; dilated convolutions; no ReLU at the end",
    note="its authors give 574 M multiply-adds; the convolutions and the classifier of their code, which these are to "
    "the parameter, have 530 M",
    weights="pytorchcv:darts",
)

ENAS = _cells(
    "enas-cifar",
    CellSpace(36, 17),
    (
        (("avg3", 0), ("sep3", 0)),
        (("identity", 0), ("sep5", 0)),
        (("identity", 0), ("sep5", 1)),
        (("sep3", 1), ("sep5", 0)),
        (("avg3", 0), ("sep5", 1)),
    ),
    (
        (("sep3", 1), ("sep3", 1)),
        (("max3", 0), ("avg3", 0)),
        (("sep5", 1), ("sep5", 3)),
        (("sep3", 1), ("identity", 0)),
        (("max3", 0), ("sep5", 1)),
    ),
    Published(4_600_000, image_size=32, classes=10, source="arXiv:1802.03268, table 2, micro search space, CIFAR-10"),
    note="the paper prints 4.6 M parameters; the cells, width and depth of the authors' script give 3.7 M, and 0.2 M "
    "more with the second 1x1 convolution that their code has on input 1",
)

CELL_REFERENCES = (NASNET_A, AMOEBANET_A, PNASNET_5, DARTS, ENAS)
