from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from archfit.architecture import Task
from archfit.training import probe_memory_format, relative_rate, training_rate

TASK = Task(channels=3, image_size=8, classes=4)


class _Slow(nn.Module):
    """A network that waits where the images have one memory format."""

    def __init__(self, slow: str | None, steps: list[str]) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.slow = slow
        self.steps = steps

    def forward(self, images: Tensor) -> Tensor:
        name = "channels_last" if images.is_contiguous(memory_format=torch.channels_last) else "contiguous"
        self.steps.append(name)
        if name == self.slow:
            time.sleep(0.03)
        return self.layer(images.mean(dim=(2, 3)))


@dataclass
class _Clock:
    """Stands for the module `time`; only the networks of a test take time."""

    now: float = 0.0

    def perf_counter(self) -> float:
        return self.now

    monotonic = perf_counter


@pytest.mark.parametrize(("slow", "chosen"), [("channels_last", "contiguous"), ("contiguous", "channels_last")])
def test_the_faster_format_is_chosen(slow: str, chosen: str) -> None:
    steps: list[str] = []
    threads = torch.get_num_threads()
    probe = probe_memory_format(lambda: _Slow(slow, steps), TASK, batch_size=4, seconds=0.2)
    assert probe.memory_format == chosen
    assert (probe.speedup > 1) == (chosen == "channels_last")
    assert probe.images_per_second > 4 / 0.03
    assert abs(steps.count("contiguous") - steps.count("channels_last")) == 0
    assert torch.get_num_threads() == threads


def test_no_time_still_gives_an_answer() -> None:
    steps: list[str] = []
    probe = probe_memory_format(lambda: _Slow(None, steps), TASK, batch_size=4, seconds=0.0)
    assert len(steps) == 4
    assert probe.images_per_second > 0


class _Timed(nn.Module):
    """Each of its steps takes as many seconds as it is told."""

    def __init__(self, clock: _Clock, *seconds: float) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)
        self.clock = clock
        self.seconds = iter(seconds)

    def forward(self, images: Tensor) -> Tensor:
        self.clock.now += next(self.seconds)
        return self.layer(images.mean(dim=(2, 3)))


def test_the_rate_is_that_of_the_median_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock()
    monkeypatch.setattr("archfit.training.probe.time", clock)
    network = _Timed(clock, 9.0, 0.04, 0.5, 0.01, 0.04)  # the first is not counted
    rate = training_rate(lambda: network, TASK, memory_format="channels_last", batch_size=4, seconds=0.0)
    assert rate == pytest.approx(100)


def test_neither_a_pause_nor_a_slow_machine_is_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock()
    monkeypatch.setattr("archfit.training.probe.time", clock)
    # Twice as fast; in the second half the machine is slower, and each waits once while another network is timed.
    one = _Timed(clock, 9.0, 0.01, 0.01, 0.53, 0.03, 0.03)
    other = _Timed(clock, 1.0, 0.02, 0.02, 0.06, 0.56, 0.06)
    rate = relative_rate(lambda: one, lambda: other, TASK, memory_format="channels_last", batch_size=4, steps=5)
    assert rate == pytest.approx(2)


def test_training_rate_grows_when_the_network_shrinks() -> None:
    task = Task(1, 16, 3)

    def network(width: int) -> nn.Module:
        layers = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))

    def rate(width: int) -> float:
        return training_rate(lambda: network(width), task, memory_format="channels_last", batch_size=16, seconds=0.2)

    # 64 times the channels are about 4,096 times the multiply-adds of the second convolution.
    assert rate(2) > 3 * rate(128)
