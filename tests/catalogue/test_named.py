from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from archfit.architecture import Task
from archfit.catalogue import (
    TABLES,
    build_named,
    identity,
    imagenet_network,
    in_published_order,
    published_figures,
)
from archfit.catalogue.external import build_external, take_over
from archfit.cost import count_params
from archfit.errors import ArchfitError, InputError, MissingExtraError, WeightsError
from archfit.nn.weights import load_into


@pytest.mark.parametrize(
    ("name", "params"),
    [
        # Documented by torchvision for 1,000 classes.
        ("torchvision:shufflenet_v2_x1_0", 2_278_604),
        ("torchvision:mobilenet_v3_small", 2_542_856),
        ("torchvision:densenet121", 7_978_856),
        # timm's results table: 2.54 M
        ("timm:mobilenetv3_small_100", 2_542_856),
    ],
)
def test_parameters_of_other_packages(name: str, params: int) -> None:
    if name.startswith("timm"):
        pytest.importorskip("timm")
    assert count_params(build_named(name, Task(3, 224, 1000))) == params


@pytest.mark.parametrize(
    "name", ["torchvision:mobilenet_v3_small", "torchvision:googlenet", "timm:mobilenetv3_small_100"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_and_classes_fit(name: str, channels: int) -> None:
    if name.startswith("timm"):
        pytest.importorskip("timm")
    network = build_named(name, Task(channels, 64, 7))
    assert network.training
    assert network.eval()(torch.randn(2, channels, 64, 64)).shape == (2, 7)


def test_images_too_small_for_a_network() -> None:
    with pytest.raises(
        InputError, match=r"images of 28 pixels are too small for torchvision:resnet18.*raise --image-size"
    ):
        build_named("torchvision:resnet18", Task(1, 28, 10))
    with pytest.raises(InputError, match=r"does not take images of 28 pixels .*raise --image-size"):
        build_named("torchvision:alexnet", Task(1, 28, 10))


def test_names_that_are_nearly_right() -> None:
    with pytest.raises(InputError, match="unknown network of torchvision 'resnet19'; did you mean 'resnet1"):
        build_named("torchvision:resnet19", Task(3, 64, 10))
    with pytest.raises(InputError, match="unknown reference 'mobilenet-v4'; did you mean 'mobilenet-v"):
        build_named("mobilenet-v4", Task(3, 64, 10))


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        MissingExtraError, match=r"timm is not installed; install it with: pip install 'archfit\[catalogue\]'"
    ):
        build_named("timm:mobilenetv3_small_100", Task(3, 64, 10))


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.error

    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(
        WeightsError, match=r"ImageNet weights of torchvision:mobilenet_v2 cannot be fetched.*https://.*give that file"
    ):
        imagenet_network("mobilenet-v2")
    with pytest.raises(WeightsError, match="nobody publishes ImageNet weights of proxylessnas-mobile"):
        imagenet_network("proxylessnas-mobile")


def test_pytorchcv_without_published_weights() -> None:
    pytest.importorskip("pytorchcv")
    task = Task(3, 64, 10)
    with pytest.raises(WeightsError, match="nobody publishes ImageNet weights of pytorchcv:shufflenet_g3_w2"):
        build_external("pytorchcv:shufflenet_g3_w2", task, imagenet=True)
    with pytest.raises(WeightsError, match="weights of pytorchcv:diaresnet20_cifar10 cannot be fetched"):
        build_external("pytorchcv:diaresnet20_cifar10", task, imagenet=True)


def test_pytorchcvs_weights_are_read_without_running_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    provider = pytest.importorskip("pytorchcv.model_provider")
    published = provider.get_model("squeezenet_v1_1").state_dict()
    file = tmp_path / "squeezenet.pth"
    monkeypatch.setattr("pytorchcv.models.common.model_store.get_model_file", lambda name: str(file))
    torch.save(published, file)
    network = build_external("pytorchcv:squeezenet_v1_1", Task(3, 64, 10), imagenet=True)
    first = "features.init_block.conv.weight"
    assert torch.equal(network.state_dict()[first], published[first])
    torch.save({"of any class": Task(3, 64, 10)}, file)
    with pytest.raises(WeightsError, match="could run code, and was not opened"):
        build_external("pytorchcv:squeezenet_v1_1", Task(3, 64, 10), imagenet=True)


def test_what_torchvision_publishes() -> None:
    figures = published_figures("torchvision:mobilenet_v3_small")
    assert (figures.params, figures.top1) == (2_542_856, 67.668)
    assert published_figures("timm:anything").params is None


@pytest.mark.parametrize(("name", "helpers"), [("squeezenet1_1", {}), ("googlenet", {"aux_logits": True})])
def test_published_weights_go_into_a_network_of_other_classes_and_channels(name: str, helpers: dict[str, bool]) -> None:
    torch.manual_seed(0)
    published = models.get_model(name, weights=None, **helpers, **({"init_weights": False} if helpers else {}))
    network = build_named(f"torchvision:{name}", Task(1, 224, 5))
    take_over(network, published.state_dict(), name)
    convolutions = [
        next(module for module in each.modules() if isinstance(module, nn.Conv2d)) for each in (network, published)
    ]
    torch.testing.assert_close(convolutions[0].weight, convolutions[1].weight.sum(1, keepdim=True))
    middle = list(network.state_dict())[20]
    assert torch.equal(network.state_dict()[middle], published.state_dict()[middle])


def test_a_safetensors_file_with_foreign_names_finds_its_order() -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("tf_efficientnet_lite0").state_dict()
    alphabetical = {name: theirs[name] for name in sorted(theirs)}
    assert list(in_published_order("efficientnet-lite0", alphabetical)) == list(theirs)
    network = build_named("efficientnet-lite0", Task(3, 64, 1000))
    load_into(network, in_published_order("efficientnet-lite0", alphabetical), "timm's")
    torch.testing.assert_close(network.state_dict()["head.0.weight"], theirs["conv_head.weight"])


def test_identities_differ_where_networks_do() -> None:
    task = Task(3, 64, 10)
    assert identity("mobilenet-v2", task) != identity("mobilenet-v2-1.4", task)
    assert identity("timm:a", task) != identity("torchvision:a", task)


@pytest.mark.parametrize("row", TABLES["mnasnet"], ids=lambda row: row.label)
def test_rows_of_the_paper_build(row: object) -> None:
    name, published = row.name, row.published  # type: ignore[attr-defined]
    if ":" in name:
        pytest.importorskip(name.partition(":")[0])
    try:
        network = build_named(name, Task(3, 224, 1000))
    except ArchfitError as error:
        pytest.fail(str(error))
    if published.params is not None and name != "mobilenet-v2-1.4":  # see its note
        assert count_params(network) == pytest.approx(published.params, rel=0.1)
