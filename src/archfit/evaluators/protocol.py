"""What an evaluator is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import nn

from archfit.architecture import Architecture
from archfit.data import ImageData


@runtime_checkable
class Evaluator(Protocol):
    """Says how accurate an architecture is; called in a worker process, so it must be picklable."""

    def evaluate(
        self,
        architecture: Architecture,
        network: nn.Module,
        data: ImageData,
        *,
        seed: int,
        on_progress: Callable[[float], None],
    ) -> float:
        """Accuracy in [0, 1] on the validation split.

        Args:
            architecture: Canonical.
            network: Built from it with fresh weights, on the CPU.
            data: Training and validation splits; the test split is None.
            seed: All randomness must come from it.
            on_progress: May be called with the share that is done, in [0, 1].

        Raises:
            Exception: Any; the trial is recorded as failed with its message, and the search goes on.
        """
        ...
