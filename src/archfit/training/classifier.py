"""The Lightning module that every training uses: proxies, finalists and references."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from archfit.data import Batches
from archfit.errors import DivergedError
from archfit.nn.cells import AuxiliaryHead, CellNetwork
from archfit.nn.cpu_gradients import CpuGradients
from archfit.training.metrics import Metric, confusion_matrix
from archfit.training.optimisers import make_optimiser, rate_at
from archfit.training.recipes import Recipe
from archfit.training.sharpness import SharpnessAware
from archfit.training.together import same_buffers


class Classifier(pl.LightningModule):
    """Trains a network to classify images by a recipe.

    Args:
        network: `(N, C, H, W)` float in, `(N, classes)` logits out.
        recipe: How to train it.
        steps: Optimiser steps in all, for the schedule.
        batches: Of training images.
        classes: Number of logits.
        metric: Of the validation confusion matrix.
        seed: Of what is drawn while training beside the batches: mixing, dropout.
        gathered: Batches whose gradients make one step.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        *,
        steps: int,
        batches: Batches,
        classes: int,
        metric: Metric,
        seed: int = 0,
        gathered: int = 1,
    ) -> None:
        super().__init__()
        self.network = network
        self.auxiliary = _auxiliary_head(network, recipe, seed)
        self._seed = seed
        self._mix = _mixing(recipe, classes)
        self._sharpness = SharpnessAware(recipe.sharpness) if recipe.sharpness else None
        self.curve: list[tuple[int, float, float]] = []
        self._recipe = recipe
        self._steps = steps
        self._batches = batches
        self._epoch_images = batches.images
        self._epoch_steps = math.ceil(len(batches) / gathered)
        self._step_images = gathered * batches.batch_size
        self._classes = classes
        self._metric = metric
        self._losses: list[Tensor] = []
        self._confusion = torch.zeros(classes, classes, dtype=torch.int64)

    def train_dataloader(self) -> Batches:
        """Asked for before each epoch. Steps tell the epoch: a resumed trainer's own count may be one ahead.

        A last epoch that is cut short is given as a short epoch, because Lightning validates at the end of one.
        """
        left = max(1, self._steps - self.global_step)
        self._batches.set_epoch(self.global_step // self._epoch_steps)
        self._batches.images = min(self._epoch_images, left * self._step_images)
        return self._batches

    def __getstate__(self) -> dict[str, Any]:
        """Without the images: the average of the weights begins as a copy of this module."""
        return {**super().__getstate__(), "_batches": None}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch if self._mix is None else self._mix(*batch)
        if isinstance(self.network, CellNetwork):
            self.network.drop_path = self._recipe.drop_path * min(1.0, (self.global_step + 1) / self._steps)
        loss, minimised = self._losses_on(images, labels)
        self._losses.append(loss.detach())
        if len(self._losses) % 20 == 0:
            self._check_losses()
        if self._sharpness is None:
            return minimised
        self._sharpness.climb(minimised, self)
        return self._losses_on(images, labels)[1]

    def on_after_backward(self) -> None:
        if self._sharpness is not None:
            self._sharpness.back()

    def _losses_on(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Of the classifier, and with that of an auxiliary one, which is what is minimised."""
        with CpuGradients():
            if self.auxiliary is None:
                loss = self._loss(self.network(images), labels)
                return loss, loss
            assert isinstance(self.network, CellNetwork)
            logits, from_the_middle = self.network.with_auxiliary(images, self.auxiliary)
        loss = self._loss(logits, labels)
        return loss, loss + self._recipe.auxiliary * self._loss(from_the_middle, labels)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing)

    def on_train_epoch_start(self) -> None:
        self._losses.clear()
        # So that a training that is resumed at an epoch draws what an uninterrupted one would have drawn.
        torch.manual_seed(self._seed * 1_000_003 + self.global_step)

    def on_train_epoch_end(self) -> None:
        self._check_losses()

    def on_train_end(self) -> None:
        if isinstance(self.network, CellNetwork):
            self.network.drop_path = 0.0

    def mean_loss(self) -> float:
        """Of the training batches of this epoch so far."""
        return float(torch.stack(self._losses).mean()) if self._losses else math.nan

    def _check_losses(self) -> None:
        if self._losses and not bool(torch.isfinite(self._losses[-1])):
            raise DivergedError(
                f"training diverged: the loss is {float(self._losses[-1])} after {self.global_step} steps; "
                f"lower the learning rate (it is {self._recipe.learning_rate:g})"
            )

    def on_validation_epoch_start(self) -> None:
        same_buffers(self.network)
        self._confusion = torch.zeros(self._classes, self._classes, dtype=torch.int64, device=self.device)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, labels = batch
        if not len(labels):  # another process has all of them
            return
        self._confusion += confusion_matrix(self.network(images).argmax(dim=1), labels, self._classes)

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            confusion = self.trainer.strategy.reduce(self._confusion, reduce_op="sum")  # over all processes
            accuracy = self._metric(confusion.cpu())
            self.curve.append((self.current_epoch + 1, self.mean_loss(), accuracy))
            self.log("validation_accuracy", accuracy)
            self.log("train_loss", self.mean_loss())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["curve"] = [list(row) for row in self.curve]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.curve = [(int(epoch), float(loss), float(accuracy)) for epoch, loss, accuracy in checkpoint["curve"]]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        recipe = self._recipe
        optimiser = make_optimiser(self.network, recipe, beside=self.auxiliary)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_at(recipe, step, self._steps))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _mixing(recipe: Recipe, classes: int) -> Callable[..., Any] | None:
    """Mixes a batch (images, labels) into (images, probabilities)."""
    kinds: list[nn.Module] = []
    if recipe.mixup:
        kinds.append(v2.MixUp(alpha=recipe.mixup, num_classes=classes))
    if recipe.cutmix:
        kinds.append(v2.CutMix(alpha=recipe.cutmix, num_classes=classes))
    return v2.RandomChoice(kinds) if kinds else None


def _auxiliary_head(network: nn.Module, recipe: Recipe, seed: int) -> AuxiliaryHead | None:
    if not recipe.auxiliary or not isinstance(network, CellNetwork):
        return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return network.auxiliary()


class MovingAverage(WeightAveraging):
    """Exponential moving average of weights and batch statistics, every `every` steps.

    The decay rises with the number of updates, min(decay, (1 + n) / (10 + n)), so that a short training is not held
    back by its first weights.
    """

    def __init__(self, decay: float, every: int = 4) -> None:
        super().__init__(multi_avg_fn=_WarmedAverage(decay**every))
        self._every = every

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Again what the end of training does, which a training that was resumed after its last step never sees."""
        self._copy_average_to_current(pl_module)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx is not None and step_idx % self._every == 0


class _WarmedAverage:
    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, averaged: list[Tensor], current: list[Tensor], updates: Tensor) -> None:
        """Called once per device and dtype; counters of batch norms are taken over as they are."""
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(averaged, current)
            return
        count = int(updates)
        torch._foreach_lerp_(averaged, current, 1 - min(self.decay, (1 + count) / (10 + count)))
