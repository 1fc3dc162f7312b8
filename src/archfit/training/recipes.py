"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archfit.data import Augmentation, ImageData, default_augmentation
from archfit.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained, but the data and the seed.

    Attributes:
        epochs: Passes over the training split; below 1 a seeded part of it is seen once.
        batch_size: Images per step.
        optimiser: "sgd" (Nesterov momentum 0.9) or "adamw".
        learning_rate: The peak; warmed up linearly, then a cosine to zero.
        weight_decay: On convolution and linear weights alone, not on biases and batch norms.
        warmup: Share of the steps.
        label_smoothing: In [0, 1).
        ema_decay: Of the moving average of weights that is validated and kept; None keeps the last weights.
        augmentation: Of training batches; None leaves them as they are.
    """

    epochs: float
    batch_size: int = 128
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    warmup: float = 0.1
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        if not 0 < self.epochs < float("inf"):
            raise InputError(f"epochs is {self.epochs}; it must be a number above zero")
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}; it must be at least 1")

    def images(self, training_images: int) -> int:
        """Images that a training on a split of that size sees in all."""
        return max(1, round(self.epochs * training_images))


def batch_size_for(training_images: int) -> int:
    """Small enough that a small training split still gives enough steps per epoch (about 20)."""
    return next((size for size in (128, 64, 32) if training_images >= size * 20), 16)


def proxy_recipe(data: ImageData, epochs: float) -> Recipe:
    """A short training that ranks candidates: no smoothing and no average, which pay only in long trainings."""
    batch_size = batch_size_for(len(data.train))
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=0.1 * (batch_size / 128) ** 0.5,
        augmentation=default_augmentation(data),
    )


def final_recipe(data: ImageData, epochs: float) -> Recipe:
    """The full training: cosine schedule, label smoothing and an exponential moving average of the weights."""
    batch_size = batch_size_for(len(data.train))
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=0.1 * (batch_size / 128) ** 0.5,
        label_smoothing=0.1,
        ema_decay=0.998,
        augmentation=default_augmentation(data),
    )
