from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from archfit.architecture import Task
from archfit.catalogue import REFERENCES, get_reference
from archfit.cost import count_madds, count_params
from archfit.errors import InputError
from archfit.spaces import MnasSpace

IMAGENET = Task(channels=3, image_size=224, classes=1000)
TIMM_NAMES = {
    "mnasnet-a1": "semnasnet_100",
    "mnasnet-b1": "mnasnet_100",
    "mnasnet-small": "mnasnet_small",
    "mnasnet-a1-0.75": "semnasnet_075",
    "mnasnet-b1-0.5": "mnasnet_050",
    "mobilenet-v1": "mobilenetv1_100",
    "mobilenet-v2": "mobilenetv2_100",
    "mobilenet-v2-0.5": "mobilenetv2_050",
    "mobilenet-v2-1.4": "mobilenetv2_140",
    "efficientnet-lite0": "tf_efficientnet_lite0",
    "efficientnet-lite1": "tf_efficientnet_lite1",
    "efficientnet-lite2": "tf_efficientnet_lite2",
    "efficientnet-lite3": "tf_efficientnet_lite3",
    "efficientnet-lite4": "tf_efficientnet_lite4",
}
TORCHVISION_NAMES = {"mnasnet-b1": "mnasnet1_0", "mobilenet-v2": "mobilenet_v2"}


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


@pytest.mark.parametrize("name", TIMM_NAMES)
def test_equals_timms(name: str) -> None:
    timm = pytest.importorskip("timm")
    assert_same_network(get_reference(name).build(IMAGENET), timm.create_model(TIMM_NAMES[name], pretrained=False))


@pytest.mark.parametrize("name", TORCHVISION_NAMES)
def test_equals_torchvisions(name: str) -> None:
    from torchvision.models import get_model

    ours = get_reference(name).build(IMAGENET)
    assert_same_network(ours, get_model(TORCHVISION_NAMES[name], weights=None))


def test_parameters_that_others_document() -> None:
    # torchvision documents 4,383,312 for mnasnet1_0 and 3,504,872 for mobilenet_v2; 4,652,008 is EfficientNet-Lite0's.
    counts = {name: count_params(get_reference(name).build(IMAGENET)) for name in ("mnasnet-b1", "mobilenet-v2")}
    assert counts == {"mnasnet-b1": 4_383_312, "mobilenet-v2": 3_504_872}
    assert count_params(get_reference("efficientnet-lite0").build(IMAGENET)) == 4_652_008
    # The authors' proxyless_mobile.
    assert count_params(get_reference("proxylessnas-mobile").build(IMAGENET)) == 4_080_512


@pytest.mark.parametrize("name", REFERENCES)
def test_figures_are_the_published_ones(name: str) -> None:
    reference = get_reference(name)
    published = reference.published
    task = Task(3, published.image_size, published.classes)
    network = reference.build(task)
    # Published with two digits for parameters, three for multiply-adds; what is further off says so.
    if name not in ("mobilenet-v2-1.4", "enas-cifar"):
        assert count_params(network) == pytest.approx(published.params, rel=0.035)
    if published.madds is not None and name != "darts":
        assert count_madds(network, task) == pytest.approx(published.madds, rel=0.06)


def test_proxylessnas_costs_what_its_authors_phone_table_says() -> None:
    """The sum over the blocks' entries of the published table is the latency that they give, 82.5 ms."""
    path = Path(os.environ.get("ARCHFIT_TABLES", "")) / "proxylessnas_mobile_trim.yaml"
    if not path.is_file():
        pytest.skip("ARCHFIT_TABLES is not a folder with proxylessnas_mobile_trim.yaml")
    entries = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):
            name = line.rstrip(":")
        elif line.strip().startswith("mean:"):
            entries[name] = float(line.split(":")[1])
    reference = get_reference("proxylessnas-mobile")
    total = sum(entries[key] for key in entries if key.startswith(("Conv-", "Conv_1-", "Logits-")))
    inputs, size = 32, 112
    for (spec,) in reference.space.blocks(reference.architecture, IMAGENET):
        # The table knows the stage of 56 pixels with 24 filters only; the published network has 32 there.
        spec = spec._replace(filters=24 if spec.filters == 32 else spec.filters)
        out = -(-size // spec.stride)
        expansion = {"dconv": 1, "mbconv3": 3, "mbconv6": 6}[spec.op]
        total += entries[
            f"expanded_conv-input:{size}x{size}x{inputs}-output:{out}x{out}x{spec.filters}-expand:{expansion}"
            f"-kernel:{spec.kernel}-stride:{spec.stride}-idskip:{int(spec.skip == 'identity')}"
        ]
        inputs, size = spec.filters, out
    assert total == pytest.approx(82.5, abs=0.1)


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
    with pytest.raises(InputError, match=r"unknown reference 'mnasnet-a11'; did you mean 'mnasnet-a1'"):
        get_reference("mnasnet-a11")
    with pytest.raises(InputError, match=r"unknown reference 'proxylessnas-mobile-0.5'"):
        get_reference("proxylessnas-mobile-0.5")


def test_widths() -> None:
    half = get_reference("mobilenet-v2-0.5")
    # 32, 16, 24, 32, 64, 96, 160, 320 halved to multiples of 8, never more than 10 % below: 12 -> 16. The head stays.
    assert (half.space.skeleton.stem, half.space.skeleton.filters) == (16, (8, 16, 16, 32, 48, 80, 160))
    assert half.space.skeleton.head == 1280
    with pytest.raises(InputError, match="width of mobilenet-v2 is 0"):
        get_reference("mobilenet-v2-0.0")
