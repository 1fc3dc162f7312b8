"""Optuna's own samplers, made to replay: a new one per trial, seeded by (seed, trial number)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from archfit.architecture import Choice
from archfit.samplers.adapter import (
    Canonical,
    Reader,
    check_maximises,
    distributions,
    foreign,
    reward_of,
    set_origin,
)
from archfit.samplers.proposals import Indices, RandomSearch, nearby, stream


def tpe(seed: int) -> BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


def nsga2(seed: int) -> BaseSampler:
    """With a population of 20: Optuna's 50 would be half of a usual search."""
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=20)


def gp(seed: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed)


class _Learnt(Study):
    """The study as an Optuna sampler should see it: pruned trials count with their reward, running ones do not."""

    def __init__(self, study: Study, reader: Reader) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self._reader = reader
        self._seen: list[FrozenTrial] | None = None

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        if self._seen is None:
            known = super()._get_trials(deepcopy=False)
            learnt = [trial for trial in known if self._reader.indices(trial) is not None]
            self._seen = [as_complete(trial) for trial in learnt if reward_of(trial) is not None]
        trials = [trial for trial in self._seen if states is None or trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials


def as_complete(trial: FrozenTrial) -> FrozenTrial:
    """A copy whose value is its reward, complete even if it was pruned; the trial must have a reward."""
    seen, reward = copy.copy(trial), reward_of(trial)
    seen.state, seen.values = TrialState.COMPLETE, None if reward is None else [reward]
    return seen


class ReplayedSampler(BaseSampler):
    """One of Optuna's samplers whose proposals depend on the seed and the finished trials alone.

    Where it proposes what was proposed before it is asked again with another seed, then its answer is mutated; where
    it has too little to go by, the trial is uniform, without repeats.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[int], BaseSampler],
        choices: Sequence[Choice],
        seed: int,
        *,
        canonical: Canonical | None = None,
        tries: int = 4,
    ) -> None:
        """`make` builds Optuna's sampler for a seed; `tries` bounds how often it is asked for one trial."""
        self.name = name
        self._make = make
        self._seed = seed
        self._tries = tries
        self._reader = Reader(choices, canonical)
        self._n_options = tuple(len(choice.options) for choice in choices)
        self._random = RandomSearch(self._n_options, seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Counts enqueued trials into a genetic sampler's generation, which it decides when it samples."""
        inner = self._make(0)
        if isinstance(inner, BaseGASampler) and trial.system_attrs.get("fixed_params"):
            inner.get_trial_generation(_Learnt(study, self._reader), trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        check_maximises(study)
        return distributions(self._reader.choices)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        taken = self._reader.taken(study.get_trials(deepcopy=False), trial.number)
        view = _Learnt(study, self._reader)
        found: Indices | None = None
        for attempt in range(self._tries):
            found = self._ask(view, trial, search_space, attempt)
            if found is None or not taken(found):
                break
        origin = "random" if found is None else self.name
        if found is None:
            found = self._random.propose([], trial.number, taken).indices
        rng = stream(self._seed, trial.number, self._tries)
        set_origin(study, trial, origin)
        return dict(self._reader.options(nearby(found, self._n_options, rng, taken)))

    def _ask(
        self, view: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution], attempt: int
    ) -> Indices | None:
        """Option numbers, uniform in choices that the inner sampler leaves open; None if it leaves all open."""
        rng = stream(self._seed, trial.number, attempt)
        several = {name: options for name, options in search_space.items() if not options.single()}
        params = self._make(int(rng.integers(2**31))).sample_relative(view, trial, several)
        if not params:
            return None
        drawn = rng.integers(self._n_options).tolist()
        return tuple(
            choice.index(params[choice.name]) if choice.name in params else drawn[position]
            for position, choice in enumerate(self._reader.choices)
        )

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise foreign(param_name)
