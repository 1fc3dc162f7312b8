"""A space, a dataset and an evaluator so small that a search takes a second."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cloudpickle
import torch
from torch import nn

from archfit.architecture import Architecture, Choice, Task
from archfit.cost import Cost, count_params
from archfit.data import ImageData, MemorySplit
from archfit.study.record import State, TrialRecord

# Worker processes cannot import this module: what they need of it travels with the job.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

TASK = Task(channels=1, image_size=2, classes=2)


def _split(count: int) -> MemorySplit:
    """Class 0 is dark, class 1 bright."""
    labels = torch.arange(count) % 2
    images = (60 + 130 * labels).view(-1, 1, 1, 1).expand(count, 1, 2, 2).to(torch.uint8).contiguous()
    images[:, 0, 0, 0] += torch.arange(count).to(torch.uint8) % 50
    return MemorySplit(images, labels)


DATA = ImageData("toy", ("dark", "bright"), 1, 2, _split(32), _split(16), None, (0.5,), (0.25,))


@dataclass(frozen=True)
class ToySpace:
    """Linear networks: 4 inputs, `width` hidden units, `depth` hidden layers, 2 outputs.

    `spare` changes nothing: both of its options build the same network.
    """

    widths: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    spares: tuple[str, ...] = ("no",)
    depths: tuple[int, ...] = (1, 2, 3)

    @property
    def name(self) -> str:
        return "toy"

    @property
    def choices(self) -> tuple[Choice, ...]:
        return (Choice("width", self.widths), Choice("spare", self.spares), Choice("depth", self.depths))

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        width, depth = int(architecture["width"]), int(architecture["depth"])
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(task.channels * task.image_size**2, width)]
        layers += [nn.Linear(width, width) for _ in range(depth - 1)]
        return nn.Sequential(*layers, nn.Linear(width, task.classes))

    def canonical(self, architecture: Architecture, task: Task) -> Architecture:
        choices = dict(architecture.choices) | {"spare": self.spares[0]}
        return Architecture(self.name, tuple(choices.items()))

    def settings(self) -> dict[str, Any]:
        return {"widths": list(self.widths)}

    def smaller(self) -> ToySpace | None:
        """Without the widest option."""
        return ToySpace(self.widths[:-1], self.spares, self.depths) if len(self.widths) > 1 else None


def toy_params(width: int, depth: int = 1) -> int:
    """4w + w into the first layer, w^2 + w for each further one, 2w + 2 out."""
    return 5 * width + (depth - 1) * (width**2 + width) + 2 * width + 2


def measure(architecture: Architecture) -> Cost:
    return Cost(params=count_params(ToySpace().build(architecture, TASK)), madds=1)


@dataclass(frozen=True)
class ToyEvaluator:
    """An accuracy that depends on the choices and, a little, on the seed; `broken` widths go wrong in their ways."""

    broken: tuple[tuple[int, str], ...] = ()

    def evaluate(
        self,
        architecture: Architecture,
        network: nn.Module,
        data: ImageData,
        *,
        seed: int,
        on_progress: Callable[[float], None],
    ) -> float:
        assert data.test is None
        on_progress(0.5)
        how = dict(self.broken).get(int(architecture["width"]))
        if how == "raise":
            raise ValueError("this width does not train")
        if how == "kill" and architecture["depth"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "hang":
            time.sleep(1000)
        if how == "range":
            return 1.5
        if how == "none":
            return None  # type: ignore[return-value]
        first = float(next(network.parameters()).flatten()[0].detach())  # weights are drawn from the seed as well
        return 0.5 + 0.05 * int(architecture["width"]) - 0.02 * int(architecture["depth"]) + 0.001 * first


@dataclass(frozen=True)
class ToySteps:
    """As `ToyEvaluator`; a thousandth more for every epoch that the network has had, which its weights remember."""

    epochs: float
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
        had = next(network.parameters())
        with torch.no_grad():
            if not self.continued:
                had.zero_()
            had += self.epochs
        return (
            0.5
            + 0.05 * int(architecture["width"])
            - 0.02 * int(architecture["depth"])
            + 1e-3 * float(had.detach().max())
        )


def toy_trial(
    number: int,
    reward: float | None,
    *,
    state: State = "complete",
    within: bool | None = True,
    repeat_of: int | None = None,
    width: int = 1,
    depth: int = 1,
    rung: int = 0,
    promotes: int | None = None,
) -> TrialRecord:
    """A trial of a `ToySpace`, whose reward is its accuracy."""
    return TrialRecord(
        number=number,
        state=state,
        architecture=Architecture("toy", (("width", width), ("spare", "no"), ("depth", depth))),
        origin="random",
        cost=Cost(params=1, madds=1),
        accuracy=reward,
        reward=reward,
        within_budget=within,
        repeat_of=repeat_of,
        finished_s=float(number),
        rung=rung,
        promotes=promotes,
    )
