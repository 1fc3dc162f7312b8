from __future__ import annotations

import optuna
import pytest

from archfit.samplers import make_sampler
from archfit.testing.samplers import CHOICES, check_sampler


def test_a_sampler_with_state_of_its_own_is_caught():
    class Labelled(optuna.samplers.RandomSampler):
        def before_trial(self, study, trial):
            super().before_trial(study, trial)
            study._storage.set_trial_user_attr(trial._trial_id, "origin", "random")

    with pytest.raises(AssertionError, match="after the study was loaded again"):
        check_sampler(Labelled, learns=False)


def test_a_sampler_that_does_not_learn_is_caught():
    with pytest.raises(AssertionError, match="rewards of complete trials"):
        check_sampler(lambda seed: make_sampler("random", choices=CHOICES, seed=seed))


def test_a_sampler_without_a_seed_is_caught():
    with pytest.raises(AssertionError, match="seed"):
        check_sampler(lambda seed: make_sampler("random", choices=CHOICES, seed=0), learns=False)
