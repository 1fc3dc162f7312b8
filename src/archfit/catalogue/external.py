"""Networks of other packages by name: `timm:NAME`, `torchvision:NAME`, `pytorchcv:NAME`."""

from __future__ import annotations

import importlib
import urllib.error
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from archfit.architecture import Task
from archfit.catalogue.reference import IMAGENET_STATISTICS
from archfit.errors import InputError, MissingExtraError, WeightsError, first_line, unknown_name
from archfit.nn.weights import load_into, read_weights

PACKAGES = ("timm", "torchvision", "pytorchcv")
_EXTRA = "catalogue"
_WITHOUT_HELPER = {"googlenet", "inception_v3"}
"""They train with helper heads unless told not to."""

_SHUFFLENETS = {"shufflenet_g3_w3d2": 1.5, "shufflenet_g3_w2": 2.0}
"""Widths that pytorchcv builds but has no name for."""


def is_external(name: str) -> bool:
    return name.partition(":")[0] in PACKAGES and ":" in name


def external_names(package: str) -> list[str]:
    """Every classifier that a package has. Raises `MissingExtraError` where it is not installed."""
    if package == "torchvision":
        from torchvision import models

        return sorted(models.list_models(module=models))
    if package == "timm":
        return sorted(_package("timm").list_models())
    if package == "pytorchcv":
        models = importlib.import_module(f"{_package('pytorchcv').__name__}.model_provider")._models
        return sorted([*models, *_SHUFFLENETS])
    raise unknown_name("package", package, PACKAGES)


def check_external(name: str) -> tuple[str, str]:
    """Package and network of a name. Raises `InputError` where the package has no such network."""
    package, _, model = name.partition(":")
    names = external_names(package)
    if model not in names:
        raise unknown_name(f"network of {package}", model, names)
    return package, model


def build_external(name: str, task: Task, *, imagenet: bool = False) -> nn.Module:
    """A network of another package for `task`: its first convolution and its classifier fit.

    Args:
        name: As "timm:mobilenetv3_small_100".
        task: Gives channels and classes; the image size is checked by `check_size`.
        imagenet: With the weights that the package publishes, downloaded where they are not there yet.

    Raises:
        InputError: The package has no such network.
        MissingExtraError: The package is not installed.
        WeightsError: There are no weights, or they cannot be fetched.
    """
    package, model = check_external(name)
    make = {"torchvision": _torchvision, "timm": _timm, "pytorchcv": _pytorchcv}[package]
    try:
        network = make(model, task, imagenet)
    except (urllib.error.URLError, OSError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
        if not imagenet:
            raise
        raise WeightsError(
            f"the ImageNet weights of {name} cannot be fetched ({first_line(error)}); fetch "
            f"{_address(package, model)} where there is a network, and give that file"
        ) from None
    return network


def timm_statistics(model: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel that timm's weights of a network expect."""
    found = _package("timm").get_pretrained_cfg(model)
    return (tuple(found.mean), tuple(found.std)) if found else IMAGENET_STATISTICS


def check_size(network: nn.Module, task: Task, name: str) -> None:
    """Raises `InputError` where images of the task are too small for the network."""
    training = network.training
    network.eval()
    sizes: list[int] = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: sizes.append(int(out.shape[-1])))
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)
    ]
    try:
        with torch.no_grad():
            network(torch.zeros(1, task.channels, task.image_size, task.image_size))
        too_small = ""
    except (RuntimeError, ValueError, AssertionError) as error:
        too_small = first_line(error)
    finally:
        for hook in hooks:
            hook.remove()
        network.train(training)
    if too_small:
        raise InputError(
            f"{name} does not take images of {task.image_size} pixels ({too_small}); "
            "raise --image-size, as to 96 or 224"
        )
    if sizes and task.image_size > 1 and sizes[-1] <= 1:
        raise InputError(
            f"images of {task.image_size} pixels are too small for {name}: its last feature map is 1x1; "
            "raise --image-size, as to 64 or 96"
        )


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtraError(name, _EXTRA) from None


def _torchvision(model: str, task: Task, imagenet: bool) -> nn.Module:
    from torchvision import models

    helper: dict[str, Any] = {"aux_logits": False, "init_weights": True} if model in _WITHOUT_HELPER else {}
    network: nn.Module = models.get_model(model, weights=None, num_classes=task.classes, **helper)
    if task.channels != 3:
        _replace_first(network, task.channels)
    if imagenet:
        take_over(network, models.get_model(model, weights="DEFAULT").state_dict(), model)
    return network


def _timm(model: str, task: Task, imagenet: bool) -> nn.Module:
    timm = _package("timm")
    network: nn.Module = timm.create_model(model, pretrained=imagenet, num_classes=task.classes, in_chans=task.channels)
    return network


def _pytorchcv(model: str, task: Task, imagenet: bool) -> nn.Module:
    provider = importlib.import_module(f"{_package('pytorchcv').__name__}.model_provider")
    fitting = {"num_classes": task.classes, "in_channels": task.channels}
    if model in _SHUFFLENETS:
        if imagenet:
            raise WeightsError(f"nobody publishes ImageNet weights of pytorchcv:{model}; leave --weights out")
        make = importlib.import_module("pytorchcv.models.shufflenet").get_shufflenet
        shufflenet: nn.Module = make(3, _SHUFFLENETS[model], **fitting)
        return shufflenet
    network: nn.Module = provider.get_model(model, **fitting)
    if imagenet:
        # Its own way of loading executes what is in the file.
        store = importlib.import_module("pytorchcv.models.common.model_store")
        take_over(network, read_weights(Path(store.get_model_file(model))), model)
    return network


def take_over(network: nn.Module, published: Mapping[str, Tensor], name: str) -> None:
    """Fills a network with published weights; those of parts that it does without, as helper heads, are left out."""
    load_into(network, {key: published[key] for key in network.state_dict() if key in published}, name)


def _replace_first(network: nn.Module, channels: int) -> None:
    """A new first convolution for other image channels."""
    for parent in network.modules():
        for name, old in parent.named_children():
            if isinstance(old, nn.Conv2d):
                like: dict[str, Any] = {key: getattr(old, key) for key in ("kernel_size", "stride", "padding")}
                setattr(parent, name, nn.Conv2d(channels, old.out_channels, bias=old.bias is not None, **like))
                return


def _address(package: str, model: str) -> str:
    """Where the weights lie."""
    if package == "torchvision":
        from torchvision import models

        return str(models.get_model_weights(model).DEFAULT.url)
    if package == "timm":
        found = _package("timm").get_pretrained_cfg(model)
        place = (found.hf_hub_id and f"https://huggingface.co/{found.hf_hub_id}") or found.url if found else None
        return str(place or f"the weights of {model}")
    return f"the weights of {model} (github.com/osmr/pytorchcv)"
