from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn

from archfit.data import Batches, ImageData, MemorySplit
from archfit.nn.cells import CellNetwork
from archfit.training import Recipe, fit
from archfit.training.classifier import Classifier, MovingAverage
from archfit.training.metrics import top1


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


@pytest.fixture
def cells() -> CellNetwork:
    node = (("conv3x3", 0), ("identity", 1))
    return CellNetwork(
        channels=1,
        classes=2,
        stem="small",
        stem_filters=4,
        filters=4,
        cells=3,
        normal=[node],
        normal_outputs=[2],
        reduction=[node],
        reduction_outputs=[2],
    )


def _of_cells(network: CellNetwork, recipe: Recipe) -> Classifier:
    split = MemorySplit(torch.randint(0, 255, (32, 1, 8, 8), dtype=torch.uint8), torch.arange(32) % 2)
    batches = Batches(split, (0.5,), (0.5,), 8)
    return Classifier(network, recipe, steps=16, batches=batches, classes=2, metric=top1)


def test_the_auxiliary_loss_is_added(cells: CellNetwork) -> None:
    images, labels = torch.randn(8, 1, 8, 8), torch.arange(8) % 2
    losses = [
        _of_cells(cells, Recipe(1, auxiliary=weight)).training_step((images, labels), 0).item()
        for weight in (0.0, 1.0, 2.0)
    ]
    assert losses[1] > losses[0]
    assert losses[2] - losses[0] == pytest.approx(2 * (losses[1] - losses[0]), rel=1e-4)


def test_the_auxiliary_head_learns_at_the_full_rate(cells: CellNetwork) -> None:
    module = _of_cells(cells, Recipe(1, optimiser="muon", auxiliary=0.4, layer_decay=0.5, learning_rate=0.2))
    groups = module.configure_optimizers()["optimizer"].param_groups
    rates = {id(p): group["initial_lr"] for group in groups for p in group["params"]}
    assert module.auxiliary is not None
    assert rates[id(module.auxiliary.classifier.weight)] == 0.2
    assert set(rates) == {id(p) for p in module.parameters()}


def test_dropped_paths_grow_over_the_training(cells: CellNetwork, tmp_path: Path) -> None:
    split = MemorySplit(torch.randint(0, 255, (32, 1, 8, 8), dtype=torch.uint8), torch.arange(32) % 2)
    data = ImageData("toy", ("a", "b"), 1, 8, split, split, None, (0.5,), (0.5,), flip=False)
    seen = []
    forward = cells.cells[0].forward

    def watched(*args: torch.Tensor, drop_path: float) -> torch.Tensor:
        if cells.training:
            seen.append(drop_path)
        return forward(*args, drop_path=drop_path)

    cells.cells[0].forward = watched  # type: ignore[method-assign]
    recipe = Recipe(2, batch_size=8, drop_path=0.6, auxiliary=0.4)
    # The best epoch is read back, from a checkpoint that holds the head's weights too.
    fit(cells, data, recipe, seed=0, checkpoints=tmp_path, keep_best=True)
    # The first of three cells has a third of it; eight steps in all.
    assert seen == pytest.approx([0.2 * step / 8 for step in range(1, 9)])
    assert cells.drop_path == 0.0


def test_other_networks_have_no_auxiliary_head(make: Callable[..., Classifier]) -> None:
    module = make(Recipe(1, auxiliary=0.4, drop_path=0.5))
    assert module.auxiliary is None
    images, labels = torch.randn(8, 1, 4, 4), torch.arange(8) % 2
    assert torch.isfinite(module.training_step((images, labels), 0))
