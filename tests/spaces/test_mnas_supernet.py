from __future__ import annotations

import copy
import random
from dataclasses import replace

import pytest
import torch
from torch import nn

from archfit.architecture import Task, random_architecture
from archfit.cost import count_params
from archfit.errors import InputError
from archfit.nn.mbconv import Layer
from archfit.spaces import MNAS_SKELETON, BlockChoices, MnasSpace, SharedSpace, Skeleton, WarmMnasSpace
from archfit.spaces.mnas_supernet import MnasSupernet
from archfit.testing import check_supernet

TASK = Task(1, 12, 4)
SMALL = Skeleton(stem=8, filters=(8, 8, 12), layers=(1, 2, 1), strides=(1, 2, 1), head=16)
FASHION = MnasSpace(0.42, skeleton=replace(MNAS_SKELETON, layers=(1, 1, 2, 3, 2, 2, 1)))
PLAIN = BlockChoices("dconv", 3, 0.0, "none", 1.0, 0)


@pytest.mark.parametrize(
    "space",
    [
        MnasSpace(skeleton=SMALL),
        MnasSpace(skeleton=replace(SMALL, head=0)),
        MnasSpace(skeleton=SMALL, searched_blocks=(2,)),
        MnasSpace(skeleton=SMALL, ops=("separable", "mbconv3"), kernels=(5, 1, 7)),
        MnasSpace(skeleton=replace(SMALL, activation="hswish")),
    ],
    ids=["small", "no head", "one block", "other ops", "hswish"],
)
def test_small_spaces_conform(space: MnasSpace) -> None:
    check_supernet(space, TASK, samples=12)


def test_tensorflows_padding_conforms() -> None:
    skeleton = replace(SMALL, strides=(2, 2, 1), same_padding=True)
    check_supernet(MnasSpace(skeleton=skeleton), Task(3, 67, 4), samples=6)


def test_the_space_of_fashion_mnist_conforms() -> None:
    check_supernet(FASHION, Task(1, 28, 10), samples=5)


def test_parameters_by_hand() -> None:
    skeleton = Skeleton(stem=4, filters=(4, 8), layers=(1, 1), strides=(1, 1), head=16)
    space = MnasSpace(skeleton=skeleton, ops=("dconv",))
    # stem 9*1*4 + 2*4 = 44; both blocks may have 2 layers, of 4*1.25 -> 8 and 8*1.25 -> 12 filters
    # a layer: depthwise 25*i, bn 2*i, SE to i/4: 2*i*i/4 + i/4 + i, pointwise i*o, bn 2*o
    # 4>8: 100 + 8 + 8+1+4 + 32 + 16 = 169, 8>8: 200 + 16 + 32+2+8 + 64 + 16 = 338
    # 8>12: 200 + 16 + 42 + 96 + 24 = 378, 12>12: 300 + 24 + 72+3+12 + 144 + 24 = 579
    # head 12*16 + 2*16 = 224, classifier 16*5 + 5 = 85
    assert count_params(space.supernet(Task(1, 8, 5))) == 44 + 169 + 338 + 378 + 579 + 224 + 85


def test_blocks_left_out_hand_wider_inputs_on() -> None:
    space = MnasSpace(skeleton=replace(SMALL, filters=(24, 8, 12), strides=(1, 1, 1), layers=(1, 1, 1)))
    most, outputs = space.largest(TASK)
    # 24 * 1.25 rounds to 32 (4 * round(7.5)); block 2 may be left out, so that block 3 gets them too, and the head
    assert [layer.inputs for block in most for layer in block] == [8, 32, 32, 12, 32, 16]
    assert outputs == 32


def test_kernel_3_is_the_centre_of_kernel_5() -> None:
    space = MnasSpace(skeleton=SMALL)
    supernet = space.supernet(TASK)
    small, large = (
        supernet.cut(space.architecture([PLAIN._replace(op="conv", kernel=kernel), PLAIN, PLAIN])) for kernel in (3, 5)
    )
    kernels = [first(network.layers[0]) for network in (small, large)]
    assert kernels[1].shape[-1] == 5
    assert torch.equal(kernels[0], kernels[1][..., 1:4, 1:4])


def first(layer: nn.Module) -> torch.Tensor:
    assert isinstance(layer, Layer)
    weight = layer.body[0].weight
    assert isinstance(weight, torch.Tensor)
    return weight


def test_a_step_reaches_its_path_alone() -> None:
    space = MnasSpace(skeleton=SMALL)
    supernet = space.supernet(TASK)
    chosen = BlockChoices("mbconv3", 3, 0.0, "none", 0.75, 0)
    supernet(torch.randn(2, 1, 12, 12), space.architecture([chosen, chosen, chosen])).sum().backward()
    reached = {
        name
        for name, module in supernet.named_modules()
        if any(weight.grad is not None for weight in module.parameters(recurse=False))
    }
    parts = ("expand", "depthwise", "out")
    layers = {f"blocks.{place}.ops.mbconv.{part}" for place in ("0.0", "1.0", "1.1", "2.0") for part in parts}
    convolutions = {"stem", *layers, "head"}
    assert reached == {f"{name}.{leaf}" for name in convolutions for leaf in ("convolution", "norm")} | {"classifier"}
    depthwise = dict(supernet.named_parameters())["blocks.0.0.ops.mbconv.depthwise.convolution.weight"]
    assert depthwise.grad is not None
    # 8 inputs times 3 of 8 times 6, and the centre
    depthwise.grad[:24, :, 1:4, 1:4] = 0
    assert not depthwise.grad.any()


def test_the_random_state_moves_by_building_alone() -> None:
    space = MnasSpace(skeleton=SMALL)
    architecture = space.canonical(random_architecture(space, random.Random(1)), TASK)
    torch.manual_seed(0)
    supernet = space.supernet(TASK)
    torch.manual_seed(0)
    for name, weight in space.supernet(TASK).state_dict().items():
        assert torch.equal(weight, supernet.state_dict()[name])
    images = torch.randn(2, 1, 12, 12)
    before = torch.get_rng_state()
    supernet(images, architecture)
    space.pieces(architecture, TASK)
    assert torch.equal(torch.get_rng_state(), before)
    space.build(architecture, TASK)
    built = torch.get_rng_state()
    torch.set_rng_state(before)
    supernet.cut(architecture)
    assert torch.equal(torch.get_rng_state(), built)


def test_what_is_cut_is_a_copy() -> None:
    space = MnasSpace(skeleton=SMALL)
    supernet = space.supernet(TASK)
    network = supernet.cut(space.architecture([PLAIN, PLAIN, PLAIN]))
    nn.init.zeros_(network.classifier.weight)
    assert supernet.classifier.weight.all()


def test_a_copy_runs_alike() -> None:
    space = MnasSpace(skeleton=SMALL)
    supernet, images = space.supernet(TASK), torch.randn(2, 1, 12, 12)
    architecture = space.architecture([PLAIN, PLAIN, PLAIN])
    logits = supernet(images, architecture)
    assert torch.equal(copy.deepcopy(supernet)(images, architecture), logits)


def test_paths_are_of_the_space() -> None:
    supernet = MnasSpace(skeleton=SMALL).supernet(TASK)
    assert isinstance(supernet, MnasSupernet)
    other = FASHION.architecture([PLAIN] * 7)
    with pytest.raises(InputError, match=r"block4\.op"):
        supernet(torch.randn(2, 1, 12, 12), other)


def test_networks_that_inherit_do_not_share() -> None:
    assert isinstance(FASHION, SharedSpace)
    assert not isinstance(WarmMnasSpace(), SharedSpace)
