"""The samplers as a study sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from archfit.architecture import Choice
from archfit.errors import InputError
from archfit.samplers import SAMPLERS, ProposerSampler, distributions, make_sampler
from archfit.testing.samplers import CHOICES, check_sampler

pytestmark = pytest.mark.slow

DISTRIBUTIONS = distributions(CHOICES)
BEST = {"block1.op": "mbconv3", "block1.kernel": 5, "block1.se": 0.25, "block2.filters": 1.25, "block2.layers": 1}


def study_of(name, *, seed=0, canonical=None, **settings):
    sampler = make_sampler(name, choices=CHOICES, seed=seed, canonical=canonical)
    return optuna.create_study(sampler=sampler, direction="maximize", **settings)


def tell(study, trial):
    """The share of choices that have their best option."""
    study.tell(trial, sum(trial.params[name] == best for name, best in BEST.items()) / len(BEST))


def run(study, trials):
    for _ in range(trials):
        tell(study, study.ask(fixed_distributions=DISTRIBUTIONS))


def points(study):
    return [tuple(trial.params.values()) for trial in study.trials]


@pytest.mark.parametrize("name", SAMPLERS)
def test_conforms(name):
    check_sampler(lambda seed: make_sampler(name, choices=CHOICES, seed=seed), learns=name != "random")


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "gp"])
def test_visits_a_small_space_once(name):
    study = study_of(name)
    run(study, 108)  # 3 * 2 * 2 * 3 * 1 * 3 points
    assert len(set(points(study))) == 108
    run(study, 1)


@pytest.mark.parametrize("name", ["evolution", "ppo", "predictor", "reinforce", "tpe", "nsga2"])
def test_finds_more_than_random_search(name):
    def mean_best(sampler: str) -> int:
        choices = tuple(Choice(f"c{position}", (0, 1, 2, 3)) for position in range(6))
        total = 0.0
        for seed in range(2):
            study = optuna.create_study(sampler=make_sampler(sampler, choices=choices, seed=seed), direction="maximize")
            best = 0.0
            for _ in range(120):
                trial = study.ask(fixed_distributions=distributions(choices))
                reward = sum(trial.params.values()) / 18
                study.tell(trial, reward)
                best = max(best, reward)
            total += best
        return total / 2

    assert mean_best(name) > mean_best("random")


@pytest.mark.parametrize("name", ["evolution", "ppo", "predictor", "tpe"])
def test_origin_tells_start_up_from_the_sampler(name):
    study = study_of(name)
    run(study, 24)
    origins = [trial.user_attrs["origin"] for trial in study.trials]
    assert origins[:10] == ["random"] * 10
    assert origins[-1] == name
    assert origins == sorted(origins, key=["random", name].index)


def test_log_prob_is_kept_where_a_policy_sampled():
    study = study_of("ppo")
    run(study, 20)
    kept = ["sampler:log_prob" in trial.user_attrs for trial in study.trials]
    assert kept == [False] * 16 + [True] * 4
    assert all(trial.user_attrs["sampler:log_prob"] < 0 for trial in study.trials[16:])


def test_attributes_show_on_the_trial_that_was_asked_for():
    trial = study_of("random").ask(fixed_distributions=DISTRIBUTIONS)
    assert trial.user_attrs == {"origin": "random"}


@pytest.mark.parametrize("name", ["random", "evolution", "ppo", "predictor", "tpe", "nsga2"])
def test_running_trials_are_neither_learnt_nor_repeated(name):
    study = study_of(name)
    run(study, 30)
    running = [study.ask(fixed_distributions=DISTRIBUTIONS) for _ in range(8)]
    assert len(set(points(study))) == 38
    tell(study, running[5])
    tell(study, running[2])
    run(study, 2)
    assert len(set(points(study))) == 40


def test_failed_trials_are_not_learnt():
    def proposed(value: float) -> dict[str, object]:
        study = study_of("evolution")
        for _ in range(12):
            trial = study.ask(fixed_distributions=DISTRIBUTIONS)
            trial.set_user_attr("reward", value if trial.number % 2 else 0.5)
            if trial.number % 2:
                study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, 0.5)
        return study.ask(fixed_distributions=DISTRIBUTIONS).params

    assert proposed(0.0) == proposed(1.0)


def test_what_fails_at_the_start_is_followed_by_uniform_trials():
    study = study_of("evolution")
    for _ in range(12):
        study.tell(study.ask(fixed_distributions=DISTRIBUTIONS), state=TrialState.FAIL)
    assert study.ask(fixed_distributions=DISTRIBUTIONS).user_attrs["origin"] == "random"


@pytest.mark.parametrize("name", ["random", "evolution", "ppo", "predictor", "nsga2"])
def test_canonical_merges_equal_networks(name):
    # choice 2 (squeeze-and-excite) builds nothing where choice 0 is "conv": 3 * 2 * 2 * 3 * 3 = 108 points,
    # of which 2 * 3 * 3 = 18 are merged away
    study = study_of(name, canonical=lambda indices: (*indices[:2], indices[2] * (indices[0] > 0), *indices[3:]))
    run(study, 90)
    merged = [(op, kernel, se * (op != "conv"), *rest) for op, kernel, se, *rest in points(study)]
    assert len(set(merged)) == 90


@pytest.mark.parametrize("name", ["evolution", "ppo", "predictor", "tpe", "nsga2"])
def test_enqueued_trials_are_learnt(name):
    study = study_of(name)
    study.enqueue_trial({**BEST, "block2.skip": "identity"}, user_attrs={"origin": "enqueued"})
    run(study, 40)
    assert study.trials[0].params == {**BEST, "block2.skip": "identity"}
    assert study.trials[0].user_attrs["origin"] == "enqueued"
    assert points(study).count(tuple(study.trials[0].params.values())) == 1


@pytest.mark.parametrize("name", ["evolution", "ppo", "predictor", "tpe"])
def test_the_order_of_finishing_decides_not_the_order_of_asking(name):
    def proposed(order: list[int]) -> tuple[object, ...]:
        study = study_of(name)
        trials = [study.ask(fixed_distributions=DISTRIBUTIONS) for _ in range(24)]
        for number in order:
            tell(study, trials[number])
        trial = study.ask(fixed_distributions=DISTRIBUTIONS)
        return trial.params, trial.user_attrs

    forwards = list(range(24))
    assert proposed(forwards) == proposed(forwards)
    if name not in ("predictor", "tpe"):  # which know no order
        assert proposed(forwards) != proposed(forwards[::-1])


_CHILD = """
import json, sys, optuna
from archfit.samplers import distributions, make_sampler
from archfit.testing.samplers import CHOICES
proposed = {}
for name in sys.argv[2:]:
    study = optuna.load_study(study_name=name, storage=sys.argv[1], sampler=make_sampler(name, choices=CHOICES, seed=3))
    trial = study.ask(fixed_distributions=distributions(CHOICES))
    proposed[name] = [trial.number, trial.params, trial.user_attrs]
print(json.dumps(proposed))
"""


def test_a_fresh_process_goes_on_as_this_one(tmp_path: Path):
    names = ("ppo", "evolution", "predictor", "tpe")
    address = f"sqlite:///{tmp_path}/study.db"
    (tmp_path / "copy").mkdir()
    studies = {}
    for name in names:
        studies[name] = study_of(name, seed=3, storage=address, study_name=name)
        run(studies[name], 18)
    copied = tmp_path / "copy" / "study.db"
    copied.write_bytes((tmp_path / "study.db").read_bytes())
    command = [sys.executable, "-c", _CHILD, f"sqlite:///{copied}", *names]
    proposed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for name, study in studies.items():
        trial = study.ask(fixed_distributions=DISTRIBUTIONS)
        assert proposed[name] == [18, trial.params, trial.user_attrs], name


def test_wide_and_long_spaces():
    choices = tuple(Choice(f"c{position}", tuple(range(1 + position % 10))) for position in range(60))
    for name in ("ppo", "evolution", "predictor", "tpe", "nsga2"):
        study = optuna.create_study(sampler=make_sampler(name, choices=choices, seed=0), direction="maximize")
        for _ in range(25):
            trial = study.ask(fixed_distributions=distributions(choices))
            study.tell(trial, sum(trial.params.values()) / 270)
        assert len(set(points(study))) == 25


def test_one_point_only():
    for name in ("random", "evolution", "ppo", "predictor", "tpe", "nsga2"):
        choices = (Choice("only", ("this",)),)
        study = optuna.create_study(sampler=make_sampler(name, choices=choices, seed=0), direction="maximize")
        for _ in range(25):
            study.tell(study.ask(fixed_distributions=distributions(choices)), 0.5)


def test_auto_is_the_predictor():
    sampler = make_sampler("auto", choices=CHOICES, seed=0)
    assert isinstance(sampler, ProposerSampler)
    assert sampler.proposer.name == "predictor"


def test_unknown_name():
    with pytest.raises(InputError, match="unknown sampler 'ppoo'; did you mean 'ppo'"):
        make_sampler("ppoo", choices=CHOICES, seed=0)


def test_bad_arguments():
    with pytest.raises(InputError, match="seed is -1"):
        make_sampler("random", choices=CHOICES, seed=-1)
    with pytest.raises(InputError, match="no choices"):
        make_sampler("random", choices=(), seed=0)


def test_a_study_that_minimises_is_refused():
    study = optuna.create_study(sampler=make_sampler("random", choices=CHOICES, seed=0))
    with pytest.raises(InputError, match="minimize"):
        study.ask(fixed_distributions=DISTRIBUTIONS)


def test_another_spaces_choice_is_refused():
    study = study_of("random")
    with pytest.raises(InputError, match=r"'block9\.op' is no choice"):
        study.ask(fixed_distributions=distributions((Choice("block9.op", (1, 2)),)))


def test_an_infinite_reward_is_refused():
    study = study_of("evolution")
    trial = study.ask(fixed_distributions=DISTRIBUTIONS)
    trial.set_user_attr("reward", float("-inf"))
    study.tell(trial, state=TrialState.PRUNED)
    with pytest.raises(InputError, match="trial 0 has reward -inf"):
        study.ask(fixed_distributions=DISTRIBUTIONS)
