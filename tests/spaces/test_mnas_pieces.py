from __future__ import annotations

import random
from dataclasses import replace

import pytest

from archfit.architecture import Task, random_architecture
from archfit.cost import Piece, count_madds
from archfit.spaces import MNAS_SKELETON, BlockChoices, MnasSpace, Skeleton

SMALL = Skeleton(stem=8, filters=(8, 16), layers=(1, 1), strides=(1, 2), head=20)


def test_pieces_by_hand() -> None:
    space = MnasSpace(skeleton=SMALL)
    blocks = [BlockChoices("conv", 3, 0.0, "identity", 1.0, 0), BlockChoices("mbconv3", 5, 0.25, "pool", 1.25, 0)]
    # images of 8 pixels have a stem without stride, to end at 4x4
    assert space.pieces(space.architecture(blocks), Task(3, 8, 5)) == [
        # 9*3*8 weights and a batch norm of 8: 232; 64 * 9*3*8; reads 3 and writes 8 channels of 64
        Piece("8x8 stem k3 s1 3>8", "stem", 232, 13_824, 704),
        # 9*8*8 + 2*8; 64 * 9*8*8; 64 * (8 + 8), and the sum 3 * 64*8
        Piece("8x8 conv k3 s1 identity 8>8", "conv", 592, 36_864, 2560),
        # 8 channels are widened to 24 and reduced to 2 inside SE; 4x4 = 16 pixels remain, of 16 * 1.25 = 20 channels.
        # params: expand 8*24 + 2*24 = 240, depthwise 25*24 + 2*24 = 648, SE 2*24*2 + 24 + 2 = 122,
        # project 24*20 + 2*20 = 520
        # madds: expand 64*8*24 = 12288, depthwise 16*25*24 = 9600, SE 2*24*2 = 96, project 16*24*20 = 7680, pool
        # 16*9*8 = 1152
        # elements: expand 64*(8 + 24) = 2048, depthwise 64*24 + 16*24 = 1920, SE 3*16*24 + 2*(24 + 2) = 1204,
        # project 16*(24 + 20) = 704, pool 64*8 + 16*8 = 640, sum 3*16*20 = 960
        Piece("8x8 mbconv3 k5 s2 se0.25 pool 8>20", "mbconv3", 1530, 30_816, 7476),
        # 20*20 + 2*20 + 20*5 + 5; 16*20*20 and the classifier 20*5; 16*(20 + 20), the mean reads 16*20, the classifier
        # 20 and 5
        Piece("4x4 head 20>20>5", "head", 545, 6500, 985),
    ]


@pytest.mark.parametrize(
    "space",
    [
        MnasSpace(0.42, skeleton=replace(MNAS_SKELETON, layers=(1, 1, 2, 3, 2, 2, 1))),
        MnasSpace(skeleton=replace(SMALL, head=0), ops=("separable", "mbconv6"), kernels=(3, 7)),
        MnasSpace(skeleton=replace(SMALL, activation="hswish", same_padding=True)),
    ],
)
@pytest.mark.parametrize("task", [Task(1, 28, 10), Task(3, 65, 7)])
def test_their_multiply_adds_are_the_networks(space: MnasSpace, task: Task) -> None:
    rng = random.Random(3)
    for _ in range(4):
        architecture = random_architecture(space, rng)
        pieces = space.pieces(architecture, task)
        assert sum(piece.madds for piece in pieces) == count_madds(space.build(architecture, task), task)


def test_one_key_names_one_piece() -> None:
    space, rng = MnasSpace(0.25), random.Random(0)
    known: dict[str, Piece] = {}
    for _ in range(50):
        for piece in space.pieces(random_architecture(space, rng), Task(1, 28, 10)):
            assert known.setdefault(piece.key, piece) == piece


def test_keys_say_what_is_not_usual() -> None:
    skeleton = replace(SMALL, activation="relu6", same_padding=True, head=0)
    space = MnasSpace(skeleton=skeleton)
    blocks = [BlockChoices("dconv", 3, 0.0, "none", 1.0, 0), BlockChoices("dconv", 3, 0.0, "none", 1.0, 0)]
    assert [piece.key for piece in space.pieces(space.architecture(blocks), Task(1, 65, 5))] == [
        "65x65 stem k3 s2 1>8 relu6 same",
        "33x33 dconv k3 s1 8>8 relu6",
        "33x33 dconv k3 s2 8>16 relu6 same",
        "17x17 head 16>5",
    ]
