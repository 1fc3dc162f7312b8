"""The cost of networks on the device of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import nn

from archfit.architecture import Architecture, SearchSpace
from archfit.cost import Budget, Cost
from archfit.data import ImageData
from archfit.deploy import export_network
from archfit.device import CostCache, Device, Effort, LocalDevice, cost_key, measure_cost, measure_deployed
from archfit.study.search import over_limit

QUICK = Effort(least_s=0.06, most_s=0.12, quiet_rounds=8, tolerance=0.03)
"""Enough to say on which side of a budget a random member of a space lies."""


class CostMeter:
    """Measures candidates from memory, and networks in the form in which they are deployed.

    Args:
        device: Where.
        runtime: Name of what executes them.
        threads: Of the runtime.
        data: Gives input, preprocessing and classes.
        budget: A candidate far past it is not timed.
        prune_above: How far.
        quiet: Entered while something is timed, so that nothing trains meanwhile.
        version: Of archfit, for the file's metadata.
        cache: Of earlier measurements.
    """

    def __init__(
        self,
        device: Device,
        *,
        runtime: str,
        threads: int,
        data: ImageData,
        budget: Budget,
        prune_above: float,
        quiet: Callable[[], AbstractContextManager[None]],
        version: str,
        cache: CostCache | None = None,
    ) -> None:
        self.quiet = quiet
        self._device = device
        self._quick = LocalDevice(effort=QUICK) if isinstance(device, LocalDevice) else device
        self._runtime = runtime
        self._threads = threads
        self._data = data
        self._budget = budget
        self._prune_above = prune_above
        self._version = version
        self._cache = cache or CostCache()

    def candidate(self, space: SearchSpace, architecture: Architecture) -> Cost:
        """Cost of an architecture, from the cache where it was measured before."""
        return self._measure(self._device, space, architecture)

    def sample(self, space: SearchSpace, architecture: Architecture) -> Cost:
        """The same with a latency that took less time; it has its own place in the cache."""
        return self._measure(self._quick, space, architecture, effort="quick")

    def _measure(self, device: Device, space: SearchSpace, architecture: Architecture, **key_parts: str) -> Cost:
        key = self._key(device, space, architecture, **key_parts)
        if (known := self._cache.get(key)) is not None:
            return known
        return measure_cost(
            build_seeded(space, architecture, self._data),
            self._data.task,
            device,
            runtime=self._runtime,
            threads=self._threads,
            quiet=self.quiet,
            cache=self._cache,
            key=key,
            stop_if=lambda cost: over_limit(self._budget, cost, self._prune_above) is not None,
        )

    def _key(self, device: Device, space: SearchSpace, architecture: Architecture, **parts: str) -> str:
        return cost_key(
            device,
            self._data.task,
            runtime=self._runtime,
            threads=self._threads,
            architecture=architecture.to_json(),
            space=space.settings(),
            **parts,
        )

    def deployed(self, space: SearchSpace, architecture: Architecture) -> Cost:
        """Cost of an architecture in the form in which it would be deployed, from the cache if it is there."""
        key = self._key(self._device, space, architecture, form="deployed")
        if (known := self._cache.get(key)) is not None:
            return known
        cost = self.exported(build_seeded(space, architecture, self._data))
        self._cache.put(key, cost)
        return cost

    def exported(self, network: nn.Module) -> Cost:
        """Cost of a network exported with its preprocessing, measured anew."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            export_network(path, network, self._data, version=self._version)
            return self.file(path, network)

    def file(self, path: Path, network: nn.Module) -> Cost:
        """Cost of an exported file, measured anew; parameters and multiply-adds are those of its module."""
        return measure_deployed(
            path,
            network,
            self._data.task,
            self._device,
            runtime=self._runtime,
            threads=self._threads,
            quiet=self.quiet,
        )


def build_seeded(space: SearchSpace, architecture: Architecture, data: ImageData) -> nn.Module:
    """A network for measuring: always the same weights, torch's global generator as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return space.build(architecture, data.task)
