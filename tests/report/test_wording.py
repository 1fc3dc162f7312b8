from __future__ import annotations

from dataclasses import replace

import pytest

from archfit.cost import Budget, Cost, Latency
from archfit.report import wording


@pytest.mark.parametrize(
    ("value", "text"), [(0.27149, "0.271 ms"), (0.4, "0.400 ms"), (99.96, "100 ms"), (1234.5, "1234 ms"), (None, "–")]
)
def test_milliseconds(value, text):
    assert wording.milliseconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(4_200_000, "4.2 MB"), (878_000, "878 kB"), (1_234_000_000, "1234 MB")])
def test_megabytes(value, text):
    assert wording.megabytes(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.24, "4.2 s"), (59.0, "59 s"), (125.0, "2 min 5 s"), (3725.0, "1 h 2 min")]
)
def test_duration(seconds, text):
    assert wording.duration(seconds) == text


def test_accuracy_shows_two_standard_errors():
    # 2 * 0.00905 = 0.0181 -> 1.8 points.
    assert wording.accuracy_with_error(0.91, 0.00905) == "91.0 ± 1.8 %"


def cost(p50_ms: float, spread: float = 0.01) -> Cost:
    return Cost(1000, 2000, None, Latency(p50_ms, p50_ms, p50_ms, spread, 100, "local", "onnxruntime"))


def test_verdict_within_and_over():
    # 0.27 / 0.30 - 1 = -0.10; 0.33 / 0.30 - 1 = +0.10.
    (within,) = wording.budget_verdicts(cost(0.27), Budget(latency_ms=0.3))
    (over,) = wording.budget_verdicts(cost(0.33), Budget(latency_ms=0.3))
    assert (within.holds, within.text) == (True, "10.0 % under the budget of 0.3 ms")
    assert (over.holds, over.text) == (False, "10.0 % over the budget of 0.3 ms")


def test_verdict_closer_than_the_spread_says_so():
    # 0.297 is 1 % under 0.3; the spread is 2 %.
    (verdict,) = wording.budget_verdicts(cost(0.297, spread=0.02), Budget(latency_ms=0.3))
    assert verdict.holds
    assert verdict.text == "1.0 % under the budget of 0.3 ms, closer than the measurement is sure (spread 2.0 %)"


def test_a_machine_at_another_speed_is_named_with_what_the_clock_showed():
    # 0.3 ms given, from 0.2 ms of the clock: 1.5 times as fast. 4 % off is not worth a word.
    latency = cost(0.3).latency
    assert latency is not None
    assert wording.clock_note(replace(latency, scaled=1.04)) is None
    assert wording.clock_note(replace(latency, scaled=1.5)) == (
        "the clock showed 0.200 ms, as the machine was 1.50 times as fast as when archfit first measured here"
    )


def test_bound_without_measurement_has_no_verdict():
    verdicts = wording.budget_verdicts(cost(0.27), Budget(memory_bytes=8_000_000, params=500))
    assert [(v.name, v.holds) for v in verdicts] == [("memory", None), ("params", False)]
