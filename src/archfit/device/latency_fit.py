"""What each piece of a network adds to its latency, from whole networks that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archfit.cost import Piece
from archfit.device.kind_rates import Array, Rates, Sample, kind_rates

LIKENESS = (0.7, 0.8, 0.9, 0.95)
"""Tried correlations of two pieces, per word in which their keys differ."""
NOISE = (0.0125, 0.025, 0.05, 0.1, 0.2)
"""Tried relative errors of a measurement, in units of the pieces' relative deviation from their kind."""
_SPREAD = 0.1  # a measurement whose blocks spread that much has twice the variance
_OVERHEAD = 0.05  # of the median latency: the unit of the overhead's deviation
_Z90 = 1.2816  # 90th percentile of the standard normal distribution
_CHUNK = 512


@dataclass(frozen=True)
class Quantiles:
    """Milliseconds that something adds to a network, with their uncertainty."""

    p10_ms: float
    p50_ms: float
    p90_ms: float


@dataclass(frozen=True)
class Fit:
    """The parts of a latency.

    Attributes:
        overhead: What every network costs beside its pieces.
        rates: Per kind, so that they come to what its entries come to together.
        entries: Of the pieces that were asked for, in their order.
        errors: Relative error of each sample as predicted from all others, `(samples,)`.
    """

    overhead: Quantiles
    rates: dict[str, Rates]
    entries: tuple[Quantiles, ...]
    errors: Array


def fit_latencies(samples: Sequence[Sample], pieces: Sequence[Piece]) -> Fit:
    """Additive regression of latencies on pieces.

    A piece costs what its size makes expect of its kind (`kind_rates`), times one plus a deviation of its own. The
    deviations are a Gaussian process over keys: two of them correlate by `likeness` to the power of the number of
    words that only one of the keys has. So a piece that was measured often speaks for itself, a rare one is drawn to
    its like, and all shrink towards their kind. Likeness and shrinkage are those that best predict each network from
    all others.

    Args:
        samples: At least one.
        pieces: For which entries are wanted; they need not have been measured.
    """
    overhead_ms, rates = kind_rates(samples, pieces)
    measured = list({piece.key: piece for sample in samples for piece in sample.pieces}.values())
    weighted = count_matrix(samples, measured) * _expected(measured, rates)
    ms = np.array([sample.ms for sample in samples])
    expected = overhead_ms + weighted.sum(1)
    scatter = expected * np.sqrt(1 + (np.array([sample.spread for sample in samples]) / _SPREAD) ** 2)
    free = (_OVERHEAD * float(np.median(ms))) ** 2
    differences = word_differences(measured, measured)
    tried = []
    for likeness in LIKENESS:
        covariance = weighted @ likeness**differences @ weighted.T + free
        for noise in NOISE:
            solved = _solve(covariance, ms - expected, noise * scatter)
            tried.append((float(np.mean(np.abs(solved.left_out / ms))), likeness, solved))
    _, likeness, solved = min(tried, key=lambda entry: entry[0])
    entries: list[Quantiles] = []
    for start in range(0, len(pieces), _CHUNK):
        some = pieces[start : start + _CHUNK]
        mean = _expected(some, rates)
        shared = likeness ** word_differences(some, measured) @ weighted.T * mean[:, None]
        entries += _quantiles(mean, shared, mean**2, solved)
    everywhere = np.full((1, len(samples)), free)
    (overhead,) = _quantiles(np.array([overhead_ms]), everywhere, np.array([free]), solved)
    return Fit(overhead, _typical(rates, pieces, entries), tuple(entries), solved.left_out / ms)


@dataclass(frozen=True)
class _Solved:
    """A regression by one choice of likeness and noise.

    Attributes:
        weights: Of each sample in a prediction, `(samples,)`.
        inverse: Of the samples' covariance, `(samples, samples)`.
        left_out: Each sample less its prediction from all others, in ms, `(samples,)`.
        scale: What standard deviations are to be multiplied by.
    """

    weights: Array
    inverse: Array
    left_out: Array
    scale: float


def _solve(covariance: Array, residuals: Array, noise: Array) -> _Solved:
    """Gaussian process regression in which samples past their noise count less (Huber's weights).

    The predictions from all other samples come from the one inverse (Rasmussen and Williams, Gaussian Processes for
    Machine Learning, 2006, eq. 5.12).

    Args:
        covariance: Of the samples' latencies without noise, `(samples, samples)`.
        residuals: Of the samples, in ms, `(samples,)`.
        noise: Standard deviations, `(samples,)`.
    """
    trust = np.ones(len(residuals))
    for _ in range(5):
        inverse = np.asarray(np.linalg.inv(covariance + np.diag(noise**2 / trust)), dtype=np.float64)
        weights = inverse @ residuals
        deviations = np.abs(weights) / np.sqrt(np.diag(inverse))
        scale = 1.4826 * float(np.median(deviations))
        unexplained = np.abs(weights) * noise**2 / trust
        trust = np.minimum(1, 1.345 * scale * noise / np.maximum(unexplained, 1e-12))
    return _Solved(weights, inverse, weights / np.diag(inverse), scale)


def _typical(rates: dict[str, Rates], pieces: Sequence[Piece], entries: Sequence[Quantiles]) -> dict[str, Rates]:
    """The rates times how far the entries of each kind lie from them together."""
    sums = {kind: np.zeros(2) for kind in rates}
    for piece, entry in zip(pieces, entries, strict=True):
        sums[piece.kind] += (entry.p50_ms, rates[piece.kind].predict(piece))
    factors = {kind: float(found / expected) if expected > 0 else 1.0 for kind, (found, expected) in sums.items()}
    return {
        kind: Rates(rate.ms * factors[kind], rate.ms_per_madd * factors[kind], rate.ms_per_element * factors[kind])
        for kind, rate in rates.items()
    }


def _quantiles(mean: Array, shared: Array, variance: Array, solved: _Solved) -> list[Quantiles]:
    """Of quantities with this prior mean and variance, and covariance with the samples `(quantities, samples)`.

    None is negative: nothing takes less than no time.
    """
    middle = mean + shared @ solved.weights
    left = variance - np.sum(shared @ solved.inverse * shared, axis=1)
    half = _Z90 * solved.scale * np.sqrt(np.maximum(0, left))
    found = np.maximum(0, np.stack([middle - half, middle, middle + half], axis=1))
    return [Quantiles(*row) for row in found.tolist()]


def _expected(pieces: Sequence[Piece], rates: dict[str, Rates]) -> Array:
    return np.array([rates[piece.kind].predict(piece) for piece in pieces])


def count_matrix(samples: Sequence[Sample], pieces: Sequence[Piece]) -> Array:
    """How often each sample holds each of `pieces`, which are all there are, `(samples, pieces)`."""
    column = {piece.key: index for index, piece in enumerate(pieces)}
    counts = np.zeros((len(samples), len(pieces)))
    for row, sample in enumerate(samples):
        for piece in sample.pieces:
            counts[row, column[piece.key]] += 1
    return counts


def word_differences(pieces: Sequence[Piece], others: Sequence[Piece]) -> Array:
    """How many words only one of two keys has, `(pieces, others)`.

    Words are parted by spaces, and by ">", where their place counts too: "24>40" and "40>24" have none in common.
    """
    column: dict[tuple[int, str], int] = {}
    rows = [[column.setdefault(word, len(column)) for word in _words(piece.key)] for piece in (*pieces, *others)]
    held = np.zeros((len(rows), len(column)))
    for row, words in enumerate(rows):
        held[row, words] = 1
    here, there = held[: len(pieces)], held[len(pieces) :]
    return np.asarray(here.sum(1)[:, None] + there.sum(1) - 2 * here @ there.T)


def _words(key: str) -> set[tuple[int, str]]:
    return {(place, part) for word in key.split() for place, part in enumerate(word.split(">"))}
