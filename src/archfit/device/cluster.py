"""Nodes of a Ray cluster as a device."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import Any

from torch import nn

from archfit.cost import Latency
from archfit.device.local import LocalDevice
from archfit.device.protocol import Quiet
from archfit.errors import DeviceError, InputError

MARK = "archfit_device"
"""Ray's resource that a node has by `ray start --num-cpus 0 --resources '{"archfit_device": 1}'`."""


class ClusterDevice:
    """Networks timed on the marked nodes of a Ray cluster, one at a time on each; no candidate is trained there.

    Args:
        ray: The module, connected to the cluster.
        nodes: Their ids in Ray.

    Raises:
        InputError: The nodes are not of one kind, or have cores on which candidates would be trained.
    """

    name = "ray"

    def __init__(self, ray: Any, nodes: list[str]) -> None:
        self._ray = ray
        self._asked = cache(lambda runtime: self._run(_runtime_label, runtime))
        kinds = {node: self._run(_kind, node=node) for node in nodes}
        self._description: str = kinds[nodes[0]][0]
        self._fingerprint: str = kinds[nodes[0]][1]
        if len({fingerprint for _, fingerprint in kinds.values()}) > 1:
            shown = "; ".join(sorted({description for description, _ in kinds.values()}))
            raise InputError(f"the nodes marked {MARK} are of several kinds ({shown}); mark those of one kind")

    @classmethod
    def found(cls, ray: Any) -> ClusterDevice | None:
        """That of the cluster, if it has marked nodes."""
        marked = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get(MARK)]
        for node in marked:
            if cores := node["Resources"].get("CPU"):
                raise InputError(
                    f"the node {node['NodeManagerAddress']} is marked {MARK} and has {cores:g} CPUs for candidates, "
                    "which would disturb what is timed; start it with --num-cpus 0"
                )
        return cls(ray, [node["NodeID"] for node in marked]) if marked else None

    def describe(self) -> str:
        return self._description

    def fingerprint(self) -> str:
        return self._fingerprint

    def runtime_label(self, runtime: str) -> str:
        label: str = self._asked(runtime)
        return label

    def measure(
        self,
        model: bytes,
        module: nn.Module | None,
        *,
        runtime: str,
        threads: int = 1,
        quiet: Quiet = nullcontext,
    ) -> Latency:
        del quiet  # what the caller could pause does not run there
        latency: Latency = self._run(_measure, model, module, runtime, threads)
        return latency

    def _run(self, function: Callable[..., Any], *arguments: Any, node: str | None = None) -> Any:
        options: dict[str, Any] = {"num_cpus": 0, "resources": {MARK: 1}, "max_retries": 2}
        if node is not None:
            affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
            options["scheduling_strategy"] = affinity(node, soft=False)
        try:
            return self._ray.get(self._ray.remote(function).options(**options).remote(*arguments))
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            raise DeviceError(
                f"the nodes marked {MARK} did not answer: {str(error).strip().splitlines()[-1]}"
            ) from None


def _kind() -> tuple[str, str]:
    device = LocalDevice()
    return device.describe().replace(device.name, ClusterDevice.name, 1), device.fingerprint()


def _runtime_label(runtime: str) -> str:
    return LocalDevice().runtime_label(runtime)


def _measure(model: bytes, module: nn.Module | None, runtime: str, threads: int) -> Latency:
    import torch

    torch.set_num_threads(1)
    return LocalDevice().measure(model, module, runtime=runtime, threads=threads)
