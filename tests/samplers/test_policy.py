from __future__ import annotations

import itertools
import math

import pytest
import torch

from archfit.errors import InputError
from archfit.samplers import Policy


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def peaked(n_options: list[int], **settings: float | None) -> Policy:
    """A policy far from uniform."""
    policy = Policy(n_options, generator=generator(), **settings)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(5)
    return policy


def every_point(n_options: list[int]) -> torch.Tensor:
    return torch.tensor(list(itertools.product(*map(range, n_options))))


def test_probabilities_of_a_whole_space_sum_to_one():
    log_prob, _ = peaked([3, 1, 2, 4]).evaluate(every_point([3, 1, 2, 4]))
    assert log_prob.shape == (24,)
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_entropy_is_of_the_whole_distribution():
    # Chain rule: the entropies of the steps, averaged over the architectures by their probability, are the entropy of
    # the architecture, -sum p log p. The entropy of the sampled actions alone would not do this.
    log_prob, entropy = peaked([3, 1, 2, 4]).evaluate(every_point([3, 1, 2, 4]))
    whole = -(log_prob.exp() * log_prob).sum().item()
    assert whole < 0.95 * math.log(24)
    assert (log_prob.exp() * entropy).sum().item() == pytest.approx(whole, abs=1e-5)


def test_a_new_policy_is_near_uniform():
    # ln 5 = 1.609 nats per choice
    _, _, entropy = Policy([5] * 10, generator=generator()).sample(4, generator(1))
    assert entropy.tolist() == pytest.approx([10 * math.log(5)] * 4, rel=0.01)


def test_sample_and_evaluate_agree():
    policy = peaked([2, 5, 3, 10, 1, 4])
    indices, log_prob, entropy = policy.sample(50, generator(1))
    assert indices.shape == (50, 6)
    assert (indices >= 0).all()
    assert (indices < torch.tensor([2, 5, 3, 10, 1, 4])).all()
    assert not log_prob.requires_grad
    again, entropy_again = policy.evaluate(indices)
    torch.testing.assert_close(again, log_prob, atol=1e-4, rtol=0)
    torch.testing.assert_close(entropy_again, entropy, atol=1e-4, rtol=0)


def test_samples_are_as_frequent_as_their_probability():
    policy = peaked([2, 3])
    points = every_point([2, 3])
    probability = policy.evaluate(points)[0].exp()
    indices, _, _ = policy.sample(20_000, generator(2))
    share = torch.stack([(indices == point).all(1).float().mean() for point in points])
    # the standard error of a share is at most sqrt(0.25 / 20000) = 0.0035; four of them
    assert (share - probability).abs().max() < 0.014


def test_later_choices_depend_on_earlier_ones():
    log_probs = peaked([2, 3]).log_probs(torch.tensor([[0, 0], [1, 0]]))
    assert (log_probs[0, 1] - log_probs[1, 1]).abs().max() > 1e-3
    torch.testing.assert_close(log_probs[0, 0], log_probs[1, 0])


def test_tanh_constant_bounds_certainty():
    # logits within +-1.1: at most e^1.1 / (e^1.1 + 2 e^-1.1) = 3.004 / (3.004 + 0.666) = 0.8186
    policy = peaked([3] * 4, tanh_constant=1.1)
    with torch.no_grad():
        policy.head_weight.mul_(1e4)
    highest = policy.log_probs(every_point([3] * 4)).exp().max().item()
    assert 0.7 < highest <= 0.8187


def test_temperature_flattens():
    indices = every_point([4, 4])
    cold, hot = peaked([4, 4]), peaked([4, 4], temperature=5.0)
    assert hot.evaluate(indices)[1].mean() > cold.evaluate(indices)[1].mean()


def test_same_generator_same_samples_and_the_global_one_is_left_alone():
    before = torch.get_rng_state()
    first = Policy([3] * 8, generator=generator(3)).sample(6, generator(4))
    second = Policy([3] * 8, generator=generator(3)).sample(6, generator(4))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_gradient_reaches_every_weight():
    policy = Policy([3, 2, 4], generator=generator())
    policy.evaluate(every_point([3, 2, 4]))[0].sum().backward()
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("n_options", [[], [3, 0]])
def test_a_choice_needs_options(n_options):
    with pytest.raises(InputError, match="at least 1"):
        Policy(n_options, generator=generator())


def test_scales_are_positive():
    with pytest.raises(InputError, match="above zero"):
        Policy([2], generator=generator(), temperature=0)
