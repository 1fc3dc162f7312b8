from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from archfit.architecture import Architecture
from archfit.cost import Cost
from archfit.errors import RunError
from archfit.study.storage import STORAGES, close_study, holds_trials, open_study, records, storage_errors

ARCHITECTURE = Architecture("toy", (("width", 2),))


def _tell(study: optuna.Study, value: float) -> None:
    trial = study.ask()
    trial.set_user_attr("architecture", ARCHITECTURE.to_json())
    trial.set_user_attr("cost", Cost(3, 4).to_json())
    trial.set_user_attr("accuracy", value)
    trial.set_user_attr("reward", value)
    study.tell(trial, value)


FILES = list(STORAGES.values())


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", ["run", "100%20done", "what?x=1 #2"])
def test_a_study_opens_again(tmp_path: Path, name: str, file: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    study = open_study(folder / file)
    assert not holds_trials(folder / file)
    _tell(study, 0.25)
    _tell(study, 0.5)
    close_study(study)
    assert holds_trials(folder / file)
    assert [path.name for path in folder.iterdir()] == [file]  # nothing is left written ahead
    assert [path.name for path in tmp_path.iterdir()] == [name]

    again = open_study(folder / file)
    read = records(again)
    close_study(again)
    assert [(r.number, r.state, r.accuracy, r.reward) for r in read] == [
        (0, "complete", 0.25, 0.25),
        (1, "complete", 0.5, 0.5),
    ]
    assert read[1].architecture == ARCHITECTURE
    assert read[1].cost == Cost(3, 4)
    assert 0 < (read[0].finished_s or 0) < (read[1].finished_s or 0) < 60


def test_it_is_written_ahead(tmp_path: Path) -> None:
    study = open_study(tmp_path / "study.db")
    _tell(study, 0.5)
    assert (tmp_path / "study.db-wal").is_file()
    with sqlite3.connect(tmp_path / "study.db") as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert other.execute("SELECT count(*) FROM trials").fetchone() == (1,)
    other.close()
    close_study(study)


@pytest.mark.parametrize("file", FILES)
def test_what_was_told_outlives_a_killed_process(tmp_path: Path, file: str) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from archfit.study.storage import open_study\n"
        "study = open_study(Path(sys.argv[1]))\n"
        "study.tell(study.ask(), 0.5)\n"
        "study.ask().set_user_attr('seed', 7)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / file)], check=False)
    assert ended.returncode == -9
    study = open_study(tmp_path / file)
    first, second = records(study)
    close_study(study)
    assert (first.state, second.state, second.seed, second.finished_s) == ("complete", "running", 7, None)


def test_a_journal_goes_on_after_a_driver_that_died_while_writing(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = open_study(path)
    _tell(study, 0.25)
    close_study(study)
    with path.open("a") as file:
        file.write('{"op_code":4,"worker_id":"x","stu')  # no end
    again = open_study(path)
    _tell(again, 0.5)
    assert [r.reward for r in records(again)] == [0.25, 0.5]
    close_study(again)
    assert [r.reward for r in records(open_study(path))] == [0.25, 0.5]


@pytest.mark.parametrize(("file", "reason"), [("study.db", "file is not a database"), ("study.journal", "Expecting")])
def test_a_file_that_is_no_study(tmp_path: Path, file: str, reason: str) -> None:
    path = tmp_path / file
    path.write_bytes(b"not a database\n" * 1000)
    with pytest.raises(RunError, match=rf"{file} cannot be opened as a study \({reason}"):
        open_study(path)


@pytest.mark.parametrize("file", FILES)
def test_a_folder_that_is_missing(tmp_path: Path, file: str) -> None:
    with pytest.raises(RunError, match="cannot be opened as a study"):
        open_study(tmp_path / "missing" / file)


def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from archfit.study.storage import open_study, storage_errors\n"
        "study = open_study(Path(sys.argv[1]))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "with storage_errors(Path(sys.argv[1]), Path(sys.argv[1]).parent):\n"
        "    for number in range(1000):\n"
        "        study.ask().set_user_attr('reason', 'x' * 100)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert f"then go on with: archfit resume {tmp_path}" in ended.stderr.splitlines()[-1]
    assert "could not be written (File too large)" in ended.stderr.splitlines()[-1]
    study = open_study(path)
    assert len(records(study)) > 10
    _tell(study, 0.5)
    assert records(study)[-1].reward == 0.5


@pytest.mark.parametrize(
    ("pragma", "message"),
    [("PRAGMA max_page_count = 1", "database or disk is full"), ("PRAGMA query_only = ON", "readonly database")],
)
def test_a_full_or_read_only_disk(tmp_path: Path, pragma: str, message: str) -> None:
    path = tmp_path / "study.db"
    study = open_study(path)
    engine = study._storage._backend.engine  # type: ignore[attr-defined]
    with engine.connect() as connection:  # the pool hands the same connection out again
        connection.exec_driver_sql(pragma)

    def write() -> None:
        for number in range(1000):
            study.ask().set_user_attr("reason", f"{number}" * 100)

    with (
        pytest.raises(RunError, match=rf"{message}.*then go on with: archfit resume {tmp_path}"),
        storage_errors(path, tmp_path),
    ):
        write()
    close_study(study)


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), storage_errors(tmp_path / "study.db", tmp_path):
        raise ValueError("mine")
