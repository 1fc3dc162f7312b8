"""Timing a candidate against the anchor: the measuring loop, and what its rounds say."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_BLOCK_NS = 1_500_000  # short, so that a neighbour's burst spoils few blocks whole
_LONG_NS = 10_000_000  # an inference past this fills its own caches: no untimed one before it
_QUIET = 1.03  # a block within this factor of its network's best is undisturbed
_DRIFTED = 1.08  # an anchor past this factor of its reference: wait for better
_FEWEST = 5


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        least_s: Seconds timed at least.
        most_s: Seconds timed at most, but for the five rounds that a slow network gets in any case.
        quiet_rounds: Undisturbed rounds that are enough.
        tolerance: Spread of those rounds that is small enough.
    """

    least_s: float = 0.35
    most_s: float = 0.75
    quiet_rounds: int = 40
    tolerance: float = 0.01


@dataclass(frozen=True)
class Round:
    """A block of inferences of the candidate beside one of the anchor, in nanoseconds each."""

    candidate_ns: tuple[int, ...]
    anchor_ns: tuple[int, ...]


@dataclass(frozen=True)
class Timing:
    """What the rounds say of one inference; see `summarise`.

    Attributes:
        p50_ms: Median.
        p10_ms: 10th percentile.
        p90_ms: 90th percentile.
        spread: Half the interquartile range of all block medians over their median.
        runs: Inferences in quiet rounds.
        rounds: Quiet rounds.
        scaled: Median of the factors that the times of these rounds were multiplied by.
    """

    p50_ms: float
    p10_ms: float
    p90_ms: float
    spread: float
    runs: int
    rounds: int
    scaled: float


def quiet_rounds(candidate: Sequence[float], anchor: Sequence[float]) -> list[int]:
    """Rounds in which neither network was disturbed, in order.

    A round is quiet if both of its block medians are within 3 % of the 10th percentile of their network's block
    medians. There are always at least five, the least disturbed ones (all, if there are fewer rounds).

    Args:
        candidate: Block median per round, any unit.
        anchor: The same of the anchor.
    """
    candidates, anchors = np.asarray(candidate), np.asarray(anchor)
    slowdown = np.maximum(candidates / np.quantile(candidates, 0.1), anchors / np.quantile(anchors, 0.1))
    bound = max(_QUIET, float(np.sort(slowdown)[:_FEWEST][-1]))
    return [int(index) for index in np.flatnonzero(slowdown <= bound)]


def drift_factors(anchor: Sequence[float], reference: float | None) -> list[float]:
    """What each round's times are multiplied by: the anchor's reference over its time now.

    Now is the median of the anchor's block medians in the round and its two neighbours; without a reference
    nothing is corrected.

    Args:
        anchor: Block median per round, in the unit of `reference`.
    """
    if reference is None:
        return [1.0] * len(anchor)
    return [reference / float(np.median(anchor[max(0, i - 1) : i + 2])) for i in range(len(anchor))]


def summarise(rounds: Sequence[Round], reference_ms: float | None) -> Timing:
    """Quantiles of one inference of the candidate on the undisturbed machine at its reference speed.

    The quantiles are those of the single inferences in quiet rounds (`quiet_rounds`), each multiplied by the
    drift factor of its round (`drift_factors`). So p50 is a median, not a minimum, but one from which the bursts of
    other processes are left out; the spread is over all rounds and shows how much there was to leave out.

    Args:
        rounds: At least one.
        reference_ms: The anchor's stored time, or None for times as the clock gave them.
    """
    candidates = [float(np.median(item.candidate_ns)) * 1e-6 for item in rounds]
    anchors = [float(np.median(item.anchor_ns)) * 1e-6 for item in rounds]
    factors = drift_factors(anchors, reference_ms)
    quiet = quiet_rounds(candidates, anchors)
    times_ms = np.concatenate([np.asarray(rounds[i].candidate_ns) * (1e-6 * factors[i]) for i in quiet])
    p10, p50, p90 = (float(value) for value in np.quantile(times_ms, (0.1, 0.5, 0.9)))
    corrected = [candidate * factor for candidate, factor in zip(candidates, factors, strict=True)]
    scaled = float(np.median([factors[i] for i in quiet]))
    return Timing(p50, p10, p90, relative_spread(corrected), len(times_ms), len(quiet), scaled)


def relative_spread(values: Sequence[float]) -> float:
    """Half the interquartile range over the median."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float((high - low) / 2 / middle)


def measure_interleaved(
    candidate: Callable[[], object],
    anchor: Callable[[], object],
    *,
    reference_ms: float | None,
    effort: Effort,
    generator: random.Random,
) -> list[Round]:
    """Times blocks of both networks beside each other, in an order drawn anew for each round.

    It ends as soon as enough rounds were quiet, agree, and had the anchor near its reference; else when the time is up.
    The garbage collector is off meanwhile.

    Args:
        candidate: One inference.
        anchor: One inference of the anchor.
        reference_ms: The anchor's stored time; None while there is none.
        generator: Draws which of the two goes first.
    """
    candidate_runs, anchor_runs = _warm_up(candidate), _warm_up(anchor)
    rounds: list[Round] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        while True:
            if generator.random() < 0.5:
                anchor_ns = _block(anchor, anchor_runs)
                candidate_ns = _block(candidate, candidate_runs)
            else:
                candidate_ns = _block(candidate, candidate_runs)
                anchor_ns = _block(anchor, anchor_runs)
            rounds.append(Round(candidate_ns, anchor_ns))
            seconds = time.perf_counter() - start
            if len(rounds) < _FEWEST or (seconds < effort.least_s and seconds < effort.most_s):
                continue
            if seconds >= effort.most_s or (len(rounds) % 8 == 0 and _settled(rounds, reference_ms, effort)):
                return rounds
    finally:
        if collecting:
            gc.enable()


def _settled(rounds: Sequence[Round], reference_ms: float | None, effort: Effort) -> bool:
    candidates = [float(np.median(item.candidate_ns)) for item in rounds]
    anchors = [float(np.median(item.anchor_ns)) for item in rounds]
    quiet = quiet_rounds(candidates, anchors)
    if reference_ms is not None:
        quiet = [index for index in quiet if anchors[index] * 1e-6 <= reference_ms * _DRIFTED]
    return len(quiet) >= effort.quiet_rounds and relative_spread([candidates[i] for i in quiet]) <= effort.tolerance


def _warm_up(call: Callable[[], object]) -> int:
    """Runs the first, slower inferences, and says how many make a block."""
    if _block(call, 1)[0] >= _LONG_NS:
        return 1
    return max(2, min(_BLOCK_NS // min(_block(call, 5)), 50))


def _block(call: Callable[[], object], runs: int) -> tuple[int, ...]:
    """Nanoseconds of each of `runs` inferences, after one untimed that brings the weights back into the caches."""
    clock = time.perf_counter_ns
    if runs > 1:
        call()
    times = []
    for _ in range(runs):
        start = clock()
        call()
        times.append(clock() - start)
    return tuple(times)
