"""What every sampler must keep; run it on your own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import Trial, TrialState

from archfit.architecture import Choice, Option
from archfit.samplers import distributions

Point = dict[str, Any]

CHOICES = (
    Choice("block1.op", ("conv", "dconv", "mbconv3")),
    Choice("block1.kernel", (3, 5)),
    Choice("block1.se", (0.0, 0.25)),
    Choice("block2.filters", (0.75, 1.0, 1.25)),
    Choice("block2.skip", ("identity",)),
    Choice("block2.layers", (-1, 0, 1)),
)


def check_sampler(
    make: Callable[[int], BaseSampler], choices: Sequence[Choice] = CHOICES, *, trials: int = 28, learns: bool = True
) -> None:
    """Raises `AssertionError` saying what is wrong, if the sampler breaks what a search relies on.

    A search asks with `distributions(choices)`; it tells complete trials with their reward, and pruned ones without,
    their reward being the user attribute "reward". Failed and running trials are in the study as well.

    Args:
        make: The sampler for a seed, made for `choices`; called again, it must give an equal one.
        choices: Of some space; the default has options of all types, and a choice of one option.
        trials: Of each study in the check; more than the sampler draws at random before it learns.
        learns: Whether its proposals depend on the rewards, those of pruned trials included.
    """
    first = _searched(make(0), choices, trials)
    _check_members(first, choices)
    again = _points(_searched(make(0), choices, trials))
    assert _points(first) == again, "two studies with the same seed and rewards differ: the seed does not decide all"
    assert _points(_searched(make(1), choices, trials)) != again, "another seed proposes the same architectures"
    _check_replay(make, choices, trials)
    if learns:
        other = _points(_searched(make(0), choices, trials, turned=TrialState.COMPLETE))
        assert other != again, "the rewards of complete trials do not change what is proposed"
        other = _points(_searched(make(0), choices, trials, turned=TrialState.PRUNED))
        assert other != again, "the rewards of pruned trials do not change what is proposed"


def _check_members(study: Study, choices: Sequence[Choice]) -> None:
    names = [choice.name for choice in choices]
    for trial in study.trials:
        assert sorted(trial.params) == sorted(names), f"trial {trial.number} has {sorted(trial.params)}, not {names}"
        for choice in choices:
            choice.index(trial.params[choice.name])
        assert trial.user_attrs.get("origin"), f"trial {trial.number} lacks the user attribute 'origin'"


def _check_replay(make: Callable[[int], BaseSampler], choices: Sequence[Choice], trials: int) -> None:
    """A search that stops and goes on with a new sampler proposes what it would have proposed."""
    with tempfile.TemporaryDirectory() as folder:
        journal, copied = Path(folder) / "study.log", Path(folder) / "copy.log"
        study = _searched(make(0), choices, trials, path=journal)
        shutil.copy(journal, copied)
        loaded = optuna.load_study(study_name="check", storage=_journal(copied), sampler=make(0))
        for _ in range(3):
            went_on, resumed = _ask(study, choices), _ask(loaded, choices)
            assert went_on.params == resumed.params, (
                f"trial {resumed.number} is {resumed.params} after the study was loaded again, {went_on.params} if it "
                f"goes on: the sampler keeps something that neither the seed nor the finished trials tell"
            )
            for each, trial in ((study, went_on), (loaded, resumed)):
                _tell(each, trial, choices, None)


def _searched(
    sampler: BaseSampler,
    choices: Sequence[Choice],
    trials: int,
    *,
    path: Path | None = None,
    turned: TrialState | None = None,
) -> Study:
    """A study in which two trials run at a time and the later one ends first.

    The rewards of trials that end as `turned` are turned upside down: the worst is best, and above all others.
    """
    storage = _journal(path) if path else None
    study = optuna.create_study(storage=storage, sampler=sampler, study_name="check", direction="maximize")
    while len(study.get_trials(deepcopy=False)) < trials:
        earlier, later = _ask(study, choices), _ask(study, choices)
        _tell(study, later, choices, turned)
        _tell(study, earlier, choices, turned)
    return study


def _ask(study: Study, choices: Sequence[Choice]) -> Trial:
    return study.ask(fixed_distributions=distributions(choices))


def _tell(study: Study, trial: Trial, choices: Sequence[Choice], turned: TrialState | None) -> None:
    state = {3: TrialState.PRUNED, 6: TrialState.FAIL}.get(trial.number % 8, TrialState.COMPLETE)
    reward = _reward(choices, trial.params)
    reward = 2 - reward if state == turned else reward
    if state != TrialState.FAIL:
        trial.set_user_attr("reward", reward)
    study.tell(trial, reward if state == TrialState.COMPLETE else None, state)


def _reward(choices: Sequence[Choice], params: dict[str, Option]) -> float:
    """From 0 to 1: the share of choices that have their last option, weighted so that no two are alike."""
    weights = [1 + position / 7 for position in range(len(choices))]
    pairs = zip(weights, choices, strict=True)
    return sum(weight * (params[choice.name] == choice.options[-1]) for weight, choice in pairs) / sum(weights)


def _points(study: Study) -> list[Point]:
    return [trial.params for trial in study.trials]


def _journal(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path)))
