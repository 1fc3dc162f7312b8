from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from archfit.data import Batches, MemorySplit, load_data
from archfit.training import Recipe, fit
from archfit.training.classifier import Classifier
from archfit.training.metrics import top1
from archfit.training.sharpness import SharpnessAware


def test_climbs_by_its_radius_and_comes_back_to_the_bit() -> None:
    first, second = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([0.5]))
    closed = nn.Parameter(torch.tensor([7.0]), requires_grad=False)
    before = [weight.detach().clone() for weight in (first, second, closed)]
    sharpness = SharpnessAware(0.5)
    module = nn.Module()
    module.first, module.second, module.closed = first, second, closed
    # The gradient of 3 a + 4 c is (3, 0) and (4), its length 5: half a step along it is (0.3, 0) and (0.4).
    sharpness.climb(3 * first[0] + 4 * second[0] + closed[0], module)
    assert first.tolist() == pytest.approx([1.3, 2.0])
    assert (second.tolist(), closed.tolist()) == (pytest.approx([0.9]), [7.0])
    sharpness.back()
    assert all(torch.equal(weight, old) for weight, old in zip((first, second, closed), before, strict=True))


def test_a_step_takes_the_gradients_of_where_the_loss_is_worse() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    split = MemorySplit(torch.zeros(8, 1, 4, 4, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64))
    recipe = Recipe(1, sharpness=0.5)
    batches = Batches(split, (0.5,), (0.5,), 4)
    module = Classifier(copy.deepcopy(network), recipe, steps=10, batches=batches, classes=2, metric=top1)
    images, labels = torch.randn(4, 1, 4, 4), torch.tensor([0, 1, 1, 0])
    module.training_step((images, labels), 0).backward()
    module.on_after_backward()

    loss = functional.cross_entropy(network(images), labels)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    with torch.no_grad():
        for weight, gradient in zip(network.parameters(), gradients, strict=True):
            weight.add_(gradient, alpha=float(0.5 / length))
    expected = torch.autograd.grad(functional.cross_entropy(network(images), labels), list(network.parameters()))
    for weight, gradient in zip(module.network.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient)
    # What is told is the loss of the weights themselves.
    assert module.mean_loss() == pytest.approx(float(loss.detach()))


def test_batch_norms_keep_the_statistics_of_the_weights_themselves() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    expected = copy.deepcopy(network)
    split = MemorySplit(torch.zeros(8, 1, 4, 4, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64))
    batches = Batches(split, (0.5,), (0.5,), 4)
    module = Classifier(network, Recipe(1, sharpness=5.0), steps=10, batches=batches, classes=2, metric=top1)
    images, labels = torch.randn(4, 1, 4, 4), torch.tensor([0, 1, 1, 0])
    module.training_step((images, labels), 0).backward()
    module.on_after_backward()
    expected(images)  # once, where the weights are
    for found, wanted in zip(network.buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(found, wanted)
    network(images)
    assert int(network[1].num_batches_tracked) == 2  # tracked again


@pytest.mark.parametrize("flags", [{"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}])
def test_gathered_gradients_and_lower_precision_climb_too(flags: dict[str, Any]) -> None:
    data = load_data("digits")
    ends = []
    for sharpness in (0.0, 0.0, 0.5):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        recipe = Recipe(1, sharpness=sharpness, learning_rate=0.01)
        fit(network, data, recipe, seed=0, validate=False, flags=flags)
        ends.append(network[1].weight.detach().clone())
    plain, again, aware = ends
    assert torch.equal(plain, again)
    assert 0.01 < float((aware - plain).norm() / plain.norm()) < 0.5
