from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import nn

from archfit.architecture import Task
from archfit.cost import (
    Budget,
    Cost,
    Latency,
    count_madds,
    count_params,
    format_count,
    parse_bytes,
    parse_count,
    parse_latency_ms,
    parse_seconds,
)
from archfit.errors import InputError

LATENCY = Latency(p50_ms=0.6, p10_ms=0.5, p90_ms=0.9, spread=0.02, runs=100, device="local", runtime="onnxruntime")
COST = Cost(params=300, madds=2000, memory_bytes=500, latency=LATENCY, file_bytes=1200)


def test_ratios_of_what_is_bounded_and_known() -> None:
    budget = Budget(latency_ms=0.4, memory_bytes=1000, params=300, madds=1000)
    # 0.6 / 0.4, 500 / 1000, 300 / 300, 2000 / 1000
    assert budget.ratios(COST) == pytest.approx({"latency": 1.5, "memory": 0.5, "params": 1.0, "madds": 2.0})
    assert Budget(latency_ms=0.4, params=600).ratios(Cost(params=300, madds=1)) == {"params": 0.5}
    assert Budget().ratios(COST) == {}


def test_a_budget_holds_up_to_its_bound() -> None:
    assert Budget().holds(COST)
    assert Budget(latency_ms=0.6, params=300).holds(COST)
    assert not Budget(latency_ms=0.599, params=300).holds(COST)
    assert not Budget(latency_ms=0.6, params=299).holds(COST)


def test_a_latency_holds_surely_with_two_percent_to_spare_a_count_up_to_its_bound() -> None:
    # 0.6 / 0.98 = 0.6122
    assert Budget(latency_ms=0.613, params=300).holds_surely(COST)
    assert not Budget(latency_ms=0.612).holds_surely(COST)
    assert not Budget(latency_ms=0.7, params=299).holds_surely(COST)
    assert Budget().holds_surely(COST)


def test_a_budget_on_what_was_not_measured() -> None:
    with pytest.raises(InputError, match="latency, memory was not measured"):
        Budget(latency_ms=1, memory_bytes=1, params=1).holds(Cost(params=1, madds=1))


@pytest.mark.parametrize("bound", [0, -1, float("inf"), float("nan")])
def test_bounds_are_positive(bound: float) -> None:
    with pytest.raises(InputError, match=r"budget latency_ms is .*; it must be a positive number"):
        Budget(latency_ms=bound)


def test_a_budget_names_its_bounds() -> None:
    budget = Budget(latency_ms=0.3, memory_bytes=8_500_000, params=4_383_312, madds=1500)
    assert budget.names() == ("latency", "memory", "params", "madds")
    assert str(budget) == "latency 0.3 ms, memory 8.5 MB, 4.38M params, 1.5k MAdds"
    assert (str(Budget()), Budget().names(), Budget().to_json()) == ("none", (), {})
    assert Budget(**budget.to_json()) == budget


@pytest.mark.parametrize("cost", [COST, Cost(params=1, madds=2)])
def test_cost_through_json(cost: Cost) -> None:
    assert Cost.from_json(json.loads(json.dumps(cost.to_json()))) == cost


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (12_345, "12.3k"),
        (4_383_312, "4.38M"),
        (1.1e9, "1.1G"),
        (999_400, "999k"),
        (999_600, "1M"),
        (999_500_000, "1G"),
        (999_499, "999k"),
    ],
)
def test_format_count(count: float, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (parse_latency_ms, "0.3ms", 0.3),
        (parse_latency_ms, "300us", 0.3),
        (parse_latency_ms, "300 µs", 0.3),
        (parse_latency_ms, " .0003 s ", 0.3),
        (parse_latency_ms, "3e-1MS", 0.3),
        (parse_bytes, "8MB", 8_000_000),
        (parse_bytes, "8MiB", 8 * 1024 * 1024),
        (parse_bytes, "1.5kb", 1500),
        (parse_bytes, "2GiB", 2 * 1024**3),
        (parse_bytes, "12B", 12),
        (lambda text: parse_count("params", text), "300k", 300_000),
        (lambda text: parse_count("params", text), "4.2M", 4_200_000),
        (lambda text: parse_count("params", text), "1.1G", 1_100_000_000),
        (lambda text: parse_count("params", text), "300", 300),
        (parse_seconds, "90s", 90),
        (parse_seconds, "30m", 1800),
        (parse_seconds, "30 min", 1800),
        (parse_seconds, "1.5h", 5400),
    ],
)
def test_parse(parse: Callable[[str], float], text: str, expected: float) -> None:
    assert parse(text) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_latency_ms, "0.3", "latency '0.3' has no unit; use one of us, µs, ms, s, as in 0.3ms"),
        (parse_latency_ms, "3min", "latency '3min' has unit 'min'"),
        (parse_latency_ms, "0ms", "latency is '0ms'; it must be above zero"),
        (parse_latency_ms, "1e999ms", "must be a finite number"),
        (parse_bytes, "1e308GB", "memory is '1e308GB'"),
        (parse_latency_ms, "-1ms", "latency is '-1ms'; write a positive number with a unit"),
        (parse_latency_ms, "", "latency is ''; write a positive number"),
        (parse_latency_ms, "nan ms", "write a positive number"),
        (parse_bytes, "8", "memory '8' has no unit"),
        (parse_bytes, "8m", "memory '8m' has unit 'm'"),
        (lambda text: parse_count("params", text), "4x", "params '4x' has unit 'x'; use one of k, m, g, b"),
        (lambda text: parse_count("params", text), "1,000", "params is '1,000'"),
        (parse_seconds, "30", "time '30' has no unit"),
        (parse_seconds, "2 days", "time '2 days' has unit 'days'"),
    ],
)
def test_what_cannot_be_parsed(parse: Callable[[str], float], text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text)


def test_params_and_madds_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False),
        nn.ReLU(),
        nn.AvgPool2d(4),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    # 3*3*3*8 + 8 = 224, 2*8 = 16, 5*5*8 = 200, 8*10 + 10 = 90
    assert count_params(network) == 530
    # On 8x8: a 4x4 map of 27*8 = 3456; 4x4 of 25*8 = 3200; 80. Biases, norms, pools and activations do not count.
    assert count_madds(network, Task(channels=3, image_size=8, classes=10)) == 3456 + 3200 + 80


@pytest.mark.parametrize("training", [True, False])
def test_counting_leaves_the_module_as_it_was(training: bool) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train(training)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_madds(network, Task(channels=1, image_size=4, classes=2))
    assert network.training is training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_module_without_parameters_costs_nothing() -> None:
    assert count_params(nn.Flatten()) == count_madds(nn.Flatten(), Task(1, 4, 16)) == 0


def test_the_worst_ratio_is_that_of_the_bound_passed_furthest():
    # 300 of 200 parameters is 1.5 times the bound, 10 of 40 multiply-adds a quarter.
    assert Budget(params=200, madds=40).worst_ratio(Cost(300, 10)) == 1.5
    assert Budget().worst_ratio(Cost(300, 10)) == 0.0
