from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from archfit.cost import Piece
from archfit.device.kind_rates import Sample
from archfit.device.latency_fit import Fit, count_matrix, fit_latencies, word_differences

# What each word makes of a piece, in ms or as a factor. By size alone all convs would cost the same, and all pools.
KINDS = {"conv": 0.02, "pool": 0.01}
FACTORS = {"8x8": 1.0, "4x4": 0.6, "k3": 1.0, "k5": 1.5, "16>16": 1.0, "16>24": 1.2}
UNSEEN = "4x4 conv k5 16>24"  # 0.02 * 0.6 * 1.5 * 1.2 = 0.0216
TRUE = {
    f"{size} {kind} {kernel} {channels}": KINDS[kind] * FACTORS[size] * FACTORS[kernel] * FACTORS[channels]
    for kind, size, kernel, channels in product(KINDS, ("8x8", "4x4"), ("k3", "k5"), ("16>16", "16>24"))
    if f"{size} {kind} {kernel} {channels}" != UNSEEN
}
OVERHEAD = 0.04


def _piece(key: str) -> Piece:
    kind = key.split()[1]
    return Piece(key, kind, 0, 100_000 if kind == "conv" else 0, 2_000)


def _samples(count: int, *, noise: float, seed: int = 0, weights: list[float] | None = None) -> list[Sample]:
    rng = random.Random(seed)
    samples = []
    for _ in range(count):
        keys = rng.choices(list(TRUE), weights=weights, k=rng.randrange(3, 8))
        exact = OVERHEAD + sum(TRUE[key] for key in keys)
        samples.append(Sample(tuple(map(_piece, keys)), exact * (1 + rng.gauss(0, noise))))
    return samples


def _fit(samples: list[Sample], keys: list[str]) -> Fit:
    return fit_latencies(samples, [_piece(key) for key in keys])


def test_entries_are_recovered_from_noisy_sums() -> None:
    fit = _fit(_samples(200, noise=0.02), list(TRUE))
    for entry, true in zip(fit.entries, TRUE.values(), strict=True):
        assert entry.p50_ms == pytest.approx(true, rel=0.1)
        assert entry.p10_ms < entry.p50_ms < entry.p90_ms
    assert fit.overhead.p50_ms == pytest.approx(OVERHEAD, rel=0.15)
    # The median of |N(0, 0.02)| is 0.02 * 0.6745 = 0.0135: what is left is noise.
    assert np.median(np.abs(fit.errors)) == pytest.approx(0.0135, abs=0.004)


def test_what_was_never_measured_is_judged_by_its_like() -> None:
    (entry,) = _fit(_samples(200, noise=0.01), [UNSEEN]).entries
    assert entry.p50_ms == pytest.approx(0.0216, rel=0.1)
    assert entry.p10_ms < 0.0216 < entry.p90_ms


def test_the_rare_are_the_less_certain() -> None:
    rare = next(iter(TRUE))
    fit = _fit(_samples(100, noise=0.02, weights=[0.05] + [1.0] * (len(TRUE) - 1)), [rare, "8x8 conv k5 16>16", UNSEEN])
    width = [(entry.p90_ms - entry.p10_ms) / entry.p50_ms for entry in fit.entries]
    assert width[1] < width[0]
    assert width[1] < width[2]


def test_a_disturbed_measurement_counts_less() -> None:
    samples = _samples(100, noise=0.01)
    disturbed = [Sample(s.pieces, s.ms * 2, spread=0.5) if i % 10 == 0 else s for i, s in enumerate(samples)]
    for entry, true in zip(_fit(disturbed, list(TRUE)).entries, TRUE.values(), strict=True):
        assert entry.p50_ms == pytest.approx(true, rel=0.15)


def test_the_errors_are_those_of_networks_left_out() -> None:
    samples = _samples(60, noise=0.02)
    errors = _fit(samples, []).errors
    for left_out in range(3):
        rest = samples[:left_out] + samples[left_out + 1 :]
        fit = _fit(rest, [piece.key for piece in samples[left_out].pieces])
        predicted = fit.overhead.p50_ms + sum(entry.p50_ms for entry in fit.entries)
        # The rates and the weights of the others are chosen with the sample in the one case, without in the other.
        assert errors[left_out] == pytest.approx(1 - predicted / samples[left_out].ms, abs=0.01)


def test_rates_come_to_what_the_entries_come_to() -> None:
    fit = _fit(_samples(100, noise=0.01), list(TRUE))
    for kind in ("conv", "pool"):
        pieces = [_piece(key) for key in TRUE if kind in key]
        entries = [entry.p50_ms for key, entry in zip(TRUE, fit.entries, strict=True) if kind in key]
        assert sum(map(fit.rates[kind].predict, pieces)) == pytest.approx(sum(entries))


def test_a_single_network_is_enough_for_a_table() -> None:
    (sample,) = _samples(1, noise=0.0)
    fit = _fit([sample], list(TRUE))
    assert all(0 <= entry.p10_ms <= entry.p50_ms <= entry.p90_ms for entry in fit.entries)


def test_counts() -> None:
    one, other = _piece("8x8 conv k3 16>16"), _piece("8x8 pool k3 16>16")
    samples = [Sample((one, other, one), 1.0), Sample((other,), 1.0)]
    assert count_matrix(samples, [one, other]).tolist() == [[2, 1], [0, 1]]


def test_words_that_only_one_key_has() -> None:
    first = [_piece("8x8 conv k3 16>24")]
    others = ["8x8 conv k3 16>24", "8x8 conv k5 16>24", "8x8 conv k3 24>16", "8x8 conv k3 se 16>24", "4x4 pool k5 1>2"]
    # Same; k3/k5; 16/24 in and 24/16 out; se; all five and all five.
    assert word_differences(first, [_piece(key) for key in others]).tolist() == [[0, 2, 4, 1, 10]]
