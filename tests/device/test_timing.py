from __future__ import annotations

import gc
import random
import time

import pytest

from archfit.device.timing import (
    Effort,
    Round,
    drift_factors,
    measure_interleaved,
    quiet_rounds,
    relative_spread,
    summarise,
)

MS = 1_000_000


def test_quiet_rounds_need_both_networks_undisturbed() -> None:
    # The 10th percentiles are 100 and 10; 104 is 4 % above and out, 103 is 3 % above and in, so is the anchor's 10.3.
    candidate = [100, 100, 100, 104, 103, 100, 100]
    anchor = [10, 10, 10, 10, 10, 12, 10.3]
    assert quiet_rounds(candidate, anchor) == [0, 1, 2, 4, 6]


def test_five_least_disturbed_rounds_remain_where_fewer_are_quiet() -> None:
    # Anchor at 10 throughout. The 10th percentile of seven sorted values is at position 0.6: 100 + 0.6*20 = 112, so
    # only 100 (and no other within 115.4) would be quiet; the five smallest are taken.
    assert quiet_rounds([100, 120, 200, 160, 140, 300, 180], [10] * 7) == [0, 1, 3, 4, 6]


def test_drift_factor_is_reference_over_the_anchor_of_the_neighbourhood() -> None:
    # Medians of (10, 20), (10, 20, 20), (20, 20, 40), (20, 40): 15, 20, 20, 30; the reference is 10.
    assert drift_factors([10, 20, 20, 40], 10) == pytest.approx([10 / 15, 1 / 2, 1 / 2, 1 / 3])
    assert drift_factors([10, 20], None) == [1.0, 1.0]


def test_a_machine_at_half_speed_gives_the_same_latency() -> None:
    fast = [Round((2 * MS, 2 * MS, 2 * MS), (MS, MS))] * 6
    slow = [Round((4 * MS, 4 * MS, 4 * MS), (2 * MS, 2 * MS))] * 6
    # Twice the time with the anchor at twice its reference of 1 ms: 4 ms * (1/2) = 2 ms.
    assert summarise(fast, 1.0).p50_ms == pytest.approx(2.0)
    assert summarise(slow, 1.0).p50_ms == pytest.approx(2.0)
    assert summarise(slow, None).p50_ms == pytest.approx(4.0)
    assert (summarise(fast, 1.0).scaled, summarise(slow, 1.0).scaled) == pytest.approx((1.0, 0.5))


def test_quantiles_are_of_single_inferences_not_of_blocks() -> None:
    # Every block is 1, 2, 3, ..., 11 ms, so pooled quantiles are those of 1..11: p10 = 2, p50 = 6, p90 = 10.
    timing = summarise([Round(tuple(i * MS for i in range(1, 12)), (MS,))] * 5, 1.0)
    # Five copies of each value: positions 0.1*54 = 5.4, 27 and 48.6 in the pool of 55 lie among the 2s, 6s and 10s.
    assert (timing.p10_ms, timing.p50_ms, timing.p90_ms) == pytest.approx((2.0, 6.0, 10.0))
    assert (timing.runs, timing.rounds) == (55, 5)


def test_a_burst_leaves_the_quantiles_and_shows_in_the_spread() -> None:
    calm, burst = Round((2 * MS,) * 3, (MS,) * 3), Round((3 * MS,) * 3, (MS,) * 3)
    timing = summarise([*[calm] * 6, *[burst] * 4], 1.0)
    assert timing.p90_ms == pytest.approx(2.0)
    assert timing.runs == 18
    # Ten block medians, six of 2 ms and four of 3 ms: quartiles 2 and 3, median 2, so (3 - 2)/2/2 = 0.25.
    assert timing.spread == pytest.approx(0.25)


def test_relative_spread_by_hand() -> None:
    # Quartiles of 1..5 are 2 and 4, the median 3: (4 - 2)/2/3.
    assert relative_spread([5, 1, 4, 2, 3]) == pytest.approx(1 / 3)


def test_measures_a_ratio_of_two_loops() -> None:
    def work(turns: int) -> None:
        for _ in range(turns):
            pass

    rounds = measure_interleaved(
        lambda: work(20_000),
        lambda: work(10_000),
        reference_ms=None,
        effort=Effort(least_s=0.1, most_s=0.3),
        generator=random.Random(0),
    )
    ratio = summarise(rounds, 1.0).p50_ms  # in units of the anchor, whose reference is set to 1
    assert 1.5 < ratio < 2.7  # twice the turns, on a machine that may be busy


def test_slow_networks_get_five_rounds_of_one_inference_past_the_limit() -> None:
    seen: list[bool] = []

    def slow() -> None:
        seen.append(gc.isenabled())
        time.sleep(0.02)

    rounds = measure_interleaved(
        slow, lambda: None, reference_ms=None, effort=Effort(most_s=0.01), generator=random.Random(0)
    )
    assert [len(item.candidate_ns) for item in rounds] == [1] * 5
    assert all(item.candidate_ns[0] >= 20 * MS for item in rounds)
    assert seen[0]  # warm-up
    assert not any(seen[1:])
    assert gc.isenabled()


def test_garbage_collection_is_restored_when_a_network_fails() -> None:
    calls = iter(range(8))

    def failing() -> None:
        if next(calls) == 7:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        measure_interleaved(failing, lambda: None, reference_ms=None, effort=Effort(), generator=random.Random(0))
    assert gc.isenabled()
