"""Proxy training: each candidate alone, for a few epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from archfit.architecture import Architecture
from archfit.data import ImageData
from archfit.training import fit, get_metric, proxy_recipe, score


@dataclass(frozen=True)
class ProxyTraining:
    """Trains for a few epochs on the training split and scores on the validation split (MnasNet, section 4).

    Attributes:
        epochs: Passes over the training split; below 1 a seeded part of it is seen once.
        metric: Name of the validation score.
        accelerator: "cpu", "cuda", "mps" or "auto".
        memory_format: "channels_last" or "contiguous".
        pretrained: The networks come with inherited weights, which a recipe from scratch would undo.
        continued: The networks come from a shorter proxy training; the schedule begins anew, with a short warm-up.
    """

    epochs: float
    metric: str = "accuracy"
    accelerator: str = "cpu"
    memory_format: str = "channels_last"
    pretrained: bool = False
    continued: bool = False

    def evaluate(
        self,
        architecture: Architecture,
        network: nn.Module,
        data: ImageData,
        *,
        seed: int,
        on_progress: Callable[[float], None],
    ) -> float:
        recipe = proxy_recipe(data, self.epochs, pretrained=self.pretrained)
        if self.continued:
            recipe = replace(recipe, whiten=False, warmup=0.1)
        fit(
            network,
            data,
            recipe,
            seed=seed,
            accelerator=self.accelerator,
            memory_format=self.memory_format,
            validate=False,
            on_progress=lambda progress: on_progress(progress.step / progress.steps),
        )
        return score(
            network,
            data.validation,
            data,
            get_metric(self.metric),
            memory_format=self.memory_format,
            accelerator=self.accelerator,
        )
