"""Gradual unfreezing of pretrained layers."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from archfit.training.depth import stages


class GradualUnfreezing(Callback):
    """Opens the network from the classifier down, one part after the other, over the first steps.

    A closed part keeps its weights and its batch statistics (ULMFiT, arXiv:1801.06146, section 3.3).

    Args:
        network: The part of the Lightning module that is trained.
        steps: Optimiser steps until all of it is open.
    """

    def __init__(self, network: nn.Module, steps: int) -> None:
        self._parts = stages(network)
        self._steps = steps

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Every step, as validation puts all modules back into training mode."""
        if trainer.global_step <= self._steps:
            self.apply(trainer.global_step)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.apply(self._steps)

    def apply(self, step: int) -> None:
        """Opens and closes what is due at `step`."""
        body = self._parts[:-1]
        opened = len(body) if step >= self._steps else int(step / self._steps * len(body))
        for position, modules in enumerate(body):
            is_open = position >= len(body) - opened
            for part in modules:
                part.requires_grad_(is_open)
                if isinstance(part, _NormBase):
                    part.train(is_open)
