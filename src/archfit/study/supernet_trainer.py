"""Steps of a supernet: a few sampled paths at once, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from archfit.architecture import Architecture
from archfit.evaluators import path_accuracy
from archfit.nn.cpu_gradients import CpuGradients
from archfit.spaces import Supernet
from archfit.training import Metric, Recipe, make_optimiser, one_thread

Batch = tuple[Tensor, Tensor]
Item = TypeVar("Item")
Value = TypeVar("Value")
_LARGEST_GRADIENT = 5.0
"""Norm that the gradients are clipped to, ENAS's."""


class SupernetTrainer:
    """Trains and scores paths of a supernet.

    The paths of a step are averaged, as ENAS averages M of them (arXiv:1802.03268, eq. 1). Each has a batch of its own
    and runs in its own thread of torch: two single threads do more than one path on two.

    Args:
        supernet: Changed in place.
        recipe: Optimiser, rates, smoothing.
        device: That the supernet is on.
        threads: Paths that run at once; what comes out does not depend on it.
    """

    def __init__(self, supernet: Supernet, recipe: Recipe, *, device: torch.device, threads: int) -> None:
        self.supernet = supernet
        self.optimiser = make_optimiser(supernet, recipe)
        self._rates = [group["lr"] for group in self.optimiser.param_groups]
        self._smoothing = recipe.label_smoothing
        self._device = device
        self._weights = list(supernet.parameters())
        self._pool: ThreadPoolExecutor | None = None
        if threads > 1:  # one has less memory lying about in the thread that is there
            # A new thread has torch's default number of threads until it is told otherwise.
            self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def step(self, paths: Sequence[tuple[Architecture, Batch]], factor: float, *, blended: bool = False) -> float:
        """One optimiser step at this factor of the rates, on blended paths if wanted; the mean loss before it."""
        for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self.supernet.train()
        found = self._each(partial(self._gradients, blended=blended), paths)
        for weight, *gradients in zip(self._weights, *(gradients for _, gradients in found), strict=True):
            present = [gradient for gradient in gradients if gradient is not None]
            weight.grad = sum(present[1:], start=present[0]) / len(paths) if present else None
        torch.nn.utils.clip_grad_norm_(self._weights, _LARGEST_GRADIENT)
        self.optimiser.step()
        return sum(loss for loss, _ in found) / len(found)

    def accuracies(
        self, paths: Sequence[tuple[Architecture, Sequence[Batch]]], metric: Metric, classes: int
    ) -> list[float]:
        """The metric of each path on its batches, in [0, 1]."""

        def accuracy(architecture: Architecture, batches: Sequence[Batch]) -> float:
            return path_accuracy(self.supernet, architecture, batches, metric, classes)

        return self._each(accuracy, paths)

    def _each(
        self, of: Callable[[Architecture, Item], Value], paths: Sequence[tuple[Architecture, Item]]
    ) -> list[Value]:
        """`of` each path, on one thread of torch each."""
        if self._pool is not None:
            return list(self._pool.map(of, *zip(*paths, strict=True)))
        with one_thread():
            return [of(*path) for path in paths]

    def state(self) -> dict[str, Any]:
        """Of supernet and optimiser."""
        return {"supernet": self.supernet.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, supernet: dict[str, Any], optimiser: dict[str, Any]) -> None:
        """To what `state` gave."""
        self.supernet.load_state_dict(supernet)
        self.optimiser.load_state_dict(optimiser)

    def _gradients(
        self, architecture: Architecture, batch: Batch, *, blended: bool
    ) -> tuple[float, Sequence[Tensor | None]]:
        """By weight; None for one that is not on the path. Nothing is written to the weights, which are shared."""
        images, labels = (part.to(self._device) for part in batch)
        with CpuGradients():
            logits = (self.supernet.blended if blended else self.supernet)(images, architecture)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self._smoothing)
        return float(loss.detach()), torch.autograd.grad(loss, self._weights, allow_unused=True)
