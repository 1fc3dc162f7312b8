"""The cost of networks on the device of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import nn

from archfit.architecture import Architecture, SearchSpace, Task
from archfit.cost import Budget, Cost, count_madds, count_params, counted
from archfit.data import ImageData
from archfit.device import (
    CostCache,
    Device,
    Effort,
    LocalDevice,
    cost_key,
    measure_cost,
    read_network,
)
from archfit.device.protocol import Quiet
from archfit.nn.seeded import build_seeded
from archfit.spaces import SharedSpace
from archfit.study.setup import over_limit

SAMPLING = "seconds_sampling"
"""Decision of a run: seconds of measuring networks that are no trials, for the account of the time."""
QUICK = Effort(least_s=0.06, most_s=0.12, quiet_rounds=8, tolerance=0.03)
"""Enough to say on which side of a budget a random member of a space lies."""


@dataclass(frozen=True)
class CandidateMeter:
    """Measures architectures from memory, each of them once on a machine.

    Attributes:
        device: Where.
        task: What networks are built for.
        runtime: Name of what executes them.
        threads: Of the runtime.
        cache: Of earlier measurements.
        quiet: Entered while something is timed.
        stop_if: As of `measure_cost`.
    """

    device: Device
    task: Task
    runtime: str
    threads: int
    cache: CostCache
    quiet: Quiet = nullcontext
    stop_if: Callable[[Cost], bool] | None = None

    def candidate(self, space: SearchSpace, architecture: Architecture) -> Cost:
        """Cost of an architecture, from the cache where it was measured before."""
        return self._measure(self.device, space, architecture)

    def sample(self, space: SearchSpace, architecture: Architecture) -> Cost:
        """The same with a latency that took less time; it has its own place in the cache."""
        return self._measure(self._quick, space, architecture, effort="quick")

    def key(self, space: SearchSpace, architecture: Architecture, **parts: str) -> str:
        """Of an architecture's cost in the cache; `parts` say what is special about it."""
        return cost_key(
            self.device,
            self.task,
            runtime=self.runtime,
            threads=self.threads,
            architecture=architecture.to_json(),
            space=space.settings(),
            **parts,
        )

    @cached_property
    def _quick(self) -> Device:
        return LocalDevice(cache=self.cache, effort=QUICK) if isinstance(self.device, LocalDevice) else self.device

    def _measure(self, device: Device, space: SearchSpace, architecture: Architecture, **key_parts: str) -> Cost:
        key = self.key(space, architecture, **key_parts)
        if (known := self.cache.get(key)) is not None:
            return known
        return measure_cost(
            build_seeded(space, architecture, self.task),
            self.task,
            device,
            runtime=self.runtime,
            threads=self.threads,
            quiet=self.quiet,
            cache=self.cache,
            key=key,
            stop_if=self.stop_if,
        )


class CostMeter:
    """Measures candidates from memory, and networks anew, all in the form in which they are deployed.

    Args:
        device: Where.
        runtime: Name of what executes them.
        threads: Of the runtime.
        data: Gives input and classes.
        budget: A candidate far past it is not timed.
        prune_above: How far.
        quiet: Entered while something is timed, so that nothing trains meanwhile.
        cache: Of earlier measurements.

    Attributes:
        sampling_seconds: Spent in `sample`.
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
        quiet: Quiet,
        cache: CostCache | None = None,
    ) -> None:
        self.quiet = quiet
        self.sampling_seconds = 0.0
        self._device = device
        self._runtime = runtime
        self._threads = threads
        self._data = data
        self._counts_suffice = bool(budget.names()) and {*budget.names()} <= {"params", "madds"}
        self._cache = cache or CostCache()
        self._candidates = CandidateMeter(
            device,
            data.task,
            runtime,
            threads,
            self._cache,
            quiet,
            stop_if=lambda cost: over_limit(budget, cost, prune_above) is not None,
        )

    def candidate(self, space: SearchSpace, architecture: Architecture) -> Cost:
        """Cost of an architecture, from the cache where it was measured before."""
        return self._candidates.candidate(space, architecture)

    def sample(self, space: SearchSpace, architecture: Architecture) -> Cost:
        """The same with a latency that took less time; counts alone where the budget bounds nothing else."""
        if self._counts_suffice:
            return _counted(space, architecture, self._data.task)
        start = time.monotonic()
        cost = self._candidates.sample(space, architecture)
        self.sampling_seconds += time.monotonic() - start
        return cost

    def again(self, space: SearchSpace, architecture: Architecture) -> Cost:
        """Cost of an architecture, measured a second time, from the cache if it is there."""
        key = self._candidates.key(space, architecture, measurement="second")
        if (known := self._cache.get(key)) is not None:
            return known
        cost = self.exported(build_seeded(space, architecture, self._data.task))
        self._cache.put(key, cost)
        return cost

    def exported(self, network: nn.Module, deployed: bytes | None = None) -> Cost:
        """Cost of a network, measured anew; `deployed` as of `measure_cost`."""
        return measure_cost(
            network,
            self._data.task,
            self._device,
            runtime=self._runtime,
            threads=self._threads,
            quiet=self.quiet,
            deployed=deployed,
        )

    def file(self, path: Path, network: nn.Module) -> Cost:
        """Cost of an exported file, measured anew; parameters and multiply-adds are those of its module."""
        return self.exported(network, read_network(path))


def _counted(space: SearchSpace, architecture: Architecture, task: Task) -> Cost:
    if isinstance(space, SharedSpace):
        return counted(space.pieces(architecture, task))
    network = build_seeded(space, architecture, task)
    return Cost(count_params(network), count_madds(network, task))
