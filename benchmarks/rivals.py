"""Published networks with the small-input rule, at the widest that meets a budget: what a user would otherwise ship."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision.models import mobilenetv3, shufflenetv2

from archfit.architecture import Task
from archfit.catalogue import get_reference
from archfit.cost import Cost
from archfit.spaces import MnasSpace

WIDTHS = (2.0, 1.75, 1.5, 1.25, 1.0, 0.85, 0.75, 0.6, 0.5, 0.42, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05)


def small_strides(network: nn.Module, task: Task) -> None:
    """Sets strides to 1 from the first layer on until the last feature map is at least 4x4, in place."""
    strided = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.MaxPool2d) and _stride(m) > 1]
    # ShuffleNetV2 strides both branches of a unit at once: the second one is no further reduction.
    steps: list[list[nn.Module]] = []
    seen: set[str] = set()
    names = {id(m): name for name, m in network.named_modules()}
    for module in strided:
        unit = names[id(module)].split(".branch")[0]
        if unit in seen and ".branch" in names[id(module)]:
            steps[-1].append(module)
        else:
            steps.append([module])
        seen.add(unit)
    size, total = task.image_size, len(steps)
    drop = next(count for count in range(total + 1) if -(-size // 2 ** (total - count)) >= min(4, size))
    for modules in steps[:drop]:
        for module in modules:
            module.stride = 1 if isinstance(module, nn.MaxPool2d) else (1, 1)  # type: ignore[assignment]


def _stride(module: nn.Module) -> int:
    stride = module.stride
    return int(stride[0] if isinstance(stride, tuple) else stride)


def _first_channels(network: nn.Module, channels: int) -> None:
    """Replaces the first convolution by one for other input channels, in place."""
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Conv2d):
                if child.in_channels != channels:
                    new = nn.Conv2d(
                        channels,
                        child.out_channels,
                        child.kernel_size,
                        child.stride,
                        child.padding,
                        bias=False,  # type: ignore[arg-type]
                    )
                    setattr(parent, name, new)
                return


def mobilenet_v3_small(task: Task, width: float) -> nn.Module:
    """torchvision's, at any width."""
    settings, last = mobilenetv3._mobilenet_v3_conf("mobilenet_v3_small", width_mult=width)
    network = mobilenetv3.MobileNetV3(settings, last, num_classes=task.classes, dropout=0.0)
    _first_channels(network, task.channels)
    small_strides(network, task)
    return network


def shufflenet_v2(task: Task, width: float) -> nn.Module:
    """torchvision's; channels of x1_0 times the width, its last layer of 1024 too below 1."""
    stages = [max(4, 2 * round(channels * width / 2)) for channels in (24, 116, 232, 464)]
    last = round(1024 * min(1.0, max(width, 0.25)))
    network = shufflenetv2.ShuffleNetV2([4, 8, 4], [*stages, last], num_classes=task.classes)
    _first_channels(network, task.channels)
    small_strides(network, task)
    return network


def mnasnet_small(task: Task, width: float) -> nn.Module:
    """Ours, which is timm's, at any width."""
    reference = get_reference("mnasnet-small")
    space = reference.space
    assert isinstance(space, MnasSpace)
    scaled = MnasSpace(width, space.searched_blocks, space.skeleton)
    return scaled.build(reference.architecture, task)


RIVALS: dict[str, Callable[[Task, float], nn.Module]] = {
    "mnasnet-small": mnasnet_small,
    "mobilenet-v3-small": mobilenet_v3_small,
    "shufflenet-v2": shufflenet_v2,
}


def widest_within(
    name: str, task: Task, measure: Callable[[nn.Module], Cost], latency_ms: float
) -> tuple[float, Cost, Callable[[], nn.Module]]:
    """The widest variant whose measured latency holds the bound: (width, cost, builder)."""
    for width in WIDTHS:
        network = RIVALS[name](task, width)
        cost = measure(network)
        if cost.latency is not None and cost.latency.p50_ms <= latency_ms:
            return width, cost, partial(RIVALS[name], task, width)
    raise SystemExit(f"{name} does not meet {latency_ms} ms at any width")
