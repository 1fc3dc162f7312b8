"""Plain values: who trains with whom, how far a training is, and what it gave."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Group:
    """One process's place among those that train together, all of them on this machine.

    Attributes:
        rank: From 0; the first one writes checkpoints and logs.
        size: How many there are.
        meeting: A file, not there yet, by which they find each other; none of them listens beyond loopback.
    """

    rank: int
    size: int
    meeting: Path


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: Optimiser steps done.
        steps: In all.
        epoch: Epochs done.
        epochs: In all.
        accuracy: On validation after the last finished epoch, or None.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    accuracy: float | None


@dataclass(frozen=True)
class Training:
    """What a training gave.

    Attributes:
        curve: (epoch from 1, mean training loss, validation accuracy) per epoch; empty without validation.
        images: Seen in all, those of an earlier call that was resumed too.
        seconds: Of this call.
    """

    curve: tuple[tuple[int, float, float], ...]
    images: int
    seconds: float
