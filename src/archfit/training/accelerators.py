"""What this machine has to train on."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

from archfit.errors import InputError, unknown_name

ACCELERATORS = ("auto", "cpu", "cuda", "mps")


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_accelerator(name: str) -> str:
    """`name` as Lightning takes it. Raises `InputError` for an unknown or absent one."""
    if name not in ACCELERATORS:
        raise unknown_name("accelerator", name, ACCELERATORS)
    present: dict[str, Callable[[], bool]] = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if name in present and not present[name]():
        raise InputError(f"accelerator {name!r} is not available on this machine; use --accelerator cpu or auto")
    if name == "auto":
        return next((other for other, available in present.items() if available()), "cpu")
    return name


def check_devices(accelerator: str, devices: int) -> None:
    """Raises `InputError` where the machine has fewer than `devices`: GPUs, or cores on the CPU."""
    if devices < 1:
        raise InputError(f"devices is {devices}; it must be at least 1")
    name = check_accelerator(accelerator)
    there = {"cuda": torch.cuda.device_count, "mps": lambda: 1, "cpu": available_cores}[name]()
    if devices > there:
        what = ("core" if name == "cpu" else "GPU") + ("" if there == 1 else "s")
        raise InputError(f"devices is {devices}; this machine has {there} {what} to train on")
