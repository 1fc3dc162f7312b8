from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from archfit.errors import RunError
from archfit.study.run_folder import RunFolder, read_run, write_json


def _create(path: Path) -> RunFolder:
    return RunFolder.create(path, {"dataset": "digits", "trials": 3}, "0.1.0")


def test_what_was_asked_and_decided_is_read_back(tmp_path: Path) -> None:
    run = _create(tmp_path / "deep" / "run")
    assert run.decision("memory_format") is None
    assert run.decide("memory_format", "contiguous") == "contiguous"
    run.add("anchor_ms", 0.1)
    run.add("anchor_ms", 0.025)
    run.tick("search", at_least=0.0)
    created, seconds = run.created, run.seconds
    run.close()

    again = RunFolder.open(tmp_path / "deep" / "run")
    assert again.request == {"dataset": "digits", "trials": 3}
    assert again.decision("memory_format") == "contiguous"
    assert again.decision("anchor_ms") == pytest.approx(0.125)
    assert again.created == created
    assert again.seconds == seconds
    assert seconds["search"] > 0
    assert seconds["train"] == 0
    again.close()


def test_a_decision_is_on_disk_before_it_is_used(tmp_path: Path) -> None:
    run = _create(tmp_path / "run")
    run.decide("latency", 1.5)
    assert read_run(tmp_path / "run")["decisions"] == {"latency": 1.5}
    run.close()


def test_ticks_add_up_and_are_written_now_and_then(tmp_path: Path) -> None:
    run = _create(tmp_path / "run")
    run.tick("search", at_least=60.0)
    assert run.seconds["search"] == 0.0
    run.tick("search", at_least=0.0)
    run.tick("train", at_least=0.0)
    first = run.seconds
    run.tick("search", at_least=0.0)
    assert run.seconds["search"] > first["search"] > 0
    assert run.seconds["train"] == first["train"] > 0
    assert read_run(run.path)["seconds"] == run.seconds
    run.close()


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(RunError, match="exists already; choose another --out"):
        _create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    _create(tmp_path / "run").close()
    with pytest.raises(RunError, match=rf"exists already; go on with it by: archfit resume {tmp_path}/run"):
        _create(tmp_path / "run")


def test_a_folder_inside_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"run cannot be made \(.*\); choose another --out"):
        _create(tmp_path / "file" / "run")


def test_a_folder_that_could_not_be_made_is_refused_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    RunFolder.check_free(tmp_path / "not" / "there" / "yet")
    with pytest.raises(RunError, match=rf"cannot be made \({tmp_path}/file is a file\); choose another --out"):
        RunFolder.check_free(tmp_path / "file" / "deep" / "run")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RunError, match=rf"cannot be made \({tmp_path} cannot be written\); choose another --out"):
        RunFolder.check_free(tmp_path / "run")


def test_a_file_system_without_locks_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(RunError, match=r"cannot be locked \(No locks available\)"):
        _create(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    _create(tmp_path / "run").discard()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run of archfit: it has no run\.json"):
        RunFolder.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "\udcff"])
def test_a_broken_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RunError, match=r"run\.json cannot be read .* cannot be resumed, start a new one"):
        RunFolder.open(tmp_path)


def test_a_run_of_another_schema(tmp_path: Path) -> None:
    _create(tmp_path / "run").close()
    file = tmp_path / "run" / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 99, "archfit_version": "9.1"}))
    with pytest.raises(RunError, match=r"written by archfit 9\.1 \(run schema 99\); this version reads schema 1"):
        RunFolder.open(tmp_path / "run")


def test_one_process_at_a_time(tmp_path: Path) -> None:
    _create(tmp_path / "run").close()
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from archfit.study.run_folder import RunFolder\n"
        "run = RunFolder.open(Path(sys.argv[1]))\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"locked\n"
    with pytest.raises(RunError, match="in use by another archfit process; wait for it or stop it first"):
        RunFolder.open(tmp_path / "run")
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    RunFolder.open(tmp_path / "run").close()  # a dead process holds no lock


def test_a_refused_opening_keeps_no_lock(tmp_path: Path) -> None:
    run = _create(tmp_path / "run")
    for _ in range(2):
        with pytest.raises(RunError, match="in use"):
            RunFolder.open(tmp_path / "run")
    run.close()
    RunFolder.open(tmp_path / "run").close()


def test_json_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"old": 1})
    before = path.open()
    write_json(path, {"new": 2})
    # Whoever had the old file open still reads it whole: it was replaced, not written over.
    assert json.load(before) == {"old": 1}
    before.close()
    assert json.loads(path.read_text()) == {"new": 2}
    assert [file.name for file in tmp_path.iterdir()] == ["value.json"]


def test_json_that_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["value.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"old": 1})

    def on_a_full_disk(**_: object) -> tuple[int, str]:
        part = tmp_path / "part"
        part.symlink_to("/dev/full")
        return os.open(part, os.O_WRONLY), str(part)

    monkeypatch.setattr(tempfile, "mkstemp", on_a_full_disk)
    with pytest.raises(RunError, match=r"value\.json cannot be written \(No space left on device\); free some space"):
        write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["value.json"]


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        write_json(tmp_path / "gone" / "value.json", {})
