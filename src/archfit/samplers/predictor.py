"""Predictor-guided evolution: many mutations are ranked by a model before one of them is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archfit.samplers.gaussian_process import GaussianProcess, fitted_to
from archfit.samplers.proposals import Indices, Observation, Proposal, Taken, mutated, nearby, stream

_PARENTS = 20
_CHILDREN = 120
_GENERATIONS = 4
_MEAN_WIDTH = 0.7


@dataclass(frozen=True)
class Predictor:
    """Evolves candidates on the upper confidence bound of a Gaussian process and proposes the best one that is new.

    How many deviations the bound is above the mean is drawn anew each time, so that proposals differ that are made
    before an answer is known.

    Attributes:
        n_options: Options of each choice.
        seed: Of all streams.
        startup_trials: Uniform ones before the first prediction.
    """

    n_options: tuple[int, ...]
    seed: int
    startup_trials: int = 10
    name: str = "predictor"

    def propose(self, history: Sequence[Observation], number: int, taken: Taken) -> Proposal:
        rng = stream(self.seed, number)
        model, width = fitted_to(history), float(rng.exponential(_MEAN_WIDTH))
        best = sorted(history, key=lambda seen: -seen.reward)[:_PARENTS]
        first = [
            mutated(seen.network, self.n_options, rng) for seen in best for _ in range(_CHILDREN // len(best) // 2)
        ]
        first += map(tuple, rng.integers(self.n_options, size=(_CHILDREN // 2, len(self.n_options))).tolist())
        bounds = _bounds(model, first, width)
        for _ in range(_GENERATIONS):
            parents = _ranked(bounds)[:_PARENTS]
            drawn = rng.integers(len(parents), size=_CHILDREN).tolist()
            children = [mutated(parents[parent], self.n_options, rng) for parent in drawn]
            bounds |= _bounds(model, [child for child in children if child not in bounds], width)
        ranked = _ranked(bounds)
        free = next((candidate for candidate in ranked[:_CHILDREN] if not taken(candidate)), None)
        return Proposal(free if free is not None else nearby(ranked[0], self.n_options, rng, taken))


def _bounds(model: GaussianProcess, candidates: Sequence[Indices], width: float) -> dict[Indices, float]:
    different = list(dict.fromkeys(candidates))
    if not different:
        return {}
    mean, deviation = model.predict(different)
    return dict(zip(different, (mean + width * deviation).tolist(), strict=True))


def _ranked(bounds: dict[Indices, float]) -> list[Indices]:
    return sorted(bounds, key=lambda candidate: -bounds[candidate])
