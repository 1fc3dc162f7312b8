from __future__ import annotations

import pytest
import torch

from archfit.samplers import Policy, Reinforce, ReinforceSettings, moving_baseline, reinforce_loss
from archfit.samplers.reinforce import advantages


def test_moving_baseline():
    rewards = torch.tensor([0.5, 0.9])
    # 0.99 * 0.2 + 0.01 * 0.7 = 0.198 + 0.007
    assert moving_baseline(0.2, rewards) == pytest.approx(0.205)
    assert moving_baseline(None, rewards) == pytest.approx(0.7)
    assert moving_baseline(0.2, rewards, decay=0) == pytest.approx(0.7)


def test_loss_by_hand():
    # -1 * 0.5 + 0.1 * 1 = -0.4;  -2 * -0.25 + 0.1 * 3 = 0.8;  mean 0.2
    loss = reinforce_loss(
        torch.tensor([-1.0, -2.0]), torch.tensor([0.5, -0.25]), torch.tensor([1.0, 3.0]), entropy_weight=0.1
    )
    assert loss.item() == pytest.approx(-0.2)


def test_advantages_by_hand():
    # minus 5: (3, -4); root mean square sqrt((9 + 16) / 2) = 3.5355
    rewards = torch.tensor([8.0, 1.0])
    assert advantages(rewards, 5, normalise=False).tolist() == [3, -4]
    assert advantages(rewards, 5, normalise=True).tolist() == pytest.approx([3 / 3.5355, -4 / 3.5355], rel=1e-4)
    close = torch.tensor([2e-5, -2e-5])
    assert advantages(close, 0, normalise=True).tolist() == pytest.approx([0.2, -0.2])  # over 1e-4, not over 2e-5


def test_learns_where_the_reward_is():
    generator = torch.Generator().manual_seed(0)
    policy = Policy([4] * 5, generator=generator)
    rule = Reinforce(policy, ReinforceSettings(lr=1e-2, baseline_decay=0.9))
    best = torch.tensor([[3] * 5])
    before = policy.evaluate(best)[0].item()
    for _ in range(60):
        indices, _, _ = policy.sample(10, generator)
        rule.update(indices, (indices == 3).float().mean(1))
    assert policy.evaluate(best)[0].item() > before + 3  # at least e^3 = 20 times as likely


def test_penalty_is_part_of_the_loss():
    def updated(weight: float) -> float:
        generator = torch.Generator().manual_seed(0)
        policy = Policy([2] * 6, generator=generator)
        rule = Reinforce(policy)
        indices, _, _ = policy.sample(10, generator)
        for _ in range(20):
            rule.update(indices, torch.ones(10), penalty=lambda log_probs: weight * log_probs[:, :, 1].exp().mean())
        return policy.log_probs(indices)[:, :, 1].exp().mean().item()

    assert updated(1.0) < updated(0.0) - 0.1


def test_gradients_are_clipped():
    policy = Policy([3] * 4, generator=torch.Generator().manual_seed(0))
    rule = Reinforce(policy, ReinforceSettings(max_norm=0.01))
    rule.update(torch.tensor([[0, 1, 2, 0], [1, 1, 1, 1]]), torch.tensor([100.0, -100.0]))
    norm = torch.stack([parameter.grad.norm() for parameter in policy.parameters()]).norm().item()
    assert norm == pytest.approx(0.01, rel=1e-3)
