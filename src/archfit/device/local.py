"""This machine as a device."""

from __future__ import annotations

import json
import os
import platform
import random
import subprocess
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import numpy as np
from torch import nn

from archfit.cost import Latency
from archfit.device.anchor import ANCHOR_TASK, ANCHOR_VERSION, anchor_network
from archfit.device.cache import CostCache, cache_key
from archfit.device.export import export_candidate
from archfit.device.protocol import Quiet
from archfit.device.runtimes import Call, get_runtime, runtime_label
from archfit.device.timing import Effort, Round, measure_interleaved, quiet_rounds, summarise
from archfit.errors import DeviceError, InputError


class LocalDevice:
    """Networks timed on the CPU of this machine, each against the anchor.

    The first measurement with a runtime and number of threads stores the anchor's time in the cache. Later ones, of
    this process or another, are scaled to the machine's speed at that moment, so that they can be compared.
    """

    name = "local"

    def __init__(self, *, cache: CostCache | None = None, effort: Effort | None = None, seed: int = 0) -> None:
        """Nothing is measured yet.

        Args:
            cache: Keeps the anchor's references; the user's by default.
            effort: How long to measure.
            seed: Of the order in which candidate and anchor take turns.
        """
        self._cache = cache or CostCache()
        self._effort = effort or Effort()
        self._seed = seed
        self._anchors: dict[tuple[str, int], Call] = {}
        self._references: dict[tuple[str, int], float] = {}

    def describe(self) -> str:
        cores = os.cpu_count() or 1
        return f"{self.name}: {processor_name()}, {cores} core{'s' if cores > 1 else ''}"

    def fingerprint(self) -> str:
        parts = (processor_name(), os.cpu_count() or 1, platform.system(), platform.machine())
        return json.dumps(parts)

    def runtime_label(self, runtime: str) -> str:
        return runtime_label(get_runtime(runtime))

    def measure(
        self,
        model: bytes,
        module: nn.Module | None,
        *,
        runtime: str,
        threads: int = 1,
        quiet: Quiet = nullcontext,
    ) -> Latency:
        rounds, reference_ms = self.record(model, module, runtime=runtime, threads=threads, quiet=quiet)
        timing = summarise(rounds, reference_ms)
        return Latency(
            p50_ms=timing.p50_ms,
            p10_ms=timing.p10_ms,
            p90_ms=timing.p90_ms,
            spread=timing.spread,
            runs=timing.runs,
            device=self.describe(),
            runtime=self.runtime_label(runtime),
            threads=threads,
            scaled=timing.scaled,
        )

    def record(
        self, model: bytes, module: nn.Module | None, *, runtime: str, threads: int = 1, quiet: Quiet = nullcontext
    ) -> tuple[list[Round], float]:
        """What `measure` is computed from: the rounds, and the anchor's reference in ms."""
        if threads < 1:
            raise InputError(f"threads is {threads}; an inference needs at least 1")
        if threads > (cores := os.cpu_count() or 1):
            raise InputError(f"threads is {threads}; this machine has {cores} cores, use at most that many")
        engine = get_runtime(runtime)
        candidate = engine.load(model, module, threads)
        anchor = self._anchor(runtime, threads)
        generator = random.Random(self._seed)
        with quiet(), engine.running(threads):
            try:
                candidate()
            except Exception as error:
                raise DeviceError(f"{runtime} {engine.version} cannot run the network: {error}") from error
            reference_ms = self._reference(runtime, threads, anchor)
            rounds = measure_interleaved(
                candidate, anchor, reference_ms=reference_ms, effort=self._effort, generator=generator
            )
        return rounds, reference_ms

    def _anchor(self, runtime: str, threads: int) -> Call:
        if (runtime, threads) not in self._anchors:
            network = anchor_network()
            model = export_candidate(network, ANCHOR_TASK)
            self._anchors[runtime, threads] = get_runtime(runtime).load(model, network, threads)
        return self._anchors[runtime, threads]

    def _reference(self, runtime: str, threads: int, anchor: Call) -> float:
        """The anchor's stored time in ms, measured now if there is none."""
        if (runtime, threads) not in self._references:
            key = cache_key(
                anchor=ANCHOR_VERSION,
                machine=self.fingerprint(),
                runtime=self.runtime_label(runtime),
                threads=threads,
            )
            reference_ms = self._cache.get_reference(key)
            if reference_ms is None:
                measured_ms = _undisturbed_ms(anchor, self._effort, random.Random(self._seed))
                # Another process may have stored its own meanwhile: the first one counts for all.
                reference_ms = self._cache.get_reference(key) or measured_ms
                if reference_ms == measured_ms:
                    self._cache.put_reference(key, reference_ms)
            self._references[runtime, threads] = reference_ms
        return self._references[runtime, threads]


def _undisturbed_ms(anchor: Call, effort: Effort, generator: random.Random) -> float:
    """Median of the anchor's quiet block medians over the longest time that a measurement may take."""
    patient = Effort(effort.most_s, effort.most_s, effort.quiet_rounds, effort.tolerance)
    rounds = measure_interleaved(anchor, anchor, reference_ms=None, effort=patient, generator=generator)
    medians = [float(np.median(item.anchor_ns)) for item in rounds]
    return float(np.median([medians[index] for index in quiet_rounds(medians, medians)])) * 1e-6


@cache
def processor_name() -> str:
    """The processor's model as the system names it; its architecture where the system names none."""
    try:
        if platform.system() == "Darwin":
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            name = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout
        else:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            name = next((line.partition(":")[2] for line in lines if line.startswith("model name")), "")
    except (OSError, subprocess.SubprocessError):
        name = ""
    return " ".join(name.split()) or platform.processor() or platform.machine()
