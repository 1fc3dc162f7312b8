"""All costs of one network, the cheap ones first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

from torch import nn

from archfit.architecture import Task
from archfit.cost import Cost, count_madds, count_params
from archfit.device.cache import CostCache, cache_key
from archfit.device.export import as_deployed, export_candidate
from archfit.device.memory import peak_activation_bytes, weights_bytes
from archfit.device.protocol import Device, Quiet


def cost_key(device: Device, task: Task, *, runtime: str, threads: int, **parts: Any) -> str:
    """Key of a cost in the cache.

    Args:
        device: Where it is measured.
        task: What the network was built for.
        runtime: Name, as in "onnxruntime".
        threads: Of the runtime.
        parts: What else decides the cost: the architecture, its space, the form it is measured in.
    """
    return cache_key(
        task=asdict(task),
        runtime=device.runtime_label(runtime),
        threads=threads,
        batch=1,
        machine=device.fingerprint(),
        **parts,
    )


def measure_cost(
    module: nn.Module,
    task: Task,
    device: Device,
    *,
    runtime: str,
    threads: int = 1,
    quiet: Quiet = nullcontext,
    cache: CostCache | None = None,
    key: str | None = None,
    stop_if: Callable[[Cost], bool] | None = None,
    deployed: bytes | None = None,
) -> Cost:
    """Parameters and multiply-adds, then memory of the exported network, then its latency as it would be deployed.

    A runtime that executes modules (eager PyTorch) is given the module, without the preprocessing.

    Args:
        runtime: Name, as in "onnxruntime".
        quiet: Entered around the timed part alone.
        cache: Read before anything is determined; a complete cost is stored in it.
        key: Of this network in the cache, as of `cost_key`; without it the cache is not used.
        stop_if: Asked after the static costs, and again after memory: if it says yes, the cost so far is returned.
        deployed: The file that the module was exported to, serialised ONNX with the preprocessing inside; without it
            what is timed is as fast as that would be.

    Returns:
        A complete cost, or, when stopped, one without latency and perhaps without memory.

    Raises:
        DeviceError: The network cannot be exported, or the runtime cannot run it.
    """
    if cache is not None and key is not None and (known := cache.get(key)) is not None:
        return known
    cost = Cost(params=count_params(module), madds=count_madds(module, task))
    if stop_if is not None and stop_if(cost):
        return cost
    model = export_candidate(module, task)
    deployed = deployed or as_deployed(model)
    memory_bytes = peak_activation_bytes(model) + weights_bytes(model)
    cost = replace(cost, memory_bytes=memory_bytes, file_bytes=len(deployed))
    if stop_if is not None and stop_if(cost):
        return cost
    run = deployed if runtime == "onnxruntime" else model
    cost = replace(cost, latency=device.measure(run, module, runtime=runtime, threads=threads, quiet=quiet))
    if cache is not None and key is not None:
        cache.put(key, cost)
    return cost
