"""What a network costs, and the budget it must keep."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from archfit.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from archfit.architecture import Task

_BYTES = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_MILLISECONDS = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}


@dataclass(frozen=True)
class Latency:
    """Time of one inference, drift-corrected by the anchor.

    Attributes:
        p50_ms: Median; the number that budgets and rewards use.
        p10_ms: 10th percentile.
        p90_ms: 90th percentile.
        spread: Relative uncertainty of the median: half the interquartile range of block medians over their median.
        runs: Timed inferences behind the quantiles.
        device: Where it ran, as in "local: AMD EPYC".
        runtime: What ran it, as in "onnxruntime 1.31.1".
        threads: Intra-op threads of the runtime.
        batch: Images per inference.
        scaled: What the clock's times were multiplied by to give these, on average: above 1 where the machine was
            that much faster than at its first measurement.
    """

    p50_ms: float
    p10_ms: float
    p90_ms: float
    spread: float
    runs: int
    device: str
    runtime: str
    threads: int = 1
    batch: int = 1
    scaled: float = 1.0

    def quantiles_ms(self) -> dict[str, float]:
        """The three of them by name, as records of a run keep them."""
        return {"p10": self.p10_ms, "p50": self.p50_ms, "p90": self.p90_ms}


@dataclass(frozen=True)
class Cost:
    """What one network costs; None where it was not determined.

    Attributes:
        params: Learnt parameters.
        madds: Multiply-adds of one image through convolutions and matrix products (FLOPs / 2).
        memory_bytes: Peak of live activations plus weights, float32, batch 1.
        latency: Measured on the target device.
        file_bytes: Size of the exported file.
    """

    params: int
    madds: int
    memory_bytes: int | None = None
    latency: Latency | None = None
    file_bytes: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cost:
        latency = value.get("latency")
        return cls(**{**value, "latency": Latency(**latency) if latency else None})


@dataclass(frozen=True)
class Piece:
    """A part of a network whose latency is looked up on its own.

    Attributes:
        key: What is computed, and where, as in "14x14 mbconv6 k5 s2 se0.25 pool 24>40": equal keys cost the same.
        kind: What costs alike per multiply-add, as in "mbconv6".
        params: Learnt parameters.
        madds: Multiply-adds of one image.
        elements: Activations that it reads and writes, for one image.
    """

    key: str
    kind: str
    params: int
    madds: int
    elements: int


def counted(pieces: Sequence[Piece], latency: Latency | None = None) -> Cost:
    """The cost of a network that is made of these, with its latency where that is known."""
    return Cost(sum(piece.params for piece in pieces), sum(piece.madds for piece in pieces), latency=latency)


_SURELY = 0.98
"""Of a bound on latency: what was measured below it will be below the bound when it is measured again."""


@dataclass(frozen=True)
class Budget:
    """Upper bounds; None leaves a cost free.

    Attributes:
        latency_ms: Of the drift-corrected p50.
        memory_bytes: Of `Cost.memory_bytes`.
        params: Of `Cost.params`.
        madds: Of `Cost.madds`.
    """

    latency_ms: float | None = None
    memory_bytes: int | None = None
    params: int | None = None
    madds: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            bound = getattr(self, field.name)
            if bound is not None and not 0 < bound < float("inf"):
                raise InputError(f"budget {field.name} is {bound}; it must be a positive number")

    def ratios(self, cost: Cost) -> dict[str, float]:
        """Cost over bound for each bound that is set and known: 1 is exactly at the budget, 2 twice past it.

        Keys are "latency", "memory", "params" and "madds".
        """
        latency_ms = cost.latency.p50_ms if cost.latency else None
        pairs = {
            "latency": (latency_ms, self.latency_ms),
            "memory": (cost.memory_bytes, self.memory_bytes),
            "params": (cost.params, self.params),
            "madds": (cost.madds, self.madds),
        }
        return {
            name: value / bound for name, (value, bound) in pairs.items() if value is not None and bound is not None
        }

    def worst_ratio(self, cost: Cost) -> float:
        """The largest of `ratios`; 0 where no bound is set and known."""
        return max(self.ratios(cost).values(), default=0.0)

    def holds(self, cost: Cost) -> bool:
        """Whether every bound is met. Raises `InputError` if a bounded cost was not determined."""
        known = self.ratios(cost)
        if missing := [name for name in self.names() if name not in known]:
            raise InputError(f"cannot compare with the budget: {', '.join(missing)} was not measured")
        return all(ratio <= 1 for ratio in known.values())

    def holds_surely(self, cost: Cost) -> bool:
        """The same with 2 % of the latency to spare: another measurement repeats within 1 % as a rule."""
        return self.holds(cost) and self.ratios(cost).get("latency", 0.0) <= _SURELY

    def names(self) -> tuple[str, ...]:
        """Which costs are bounded, by the keys of `ratios`."""
        bounds = {
            "latency": self.latency_ms,
            "memory": self.memory_bytes,
            "params": self.params,
            "madds": self.madds,
        }
        return tuple(name for name, bound in bounds.items() if bound is not None)

    def to_json(self) -> dict[str, Any]:
        return {name: bound for name, bound in asdict(self).items() if bound is not None}

    def __str__(self) -> str:
        parts = []
        if self.latency_ms is not None:
            parts.append(f"latency {self.latency_ms:g} ms")
        if self.memory_bytes is not None:
            parts.append(f"memory {self.memory_bytes / 1e6:g} MB")
        if self.params is not None:
            parts.append(f"{format_count(self.params)} params")
        if self.madds is not None:
            parts.append(f"{format_count(self.madds)} MAdds")
        return ", ".join(parts) or "none"


def format_count(count: float) -> str:
    """3 significant digits with k, M or G: 4383312 -> "4.38M"."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= 0.9995 * size:
            return f"{count / size:.3g}{suffix}"
    return f"{count:g}"


def _parse(what: str, text: str, units: Mapping[str, float], example: str) -> float:
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([^\W\d_]*)\s*", text)
    if match is None:
        raise InputError(f"{what} is {text!r}; write a positive number with a unit, as in {example}")
    number, unit = float(match[1]), match[2].lower()
    if unit not in units:
        known = ", ".join(name for name in units if name)
        problem = f"has unit {match[2]!r}" if unit else "has no unit"
        raise InputError(f"{what} {text!r} {problem}; use one of {known}, as in {example}")
    value = number * units[unit]
    if not 0 < value < float("inf"):
        bound = "a finite number" if value else "above zero"
        raise InputError(f"{what} is {text!r}; it must be {bound}, as in {example}")
    return value


def parse_latency_ms(text: str) -> float:
    """ "0.3ms", "300us" or "0.0003s" in milliseconds. The unit is required."""
    return _parse("latency", text, _MILLISECONDS, "0.3ms")


def parse_bytes(text: str) -> int:
    """ "8MB" (10^6) or "8MiB" (2^20) in bytes. The unit is required."""
    return round(_parse("memory", text, _BYTES, "8MB"))


def parse_count(what: str, text: str) -> int:
    """ "300k", "4.2M", "1.1G" or a plain number."""
    return round(_parse(what, text, _COUNTS, "300k"))


def parse_seconds(text: str) -> float:
    """ "90s", "30m" or "2h" in seconds. The unit is required."""
    return _parse("time", text, _SECONDS, "30m")


def count_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def count_madds(module: nn.Module, task: Task) -> int:
    """Multiply-adds of one image through convolutions and matrix products; the module is left in its mode."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    training = module.training
    module.eval()
    try:
        parameter = next(module.parameters(), torch.empty(0))
        image = torch.zeros(1, task.channels, task.image_size, task.image_size, device=parameter.device)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(image)
    finally:
        module.train(training)
    return int(counter.get_total_flops()) // 2
