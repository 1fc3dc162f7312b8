"""One candidate in a worker: trained, scored, and its weights kept for the trial that may train it on."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from archfit._files import write_whole
from archfit.architecture import Architecture
from archfit.data import ImageData
from archfit.errors import RunError
from archfit.study.setup import SearchSetup
from archfit.study.workers import WorkerPool

_TRAINER = "archfit.training.trainer"
"""What takes seconds to import: Lightning."""


@dataclass
class WorkerContext:
    """What every job of a search finds in its worker.

    Attributes:
        data: The test split is None.
    """

    data: ImageData

    def __post_init__(self) -> None:
        """Made in the worker: what trains is imported before its first job, whose time that is not."""
        importlib.import_module(_TRAINER)


def training_pool(data: ImageData, size: int, log: Path | None = None) -> WorkerPool:
    """Processes whose jobs get a `WorkerContext`.

    Args:
        data: For all of them.
        size: Processes at most.
        log: File that takes what they print.
    """
    return WorkerPool(partial(WorkerContext, data), size, log, preload=(_TRAINER,))


@dataclass(frozen=True)
class Evaluated:
    """What a worker has found out of a candidate.

    Attributes:
        accuracy: Of the evaluator.
        weights: Of the network, where it may be trained on: a file of `torch.save`.
    """

    accuracy: float
    weights: bytes | None


def evaluate(
    setup: SearchSetup,
    architecture: Architecture,
    seed: int,
    context: WorkerContext,
    report: Callable[[Any], None],
    *,
    rung: int = 0,
    weights: bytes | None = None,
) -> Evaluated:
    """Trains and scores a new network, or the one with these weights on.

    Args:
        setup: Gives the space and the evaluators.
        architecture: Canonical.
        seed: Of the weights and the training.
        context: Gives the data.
        report: Is told the share that is done, in [0, 1].
        rung: Which of the evaluators: 0 the first, then the promotions.
        weights: As an `Evaluated` of the rung before has them; None begins at random.
    """
    torch.manual_seed(seed)
    network = setup.space.build(architecture, setup.task)
    if weights is not None:
        network.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    evaluator = (setup.evaluator, *setup.promotions)[rung]
    accuracy = float(evaluator.evaluate(architecture, network, context.data, seed=seed, on_progress=report))
    if rung == len(setup.promotions) or setup.weights is None:
        return Evaluated(accuracy, None)
    content = io.BytesIO()
    torch.save(network.state_dict(), content)
    return Evaluated(accuracy, content.getvalue())


def weights_file(setup: SearchSetup, number: int) -> Path:
    """Where the weights of a trial's network are kept, for the trial that may train it on."""
    assert setup.weights is not None, "promotions need a folder for weights"
    return setup.weights / f"trial-{number}.pt"


def keep_weights(path: Path, weights: bytes) -> None:
    """Writes them whole. Raises `RunError` where the disk does not take them."""
    try:
        write_whole(path, weights)
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror}); free some space, then resume the run") from None
