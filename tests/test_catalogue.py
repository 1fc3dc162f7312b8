from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from archfit.architecture import Task
from archfit.catalogue import REFERENCES, get_reference
from archfit.cost import count_madds, count_params
from archfit.errors import InputError
from archfit.spaces import MnasSpace

IMAGENET = Task(channels=3, image_size=224, classes=1000)
TIMM_NAMES = {"mnasnet-a1": "semnasnet_100", "mnasnet-b1": "mnasnet_100", "mnasnet-small": "mnasnet_small"}


def randomise(module: nn.Module) -> None:
    """Weights that keep the signal, and batch norm statistics far from 0 and 1, so that a misplaced one shows."""
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith(("running_var", "weight")) and value.dim() == 1:
                value.uniform_(0.5, 1.5)
            elif value.dim() == 1:
                value.uniform_(-0.5, 0.5)
            elif value.dim() > 1:
                value.normal_(0.0, (2.0 / value[0].numel()) ** 0.5)


def tensors(module: nn.Module) -> list[Tensor]:
    return [value for name, value in module.state_dict().items() if not name.endswith("num_batches_tracked")]


def assert_same_network(ours: nn.Module, theirs: nn.Module) -> None:
    """Equal tensors in order and shape, and equal logits once ours has their values."""
    torch.manual_seed(0)
    randomise(theirs)
    assert [value.shape for value in tensors(ours)] == [value.shape for value in tensors(theirs)]
    assert count_params(ours) == count_params(theirs)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = theirs.eval()(images)
        before = ours.eval()(images)
        for mine, value in zip(tensors(ours), tensors(theirs), strict=True):
            mine.copy_(value)
        logits = ours(images)
    assert expected.std() > 0.1
    assert (before - expected).abs().max() > 0.1
    assert (logits - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", REFERENCES)
def test_equals_timms(name: str) -> None:
    timm = pytest.importorskip("timm")
    assert_same_network(get_reference(name).build(IMAGENET), timm.create_model(TIMM_NAMES[name], pretrained=False))


def test_b1_equals_torchvisions() -> None:
    from torchvision.models import mnasnet1_0

    ours = get_reference("mnasnet-b1").build(IMAGENET)
    # torchvision documents 4,383,312 parameters for mnasnet1_0
    assert count_params(ours) == 4_383_312
    assert_same_network(ours, mnasnet1_0(weights=None))


@pytest.mark.parametrize("name", REFERENCES)
def test_figures_are_the_published_ones(name: str) -> None:
    reference = get_reference(name)
    network = reference.build(IMAGENET)
    # Published with two digits for parameters, three for multiply-adds.
    assert count_params(network) == pytest.approx(reference.published_params, rel=0.02)
    if reference.published_madds is not None:
        assert count_madds(network, IMAGENET) == pytest.approx(reference.published_madds, rel=0.01)


def test_squeeze_excite_reduces_from_the_layers_input() -> None:
    network = get_reference("mnasnet-a1").build(IMAGENET)
    reduced = [module.out_channels for name, module in network.named_modules() if name.endswith(".reduce")]
    # Block 3: 24, 40, 40 inputs; block 5: 80, 112; block 6: 112, 160, 160; a quarter of each.
    assert reduced == [6, 10, 10, 20, 28, 28, 40, 40]


@pytest.mark.parametrize("name", ["mnasnet-a1", "mnasnet-b1"])
def test_a1_and_b1_are_canonical_points_of_the_default_space(name: str) -> None:
    reference = get_reference(name)
    assert reference.space == MnasSpace()
    assert reference.space.canonical(reference.architecture, IMAGENET) == reference.architecture


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("task", [Task(1, 28, 10), Task(3, 64, 7)], ids=["grey28", "rgb64"])
def test_builds_for_small_tasks(name: str, task: Task) -> None:
    network = get_reference(name).build(task).eval()
    with torch.no_grad():
        assert network(torch.randn(1, task.channels, task.image_size, task.image_size)).shape == (1, task.classes)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown reference 'mnasnet-a2'; did you mean 'mnasnet-"):
        get_reference("mnasnet-a2")
