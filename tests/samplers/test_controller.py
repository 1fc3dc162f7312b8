from __future__ import annotations

import pickle

import torch

from archfit.samplers import Controller, Observation
from archfit.samplers.controller import ppo_rule

N_OPTIONS = (3, 2, 4, 1, 5)


def never(indices):
    return False


def controller(seed: int = 0) -> Controller:
    return Controller("ppo", N_OPTIONS, seed, ppo_rule, batch=4)


def history(count: int) -> list[Observation]:
    generator = torch.Generator().manual_seed(9)
    drawn = (torch.rand(count, 5, generator=generator) * torch.tensor(N_OPTIONS)).long().tolist()
    return [Observation(number, tuple(row), sum(row) / 10) for number, row in enumerate(drawn)]


def test_a_grown_cache_and_a_new_controller_propose_the_same():
    trials, grown = history(18), controller()
    for count in range(1, 19):
        proposal = grown.propose(trials[:count], count, never)
        assert proposal == controller().propose(trials[:count], count, never)


def test_a_history_that_changed_is_learnt_anew():
    trials, used = history(16), controller()
    used.propose(trials, 16, never)
    swapped = [*trials[:3], trials[8], *trials[4:8], trials[3], *trials[9:]]
    proposals = {used.propose(swapped, 16, never), controller().propose(swapped, 16, never)}
    assert len(proposals) == 1
    assert used.propose(trials[:7], 7, never) == controller().propose(trials[:7], 7, never)


def test_only_full_batches_are_learnt():
    trials = history(8)
    four, seven, eight = (controller().propose(trials[:count], 50, never) for count in (4, 7, 8))
    assert four == seven
    assert eight.log_prob != seven.log_prob


def test_log_prob_is_of_the_policy_that_sampled():
    trials, learnt = history(8), controller()
    proposal = learnt.propose(trials, 8, never)
    log_prob, _ = learnt.policy_after(trials).evaluate(torch.tensor([proposal.indices]))
    assert abs(log_prob.item() - proposal.log_prob) < 1e-4


def test_what_was_mutated_has_no_log_prob():
    small, seen = Controller("ppo", (2, 1), 0, ppo_rule), {(0, 0), (1, 0)}
    assert small.propose([Observation(0, (0, 0), 0.5)], 2, seen.__contains__).log_prob is None


def test_threads_are_left_as_they_were():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        controller().propose(history(4), 4, never)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_pickled_without_its_cache():
    trials, used = history(8), controller()
    proposal = used.propose(trials, 8, never)
    assert pickle.loads(pickle.dumps(used)).propose(trials, 8, never) == proposal  # noqa: S301


def test_learns():
    trials, learner = [], controller()
    for number in range(200):
        indices = learner.propose(trials or history(1), number, never).indices
        trials.append(Observation(number, indices, sum(indices) / 10))
    # a uniform architecture has (1 + 0.5 + 1.5 + 0 + 2) / 10 = 0.5 on average, the best 1.0
    assert sum(observation.reward for observation in trials[:4]) / 4 < 0.8
    assert sum(observation.reward for observation in trials[-40:]) / 40 > 0.9
