from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from archfit.architecture import Architecture, Option, Task, random_architecture, space_size
from archfit.cost import count_madds, count_params
from archfit.errors import InputError
from archfit.spaces import MNAS_SKELETON, BlockChoices, MnasSpace, Skeleton
from archfit.testing.spaces import check_space

TASK = Task(channels=3, image_size=32, classes=10)
PLAIN = BlockChoices("mbconv3", 3, 0.0, "none", 1.0, 0)


def with_blocks(space: MnasSpace, **changes: BlockChoices) -> Architecture:
    """PLAIN in every searched block but those given, as in `block3=...`."""
    assert space.searched_blocks is not None
    return space.architecture([changes.get(f"block{block}", PLAIN) for block in space.searched_blocks])


def test_size_is_the_papers() -> None:
    # 4 ops * 2 kernels * 2 SE ratios * 3 skips * 3 filters * 3 layers = 432
    assert space_size(MnasSpace(searched_blocks=(3,))) == 432
    assert space_size(MnasSpace(searched_blocks=(1, 2, 3, 4, 5))) == 432**5 == 15_045_919_506_432
    assert space_size(MnasSpace()) == 432**7


@pytest.mark.parametrize(
    "task", [TASK, Task(1, 28, 10), Task(1, 8, 2), Task(3, 65, 5)], ids=["rgb32", "grey28", "tiny8", "rgb65"]
)
def test_conforms(task: Task) -> None:
    check_space(MnasSpace(width=0.25), task, samples=3)


def test_part_of_the_blocks_conforms_at_full_width() -> None:
    check_space(MnasSpace(searched_blocks=(2, 5)), TASK, samples=2)


def test_only_the_first_layer_has_stride_and_new_channels() -> None:
    space = MnasSpace()
    architecture = with_blocks(space, block3=BlockChoices("conv", 5, 0.25, "identity", 1.25, 1))
    block = space.blocks(architecture, Task(3, 224, 10))[2]
    # 32 * 1.25 = 40 filters, 3 + 1 layers; the first cannot take the skip
    assert block == [("conv", 5, 2, 0.25, "none", 40)] + 3 * [("conv", 5, 1, 0.25, "identity", 40)]


def test_blocks_not_searched_are_mobilenet_v2s() -> None:
    space = MnasSpace(searched_blocks=(1,))
    blocks = space.blocks(with_blocks(space), Task(3, 224, 10))
    assert blocks[1] == [("mbconv6", 3, 2, 0.0, "none", 24), ("mbconv6", 3, 1, 0.0, "identity", 24)]
    space = MnasSpace(searched_blocks=(2,))
    assert space.blocks(with_blocks(space), TASK)[0] == [("dconv", 3, 1, 0.0, "none", 16)]


def same_network(space: MnasSpace, first: Architecture, second: Architecture, task: Task = TASK) -> bool:
    one, other = space.canonical(first, task), space.canonical(second, task)
    assert (one == other) == (space.literals(first, task) == space.literals(second, task))
    return one == other


def test_choices_of_an_absent_block_do_not_matter() -> None:
    space = MnasSpace()
    gone = with_blocks(space, block7=PLAIN._replace(layers=-1))
    also = with_blocks(space, block7=BlockChoices("conv", 5, 0.25, "pool", 1.25, -1))
    assert len(space.blocks(gone, TASK)[6]) == 0
    assert same_network(space, gone, also)
    assert space.canonical(also, TASK)["block7.op"] == "conv"
    assert space.canonical(gone, TASK)["block7.filters"] == 0.75
    assert not same_network(space, gone, with_blocks(space))


def test_identity_is_none_where_no_layer_can_take_it() -> None:
    space = MnasSpace()
    # One layer from 160 to 320 filters: never. Three layers from 64 to 96: two of them can.
    alone = with_blocks(space, block7=PLAIN._replace(skip="identity"))
    assert same_network(space, alone, with_blocks(space))
    assert space.canonical(alone, TASK)["block7.skip"] == "none"
    assert not same_network(space, with_blocks(space, block5=PLAIN._replace(skip="identity")), with_blocks(space))
    assert not same_network(space, with_blocks(space, block7=PLAIN._replace(skip="pool")), with_blocks(space))


def test_the_task_decides_whether_identity_fits() -> None:
    # Block 2 has one layer (2 - 1) of 16 filters (24 * 0.75) on block 1's 16; its stride is 2, and 1 for 32 pixels.
    space = MnasSpace()
    short = PLAIN._replace(filters=0.75, layers=-1, op="conv")
    none = with_blocks(space, block2=short)
    identity = with_blocks(space, block2=short._replace(skip="identity"))
    assert same_network(space, none, identity, Task(3, 224, 10))
    assert not same_network(space, none, identity, Task(3, 32, 10))


def test_a_strided_block_keeps_a_layer() -> None:
    skeleton = Skeleton(stem=8, filters=(8, 16), layers=(1, 1), strides=(1, 2))
    space = MnasSpace(skeleton=skeleton)
    task = Task(3, 224, 10)
    fewer = with_blocks(space, block2=PLAIN._replace(layers=-1))
    assert same_network(space, fewer, with_blocks(space), task)
    assert len(space.blocks(fewer, task)[1]) == 1


def test_layers_may_belong_to_either_of_two_like_blocks() -> None:
    # Blocks 4 (64) and 5 (96 * 0.75 = 64, stride 1): 4 + 1 and 3 - 1 layers are the same seven as 4 and 3.
    space = MnasSpace()
    shifted = with_blocks(space, block4=PLAIN._replace(layers=1), block5=PLAIN._replace(filters=0.75, layers=-1))
    even = with_blocks(space, block5=PLAIN._replace(filters=0.75))
    assert same_network(space, shifted, even)
    assert space.canonical(even, TASK)["block4.layers"] == -1
    other = with_blocks(space, block4=PLAIN._replace(layers=1), block5=PLAIN._replace(filters=0.75))
    assert not same_network(space, even, other)


def test_filters_that_round_alike_are_one() -> None:
    # 16 * 0.18 = 2.88 -> 4, and 4 * 0.75 cannot go below 4
    space = MnasSpace(width=0.18)
    assert same_network(space, with_blocks(space, block1=PLAIN._replace(filters=0.75)), with_blocks(space))
    assert space.canonical(with_blocks(space), TASK)["block1.filters"] == 0.75


def test_canonical_separates_networks_and_nothing_else() -> None:
    # A small space, so that a sample meets many equal networks.
    skeleton = Skeleton(stem=8, filters=(8, 8), layers=(1, 1), strides=(1, 1))
    space = MnasSpace(skeleton=skeleton)
    rng = random.Random(0)
    by_network: dict[str, set[str]] = {}
    for _ in range(3000):
        architecture = random_architecture(space, rng)
        canonical = space.canonical(architecture, TASK)
        by_network.setdefault(str(space.literals(architecture, TASK)), set()).add(canonical.id)
        assert space.literals(canonical, TASK) == space.literals(architecture, TASK)
    assert all(len(ids) == 1 for ids in by_network.values())
    assert len(set.union(*by_network.values())) == len(by_network) < 2500


def test_smaller_shortens_then_narrows_then_shortens_to_the_end() -> None:
    space: MnasSpace | None = MnasSpace()
    steps = []
    while space is not None:
        steps.append(space)
        space = space.smaller()
    widths = [1.0, 0.85, 0.7, 0.6, 0.5, 0.42, 0.35, 0.3, 0.25, 0.18]
    assert [step.width for step in steps] == [1.0, *widths, 0.18, 0.18]
    full, one_less = (1, 2, 3, 4, 3, 3, 1), (1, 1, 2, 3, 2, 2, 1)
    two_less, three_less = (1, 1, 1, 2, 1, 1, 1), (1, 1, 1, 1, 1, 1, 1)
    expected = [full, *[one_less] * len(widths), two_less, three_less]
    assert [step.skeleton.layers for step in steps] == expected
    # 1280 at each width from 0.25 up, to the nearest multiple of 4; never below 320.
    heads = [1280, 1088, 896, 768, 640, 536, 448, 384, 320, 320]
    assert [step.skeleton.head for step in steps] == [1280, *heads, 320, 320]
    madds = [sum(row.madds for row in step.layers(with_blocks(step), TASK)) for step in steps]
    assert all(after < before for before, after in pairwise(madds))


def test_smaller_of_another_activation_goes_the_same_steps() -> None:
    def steps(space: MnasSpace | None) -> list[tuple[float, tuple[int, ...]]]:
        found = []
        while space is not None:
            found.append((space.width, space.skeleton.layers))
            space = space.smaller()
        return found

    assert steps(MnasSpace(skeleton=replace(MNAS_SKELETON, activation="relu6"))) == steps(MnasSpace())


def test_smaller_of_an_odd_width_is_the_next_standard_one() -> None:
    assert MnasSpace(width=1.4).smaller() == MnasSpace(width=1.0)
    assert MnasSpace(width=0.43).smaller() == MnasSpace(0.42, skeleton=replace(MNAS_SKELETON, head=536))


def test_smaller_leaves_a_head_that_is_narrow_already() -> None:
    smaller = MnasSpace(0.5, skeleton=replace(MNAS_SKELETON, head=64)).smaller()
    assert smaller is not None
    assert smaller.skeleton.head == 64


def test_settings_restore_the_space() -> None:
    space = MnasSpace(0.5, (2, 4), Skeleton(8, (8, 8, 8, 8), (1, 1, 1, 2), (1, 2, 2, 1), 64, "hswish"))
    assert MnasSpace.from_settings(space.settings()) == space
    assert space.settings() != MnasSpace(0.5, (2, 4)).settings()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0.0}, r"width is 0\.0"),
        ({"width": float("nan")}, "width is nan"),
        ({"searched_blocks": ()}, "ascending numbers from 1 to 7"),
        ({"searched_blocks": (0, 1)}, "from 1 to 7"),
        ({"searched_blocks": (1, 8)}, "from 1 to 7"),
        ({"searched_blocks": (2, 1)}, "ascending"),
        ({"searched_blocks": (1, 1)}, "each once"),
    ],
)
def test_unusable_settings(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MnasSpace(**values)


@pytest.mark.parametrize(("choice", "option"), [("block1.op", "mbconv9"), ("block1.kernel", 7)])
def test_an_option_of_no_choice_is_refused(choice: str, option: Option) -> None:
    space = MnasSpace(searched_blocks=(1,))
    choices = tuple((name, option if name == choice else value) for name, value in with_blocks(space).choices)
    with pytest.raises(InputError, match=f"{choice} is"):
        space.build(Architecture("mnas", choices), TASK)


def test_layer_rows_add_up_to_the_network() -> None:
    space = MnasSpace(width=0.25)
    architecture = with_blocks(
        space, block1=PLAIN._replace(layers=-1), block3=BlockChoices("dconv", 5, 0.25, "pool", 1.0, -1)
    )
    before = torch.random.get_rng_state()
    rows = space.layers(architecture, TASK)
    assert torch.equal(before, torch.random.get_rng_state())
    network = space.build(architecture, TASK)
    assert sum(row.params for row in rows) == count_params(network)
    assert sum(row.madds for row in rows) == count_madds(network, TASK)
    assert [row.name for row in rows[:5]] == [
        "stem", "block 2 layer 1", "block 2 layer 2", "block 3 layer 1", "block 3 layer 2",
    ]  # fmt: skip
    # 32 pixels: stride 1 up to block 2, so block 3 halves to 16; 32 * 0.25 = 8 filters
    assert (rows[3].kind, rows[3].detail, rows[3].shape) == ("dconv", "5x5, stride 2, SE 0.25, pool skip", (8, 16, 16))
    assert [(row.name, row.kind, row.shape) for row in rows[-3:]] == [
        ("head", "conv", (1280, 4, 4)), ("pool", "pool", (1280,)), ("classifier", "linear", (10,)),
    ]  # fmt: skip
    assert rows[-1].madds == 12_800


def test_plain_networks_have_one_operation_throughout_from_large_to_small() -> None:
    space = MnasSpace(width=0.5, searched_blocks=(2, 3, 4))
    ladders = space.plain_networks(TASK)
    assert [ladder[0]["block3.op"] for ladder in ladders] == list(space.ops)
    for ladder in ladders:
        madds = [count_madds(space.build(network, TASK), TASK) for network in ladder]
        assert len(ladder) >= 3
        assert madds == sorted(madds, reverse=True)
        for network in ladder:
            assert len({network[f"block{block}.op"] for block in (2, 3, 4)}) == 1
            assert {network[f"block{block}.kernel"] for block in (2, 3, 4)} == {3}
        sizes = [[(network[f"block{n}.filters"], network[f"block{n}.layers"]) for n in (2, 3, 4)] for network in ladder]
        for larger, smaller in pairwise(sizes):
            assert sum(one != other for one, other in zip(larger, smaller, strict=True)) == 1, "a third of the blocks"
