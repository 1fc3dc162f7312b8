from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest

from archfit.architecture import Architecture, SearchSpace, Task, random_architecture
from archfit.cost import Cost, Latency
from archfit.device import LatencyTable, LocalDevice
from archfit.errors import InputError
from archfit.spaces import MnasSpace
from archfit.study.tabulating import TableProgress, even_networks, settled, tabulate

TASK = Task(1, 8, 10)
SPACE = MnasSpace(0.18, searched_blocks=(2, 3), ops=("conv", "mbconv3"), kernels=(3,))
TINY = MnasSpace(0.18, searched_blocks=(2,), ops=("conv",), kernels=(3,))
OVERHEAD = 0.05


def exact_ms(space: MnasSpace, architecture: Architecture) -> float:
    """0.05 ms, for each piece 0.01 ms and 1 ms per 10 million multiply-adds; half as much again for a pool skip."""
    return OVERHEAD + sum(
        (0.01 + piece.madds * 1e-7) * (1.5 if " pool " in piece.key else 1)
        for piece in space.pieces(architecture, TASK)
    )


class Measured:
    """Stands in for a device: exact latencies but for 1 % of noise."""

    def __init__(self, *, only: int | None = None) -> None:
        self.architectures: list[Architecture] = []
        self._only = only
        self._rng = random.Random(0)

    def __call__(self, space: SearchSpace, architecture: Architecture) -> Cost:
        assert isinstance(space, MnasSpace)
        self.architectures.append(architecture)
        if self._only is not None and len(self.architectures) > self._only:
            return Cost(params=1, madds=1)
        ms = exact_ms(space, architecture) * (1 + self._rng.gauss(0, 0.01))
        return Cost(params=1, madds=1, latency=Latency(ms, ms, ms, 0.0, 1, "toy", "toy"))


def _table(measured: Measured, networks: int | None = None, space: MnasSpace = SPACE) -> LatencyTable:
    return tabulate(space, TASK, LocalDevice(), measured, runtime="onnxruntime", networks=networks)


def test_the_table_knows_networks_that_were_not_measured() -> None:
    measured = Measured()
    table = _table(measured, 60)
    rng = random.Random(7)
    others = [SPACE.canonical(random_architecture(SPACE, rng), TASK) for _ in range(40)]
    others = [architecture for architecture in others if architecture not in measured.architectures]
    assert len(others) > 20
    for architecture in others:
        assert table.predict(SPACE.pieces(architecture, TASK)) == pytest.approx(exact_ms(SPACE, architecture), rel=0.05)


def test_what_the_table_says_of_itself() -> None:
    measured = Measured()
    table = _table(measured, 20)
    assert len(measured.architectures) == len(set(measured.architectures)) == table.networks == 20
    assert table.error <= table.error_p90 < 0.1
    table.check(SPACE, TASK, LocalDevice(), runtime="onnxruntime", threads=1)
    held = Counter(
        key for architecture in measured.architectures for key in {p.key for p in SPACE.pieces(architecture, TASK)}
    )
    assert {key: entry.networks for key, entry in table.entries.items()} == {key: held[key] for key in table.entries}
    assert 0 in {entry.networks for entry in table.entries.values()}  # pieces that were drawn, not measured


def test_all_pieces_of_the_space_have_entries() -> None:
    table = _table(Measured(), 20)
    rng = random.Random(9)
    for _ in range(200):
        assert all(piece.key in table.entries for piece in SPACE.pieces(random_architecture(SPACE, rng), TASK))


def test_it_ends_when_more_networks_do_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[TableProgress] = []
    monkeypatch.setattr("archfit.study.tabulating._STEP", 10)
    tabulate(SPACE, TASK, LocalDevice(), Measured(), runtime="onnxruntime", on_progress=told.append)
    errors = list(dict.fromkeys(progress.error for progress in told if progress.error is not None))
    assert settled(errors)
    assert not any(settled(errors[:count]) for count in range(len(errors)))
    assert told[0] == TableProgress(0, 400, None)
    assert told[-1] == TableProgress(10 * len(errors), 400, errors[-1])


def test_it_ends_when_the_error_is_small_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archfit.study.tabulating._STEP", 10)
    told: list[TableProgress] = []
    tabulate(SPACE, TASK, LocalDevice(), Measured(), runtime="onnxruntime", enough=0.1, on_progress=told.append)
    errors = list(dict.fromkeys(progress.error for progress in told if progress.error is not None))
    assert len(errors) >= 2
    assert errors[-1] <= 0.1 or settled(errors)
    assert not any(error <= 0.1 for error in errors[1:-1])
    assert told[-1].networks == 10 * len(errors)


def test_settled() -> None:
    assert not settled([0.05])
    assert not settled([0.05, 0.05])  # one step alone may be chance
    assert not settled([0.05, 0.048, 0.044])  # 0.044 is less than nine tenths of 0.05
    assert settled([0.05, 0.048, 0.046])
    assert settled([0.09, 0.05, 0.05, 0.046])


def test_a_small_space_is_measured_whole() -> None:
    rng = random.Random(0)
    distinct = {TINY.canonical(random_architecture(TINY, rng), TASK) for _ in range(1000)}
    measured = Measured()
    assert _table(measured, space=TINY).networks == len(distinct) < 50
    assert set(measured.architectures) == distinct


def test_networks_without_a_latency_are_passed_over() -> None:
    assert _table(Measured(only=12), space=TINY).networks == 12
    with pytest.raises(InputError, match="no network of space 'mnas' could be timed"):
        _table(Measured(only=0), space=TINY)


def test_few_networks_near_the_budget_are_not_sought_for_ever() -> None:
    measured = Measured(only=3)
    with pytest.raises(InputError, match="of 500 networks of space 'mnas' 3 came near enough to the budget"):
        _table(measured)
    assert len(measured.architectures) == 500


def test_pieces_come_up_more_evenly_than_by_chance() -> None:
    def fewest(architectures: list[Architecture]) -> int:
        held = Counter(piece.key for a in architectures for piece in SPACE.pieces(a, TASK))
        return len(held)

    even = [architecture for architecture, _ in islice(even_networks(SPACE, TASK, 0), 15)]
    rng = random.Random(0)
    chance = [SPACE.canonical(random_architecture(SPACE, rng), TASK) for _ in range(15)]
    assert fewest(even) > 1.2 * fewest(chance)
    assert even == [architecture for architecture, _ in islice(even_networks(SPACE, TASK, 0), 15)]
    assert even != [architecture for architecture, _ in islice(even_networks(SPACE, TASK, 1), 15)]


def test_the_pieces_are_those_of_the_architecture() -> None:
    for architecture, pieces in islice(even_networks(SPACE, TASK, 0), 10):
        assert architecture == SPACE.canonical(architecture, TASK)
        assert pieces == SPACE.pieces(architecture, TASK)


def test_when_the_time_is_over_fifty_networks_are_enough() -> None:
    measured = Measured()
    table = tabulate(SPACE, TASK, LocalDevice(), measured, runtime="onnxruntime", seconds=0.0)
    assert table.networks == len(measured.architectures) == 50
