"""A search on a real Ray cluster whose driver is killed, and one on a cluster of this machine alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import archfit
from archfit.pipeline import report
from archfit.study.record import TrialRecord
from archfit.study.storage import close_study, open_study, records

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MARKED = {"archfit_device": 1}
SEARCH = [
    "--params",
    "300k",
    "--latency",
    "20ms",
    "--proxy-epochs",
    "0.5",
    "--final-epochs",
    "1",
    "--finalists",
    "1",
    "--width",
    "0.25",
    "--sampler",
    "random",
]


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one core that train, and one that measures."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=0, resources=MARKED)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


def _trials(folder: Path) -> list[TrialRecord]:
    path = folder / "study.journal"
    if not path.is_file():
        return []
    # A copy: opening the journal of a driver that lives would take its lock away.
    copy = folder.parent / "copy.journal"
    copy.write_bytes(path.read_bytes())
    study = open_study(copy)
    trials = records(study)
    close_study(study)
    return trials


def test_a_driver_that_is_killed_loses_no_finished_trial(cluster: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "archfit", "search", "digits", *SEARCH, "--trials", "3", "--out", str(folder)]
    command += ["--executor", "ray", "--address", cluster.address, "--storage", "journal"]
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(command, stderr=log, stdout=log)
        deadline = time.monotonic() + 300
        while not any(trial.state == "complete" for trial in _trials(folder)):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            assert driver.poll() is None, (tmp_path / "log").read_text()
            time.sleep(1.0)  # reading the journal takes as much of a core as a worker needs
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    before = {trial.number: trial for trial in _trials(folder) if trial.state == "complete"}
    resumed = subprocess.run(
        [sys.executable, "-m", "archfit", "resume", str(folder)], capture_output=True, text=True, timeout=240
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "a Ray cluster trains 2 candidates at a time; they are timed on ray: " in resumed.stderr
    after = {trial.number: trial for trial in _trials(folder)}
    assert len(after) == 3
    assert before
    assert all(after[number] == trial for number, trial in before.items())
    assert {trial.state for trial in after.values()} <= {"complete", "pruned"}
    result = json.loads((folder / "result.json").read_text())
    assert result["machine"]["processor"].startswith("ray: ")
    assert 0 < result["latency_ms"]["p50"] < 20
    assert "ray: " in report(folder).read_text()


def test_a_cluster_of_this_machine(tmp_path: Path) -> None:
    result = archfit.search(
        "digits",
        params="300k",
        width=0.25,
        trials=4,
        proxy_epochs=[0.25, 0.5],
        final_epochs=1,
        finalists=1,
        workers=2,
        executor="ray",
        out=tmp_path / "run",
    )
    assert result.record.test.accuracy > 0.1
    assert len([trial for trial in result.trials if trial.promotes is None]) == 4
    assert any(trial.promotes is not None for trial in result.trials)
