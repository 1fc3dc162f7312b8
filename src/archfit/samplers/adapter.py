"""Proposers behind Optuna's sampler interface."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from archfit.architecture import Choice, Option
from archfit.errors import InputError
from archfit.samplers.proposals import Indices, Observation, Proposer, RandomSearch, Taken

LOG_PROB = "sampler:log_prob"
ORIGIN = "origin"
REWARD = "reward"
ACCURACY, RATIOS = "accuracy", "ratios"
"""Attributes of a trial with what its reward was made of, for samplers that look at them apart."""
PROMOTES = "promotes"
"""Attribute of a trial that trains an earlier one's network on: its reward is not comparable with first ones."""

Canonical = Callable[[Indices], Indices]


def reward_of(trial: FrozenTrial) -> float | None:
    """The reward of a complete or pruned trial: its attribute, else its value; None where there is nothing to learn.

    Raises:
        InputError: The reward is not finite.
    """
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or PROMOTES in trial.user_attrs:
        return None
    reward = trial.user_attrs.get(REWARD, trial.values[0] if trial.values else None)
    if reward is None:
        return None
    if not math.isfinite(reward):
        raise InputError(
            f"trial {trial.number} has reward {reward}; it must be finite: tell the trial as failed instead"
        )
    return float(reward)


def finish_order(trial: FrozenTrial) -> tuple[datetime.datetime, int]:
    """Sorts trials by when they ended; those that have not, last."""
    return (trial.datetime_complete or datetime.datetime.max, trial.number)


class Reader:
    """Reads the trials of a study as integers and floats.

    What it remembers, of finished trials (which no longer change) and of canonical forms, only saves time.
    """

    def __init__(self, choices: Sequence[Choice], canonical: Canonical | None) -> None:
        self.choices = tuple(choices)
        self._canonical = canonical
        self._index = [{option: position for position, option in enumerate(choice.options)} for choice in self.choices]
        self._read: dict[int, tuple[FrozenTrial, Indices | None]] = {}
        self._networks: dict[Indices, Indices] = {}

    def options(self, indices: Indices) -> dict[str, Option]:
        pairs = zip(self.choices, indices, strict=True)
        return {choice.name: choice.options[index] for choice, index in pairs}

    def indices(self, trial: FrozenTrial) -> Indices | None:
        """None where the trial lacks a choice, or has an option that the space does not have."""
        known = self._read.get(trial.number)
        if known is not None and known[0] is trial:
            return known[1]
        params = trial.params
        found = [
            index.get(params[choice.name]) if choice.name in params else None
            for choice, index in zip(self.choices, self._index, strict=True)
        ]
        whole = tuple(position for position in found if position is not None)
        indices = whole if len(whole) == len(found) else None
        if trial.state.is_finished():
            self._read[trial.number] = (trial, indices)
        return indices

    def history(self, trials: Sequence[FrozenTrial]) -> list[Observation]:
        """What can be learnt from, in the order it finished."""
        observations = []
        for trial in sorted(trials, key=finish_order):
            reward, indices = reward_of(trial), self.indices(trial)
            if reward is not None and indices is not None:
                attrs = trial.user_attrs
                observations.append(
                    Observation(
                        trial.number,
                        indices,
                        reward,
                        attrs.get(LOG_PROB),
                        self.canonical(indices),
                        attrs.get(ACCURACY),
                        attrs.get(RATIOS),
                    )
                )
        return observations

    def taken(self, trials: Sequence[FrozenTrial], number: int) -> Taken:
        """Whether a point, or one that builds the same network, belongs to another trial, however that one ended."""
        others = [self.indices(trial) for trial in trials if trial.number != number]
        points = {self.canonical(indices) for indices in others if indices is not None}
        return lambda indices: self.canonical(indices) in points

    def canonical(self, indices: Indices) -> Indices:
        if self._canonical is None:
            return indices
        if indices not in self._networks:
            self._networks[indices] = self._canonical(indices)
        return self._networks[indices]


class ProposerSampler(BaseSampler):
    """An Optuna sampler that asks a `Proposer`.

    All choices of a trial are decided together. Trials that are running are not learnt from, but not proposed again
    either. The first `startup_trials` trials are uniform, and so are later ones until half as many have finished; those
    that train an earlier one on are not counted.
    Each trial gets the user attribute `origin` (an enqueued one keeps its own), and `sampler:log_prob` where a policy
    sampled it.
    """

    def __init__(
        self, proposer: Proposer, choices: Sequence[Choice], seed: int, canonical: Canonical | None = None
    ) -> None:
        self.proposer = proposer
        self._reader = Reader(choices, canonical)
        self._random = RandomSearch(tuple(len(choice.options) for choice in choices), seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        check_maximises(study)
        return distributions(self._reader.choices)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        trials = study.get_trials(deepcopy=False)
        history = self._reader.history(trials)
        taken = self._reader.taken(trials, trial.number)
        startup = self.proposer.startup_trials
        before = sum(other.number < trial.number and PROMOTES not in other.user_attrs for other in trials)
        early = before < startup or 2 * len(history) < max(startup, 1)
        proposer: Proposer = self._random if early else self.proposer
        proposal = proposer.propose(history, trial.number, taken)
        set_origin(study, trial, proposer.name)
        if proposal.log_prob is not None and not trial.system_attrs.get("fixed_params"):
            set_attribute(study, trial, LOG_PROB, proposal.log_prob)
        return self._reader.options(proposal.indices)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise foreign(param_name)


def foreign(param_name: str) -> InputError:
    """The error for a parameter that Optuna asks for on its own: all choices are decided together."""
    return InputError(
        f"{param_name!r} is no choice of the space that the sampler was made for, or its options differ; "
        f"ask with fixed_distributions=distributions(choices)"
    )


def distributions(choices: Sequence[Choice]) -> dict[str, BaseDistribution]:
    """As Optuna knows the choices; pass it to `Study.ask` as `fixed_distributions`."""
    return {choice.name: CategoricalDistribution(choice.options) for choice in choices}


def check_maximises(study: Study) -> None:
    """Raises `InputError` unless the study has one objective, to be maximised."""
    if study.directions != [StudyDirection.MAXIMIZE]:
        names = ", ".join(direction.name.lower() for direction in study.directions)
        raise InputError(f"the study's direction is {names}; rewards grow: create it with direction='maximize'")


def set_origin(study: Study, trial: FrozenTrial, origin: str) -> None:
    """Says who proposed the trial, unless whoever enqueued it has said so."""
    if ORIGIN not in trial.user_attrs:
        set_attribute(study, trial, ORIGIN, origin)


def set_attribute(study: Study, trial: FrozenTrial, key: str, value: float | str) -> None:
    """As `Trial.set_user_attr`, from inside a sampler; the trial that `ask` returns shows it too."""
    study._storage.set_trial_user_attr(trial._trial_id, key, value)
    trial.user_attrs[key] = value
