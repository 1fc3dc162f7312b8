"""How a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from archfit.data import Augmentation, ImageData
from archfit.errors import InputError, unknown_name

Optimiser = Literal["sgd", "adamw", "muon"]
Schedule = Literal["cosine", "one-cycle"]

_FULL_RATE_IMAGES = 50_000
"""Seen in a training that keeps the full rates from scratch; beyond, they fall with the fourth root of the images."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is trained, but the data and the seed.

    Attributes:
        epochs: Passes over the training split; below 1 a seeded part of it is seen once.
        batch_size: Images per step, before the augmentation repeats them.
        optimiser: "sgd" (Nesterov momentum 0.9), "adamw" or "muon" (see `Muon`).
        learning_rate: The peak; warmed up linearly, then a cosine to zero. With "muon", of what is left to SGD.
        filter_learning_rate: The same of the filters that "muon" makes orthogonal.
        weight_decay: On convolution and linear weights alone, not on biases and batch norms; not on muon's filters.
        filter_weight_decay: Of those; they shrink by this times their rate at every step.
        warmup: Share of the steps; with restarts, of those before the first.
        label_smoothing: In [0, 1).
        ema_decay: Of the moving average of weights that is validated and kept; None keeps the last weights.
        augmentation: Of training batches; None leaves them as they are.
        whiten: Begin the first convolution with the principal components of image patches.
        schedule: "cosine", or "one-cycle": a cosine up over `warmup`, then down to a ten-thousandth (arXiv:1708.07120).
        mixup: Alpha of the Beta distribution that images and labels are mixed by; 0 for none (arXiv:1710.09412).
        cutmix: The same for pasted rectangles (arXiv:1905.04899); with both, each batch draws one of them.
        layer_decay: Factor of the rate from each quarter of the network to the one before it; below 1 for pretrained
            layers. The classifier has the full rate.
        unfreeze: Share of the steps over which the network opens from the classifier down, a quarter at a time; 0
            trains all from the start.
        restarts: Times that the cosine begins anew at the peak, each period twice as long as the one before (SGDR,
            arXiv:1608.03983).
        drop_path: Share of an image's operations that a network of cells leaves out in its last cell at the end of the
            training; it grows from 0 with depth and time (NASNet, arXiv:1707.07012). Other networks take no notice.
        auxiliary: Weight of the loss of a second classifier after a network of cells' second reduction, which is left
            behind after the training; 0 for none. Other networks take no notice.
        sharpness: Radius of sharpness-aware minimisation, which makes a step twice as long; 0 for none
            (arXiv:2010.01412).
    """

    epochs: float
    batch_size: int = 128
    optimiser: Optimiser = "sgd"
    learning_rate: float = 0.1
    filter_learning_rate: float = 0.08
    weight_decay: float = 5e-4
    filter_weight_decay: float = 0.02
    warmup: float = 0.1
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    augmentation: Augmentation | None = None
    whiten: bool = False
    schedule: Schedule = "cosine"
    mixup: float = 0.0
    cutmix: float = 0.0
    layer_decay: float = 1.0
    unfreeze: float = 0.0
    restarts: int = 0
    drop_path: float = 0.0
    auxiliary: float = 0.0
    sharpness: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.epochs < float("inf"):
            raise InputError(f"epochs is {self.epochs}; it must be a number above zero")
        for name, value, known in (
            ("optimiser", self.optimiser, get_args(Optimiser)),
            ("schedule", self.schedule, get_args(Schedule)),
        ):
            if value not in known:
                raise unknown_name(name, value, known)
        if self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size}; it must be at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate is {self.learning_rate}; it must be a positive number, as 0.001")
        for name, low, high in (
            ("weight_decay", 0.0, math.inf),
            ("label_smoothing", 0.0, 0.99),
            ("mixup", 0.0, math.inf),
            ("cutmix", 0.0, math.inf),
            ("layer_decay", 1e-6, 1.0),
            ("unfreeze", 0.0, 0.9),
            ("restarts", 0, 10),
            ("drop_path", 0.0, 0.9),
            ("auxiliary", 0.0, math.inf),
            ("sharpness", 0.0, 10.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} is {getattr(self, name)}; it must be from {low:g} to {high:g}")
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise InputError(f"ema_decay is {self.ema_decay}; it must be from 0 to below 1")
        if self.restarts != int(self.restarts):
            raise InputError(f"restarts is {self.restarts}; it must be a whole number")
        if self.restarts and self.schedule != "cosine":
            raise InputError(f"restarts is {self.restarts}, the schedule {self.schedule}; only a cosine restarts")

    def images(self, training_images: int) -> int:
        """Images that a training on a split of that size sees in all."""
        return max(1, round(self.epochs * training_images))

    def slower(self) -> Recipe:
        """The same at half the learning rates, for a network that diverged."""
        return replace(self, learning_rate=self.learning_rate / 2, filter_learning_rate=self.filter_learning_rate / 2)


def batch_size_for(images: float) -> int:
    """32 below 4,000 images, 64 up to two million, then 128.

    A short training is starved of steps; on a CPU larger batches gain no speed either: their activations outgrow the
    cache.

    Args:
        images: Seen in the whole training.
    """
    if images >= 2e6:
        return 128
    return 64 if images >= 4_000 else 32


def augmentation_for(data: ImageData, epochs: float) -> Augmentation:
    """The more often an image is seen, the more it is varied.

    Mirroring from the start; crops by a sixteenth of the size from 20 epochs, by an eighth from 24; cutout of a quarter
    of the size from 32. On Fashion-MNIST crops cost 0.3 to 0.6 points in 8 epochs (benchmarks/long_training.py); 12
    with crops were no better than 9 without (its result of 12 epochs). What is not mirrored, as digits, is turned and
    scaled a little when it is cropped, where it has pixels enough for that; in 6 epochs of MNIST it made no difference.
    Nothing is cut out of it then: with cutout and wider crops a small network knew 99.6 % of its own digits, not 99.9.
    """
    moved = not data.flip and epochs >= 20 and data.image_size >= 24
    padding = data.image_size / 8 if epochs >= 24 else data.image_size / 16 if epochs >= 20 else 0
    return Augmentation(
        crop_padding=max(1, round(padding)) if padding else 0,
        flip=data.flip,
        cutout=round(data.image_size / 4) if epochs >= 32 and not moved else 0,
        rotation=10.0 if moved else 0.0,
        zoom=0.1 if moved else 0.0,
    )


def proxy_recipe(data: ImageData, epochs: float, *, pretrained: bool = False) -> Recipe:
    """A short training that ranks candidates: no smoothing and no average, which pay only in long trainings.

    Args:
        data: Trained on.
        epochs: Passes over it, or a part of one.
        pretrained: The networks begin with inherited weights.
    """
    if pretrained:
        return replace(_inherited(data, epochs), label_smoothing=0.0, ema_decay=None)
    return _from_scratch(data, epochs, warmup=0.3)


def final_recipe(data: ImageData, epochs: float, *, pretrained: bool = False, cells: bool = False) -> Recipe:
    """The full training: cosine schedule, label smoothing and an exponential moving average of the weights.

    Args:
        data: Trained on.
        epochs: Passes over it.
        pretrained: The network begins with inherited weights, not all of which fit.
        cells: It is made of cells.
    """
    if pretrained:
        return _inherited(data, epochs)
    recipe = _from_scratch(data, epochs, warmup=0.2 if epochs >= 8 else 0.3)
    recipe = replace(
        recipe,
        label_smoothing=0.1 if epochs >= 12 else 0.0,
        ema_decay=_ema_decay(data, epochs, recipe.batch_size),
    )
    return _of_cells(recipe) if cells else recipe


def _of_cells(recipe: Recipe) -> Recipe:
    """What ENAS adds in the final training of its cells, by how long that is: in 630 epochs the cosine restarts five
    times, the first period is 10 epochs, and 40 % of the paths are dropped in the end.
    """
    return replace(
        recipe,
        restarts=max(0, int(math.log2(recipe.epochs / 10 + 1)) - 1),
        drop_path=0.4 * min(1.0, recipe.epochs / 600),
        auxiliary=0.4,
    )


def transfer_recipe(data: ImageData, epochs: float) -> Recipe:
    """For a network with pretrained weights: AdamW, a lower rate for earlier layers, the classifier first alone."""
    batch_size = 64
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimiser="adamw",
        learning_rate=2e-3,
        weight_decay=0.02,
        warmup=0.2,
        label_smoothing=0.1,
        ema_decay=_ema_decay(data, epochs, batch_size),
        augmentation=Augmentation(crop_padding=max(1, round(data.image_size / 12)), flip=data.flip),
        layer_decay=0.7,
        unfreeze=0.1,
    )


def supernet_recipe(data: ImageData, epochs: float, learning_rate: float | None = None) -> Recipe:
    """For weights that many architectures share: Muon at lower rates, as a path comes upon filters others have moved.

    Its batches are half as large as those of a network alone, as each step averages two paths. On Fashion-MNIST, after
    half an epoch of the mnas space, random paths had 22 % with them and 19 % with twice as large ones; SGD at 0.1 and
    above hardly learns in one.

    Args:
        data: Trained on.
        epochs: Passes over it.
        learning_rate: At its peak; None is by the batch size.
    """
    batch_size = max(16, batch_size_for(epochs * len(data.train)) // 2)
    rate = learning_rate if learning_rate is not None else 0.03 * math.sqrt(batch_size / 32)
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimiser="muon",
        learning_rate=rate,
        filter_learning_rate=rate,
        warmup=0.1,
        augmentation=augmentation_for(data, epochs),
    )


def _inherited(data: ImageData, epochs: float) -> Recipe:
    """All layers at one rate from the start: what was cut to size must be learnt anew wherever it lies."""
    recipe = transfer_recipe(data, epochs)
    return replace(
        recipe,
        batch_size=batch_size_for(epochs * len(data.train)),
        augmentation=augmentation_for(data, epochs),
        layer_decay=1.0,
        unfreeze=0.0,
    )


def _ema_decay(data: ImageData, epochs: float, batch_size: int) -> float:
    """The average reaches back over about 3 % of the training."""
    return min(0.999, max(0.9, 1 - 33 * batch_size / (epochs * len(data.train))))


def _from_scratch(data: ImageData, epochs: float, *, warmup: float) -> Recipe:
    """Muon and a whitened first convolution; rates go with the root of the batch size, and are lower in the long run.

    On 10,000 images of CIFAR-10 in 5 epochs the same network tested 66.8 % by SGD, 69.8 % with the whitening too,
    74.5 % by Muon alone and 75.9 % by both (benchmarks/recipes.py). On Fashion-MNIST in 8 epochs of 44,000 images a
    network was 0.2 points better at 0.6 of these rates, and as good at 0.35 (benchmarks/long_training.py).
    """
    images = epochs * len(data.train)
    batch_size = batch_size_for(images)
    scale = math.sqrt(batch_size / 64) * min(1.0, _FULL_RATE_IMAGES / images) ** 0.25
    return Recipe(
        epochs=epochs,
        batch_size=batch_size,
        optimiser="muon",
        learning_rate=0.07 * scale,
        filter_learning_rate=0.08 * scale,
        warmup=warmup,
        augmentation=augmentation_for(data, epochs),
        whiten=True,
    )
