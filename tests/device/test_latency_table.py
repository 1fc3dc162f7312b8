from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from archfit.architecture import Task
from archfit.cost import Piece
from archfit.device import LatencyTable, LocalDevice
from archfit.device.kind_rates import Rates
from archfit.device.latency_fit import Quantiles
from archfit.device.latency_table import Entry
from archfit.errors import InputError
from archfit.spaces import MnasSpace

SPACE = MnasSpace(0.5)
TASK = Task(3, 32, 10)
DEVICE = LocalDevice()
CONV = Piece("8x8 conv k3", "conv", 0, 1_000, 100)
LIKE = Piece("8x8 conv k5", "conv", 0, 2_000, 100)
NEW = Piece("8x8 conv k7", "conv", 0, 4_000, 100)
TABLE = LatencyTable(
    space="mnas",
    settings=json.loads(json.dumps(SPACE.settings())),
    task=TASK,
    device=DEVICE.describe(),
    machine=DEVICE.fingerprint(),
    runtime=DEVICE.runtime_label("onnxruntime"),
    threads=1,
    networks=100,
    error=0.03,
    error_p90=0.08,
    measured="2026-01-01T12:00:00+00:00",
    overhead=Quantiles(0.04, 0.05, 0.06),
    rates={"conv": Rates(0.01, 2e-6, 1e-5)},
    entries={
        CONV.key: Entry("conv", 1_000, 100, 7, 0.010, 0.013, 0.016),
        LIKE.key: Entry("conv", 2_000, 100, 0, 0.010, 0.016, 0.022),
    },
)


def test_a_network_costs_the_overhead_and_its_pieces() -> None:
    # 0.05 + 2 * 0.013 + 0.016
    assert TABLE.predict([CONV, CONV, LIKE]) == pytest.approx(0.092)
    assert TABLE.predict([]) == 0.05


def test_a_piece_without_an_entry_costs_what_its_size_says() -> None:
    # 0.05 + 0.01 + 2e-6 * 4,000 + 1e-5 * 100
    assert TABLE.predict([NEW]) == pytest.approx(0.069)
    assert TABLE.unmeasured([CONV, LIKE, NEW, NEW]) == 3  # no measured network held them


def test_a_piece_of_an_unknown_kind() -> None:
    with pytest.raises(InputError, match=r"unknown kind of piece in the latency table 'cnv'; did you mean 'conv'\?"):
        TABLE.predict([Piece("8x8 cnv", "cnv", 0, 1, 1)])


def test_many_networks_at_once() -> None:
    networks = [[CONV, LIKE], [], [NEW]]
    assert TABLE.predict_many(networks).tolist() == pytest.approx([TABLE.predict(pieces) for pieces in networks])
    assert TABLE.predict_many([]).shape == (0,)


def test_the_file_says_the_same_and_has_a_line_per_piece(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text(TABLE.text())
    assert LatencyTable.read(tmp_path / "table.json") == TABLE
    (line,) = (line for line in TABLE.text().splitlines() if "k3" in line)
    assert line == (
        '  "8x8 conv k3": {"kind": "conv", "madds": 1000, "elements": 100, "networks": 7, '
        '"p10_ms": 0.01, "p50_ms": 0.013, "p90_ms": 0.016},'
    )


def test_it_is_for_what_it_was_measured_for() -> None:
    TABLE.check(SPACE, TASK, DEVICE, runtime="onnxruntime", threads=1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"space": "cells"}, "is of space cells, and space mnas is asked for"),
        ({"settings": {**TABLE.settings, "width": 0.35}}, "is of width 0.35, and width 0.5 is asked for"),
        ({"task": Task(1, 32, 10)}, "is of channels 1, and channels 3 is asked for"),
        ({"task": Task(3, 28, 10)}, "is of image size 28, and image size 32 is asked for"),
        ({"task": Task(3, 32, 7)}, "is of classes 7, and classes 10 is asked for"),
        ({"device": "local: Z80, 1 core"}, "is of device local: Z80, 1 core, and device local: "),
        ({"machine": "other"}, "is of machine other, and machine "),
        ({"runtime": "onnxruntime 0.1"}, "is of runtime onnxruntime 0.1, and runtime onnxruntime "),
        ({"threads": 2}, "is of threads 2, and threads 1 is asked for"),
    ],
)
def test_it_is_for_nothing_else(change: dict[str, object], said: str) -> None:
    table = replace(TABLE, **change)  # type: ignore[arg-type]
    with pytest.raises(InputError) as error:
        table.check(SPACE, TASK, DEVICE, runtime="onnxruntime", threads=1)
    assert said in str(error.value)
    assert "measure one by: archfit measure --space" in str(error.value)


def test_a_setting_inside_of_another_is_named_by_itself() -> None:
    skeleton = {**TABLE.settings["skeleton"], "head": 640}
    with pytest.raises(InputError, match="is of head 640, and head 1280 is asked for"):
        replace(TABLE, settings={**TABLE.settings, "skeleton": skeleton}).check(
            SPACE, TASK, DEVICE, runtime="onnxruntime", threads=1
        )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "table.json is not a latency table (Expecting"),
        ("[]", "table.json is not a latency table ("),
        ('{"format": 99}', "table.json has format 99, and this version of archfit reads 2"),
        ('{"format": 2, "space": "mnas"}', "table.json is not a latency table ("),
    ],
)
def test_a_file_that_is_no_table(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "table.json").write_text(content)
    with pytest.raises(InputError) as error:
        LatencyTable.read(tmp_path / "table.json")
    assert said in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.json cannot be read \(No such file or directory\)"):
        LatencyTable.read(tmp_path / "nowhere.json")
