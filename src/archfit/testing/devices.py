"""What every device must do; call `check_device` from a test of your own device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from archfit.architecture import Task
from archfit.device import Device, export_candidate
from archfit.errors import InputError

_TASK = Task(channels=3, image_size=32, classes=4)


def check_device(device: Device, *, runtime: str = "onnxruntime") -> None:
    """Measures two small networks, about two seconds on a desktop machine.

    Args:
        runtime: One that the device has.

    Raises:
        AssertionError: The device breaks the contract of `archfit.device.Device`; the message says where.
    """
    assert isinstance(device, Device), f"{device!r} lacks a member of archfit.device.Device"
    assert device.name, "name is empty"
    assert device.describe(), "describe() is empty"
    assert device.fingerprint() == device.fingerprint() != "", "fingerprint() must be stable and not empty"
    assert runtime in device.runtime_label(runtime), "runtime_label() must hold the runtime's name"

    small, large = _network(4), _network(64)
    entered: list[str] = []

    @contextlib.contextmanager
    def quiet() -> Iterator[None]:
        entered.append("in")
        yield
        entered.append("out")

    fast = device.measure(export_candidate(small, _TASK), small, runtime=runtime, threads=1, quiet=quiet)
    assert entered == ["in", "out"], f"quiet must be entered and left once around the timed part, not {entered}"
    slow = device.measure(export_candidate(large, _TASK), large, runtime=runtime, threads=1)
    for latency in (fast, slow):
        assert 0 < latency.p10_ms <= latency.p50_ms <= latency.p90_ms, f"quantiles are out of order: {latency}"
        assert latency.spread >= 0, f"spread is negative: {latency}"
        assert latency.runs >= 1, f"no run stands behind {latency}"
        assert (latency.threads, latency.batch) == (1, 1), f"measured otherwise than asked: {latency}"
        assert latency.device, f"device is empty: {latency}"
        assert latency.runtime == device.runtime_label(runtime), f"runtime differs from runtime_label(): {latency}"
    assert fast.p50_ms < slow.p50_ms, f"a network of 256 times the multiply-adds is not slower: {fast}, {slow}"

    try:
        device.measure(export_candidate(small, _TASK), small, runtime="no-such-runtime")
    except InputError:
        return
    raise AssertionError("an unknown runtime must raise InputError")


def _network(width: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4)).eval()
