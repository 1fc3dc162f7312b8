from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from archfit.architecture import Task
from archfit.training import probe_memory_format, training_rate

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


@pytest.mark.parametrize(("fastest", "rate"), [(True, 400), (False, 100)])
def test_a_pause_is_not_the_networks(fastest: bool, rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock()
    monkeypatch.setattr("archfit.training.probe.time", clock)

    class Paused(nn.Module):
        """Takes 10 ms in one step, 40 ms in most, and waits in one while another network is timed."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)
            self.steps = iter([9.0, 0.04, 0.5, 0.01, 0.04])

        def forward(self, images: Tensor) -> Tensor:
            clock.now += next(self.steps)
            return self.layer(images.mean(dim=(2, 3)))

    found = training_rate(Paused, TASK, memory_format="channels_last", batch_size=4, seconds=0.0, fastest=fastest)
    assert found == pytest.approx(rate)


def test_training_rate_grows_when_the_network_shrinks() -> None:
    task = Task(1, 16, 3)

    def network(width: int) -> nn.Module:
        layers = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))

    def rate(width: int) -> float:
        return training_rate(lambda: network(width), task, memory_format="channels_last", batch_size=16, seconds=0.2)

    # 64 times the channels are about 4,096 times the multiply-adds of the second convolution.
    assert rate(2) > 3 * rate(128)
