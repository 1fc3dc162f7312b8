"""A made-up run as a search writes it: 40 trials, two finalists, two references, ten classes."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from archfit.architecture import Architecture
from archfit.cost import Budget, Cost, Latency
from archfit.report.record import Layer, Parity, RunResult, TestResult, TrainedNetwork
from archfit.study.record import TrialRecord

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "<b>&x", "truck")
IMAGES_PER_CLASS = 100


def make_latency(p50_ms: float, *, runs: int = 400) -> Latency:
    return Latency(p50_ms, 0.97 * p50_ms, 1.08 * p50_ms, 0.012, runs, "local: AMD EPYC", "onnxruntime 1.31.1")


def make_architecture(kernel: int) -> Architecture:
    return Architecture("mnas", (("block2.op", "mbconv3"), ("block2.kernel", kernel), ("block2.se", 0.25)))


def make_cost(p50_ms: float | None, params: int = 210_000) -> Cost:
    latency = None if p50_ms is None else make_latency(p50_ms)
    return Cost(params, 40 * params, 1_900_000, latency, 4 * params + 30_000)


def make_trial(number: int, reward: float | None, *, origin: str = "ppo", state: str = "complete") -> TrialRecord:
    accuracy = None if state != "complete" else reward
    return TrialRecord(
        number, state, make_architecture(3), origin, make_cost(0.25), accuracy, reward, True, 1.2, 9.5,
        None, None, number, 11.0 * (number + 1),
    )  # fmt: skip


def make_trials() -> tuple[TrialRecord, ...]:
    """12 random trials, then 28 of the sampler that get better; 3 pruned, 1 failed, 1 repeat."""
    rng = random.Random(7)
    trials: list[TrialRecord] = []
    for number in range(40):
        origin = "random" if number < 12 else "ppo"
        p50_ms = rng.uniform(0.12, 0.42) if number < 12 else rng.gauss(0.285, 0.03)
        accuracy = min(0.79, 0.52 + 0.5 * p50_ms + 0.0035 * max(0, number - 12) + rng.gauss(0, 0.025))
        reward = accuracy - 0.10 * abs(p50_ms / 0.30 - 1)
        cost = make_cost(p50_ms, round(700_000 * p50_ms))
        common = {"number": number, "architecture": make_architecture(3), "origin": origin, "seed": 1000 + number}
        if number in (3, 8, 20):
            slow = make_cost(0.9 if number == 8 else 0.44 + 0.01 * number / 20, 900_000)
            reason = "latency is far past the budget of 0.3 ms"
            trials.append(
                TrialRecord(
                    **common,
                    state="pruned",
                    cost=slow,
                    accuracy=None,
                    reward=None,
                    within_budget=False,
                    seconds_measure=1.1,
                    seconds_train=0.0,
                    reason=reason,
                    repeat_of=None,
                    finished_s=12.0 * number,
                )
            )
        elif number == 25:
            trials.append(
                TrialRecord(
                    **common,
                    state="failed",
                    cost=cost,
                    accuracy=None,
                    reward=None,
                    within_budget=None,
                    seconds_measure=1.1,
                    seconds_train=2.0,
                    reason="loss is not finite <after> 40 steps",
                    repeat_of=None,
                    finished_s=12.0 * number,
                )
            )
        else:
            trials.append(
                TrialRecord(
                    **common,
                    state="complete",
                    cost=cost,
                    accuracy=accuracy,
                    reward=reward,
                    within_budget=p50_ms <= 0.30,
                    seconds_measure=1.1,
                    seconds_train=9.0,
                    reason=None,
                    repeat_of=31 if number == 36 else None,
                    finished_s=12.0 * number,
                )
            )
    return tuple(trials)


def make_network(name: str, role: str, p50_ms: float | None, validation: float, test: float | None) -> TrainedNetwork:
    curve = tuple(
        (epoch, 2.3 * 0.9**epoch, validation * (1 - 0.6 * 0.86**epoch) / (1 - 0.6 * 0.86**30)) for epoch in range(1, 31)
    )
    cost = make_cost(p50_ms, 2_230_000 if role == "reference" else 212_000)
    within = p50_ms is None or p50_ms <= 0.30
    architecture = None if role == "reference" else make_architecture(5)
    return TrainedNetwork(name, role, architecture, cost, within, validation, test, 30, 312.0, curve)


def make_confusion() -> tuple[tuple[int, ...], ...]:
    """91 right in each row, 9 errors spread over the next three classes."""
    rows = [[0] * 10 for _ in range(10)]
    for true in range(10):
        rows[true][true] = 91
        for step, errors in ((1, 5), (2, 3), (3, 1)):
            rows[true][(true + step) % 10] = errors
    return tuple(tuple(row) for row in rows)


def make_layers() -> tuple[Layer, ...]:
    """A stem, 14 searched layers and a head; the size halves at every stride of 2."""
    layers = [Layer("stem", "conv", "3x3, stride 1", (16, 32, 32), 464, 442_368)]
    plan = [("dconv", 16, 1, 1), ("mbconv3", 24, 3, 2), ("mbconv6", 40, 3, 2), ("mbconv6", 80, 3, 2),
            ("mbconv3", 112, 2, 1), ("mbconv6", 160, 2, 1)]  # fmt: skip
    size = 32
    for block, (kind, channels, depth, first_stride) in enumerate(plan, start=1):
        for layer in range(1, depth + 1):
            stride = first_stride if layer == 1 else 1
            size //= stride
            detail = f"{5 if block % 2 else 3}x{5 if block % 2 else 3}, stride {stride}"
            detail += ", SE 0.25" if block in (3, 5) else ""
            detail += ", identity skip" if layer > 1 else ""
            params = 6 * channels * channels + 60 * channels
            layers.append(
                Layer(
                    f"block {block} layer {layer}", kind, detail, (channels, size, size), params, params * size * size
                )
            )
    layers.append(Layer("head", "conv", "1x1", (320, size, size), 51_840, 51_200 * size * size))
    layers.append(Layer("classifier", "linear", "global pool, then linear", (10,), 3_210, 3_200))
    return tuple(layers)


def make_result(*, p50_ms: float | None = 0.2714, budget: Budget | None = None) -> RunResult:
    winner = make_network("trial 38", "winner", p50_ms, 0.918, 0.910)
    slow = None if p50_ms is None else 0.331
    trained = (
        winner,
        make_network("trial 33", "finalist", None if p50_ms is None else 0.2951, 0.914, None),
        make_network("trial 29", "finalist", slow, 0.921, None),
        make_network("mnasnet-small", "reference", None if p50_ms is None else 0.412, 0.903, 0.897),
        make_network("timm:mobilenetv2_100", "reference", None if p50_ms is None else 0.655, 0.925, 0.917),
    )
    confusion = make_confusion()
    per_class = {name: {"precision": 0.91, "recall": 0.91, "f1": 0.91, "images": 100} for name in CLASSES}
    return RunResult(
        command="archfit search pictures --latency 0.3ms --memory 8MB --trials 40 --seed 7 --out runs/pictures",
        created="2026-05-04T12:30:00+00:00",
        archfit_version="0.1.0",
        dataset={
            "name": "pictures",
            "classes": list(CLASSES),
            "images": {"train": 8000, "validation": 1000, "test": 1000},
            "channels": 3,
            "image_size": 32,
            "notes": ["2 files were skipped: they are no images (<broken>.png, notes & more.txt)"],
        },
        space={
            "name": "mnas",
            "size": 15_045_919_506_432,
            "settings": {"width": 0.75, "searched_blocks": [2, 3, 4, 5, 6]},
            "scaled": "width from 1.0 to 0.75, so that half of 32 random networks fit",
        },
        search={
            "method": "trials",
            "sampler": "ppo",
            "reward": "absolute",
            "metric": "accuracy",
            "limits": {"trials": 40, "time": None},
            "trials": {"complete": 36, "pruned": 3, "failed": 1},
            "workers": 1,
            "seed": 7,
            "proxy": {"epochs": 3, "batch": 128},
            "stopped": "40 trials were made",
        },
        budget=Budget(latency_ms=0.3, memory_bytes=8_000_000) if budget is None else budget,
        winner=winner,
        trained=trained,
        layers=make_layers(),
        test=TestResult(0.91, 0.91, 0.00905, 1000, confusion, per_class),
        parity=Parity(1000, 1000, 3.1e-06),
        seconds={"search": 512.0, "train": 1560.0, "total": 2101.0, "measuring": 44.0, "training": 460.0},
        machine={
            "processor": "AMD EPYC",
            "cores": 2,
            "system": "Linux 6.8",
            "versions": {"python": "3.12.3", "torch": "2.14.1", "onnxruntime": "1.31.1", "archfit": "0.1.0"},
            "accelerator": None,
            "runtime": "onnxruntime",
            "threads": 1,
        },
        memory_format="channels_last",
        recommendation=(
            "Trial 38 has the best validation accuracy after full training among the finalists within the budget. "
            "Trial 29 is 0.3 points more accurate on validation, but 10 % over the latency budget."
        ),
    )  # fmt: skip


@pytest.fixture
def result() -> RunResult:
    return make_result()


@pytest.fixture
def trials() -> tuple[TrialRecord, ...]:
    return make_trials()


@pytest.fixture
def trial_of() -> Callable[..., TrialRecord]:
    return make_trial


@pytest.fixture
def result_of() -> Callable[..., RunResult]:
    return make_result


@pytest.fixture
def network_of() -> Callable[..., TrainedNetwork]:
    return make_network
