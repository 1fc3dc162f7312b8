"""What a piece of a network costs by its kind and size alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archfit.cost import Piece

_LEAN = 0.01  # of a kind's rates to those of all kinds: what differs by the median latency counts as 1 % of error
_LEAST = 0.3  # of the rates of all kinds, so that no piece comes out as free

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True)
class Sample:
    """A network that was measured.

    Attributes:
        pieces: All of it but the fixed overhead.
        ms: Its latency.
        spread: Relative uncertainty of that, as of `Latency.spread`.
    """

    pieces: tuple[Piece, ...]
    ms: float
    spread: float = 0.0


@dataclass(frozen=True)
class Rates:
    """What every piece of one kind costs; none of the three is negative.

    Attributes:
        ms: Whatever its size.
        ms_per_madd: Per multiply-add.
        ms_per_element: Per activation that it reads or writes.
    """

    ms: float
    ms_per_madd: float
    ms_per_element: float

    def predict(self, piece: Piece) -> float:
        """Milliseconds that the piece adds to a network."""
        return self.ms + self.ms_per_madd * piece.madds + self.ms_per_element * piece.elements


def kind_rates(samples: Sequence[Sample], pieces: Sequence[Piece]) -> tuple[float, dict[str, Rates]]:
    """The fixed overhead in ms, and the rates of each kind, by least squares of relative errors.

    Outliers count less. Rates lean to those of all kinds together; a kind that was never measured has just those.

    Args:
        samples: At least one.
        pieces: Whose kinds get rates beside those of the samples.
    """
    kinds = sorted({piece.kind for piece in (*pieces, *(p for sample in samples for p in sample.pieces))})
    sums = np.zeros((len(samples), len(kinds), 3))
    for row, sample in enumerate(samples):
        for piece in sample.pieces:
            sums[row, kinds.index(piece.kind)] += (1, piece.madds, piece.elements)
    ms = np.array([sample.ms for sample in samples])
    once = np.ones((len(samples), 1))
    pooled = _non_negative(np.hstack([once, sums.sum(1)]), ms, np.zeros(4))
    towards = np.concatenate([pooled[:1], np.tile(pooled[1:], len(kinds))])
    found = _non_negative(np.hstack([once, sums.reshape(len(samples), -1)]), ms, towards)
    found[1:] = np.maximum(found[1:], _LEAST * towards[1:])
    return float(found[0]), {kind: Rates(*found[1 + 3 * i : 4 + 3 * i].tolist()) for i, kind in enumerate(kinds)}


def _non_negative(design: Array, ms: Array, towards: Array) -> Array:
    """What each column of `design`, `(samples, columns)`, adds to `ms`, nothing negative, and rather `towards`."""
    size = np.maximum(design.max(0), 1) / float(np.median(ms))
    trust = np.ones(len(ms))
    found = np.zeros(len(size))
    for _ in range(10):
        weight = np.sqrt(trust / len(ms)) / ms
        rows = np.vstack([design / size * weight[:, None], _LEAN * np.eye(len(size))])
        found = _least_squares(rows, np.concatenate([ms * weight, _LEAN * towards * size])) / size
        error = np.abs(design @ found / ms - 1)
        trust = np.minimum(1, 1.345 * 1.4826 * float(np.median(error)) / np.maximum(error, 1e-12))  # Huber's weights
    return found


def _least_squares(rows: Array, target: Array) -> Array:
    """A solution of which nothing is negative: columns that come out so are left out, until none does."""
    kept = np.ones(rows.shape[1], dtype=bool)
    while True:
        solution = np.zeros(len(kept))
        solution[kept] = np.linalg.lstsq(rows[:, kept], target, rcond=None)[0]
        if (solution >= 0).all():
            return solution
        kept &= solution > 0
