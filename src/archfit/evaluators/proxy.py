"""Proxy training: each candidate alone, for a few epochs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from archfit.architecture import Architecture
from archfit.data import ImageData
from archfit.errors import DivergedError
from archfit.training import get_metric, proxy_recipe, relative_rate, score

_MOST_TIMES = 8.0
_FEWEST_STEPS = 3
_TIMED_SHARE = 0.01
"""Of the typical network's training steps, that are made beforehand to time them against the network's."""


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
        typical: Makes a typical network: each network is then trained for the time in which that one would see
            `epochs`, up to eight times as many and not below an eighth of them. What is trained in full for a given
            time is chosen by what it learns in a given time. None trains all for the same epochs.
    """

    epochs: float
    metric: str = "accuracy"
    accelerator: str = "cpu"
    memory_format: str = "channels_last"
    pretrained: bool = False
    continued: bool = False
    typical: Callable[[], nn.Module] | None = None

    def evaluate(
        self,
        architecture: Architecture,
        network: nn.Module,
        data: ImageData,
        *,
        seed: int,
        on_progress: Callable[[float], None],
    ) -> float:
        from archfit.training import fit

        recipe = proxy_recipe(data, self._epochs_of(network, data), pretrained=self.pretrained)
        if self.continued:
            recipe = replace(recipe, whiten=False, warmup=0.1)
        begun = copy.deepcopy(network.state_dict())
        for once in (recipe, recipe.slower()):  # a network that diverges is begun anew once, more carefully
            network.to("cpu").load_state_dict(begun)
            try:
                fit(
                    network,
                    data,
                    once,
                    seed=seed,
                    accelerator=self.accelerator,
                    memory_format=self.memory_format,
                    validate=False,
                    on_progress=lambda progress: on_progress(progress.step / progress.steps),
                )
                break
            except DivergedError:
                if once is not recipe:
                    raise
        return score(
            network,
            data.validation,
            data,
            get_metric(self.metric),
            memory_format=self.memory_format,
            accelerator=self.accelerator,
        )

    def _epochs_of(self, network: nn.Module, data: ImageData) -> float:
        if self.typical is None:
            return self.epochs
        batch_size = proxy_recipe(data, self.epochs).batch_size
        times_typical = relative_rate(
            lambda: copy.deepcopy(network),
            self.typical,
            data.task,
            memory_format=self.memory_format,
            batch_size=batch_size,
            accelerator=self.accelerator,
            steps=max(_FEWEST_STEPS, round(_TIMED_SHARE * self.epochs * len(data.train) / batch_size)),
        )
        return self.epochs * min(_MOST_TIMES, max(1 / _MOST_TIMES, times_typical))
