from __future__ import annotations

from functools import partial

import pytest
import torch

from archfit.errors import InputError
from archfit.samplers import Policy, Reinforce, ReinforceSettings, skip_penalty


def log_probs(*probabilities: list[float]) -> torch.Tensor:
    """Of one architecture; the third option is one that a bit does not have."""
    return torch.tensor([[[*each, 1e-30][:3] for each in probabilities]]).log()


def test_penalty_by_hand():
    steps = log_probs([0.2, 0.3, 0.5], [0.5, 0.5], [0.2, 0.3, 0.5], [0.6, 0.4], [0.5, 0.5])
    # Against 0.4, a bit of 0.5 costs 0.5 ln(0.5 / 0.4) + 0.5 ln(0.5 / 0.6) = 0.111572 - 0.091161 = 0.020411, one of
    # 0.4 nothing. Layers: 0.020411 and 0 + 0.020411; their mean times 0.8 is 0.016329.
    positions = [[1], [3, 4]]
    assert skip_penalty(steps, positions).item() == pytest.approx(0.016329, rel=1e-3)
    # Against 0.5 only the bit of 0.4 costs: 0.4 ln 0.8 + 0.6 ln 1.2 = -0.089257 + 0.109393 = 0.020136, over 2 layers.
    assert skip_penalty(steps, positions, rate=0.5, weight=1).item() == pytest.approx(0.010068, rel=1e-3)


def test_penalty_is_the_mean_over_the_batch():
    half, prior = log_probs([0.5, 0.5]), log_probs([0.6, 0.4])
    both = skip_penalty(torch.cat([half, prior]), [[0]])
    assert both.item() == pytest.approx(skip_penalty(half, [[0]]).item() / 2)


def test_penalty_draws_a_policy_to_the_rate():
    generator = torch.Generator().manual_seed(0)
    policy = Policy([6, 6, 2, 6, 2, 2], generator=generator)
    rule = Reinforce(policy, ReinforceSettings(lr=1e-2))
    positions = [[2], [4, 5]]
    for _ in range(30):
        indices, _, _ = policy.sample(10, generator)
        rule.update(indices, torch.ones(10), penalty=partial(skip_penalty, positions=positions))
    skips = policy.log_probs(indices)[:, [2, 4, 5], 1].exp()
    assert skips.mean().item() == pytest.approx(0.4, abs=0.02)  # it begins at 0.5


@pytest.mark.parametrize(
    ("positions", "rate", "message"), [([], 0.4, "at least one skip bit"), ([[0]], 1.0, r"rate is 1\.0")]
)
def test_unusable(positions, rate, message):
    with pytest.raises(InputError, match=message):
        skip_penalty(log_probs([0.5, 0.5]), positions, rate=rate)
