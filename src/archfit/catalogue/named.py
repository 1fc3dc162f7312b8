"""Any network by name: a reference of ours, or one of another package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from typing import Any

import torch
from torch import Tensor, nn

from archfit.architecture import Task
from archfit.catalogue.external import build_external, check_external, check_size, is_external, timm_statistics
from archfit.catalogue.reference import IMAGENET_STATISTICS, Published
from archfit.catalogue.references import get_reference
from archfit.errors import MissingExtraError, WeightsError


def build_named(name: str, task: Task, *, imagenet: bool = False) -> nn.Module:
    """A network with random weights, or with ImageNet's where its package publishes them.

    Args:
        name: As "mnasnet-a1", "mobilenet-v2-0.5", "timm:mobilenetv3_small_100".
        task: What it must take and give.
        imagenet: For networks of other packages: with their weights.

    Raises:
        ArchfitError: There is no such network, its package is missing, or images of the task are too small for it.
    """
    if not is_external(name):
        return get_reference(name).build(task)
    network = build_external(name, task, imagenet=imagenet)
    check_size(network, task, name)
    return network


def check_name(name: str) -> None:
    """Raises `InputError` for a name that stands for no network, with the nearest one."""
    if is_external(name):
        check_external(name)
    else:
        get_reference(name)


def identity(name: str, task: Task) -> dict[str, Any]:
    """What decides the network that a name stands for, as JSON: the parts `architecture` and `space` of a cache key."""
    if is_external(name):
        package = name.partition(":")[0]
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            version = ""
        return {"architecture": {"name": name}, "space": {"package": package, "version": version}}
    reference = get_reference(name)
    architecture = reference.space.canonical(reference.architecture, task)
    return {"architecture": architecture.to_json(), "space": reference.space.settings()}


def published_figures(name: str) -> Published:
    """What the authors, or torchvision for its weights, published; empty where nothing is known."""
    if not is_external(name):
        return get_reference(name).published
    package, _, model = name.partition(":")
    if package != "torchvision":
        return Published()
    from torchvision import models

    try:
        meta = models.get_model_weights(model).DEFAULT.meta
    except (ValueError, AttributeError):
        return Published()
    accuracy = meta.get("_metrics", {}).get("ImageNet-1K", {})
    operations = meta.get("_ops")
    return Published(
        params=meta.get("num_params"),
        madds=round(operations * 1e9) if operations else None,
        top1=accuracy.get("acc@1"),
        top5=accuracy.get("acc@5"),
        source="torchvision, its default weights",
    )


def imagenet_network(name: str) -> tuple[str, nn.Module]:
    """Where a reference's ImageNet weights are published, and that network with them, downloaded if need be.

    Raises:
        WeightsError: Nobody publishes them, or they cannot be fetched.
    """
    twin = get_reference(name).weights
    if not twin:
        raise WeightsError(f"nobody publishes ImageNet weights of {name}; give a file of your own")
    return twin, build_external(twin, Task(3, 224, 1000), imagenet=True)


def in_published_order(name: str, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A file's tensors in the order in which the network that publishes them has them, if the names are that one's.

    A `.safetensors` file keeps no order of its own, and foreign names find their places by order.

    Args:
        name: Of a reference.
        weights: Name -> tensor.
    """
    twin = get_reference(name).weights
    if not twin:
        return weights
    try:
        with torch.random.fork_rng(devices=()):
            names = build_external(twin, Task(3, 224, 1000)).state_dict()
    except MissingExtraError:
        return weights
    known = {key: weights[key] for key in names if key in weights}
    return known if len(known) == len(weights) else weights


def pretrained_statistics(name: str | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per RGB channel that pretrained weights of a network expect; ImageNet's where unknown."""
    if name is not None and not is_external(name):
        return get_reference(name).statistics
    if name is not None and name.startswith("timm:"):
        return timm_statistics(name.partition(":")[2])
    return IMAGENET_STATISTICS
