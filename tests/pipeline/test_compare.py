from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import archfit
from archfit.catalogue.reference import Published
from archfit.cost import Cost, Latency
from archfit.errors import InputError, RunError
from archfit.report import Compared
from archfit.report.comparison import cells, comparison_page, difference, remarks

NAMES = ["mnasnet-small", "mobilenet-v2-0.35", "torchvision:squeezenet1_1"]


def _row(cost: Cost | None = None, **parts: object) -> Compared:
    figures = Published(params=1_000_000, madds=50_000_000, top1=70.0)
    return Compared("A <net>", "a", 96, figures, cost, **parts)  # type: ignore[arg-type]


def test_networks_side_by_side(tmp_path: Path) -> None:
    found = archfit.compare(NAMES, image_size=96, classes=10, out=tmp_path / "out")
    assert [row.label for row in found.rows] == NAMES
    for row in found.rows:
        assert row.cost is not None
        assert row.cost.latency is not None
    kept = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [network["name"] for network in kept["networks"]] == NAMES
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "mobilenet-v2-0.35" in page
    with pytest.raises(RunError, match="exists already"):
        archfit.compare(NAMES, out=tmp_path / "out")


def test_a_second_call_measures_nothing() -> None:
    first = archfit.compare(NAMES[:1], image_size=96, classes=10)
    start = time.monotonic()
    second = archfit.compare(NAMES[:1], image_size=96, classes=10)
    assert time.monotonic() - start < 0.5
    assert first.rows == second.rows


def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "archfit", "compare", *NAMES[:2], "--image-size", "96", "--classes", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mnasnet-small" in done.stdout
    as_json = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert len(json.loads(as_json.stdout)["networks"]) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": []}, "nothing to compare; give names"),
        ({"names": [], "table": "mnasnt"}, "unknown table 'mnasnt'; did you mean 'mnasnet'"),
        ({"names": ["mnasnet-a11"]}, "did you mean 'mnasnet-a1'"),
        ({"names": NAMES, "image_size": 0}, "image_size is 0; it must be at least 1"),
        ({"names": NAMES, "runtime": "onnx"}, "unknown runtime 'onnx'"),
    ],
)
def test_bad_input(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        archfit.compare(**arguments)  # type: ignore[arg-type]


def test_a_row_of_a_table_that_cannot_be_had_says_why() -> None:
    assert remarks([_row(note="a note", why="no package offers it")]) == ["A <net>: no package offers it"]


def test_published_figures_stand_beside_ours() -> None:
    latency = Latency(1.5, 1.4, 1.7, 0.01, 100, "here", "onnxruntime")
    row = _row(Cost(1_020_000, 49_000_000, 2_000_000, latency))
    # 1.02 M is 2 % above 1 M; 49 M is 2 % below 50 M.
    assert difference(row.cost, row.published, "params") == pytest.approx(0.02)
    assert difference(row.cost, row.published, "madds") == pytest.approx(-0.02)
    assert cells(row) == ["A <net>", "96", "1.02M", "1M (+2.0 %)", "49M", "50M (-2.0 %)", "1.50 ms", "2 MB", "70 %", ""]
    assert cells(_row())[2:] == ["–", "1M", "–", "50M", "–", "–", "70 %", ""]


def test_names_on_the_page_are_escaped() -> None:
    latency = Latency(1.5, 1.4, 1.7, 0.01, 100, "here", "onnxruntime")
    about = {"title": "t", "classes": 10, "device": "d", "runtime": "r", "threads": 1, "archfit": "0", "created": "now"}
    page = comparison_page(about, [_row(Cost(1, 2, 3, latency)), _row(why="<script>alert(1)</script>")])
    assert "A &lt;net&gt;" in page
    assert "<script>alert(1)" not in page
