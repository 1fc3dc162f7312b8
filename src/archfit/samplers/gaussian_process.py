"""Rewards of architectures as a Gaussian process: what to expect of one that was not trained, and of one that was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from threadpoolctl import ThreadpoolController

from archfit.samplers.proposals import Indices, Observation

Floats = NDArray[np.float64]

_LENGTHS = (0.25, 0.6, 1.5, 4.0)
"""Share of the choices that differ where the correlation of two rewards has fallen to 1/e."""
_NOISES = (0.03, 0.1, 0.3, 1.0)
"""Variance of what is not explained, over that of what is."""
_MOST = 200
"""Observations that the model keeps: its time goes with their cube."""
_WORST = -4.0
"""In spreads from the median: a network that failed outright says nothing about differences between good ones."""
_OWN = 0.5
"""Share of what is not explained that counts as the network's own, not as luck of its one training."""


@dataclass(frozen=True)
class _Fit:
    """What the rewards say under one length and noise.

    Attributes:
        length: In choices.
        factor: Of Cholesky, of the correlations with the noise.
        weights: Of the observations in the mean.
        scale: Variance of what is explained.
        mean: Of the process.
        log_likelihood: Of the rewards, up to a constant.
    """

    length: float
    factor: Floats
    weights: Floats
    scale: float
    mean: float
    log_likelihood: float


class GaussianProcess:
    """The correlation of two rewards falls exponentially with the number of choices that differ.

    Predictions are averaged over a grid of lengths and noises, by how likely each makes the rewards.

    Args:
        networks: Option numbers, one row each.
        rewards: One each, at least one in all; or whatever else is to be predicted.
        noises: Variances of what is not explained that are thought possible, over that of what is.
        lowest: In spreads from the median; what lies below is taken as if it lay there.
    """

    def __init__(
        self,
        networks: Sequence[Indices],
        rewards: Sequence[float],
        noises: Sequence[float] = _NOISES,
        lowest: float = _WORST,
    ) -> None:
        self._points, values = _array(networks), np.asarray(rewards, dtype=np.float64)
        self._options = int(self._points.max()) + 1
        self._encoded = _one_hot(self._points, self._options)
        self._centre = float(np.median(values))
        self._spread = _spread(values)
        values = np.clip((values - self._centre) / self._spread, lowest, None)
        differences = _differences(self._encoded, self._encoded, self._points.shape[1])
        lengths = [share * self._points.shape[1] for share in _LENGTHS]
        correlations = [(length, np.exp(-differences / length)) for length in lengths]
        fits = [_fitted(correlation, values, length, noise) for length, correlation in correlations for noise in noises]
        likelihoods = np.array([fit.log_likelihood for fit in fits])
        shares = np.exp(likelihoods - likelihoods.max())
        kept = [(fit, share) for fit, share in zip(fits, shares.tolist(), strict=True) if share > 0.02]
        total = sum(share for _, share in kept)
        self._fits = [(fit, share / total) for fit, share in kept]

    def predict(self, networks: Sequence[Indices]) -> tuple[Floats, Floats]:
        """Mean and standard deviation of what can be explained of their rewards."""
        points = _array(networks)
        # An option that no observation has differs from all of theirs: it needs no column.
        differences = _differences(_one_hot(points, self._options), self._encoded, points.shape[1])
        by_length = {length: np.exp(-differences / length) for length in {fit.length for fit, _ in self._fits}}
        mean, square = np.zeros(len(networks)), np.zeros(len(networks))
        for fit, share in self._fits:
            correlations = by_length[fit.length]
            expected = fit.mean + correlations @ fit.weights
            known: Floats = solve_triangular(fit.factor, correlations.T, lower=True, check_finite=False)
            variance = fit.scale * np.clip(1.0 - (known**2).sum(axis=0), 0.0, None)
            mean += share * expected
            square += share * (variance + expected**2)
        deviation = np.sqrt(np.clip(square - mean**2, 0.0, None))
        return self._centre + self._spread * mean, self._spread * deviation


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """More threads only delay matrices of this size, and whatever runs beside."""
    with _blas().limit(limits=1):
        yield


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def fitted_to(history: Sequence[Observation]) -> GaussianProcess:
    """To the last reward of each network; where there are too many, of the best and the latest."""
    kept = enough(history)
    return GaussianProcess([seen.network for seen in kept], [seen.reward for seen in kept])


def enough(history: Sequence[Observation]) -> list[Observation]:
    """The last observation of each network; where there are too many, the best and the latest of these."""
    last = list({seen.network: seen for seen in history}.values())
    if len(last) <= _MOST:
        return last
    best = sorted(last, key=lambda seen: -seen.reward)[: _MOST // 2]
    numbers = {seen.number for seen in best}
    return [*best, *[seen for seen in last if seen.number not in numbers][-(_MOST - len(best)) :]]


def denoised(history: Sequence[Observation]) -> list[float]:
    """What each observation's network may be expected to get when it is trained again.

    Of the difference between a reward and what similar networks got, half is taken as the network's own. On
    NAS-Bench-Macro the network that is best by it has two thirds of the regret of the one with the best reward.
    """
    if not history:
        return []
    rewards = np.array([seen.reward for seen in history])
    with one_blas_thread():
        mean, _ = fitted_to(history).predict([seen.network for seen in history])
    return (mean + _OWN * (rewards - mean)).tolist()  # type: ignore[no-any-return]


def _array(networks: Sequence[Indices]) -> NDArray[np.int64]:
    return np.array(networks, dtype=np.int64)


def _spread(rewards: Floats) -> float:
    """Standard deviation of the better half, which is what counts; 1 where all are equal."""
    return float(rewards[rewards >= np.median(rewards)].std()) or float(rewards.std()) or 1.0


def _differences(left: NDArray[np.float32], right: NDArray[np.float32], choices: int) -> Floats:
    """Number of choices that differ, of one-hot rows."""
    found: Floats = choices - (left @ right.T).astype(np.float64)
    return found


def _one_hot(points: NDArray[np.int64], options: int) -> NDArray[np.float32]:
    encoded: NDArray[np.float32] = (points[:, :, None] == np.arange(options)).astype(np.float32)
    return encoded.reshape(len(points), -1)


def _fitted(correlations: Floats, values: Floats, length: float, noise: float) -> _Fit:
    """With the likeliest mean and scale, which have a closed form."""
    count = len(values)
    factor: Floats = cholesky(correlations + noise * np.eye(count), lower=True, check_finite=False)
    solved: Any = cho_solve((factor, True), np.stack([values, np.ones(count)], axis=1), check_finite=False)
    mean = float(solved[:, 0].sum() / solved[:, 1].sum())
    weights = solved[:, 0] - mean * solved[:, 1]
    scale = max(float((values - mean) @ weights) / count, 1e-12)
    log_likelihood = -0.5 * count * float(np.log(scale)) - float(np.log(np.diag(factor)).sum())
    return _Fit(length, factor, weights, scale, mean, log_likelihood)
