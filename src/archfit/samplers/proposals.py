"""What passes between a study and whatever proposes the next architecture: tuples of integers, and floats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

Indices = tuple[int, ...]
Taken = Callable[[Indices], bool]

_TRIES = 64
_COUNTABLE = 4096  # points of a space that is listed in full when drawing finds nothing new


@dataclass(frozen=True)
class Observation:
    """One finished trial.

    Attributes:
        number: Of the trial.
        indices: Option number of each choice.
        reward: More is better.
        log_prob: Under the policy that sampled it; None where no policy did.
        canonical: The option numbers that stand for all with the same network; empty where those are `indices`.
        accuracy: That the reward was made of; None where it is not known, or the network was not trained.
        ratios: Costs over their bounds, that the reward was made of; None where they are not known.
    """

    number: int
    indices: Indices
    reward: float
    log_prob: float | None = None
    canonical: Indices = ()
    accuracy: float | None = None
    ratios: Mapping[str, float] | None = None

    @property
    def network(self) -> Indices:
        """Equal for architectures that build the same network."""
        return self.canonical or self.indices


@dataclass(frozen=True)
class Proposal:
    """What to try next.

    Attributes:
        indices: Option number of each choice.
        log_prob: Under the policy that sampled it; None where no policy did.
    """

    indices: Indices
    log_prob: float | None = None


class Proposer(Protocol):
    """A search algorithm whose state is a function of its seed and the observations.

    It may keep a cache between calls, but must give the same answer without it. It must be picklable.
    """

    @property
    def name(self) -> str:
        """The sampler's name, kept as the origin of what it proposes."""
        ...

    @property
    def startup_trials(self) -> int:
        """Trials that are drawn uniformly before the first proposal."""
        ...

    def propose(self, history: Sequence[Observation], number: int, taken: Taken) -> Proposal:
        """The architecture of trial `number`.

        Args:
            history: Finished trials in the order they finished, at least one; it only ever grows.
            number: Decides the random stream, together with the seed.
            taken: Whether these indices, or others that build the same network, were proposed before. Where most of
                a space is, a repeat is allowed.
        """
        ...


def stream(seed: int, *path: int) -> np.random.Generator:
    """The random stream of, say, (seed, trial number): independent of every other."""
    return np.random.default_rng([len(path), seed, *path])  # NumPy ignores trailing zeros: the length tells them apart


def uniform(n_options: Sequence[int], rng: np.random.Generator, taken: Taken) -> Indices:
    """Every choice drawn uniformly; drawn again while taken. A repeat only where a small space is exhausted."""
    indices: Indices = ()
    for _ in range(_TRIES):
        indices = tuple(rng.integers(n_options).tolist())
        if not taken(indices):
            return indices
    if math.prod(n_options) <= _COUNTABLE:
        free = [point for point in itertools.product(*map(range, n_options)) if not taken(point)]
        if free:
            return free[rng.integers(len(free))]
    return indices


def mutated(indices: Indices, n_options: Sequence[int], rng: np.random.Generator) -> Indices:
    """Another option in one choice, both drawn uniformly; unchanged where no choice has two options."""
    open_choices = _open_choices(tuple(n_options))
    if not open_choices:
        return indices
    choice = open_choices[rng.integers(len(open_choices))]
    option = (indices[choice] + 1 + int(rng.integers(n_options[choice] - 1))) % n_options[choice]
    return (*indices[:choice], option, *indices[choice + 1 :])


@cache
def _open_choices(n_options: tuple[int, ...]) -> list[int]:
    return [choice for choice, count in enumerate(n_options) if count > 1]


def nearby(indices: Indices, n_options: Sequence[int], rng: np.random.Generator, taken: Taken) -> Indices:
    """The first point not taken on a random walk of mutations from `indices`; `indices` itself if it is free."""
    found = indices
    for _ in range(_TRIES):
        if not taken(found):
            return found
        found = mutated(found, n_options, rng)
    return uniform(n_options, rng, taken)


@dataclass(frozen=True)
class RandomSearch:
    """Uniform, without repeats.

    Attributes:
        n_options: Options of each choice.
        seed: Of all streams.
    """

    n_options: tuple[int, ...]
    seed: int
    name: str = "random"
    startup_trials: int = 0

    def propose(self, history: Sequence[Observation], number: int, taken: Taken) -> Proposal:
        return Proposal(uniform(self.n_options, stream(self.seed, number), taken))
