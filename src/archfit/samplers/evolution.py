"""Regularised evolution (Real et al., arXiv:1802.01548, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from archfit.samplers.proposals import Observation, Proposal, Taken, mutated, nearby, stream

_TOURNAMENTS = 32


def tournament(population: Sequence[Observation], size: int, rng: np.random.Generator) -> Observation:
    """The best of `size` members drawn without replacement; of equals, the one drawn first."""
    drawn = rng.choice(len(population), min(size, len(population)), replace=False)
    return max([population[int(member)] for member in drawn], key=lambda observation: observation.reward)


@dataclass(frozen=True)
class Evolution:
    """The last `population` trials to finish live; the winner of a tournament among them is mutated in one choice.

    Attributes:
        n_options: Options of each choice.
        seed: Of all streams.
        population: Trials that live; the oldest dies, not the worst.
        tournament_size: Members compared for one parent.
        startup_trials: Uniform ones before the first mutation.
    """

    n_options: tuple[int, ...]
    seed: int
    population: int = 20
    tournament_size: int = 5
    startup_trials: int = 20
    name: str = "evolution"

    def propose(self, history: Sequence[Observation], number: int, taken: Taken) -> Proposal:
        rng = stream(self.seed, number)
        living = history[-self.population :]
        child = living[-1].indices
        for _ in range(_TOURNAMENTS):
            parent = tournament(living, self.tournament_size, rng)
            child = mutated(parent.indices, self.n_options, rng)
            if not taken(child):
                break
        return Proposal(nearby(child, self.n_options, rng, taken))
