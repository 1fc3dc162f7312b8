from __future__ import annotations

import random

import pytest

from archfit.cost import Piece
from archfit.device.kind_rates import Rates, Sample, kind_rates


def _piece(kind: str, madds: int, elements: int) -> Piece:
    return Piece(f"{kind} {madds} {elements}", kind, 0, madds, elements)


def test_a_piece_costs_the_sum_of_its_rates() -> None:
    # 0.01 + 2e-7 * 100,000 + 1e-6 * 5,000 = 0.01 + 0.02 + 0.005.
    assert Rates(0.01, 2e-7, 1e-6).predict(_piece("conv", 100_000, 5_000)) == pytest.approx(0.035)


def _samples(true: dict[str, Rates], overhead: float) -> list[Sample]:
    rng = random.Random(0)
    samples = []
    for _ in range(60):
        pieces = tuple(
            _piece(kind, rng.randrange(10_000, 100_000), rng.randrange(1_000, 10_000))
            for kind in true
            for _ in range(rng.randrange(1, 5))
        )
        samples.append(Sample(pieces, overhead + sum(true[piece.kind].predict(piece) for piece in pieces)))
    return samples


def test_the_rates_of_each_kind_are_found() -> None:
    true = {"conv": Rates(0.01, 2e-7, 1e-6), "pool": Rates(0.02, 4e-7, 3e-6)}
    overhead, found = kind_rates(_samples(true, overhead=0.05), ())
    assert overhead == pytest.approx(0.05, rel=0.1)
    for kind, rates in true.items():
        assert found[kind].ms == pytest.approx(rates.ms, rel=0.1)
        assert found[kind].ms_per_madd == pytest.approx(rates.ms_per_madd, rel=0.1)
        assert found[kind].ms_per_element == pytest.approx(rates.ms_per_element, rel=0.1)


def test_outliers_do_not_count() -> None:
    true = {"conv": Rates(0.01, 2e-7, 1e-6)}
    samples = _samples(true, overhead=0.05)
    disturbed = [Sample(s.pieces, s.ms * (3 if i % 20 == 0 else 1)) for i, s in enumerate(samples)]
    piece = _piece("conv", 50_000, 5_000)  # 0.01 + 0.01 + 0.005
    assert kind_rates(disturbed, ())[1]["conv"].predict(piece) == pytest.approx(0.025, rel=0.05)


def test_a_kind_that_was_never_measured_has_the_rates_of_all() -> None:
    true = {"conv": Rates(0.01, 2e-7, 1e-6)}
    _, found = kind_rates(_samples(true, overhead=0.05), [_piece("new", 1, 1)])
    piece = _piece("new", 50_000, 5_000)
    assert found["new"].predict(piece) == pytest.approx(found["conv"].predict(piece), rel=0.05)


def test_no_rate_is_negative_and_no_piece_is_free() -> None:
    # Of two kinds that are in every network, one takes all the time: the other still gets some.
    samples = [
        Sample((_piece("slow", 10_000 * n, 1_000 * n), _piece("free", 10_000, 1_000)), 0.1 * n) for n in range(1, 9)
    ]
    _, found = kind_rates(samples, ())
    for rates in found.values():
        assert min(rates.ms, rates.ms_per_madd, rates.ms_per_element) >= 0
        assert rates.predict(_piece("any", 10_000, 1_000)) > 0
