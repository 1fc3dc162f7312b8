"""Predictor-guided evolution: many mutations are ranked by models before one of them is paid for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archfit.reward import Reward
from archfit.samplers.gaussian_process import GaussianProcess, enough, fitted_to, one_blas_thread
from archfit.samplers.proposals import Indices, Observation, Proposal, Taken, mutated, nearby, stream

_PARENTS = 20
_CHILDREN = 120
_GENERATIONS = 4
_MEAN_WIDTH = 0.7
_COST_NOISE = 0.01
"""Costs repeat, and follow from the choices nearly as a sum."""

Promise = Callable[[Sequence[Indices]], list[float]]
"""What candidates are worth at best, as far as is known."""


@dataclass(frozen=True)
class Predictor:
    """Evolves candidates on the upper confidence bound of a Gaussian process and proposes the best one that is new.

    Where the observations say what their rewards were made of, accuracy and each cost have a model of their own: a
    reward has a ridge at the budget, which they have not. How many deviations the bound is above the mean is drawn
    anew each time, so that proposals differ that are made before an answer is known.

    Attributes:
        n_options: Options of each choice.
        seed: Of all streams.
        reward: Of accuracy and cost ratios; None models the rewards themselves.
        startup_trials: Uniform ones before the first prediction.
    """

    n_options: tuple[int, ...]
    seed: int
    reward: Reward | None = None
    startup_trials: int = 10
    name: str = "predictor"

    def propose(self, history: Sequence[Observation], number: int, taken: Taken) -> Proposal:
        with one_blas_thread():
            return self._best(history, number, taken)

    def _best(self, history: Sequence[Observation], number: int, taken: Taken) -> Proposal:
        rng = stream(self.seed, number)
        promise = _promise(history, self.reward, float(rng.exponential(_MEAN_WIDTH)))
        best = sorted(history, key=lambda seen: -seen.reward)[:_PARENTS]
        each = _CHILDREN // 2 // len(best)
        first = [mutated(seen.network, self.n_options, rng) for seen in best for _ in range(each)]
        first += map(tuple, rng.integers(self.n_options, size=(_CHILDREN // 2, len(self.n_options))).tolist())
        promises = _promises(promise, first)
        for _ in range(_GENERATIONS):
            parents = _ranked(promises)[:_PARENTS]
            drawn = rng.integers(len(parents), size=_CHILDREN).tolist()
            children = [mutated(parents[parent], self.n_options, rng) for parent in drawn]
            promises |= _promises(promise, [child for child in children if child not in promises])
        ranked = _ranked(promises)
        free = next((candidate for candidate in ranked[:_CHILDREN] if not taken(candidate)), None)
        return Proposal(free if free is not None else nearby(ranked[0], self.n_options, rng, taken))


def _promise(history: Sequence[Observation], reward: Reward | None, width: float) -> Promise:
    trained = enough([seen for seen in history if seen.accuracy is not None])
    names = {name for seen in history if seen.ratios is not None for name in seen.ratios}
    whole = all(seen.ratios is not None and set(seen.ratios) == names for seen in history)
    if reward is None or not trained or not whole:
        return _bound(fitted_to(history), width)
    accurate = _bound(
        GaussianProcess([seen.network for seen in trained], [float(seen.accuracy or 0.0) for seen in trained]), width
    )
    measured = enough(history)
    costs = {
        name: GaussianProcess(
            [seen.network for seen in measured],
            [math.log(seen.ratios[name]) for seen in measured if seen.ratios is not None],
            noises=(_COST_NOISE,),
            lowest=-math.inf,  # a cheap network has not failed
        )
        for name in sorted(names)
    }

    def promise(candidates: Sequence[Indices]) -> list[float]:
        ratios = {name: model.predict(candidates)[0].tolist() for name, model in costs.items()}
        return [
            reward(min(1.0, accuracy), {name: math.exp(values[place]) for name, values in ratios.items()})
            for place, accuracy in enumerate(accurate(candidates))
        ]

    return promise


def _bound(model: GaussianProcess, width: float) -> Promise:
    def bound(candidates: Sequence[Indices]) -> list[float]:
        mean, deviation = model.predict(candidates)
        return (mean + width * deviation).tolist()  # type: ignore[no-any-return]

    return bound


def _promises(promise: Promise, candidates: Sequence[Indices]) -> dict[Indices, float]:
    different = list(dict.fromkeys(candidates))
    return dict(zip(different, promise(different), strict=True)) if different else {}


def _ranked(promises: dict[Indices, float]) -> list[Indices]:
    return sorted(promises, key=lambda candidate: -promises[candidate])
