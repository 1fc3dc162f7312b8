from __future__ import annotations

import math

import pytest
import torch

from archfit.samplers import Policy, Ppo, PpoSettings, clipped_surrogate


def test_clipped_surrogate_by_hand():
    # ratio 1.5, advantage 2: min(3.0, 1.2 * 2) = 2.4;  ratio 0.5, advantage -1: min(-0.5, 0.8 * -1) = -0.8
    # ratio 1.1, advantage 1: 1.1, inside the interval;  mean (2.4 - 0.8 + 1.1) / 3 = 0.9
    log_prob = torch.tensor([math.log(1.5), math.log(0.5), math.log(1.1)])
    loss = clipped_surrogate(log_prob, torch.zeros(3), torch.tensor([2.0, -1.0, 1.0]))
    assert loss.item() == pytest.approx(-0.9, rel=1e-6)


def test_no_gradient_beyond_the_trust_interval():
    log_prob = torch.tensor([math.log(1.5), math.log(1.5)], requires_grad=True)
    clipped_surrogate(log_prob, torch.zeros(2), torch.tensor([1.0, -1.0])).backward()
    # the first gained enough; the second is worse than its baseline, so its ratio must still come down:
    # d/d log_prob of -(ratio * advantage) / 2 = 1.5 / 2
    assert log_prob.grad.tolist() == pytest.approx([0, 0.75])


def test_unknown_old_log_prob_is_the_policys_own():
    def updated(old: torch.Tensor | None) -> list[float]:
        generator = torch.Generator().manual_seed(0)
        policy = Policy([3] * 4, generator=generator)
        indices, log_prob, _ = policy.sample(8, generator)
        if old is None:
            old = log_prob
        rule = Ppo(policy)
        rule.update(indices, torch.linspace(0, 1, 8), old)
        return policy.evaluate(indices)[0].tolist()

    assert updated(torch.full((8,), math.nan)) == pytest.approx(updated(None), abs=1e-4)
    assert updated(torch.full((8,), -9.0)) != pytest.approx(updated(None), abs=1e-4)


def test_learns_where_the_reward_is():
    generator = torch.Generator().manual_seed(0)
    policy = Policy([4] * 5, generator=generator)
    rule = Ppo(policy)
    best = torch.tensor([[3] * 5])
    before = policy.evaluate(best)[0].item()
    for _ in range(15):
        indices, log_prob, _ = policy.sample(10, generator)
        rule.update(indices, (indices == 3).float().mean(1), log_prob)
    assert policy.evaluate(best)[0].item() > before + 3


def test_equal_rewards_teach_nothing_but_entropy():
    generator = torch.Generator().manual_seed(0)
    policy = Policy([3] * 4, generator=generator)
    indices, log_prob, _ = policy.sample(8, generator)
    Ppo(policy, PpoSettings(entropy_weight=0.0)).update(indices, torch.full((8,), 0.7), log_prob)
    torch.testing.assert_close(policy.evaluate(indices)[0].detach(), log_prob, atol=1e-4, rtol=0)
