from __future__ import annotations

import json
from pathlib import Path

import pytest

from archfit.errors import InputError
from archfit.evaluators import read_table

CSV = """op,width,accuracy_1,accuracy_2,madds,latency_ms
conv,8,0.5,0.7,100,0.5
conv,16,0.8,0.8,200,0.9
pool,8,0.4,0.5,50,0.3
pool,16,0.6,0.6,90,0.4
"""


def _written(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_csv(tmp_path: Path) -> None:
    table = read_table(_written(tmp_path, CSV))
    assert [(choice.name, choice.options) for choice in table.choices] == [("op", ("conv", "pool")), ("width", (8, 16))]
    assert table.costs == ("madds", "latency_ms")
    row = table.rows[0, 0]
    assert row.accuracies == (0.5, 0.7)
    assert row.mean == pytest.approx(0.6)
    assert row.cost.madds == 100
    assert row.cost.latency is not None
    assert row.cost.latency.p50_ms == 0.5
    assert len(table.rows) == 4


def test_percent(tmp_path: Path) -> None:
    rows = [{"depth": depth, "accuracy": 90 + depth} for depth in (1, 2)]
    table = read_table(_written(tmp_path, json.dumps(rows), "table.json"))
    assert [row.mean for row in table.rows.values()] == pytest.approx([0.91, 0.92])
    assert table.costs == ()


def test_nas_bench_macros_own_layout(tmp_path: Path) -> None:
    entries = {
        f"{a}{b}": {"test_acc": [91.0, 92.0 + b], "mean_acc": 0, "std": 0, "params": 10 * a, "flops": 7}
        for a in (0, 1)
        for b in (0, 1)
    }
    table = read_table(_written(tmp_path, json.dumps(entries), "table.json"))
    assert [choice.options for choice in table.choices] == [(0, 1), (0, 1)]
    assert table.rows[1, 1].accuracies == pytest.approx((0.91, 0.93))
    assert (table.rows[1, 1].cost.params, table.rows[1, 1].cost.madds) == (10, 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            CSV.replace("pool,16,0.6,0.6,90,0.4\n", ""),
            "lacks 1 of 4 combinations of options, the first with op=pool, width",
        ),
        (CSV + "conv,8,0.5,0.7,100,0.5\n", "row 5: op=conv, width=8 is there twice"),
        (CSV.replace("0.8,0.8", "0.8,"), "row 2: 'accuracy_2' has no value"),
        (CSV.replace("0.8,0.8", "0.8,0.8,0.8"), "row 2 has more values than there are columns"),
        (CSV.replace("0.8,0.8", "0.8,x"), "'accuracy_2' is 'x'; it must be a number"),
        (CSV.replace("0.8,0.8", "0.8,-1"), "row 2: an accuracy is outside of 0 to 1"),
        (CSV.replace("0.8,0.8", "0.8,180"), "row 2: an accuracy is outside of 0 to 100"),
        (CSV.replace("accuracy", "acc"), "has no column 'accuracy'; it has 'op', 'width', 'acc_1'"),
        ("accuracy\n0.5\n", "has no column for a choice, only 'accuracy'"),
        ("op,accuracy\n", "holds no rows"),
        ("", "holds no rows"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_table(_written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[1, 2]", "holds no rows"),
        ('{"a": 1}', "'a' is no row of NAS-Bench-Macro"),
        ('[{"layer": [3, 64], "accuracy": 0.9}]', r"row 1: 'layer' is \[3, 64\]; give a text or a number"),
        ("3", "holds no rows"),
    ],
)
def test_bad_json(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_table(_written(tmp_path, text, "table.json"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there"):
        read_table(tmp_path / "nothing.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match="cannot be read as text"):
        read_table(tmp_path / "binary.csv")
