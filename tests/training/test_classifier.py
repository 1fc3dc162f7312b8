from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn

from archfit.data import Batches, MemorySplit
from archfit.training import Recipe
from archfit.training.classifier import Classifier, MovingAverage, cosine_with_warmup, make_optimiser, one_cycle
from archfit.training.metrics import top1


def test_cosine_without_warmup_by_hand() -> None:
    # 0.5 * (1 + cos(pi * step / 4)): cos 0, 45, 90, 135, 180 degrees.
    expected = [1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5, 0.0]
    assert [cosine_with_warmup(step, 4, 0.0) for step in range(5)] == pytest.approx(expected)


def test_warmup_by_hand() -> None:
    # A quarter of 12 steps rises: 1/4, 2/4, 3/4, then 1 at step 3; half of the cosine's 9 steps later it is at 1/2.
    rates = [cosine_with_warmup(step, 12, 0.25) for step in range(13)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[3 + 3] == pytest.approx(0.5 * (1 + 0.5))  # cos 60 degrees
    assert rates[3 + 6] == pytest.approx(0.5 * (1 - 0.5))  # cos 120 degrees
    assert rates[12] == pytest.approx(0.0)
    assert max(rates) == 1.0


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_schedules_stay_in_range(steps: int) -> None:
    assert all(0 <= cosine_with_warmup(step, steps, 0.1) <= 1 for step in range(steps + 2))
    assert cosine_with_warmup(0, steps, 0.1) > 0  # the only step must learn


class _Weight(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("seen", torch.tensor(0))


def test_average_by_hand() -> None:
    callback = MovingAverage(0.5, every=1)
    module = _Weight()
    callback.setup(None, module, "fit")  # type: ignore[arg-type]
    average = callback._average_model
    assert average is not None
    values = []
    for step, weight in enumerate((1.0, 2.0, 3.0), start=1):
        module.weight.data.fill_(weight)
        module.seen.fill_(step)  # type: ignore[operator]
        average.update_parameters(module)
        values.append(float(average.module.weight.detach()))  # type: ignore[arg-type]
    # The first update takes the weight over. Then the decay is min(0.5, (1 + n) / (10 + n)) with n = 1 and 2:
    # 2/11 and 3/12, so 1 * 2/11 + 2 * 9/11 = 20/11, and 20/11 * 1/4 + 3 * 3/4.
    assert values == pytest.approx([1.0, 20 / 11, 5 / 11 + 9 / 4])
    assert int(average.module.seen) == 3  # type: ignore[arg-type] # counters are taken over as they are


def test_average_reaches_its_decay() -> None:
    callback = MovingAverage(0.5, every=2)
    module = _Weight()
    callback.setup(None, module, "fit")  # type: ignore[arg-type]
    average = callback._average_model
    assert average is not None
    average.update_parameters(module)
    average.n_averaged.fill_(90)
    module.weight.data.fill_(1.0)
    average.update_parameters(module)
    # (1 + 90) / (10 + 90) = 0.91 is above 0.5^2 = 0.25, the decay of two steps: 0 * 0.25 + 1 * 0.75.
    assert float(average.module.weight.detach()) == pytest.approx(0.75)  # type: ignore[arg-type]
    assert [callback.should_update(step_idx=step) for step in range(5)] == [True, False, True, False, True]
    assert not callback.should_update(epoch_idx=0)


@pytest.fixture
def make() -> Callable[..., Classifier]:
    def classifier(recipe: Recipe) -> Classifier:
        split = MemorySplit(torch.zeros(8, 1, 4, 4, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64))
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
        return Classifier(network, recipe, steps=10, batches=Batches(split, (0.5,), (0.5,), 4), classes=2, metric=top1)

    return classifier


@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "muon"])
def test_only_weights_decay(make: Callable[..., Classifier], optimiser: str) -> None:
    module = make(Recipe(1, optimiser=optimiser, weight_decay=0.3))  # type: ignore[arg-type]
    groups = module.configure_optimizers()["optimizer"].param_groups
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for name, parameter in module.network.named_parameters():
        # 0 the convolution, 1 its batch norm, 3 the linear layer
        assert decays[id(parameter)] == (0.3 if name in ("0.weight", "3.weight") else 0)


def test_a_copy_leaves_the_images_out(make: Callable[..., Classifier]) -> None:
    module = make(Recipe(1))
    copied = copy.deepcopy(module)
    assert copied._batches is None
    assert module._batches is not None
    assert torch.equal(copied.network[0].weight, module.network[0].weight)  # type: ignore[index]


def test_one_cycle_by_hand() -> None:
    # Up over a quarter of 8 steps from 1/25: half a cosine, so half way at step 1; down over 6 to 1/10,000.
    rates = [one_cycle(step, 8, 0.25) for step in range(9)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[1] == pytest.approx((0.04 + 1) / 2)
    assert rates[2] == pytest.approx(1.0)
    assert rates[5] == pytest.approx((1 + 1e-4) / 2)
    assert rates[8] == pytest.approx(1e-4)


def test_lower_rates_for_earlier_layers() -> None:
    network = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(4)), nn.Flatten(), nn.Linear(4, 2))
    optimiser = make_optimiser(network, Recipe(1, optimiser="adamw", learning_rate=0.8, layer_decay=0.5))
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    found = [rates[id(p)] for p in network.parameters()]
    assert found == pytest.approx([0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.8, 0.8])


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_batches(make: Callable[..., Classifier], kind: str) -> None:
    module = make(Recipe(1, **{kind: 1.0}))  # type: ignore[arg-type]
    assert module._mix is not None
    images = torch.cat([torch.zeros(4, 1, 4, 4), torch.ones(4, 1, 4, 4)])
    labels = torch.tensor([0] * 4 + [1] * 4)
    torch.manual_seed(1)
    mixed, shares = module._mix(images, labels)
    # An image of zeros and ones is of class 1 by the share of its ones.
    assert torch.allclose(mixed.mean(dim=(1, 2, 3)), shares[:, 1], atol=0.01)
    assert torch.allclose(shares.sum(dim=1), torch.ones(8))
    assert shares[:, 1].unique().numel() > 2


def test_no_mixing_unless_asked(make: Callable[..., Classifier]) -> None:
    assert make(Recipe(1))._mix is None
