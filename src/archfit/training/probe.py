"""A short probe of the machine: which memory format trains faster, and how fast that is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from archfit.architecture import Task
from archfit.nn.cpu_gradients import CpuGradients
from archfit.training.accelerators import check_accelerator
from archfit.training.optimisers import make_optimiser
from archfit.training.recipes import Recipe
from archfit.training.scoring import MEMORY_FORMATS


@dataclass(frozen=True)
class Probe:
    """What the probe found.

    Attributes:
        memory_format: "channels_last" or "contiguous".
        images_per_second: Trained in that format by one worker, forward, backward and update.
        speedup: Of channels_last over contiguous.
    """

    memory_format: str
    images_per_second: float
    speedup: float


def probe_memory_format(
    build: Callable[[], nn.Module], task: Task, *, accelerator: str = "cpu", batch_size: int = 128, seconds: float = 2.0
) -> Probe:
    """Trains a network on random images in both formats by turns, on one thread, and compares the fastest steps.

    channels_last is kept unless contiguous is at least 10 % faster, so that a near tie does not decide by noise.

    Args:
        build: Makes the network, a typical one of the space.
        task: Gives the input's shape.
        accelerator: Where training will run.
        batch_size: Images per step.
        seconds: For both formats together; at least two steps of each are made.
    """
    images, labels = _random_batch(task, batch_size, accelerator)
    best: dict[str, float] = {}
    steps = {name: _step(build(), images, labels, name) for name in MEMORY_FORMATS}
    with one_thread():
        deadline = time.monotonic() + seconds
        turns = 0
        while turns < 2 or time.monotonic() < deadline:
            for name, step in steps.items():
                elapsed = _seconds(step)
                if turns > 0:  # the first step allocates
                    best[name] = min(best.get(name, elapsed), elapsed)
            turns += 1
    speedup = best["contiguous"] / best["channels_last"]
    memory_format = "channels_last" if speedup > 1 / 1.1 else "contiguous"
    return Probe(memory_format, batch_size / best[memory_format], speedup)


def training_rate(
    build: Callable[[], nn.Module],
    task: Task,
    *,
    memory_format: str,
    batch_size: int,
    accelerator: str = "cpu",
    seconds: float = 1.0,
    least: int = 4,
) -> float:
    """Images per second of a network's training steps on one thread, by the median step.

    Args:
        build: Makes the network.
        task: Gives the input's shape.
        memory_format: "channels_last" or "contiguous".
        batch_size: Images per step.
        accelerator: Where training will run.
        seconds: To spend.
        least: Steps that are timed, whatever the time.
    """
    images, labels = _random_batch(task, batch_size, accelerator)
    step = _step(build(), images, labels, memory_format)
    with one_thread():
        step()
        times: list[float] = []
        deadline = time.monotonic() + seconds
        while len(times) < least or time.monotonic() < deadline:
            times.append(_seconds(step))
    return batch_size / statistics.median(times)


def relative_rate(
    build: Callable[[], nn.Module],
    other: Callable[[], nn.Module],
    task: Task,
    *,
    memory_format: str,
    batch_size: int,
    accelerator: str = "cpu",
    steps: int = 4,
) -> float:
    """How many times as fast as another network one trains, by the median over pairs of steps.

    The steps of a pair follow each other, so that it does not matter how fast the machine is at that moment, nor if
    one of them has to wait.

    Args:
        build: Makes the network.
        other: Makes the one that it is compared with.
        task: Gives both networks' input shape.
        memory_format: "channels_last" or "contiguous".
        batch_size: Images per step.
        accelerator: Where training will run.
        steps: Timed, of each.
    """
    images, labels = _random_batch(task, batch_size, accelerator)
    one, another = (_step(make(), images, labels, memory_format) for make in (build, other))
    with one_thread():
        one()
        another()
        return statistics.median(_seconds(another) / _seconds(one) for _ in range(steps))


def _seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch in this process to one thread; the number is as before on leaving."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _random_batch(task: Task, batch_size: int, accelerator: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The same images `(batch_size, C, S, S)` and labels every time, where training will run."""
    device = torch.device(check_accelerator(accelerator))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, task.channels, task.image_size, task.image_size, generator=generator)
    labels = torch.randint(task.classes, (batch_size,), generator=generator)
    return images.to(device), labels.to(device)


def _step(network: nn.Module, images: torch.Tensor, labels: torch.Tensor, name: str) -> Callable[[], None]:
    network = network.to(images.device).to(memory_format=MEMORY_FORMATS[name]).train()
    batch = images.contiguous(memory_format=MEMORY_FORMATS[name])
    optimiser = make_optimiser(network, Recipe(1, optimiser="muon", learning_rate=1e-3, filter_learning_rate=1e-3))

    def step() -> None:
        optimiser.zero_grad()
        with CpuGradients():
            logits = network(batch)
        loss = functional.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        loss.item()  # waits for an accelerator

    return step
