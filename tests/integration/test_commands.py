"""The commands as a user runs them, on one finished search and on one that is interrupted and killed."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from archfit import resume

if TYPE_CHECKING:
    from conftest import Finished

pytestmark = pytest.mark.slow

ARCHFIT = [sys.executable, "-m", "archfit"]


def archfit(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ARCHFIT, *map(str, arguments)], capture_output=True, text=True, timeout=240)


def test_a_search_leaves_its_files_and_nothing_half_written(finished: Finished) -> None:
    names = {path.name for path in finished.folder.iterdir()}
    assert names == {
        "architecture.json",
        "network.onnx",
        "network.py",
        "report.html",
        "result.json",
        "run.json",
        "run.lock",
        "study.db",
        "training",
        "weights.safetensors",
        "workers.log",
    }
    assert (finished.folder / "weights.safetensors").stat().st_mode & 0o777 == (
        (finished.folder / "result.json").stat().st_mode & 0o777
    )


def test_a_search_says_what_it_found(finished: Finished) -> None:
    assert "within the budget" in finished.stdout
    assert "test accuracy" in finished.stdout
    assert "archfit predict" in finished.stdout
    assert finished.stderr.splitlines()[:2] == ["reading digits", "run folder finished"]
    # 15 % and 15 % of 1797 images, class by class, leave 1259; 0.3 epochs of them are 378 images.
    assert "each candidate is trained for 0.3 epochs (378 images)" in finished.stderr


def test_result_json_says_everything_for_programs(finished: Finished) -> None:
    result = json.loads((finished.folder / "result.json").read_text())
    assert {
        "test_accuracy",
        "validation_accuracy",
        "params",
        "madds",
        "latency_ms",
        "budget",
        "within_budget",
        "architecture",
        "seconds",
    } <= set(result)
    assert 0 <= result["test_accuracy"] <= 1
    assert 0 <= result["validation_accuracy"] <= 1
    assert result["params"] > 0
    assert result["madds"] > 0
    assert set(result["latency_ms"]) == {"p10", "p50", "p90"}
    assert result["latency_ms"]["p10"] <= result["latency_ms"]["p50"] <= result["latency_ms"]["p90"]
    assert result["budget"]["latency_ms"] == 5.0
    assert result["within_budget"] is (result["latency_ms"]["p50"] <= 5.0)
    assert result["architecture"]["space"] == "mnas"
    seconds = result["seconds"]
    assert seconds["total"] == seconds["search"] + seconds["train"]
    assert result["parity"]["same_top1"] == result["parity"]["images"] == result["test"]["images"]
    assert result["dataset"]["images"]["test"] == result["test"]["images"]


def test_the_page_stands_alone(finished: Finished) -> None:
    page = (finished.folder / "report.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert 'src="http' not in page
    assert "<link" not in page


def test_report(finished: Finished, tmp_path: Path) -> None:
    folder = finished.copy(tmp_path / "run")
    (folder / "report.html").unlink()
    (folder / "weights.safetensors").unlink()  # the page needs no network
    done = archfit("report", folder)
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout
    assert done.stdout.splitlines()[-1] == f"wrote {folder / 'report.html'}"
    assert (folder / "report.html").stat().st_size > 10_000


def test_predict(finished: Finished, tmp_path: Path) -> None:
    Image.fromarray((load_digits().images[0] * 255 / 16).astype(np.uint8)).save(tmp_path / "0.png")
    done = archfit("predict", finished.folder, tmp_path / "0.png", "--top", "10")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert sorted(name for name, _ in rows) == [str(digit) for digit in range(10)]
    shares = [float(share.removesuffix("%")) for _, share in rows]
    assert shares == sorted(shares, reverse=True)
    assert abs(sum(shares) - 100) <= 0.5  # ten shares, each rounded to 0.1 %


OPTIONS = "--params 2M --trials 4 --proxy-epochs 2 --final-epochs 1 --width 0.18 --workers 1 --finalists 1"


class Driver:
    """A command that is running in a process group of its own, as a terminal would run it."""

    def __init__(self, *arguments: object, log: Path) -> None:
        self._log = log.open("w")
        self.log = log
        self.process = subprocess.Popen(
            [*ARCHFIT, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=self._log, process_group=0
        )

    def wait_for(self, what: Callable[[], bool]) -> None:
        give_up = time.monotonic() + 120
        while not what():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < give_up, self.log.read_text()
            time.sleep(0.05)

    def workers(self) -> list[int]:
        """Its fork server's children."""
        return [worker for server in _children(self.process.pid) for worker in _children(server)]

    def end(self, number: signal.Signals) -> int:
        children = [*_children(self.process.pid), *self.workers()]
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._log.close()
        give_up = time.monotonic() + 10
        while any(_alive(pid) for pid in children):
            assert time.monotonic() < give_up, "a worker outlived the driver"
            time.sleep(0.05)
        return code


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _states(folder: Path) -> list[str]:
    """Of the trials that were asked for; those that are given at the start wait."""
    if not (folder / "study.db").exists():
        return []
    try:
        with closing(sqlite3.connect(f"file:{folder}/study.db?mode=ro", uri=True)) as connection:
            asked = connection.execute("SELECT state FROM trials WHERE state != 'WAITING' ORDER BY number")
            return [state for (state,) in asked]
    except sqlite3.Error:  # not yet created in full
        return []


def _training(folder: Path, number: int) -> bool:
    """Whether a trial has its cost and no end: it is what the only worker trains."""
    with closing(sqlite3.connect(f"file:{folder}/study.db?mode=ro", uri=True)) as connection:
        found = connection.execute(
            "SELECT COUNT(*) FROM trials JOIN trial_user_attributes USING (trial_id) "
            "WHERE number = ? AND state = 'RUNNING' AND key = 'cost'",
            (number,),
        ).fetchone()
    return bool(found[0])


@pytest.mark.skipif(sys.platform != "linux", reason="finds worker processes in /proc")
def test_a_killed_worker_ctrl_c_and_a_killed_driver(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    search = Driver("search", "digits", *OPTIONS.split(), "--out", folder, log=tmp_path / "search.log")
    search.wait_for(lambda: _states(folder)[:1] == ["COMPLETE"])
    search.wait_for(lambda: _training(folder, 1))
    os.kill(search.workers()[0], signal.SIGKILL)
    search.wait_for(lambda: _states(folder)[1:2] == ["FAIL"])
    search.wait_for(lambda: len(_states(folder)) == 3)
    assert search.end(signal.SIGINT) == 130
    told = search.log.read_text().splitlines()
    assert "trial 1 failed: its worker process died (killed by SIGKILL), perhaps out of memory" in told
    assert told[-1] == f"archfit: stopped; go on with: archfit resume {folder}"

    resumed = Driver("resume", folder, log=tmp_path / "resumed.log")
    resumed.wait_for(lambda: _states(folder)[2:3] == ["COMPLETE"])
    assert resumed.end(signal.SIGKILL) == -signal.SIGKILL

    resume(folder)
    # Four trials were asked for: none is lost, none is there twice, none is left open.
    assert _states(folder) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    result = json.loads((folder / "result.json").read_text())
    assert result["search"]["trials"] == {"complete": 3, "failed": 1}
