"""Claim: whatever breaks, a search loses no finished trial, doubles none, and is resumed to its end or says why not.

Real searches on digits, one worker, broken in every way listed in docs/reliability.md, whose table this prints. Each
fault is followed by `archfit resume` once its cause is gone. Full disks and read-only ones need root, for a tmpfs.

    python benchmarks/faults.py [--kills 50] [--only kill,disk] [--seed 0]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archfit.study.record import TrialRecord
from archfit.study.storage import close_study, open_study, records
from machine import describe_machine

COMMON = ["digits", "--params", "200k", "--width", "0.25", "--finalists", "1", "--workers", "1", "--seed", "0"]
SEARCHES = {
    # What `make demo` runs, its clock replaced by counts, so that two runs can be the same.
    "demo": [
        *["digits", "--latency", "0.2ms", "--workers", "1", "--seed", "0"],
        *["--trials", "9", "--proxy-epochs", "1,3,9", "--final-epochs", "10"],
    ],
    "trials": [*COMMON, "--trials", "8", "--proxy-epochs", "1,2", "--final-epochs", "3"],
    "shared": [
        *COMMON,
        *["--method", "shared", "--supernet-epochs", "2", "--trials", "3", "--control", "0", "--final-epochs", "3"],
    ],
}


@dataclass
class Row:
    """A line of the table.

    Attributes:
        fault: What was done.
        tries: How often.
        lost: Finished trials that were not there afterwards.
        doubled: Trials there are more of than asked for, or than there were.
        ends: What became of the search.
    """

    fault: str
    tries: int = 0
    lost: int = 0
    doubled: int = 0
    ends: str = "complete, the same trials and winner"


class Harness:
    """Runs searches in a folder of its own, with a cost cache of its own."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        self.root = root
        self.rng = rng
        self.env = {**os.environ, "ARCHFIT_CACHE": str(root / "cache"), "OMP_NUM_THREADS": "1"}
        self._whole: dict[str, tuple[list[TrialRecord], dict[str, Any], float]] = {}
        self._count = 0

    def whole(self, method: str) -> tuple[list[TrialRecord], dict[str, Any], float]:
        """An uninterrupted run of the search: its trials, its result, its seconds."""
        if method not in self._whole:
            for name in ("warm", "whole"):  # the first fills the cost cache
                folder, start = self.root / f"{name}-{method}", time.monotonic()
                self.end(self.start(["search", *SEARCHES[method], "--out", str(folder)]))
            self._whole[method] = (trials(folder), result(folder), time.monotonic() - start)
        return self._whole[method]

    def folder(self) -> Path:
        self._count += 1
        return self.root / f"run-{self._count}"

    def start(self, words: list[str], **settings: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "archfit", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **{"env": self.env, **settings},
        )

    def begin(self, method: str, folder: Path) -> list[str]:
        """What goes on with a run, or begins it."""
        if (folder / "run.json").is_file():
            return ["resume", str(folder)]
        if folder.exists():
            raise SystemExit("a half-made run folder was left behind")
        return ["search", *SEARCHES[method], "--out", str(folder)]

    def end(self, process: subprocess.Popen[str], code: int = 0) -> str:
        """The last line of what a process said, which must end with `code`."""
        _, said = process.communicate(timeout=600)
        if process.returncode != code:
            raise SystemExit(f"ended with {process.returncode}, not {code}: {said[-2000:]}")
        return said.strip().splitlines()[-1] if said.strip() else ""

    def compare(self, row: Row, method: str, folder: Path, before: Sequence[TrialRecord] = ()) -> None:
        """Adds to a row what is missing or too much after a resumed run."""
        whole, best, _ = self.whole(method)
        found = trials(folder)
        row.lost += missing(before, found)
        row.doubled += max(0, len(found) - len(whole))
        same = [plain(trial) for trial in found] == [plain(trial) for trial in whole]
        if not same or result(folder)["architecture"] != best["architecture"]:
            row.ends = "complete, but with other trials"


def trials(folder: Path) -> list[TrialRecord]:
    """Of a run whose driver has ended, read from a copy."""
    if not (folder / "study.db").is_file():
        return []
    with tempfile.TemporaryDirectory() as name:
        for path in folder.glob("study.db*"):
            shutil.copy(path, name)
        study = open_study(Path(name) / "study.db")
        found = records(study)
        close_study(study)
    return found


def begun(folder: Path, count: int) -> bool:
    """Whether so many trials are in the study of a driver that lives."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{folder}/study.db?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM trials").fetchone()[0]) >= count
    except sqlite3.Error:  # not yet made
        return False


def missing(before: Sequence[TrialRecord], found: Sequence[TrialRecord]) -> int:
    """Trials that had ended and are not there any more, or are changed."""
    kept = {trial.number: trial for trial in found}
    return sum(kept.get(trial.number) != trial for trial in before if trial.state == "complete")


def plain(trial: TrialRecord) -> tuple[Any, ...]:
    """Without what a clock decided."""
    return (trial.number, trial.state, trial.architecture, trial.accuracy, trial.reward, trial.rung, trial.seed)


def result(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "result.json").read_text()))


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The forks of the driver's child."""
    return [worker for server in children(process.pid) for worker in children(server)]


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


# ---- the faults -----------------------------------------------------------------------------------------------------


def driver_killed(harness: Harness, method: str, times: int, number: signal.Signals) -> Row:
    """At random moments, from the start of the process to the last second of the run."""
    row = Row(f"{number.name} to the driver, {'the demo' if method == 'demo' else f'method {method}'}")
    seconds = harness.whole(method)[2]
    while row.tries < times:
        folder, before = harness.folder(), []
        while True:
            process = harness.start(harness.begin(method, folder))
            try:
                process.communicate(timeout=harness.rng.uniform(1.0, seconds) if row.tries < times else None)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
                process.communicate()
                row.tries += 1
                found = trials(folder)
                row.lost += missing(before, found)
                before = found
                print(f"  {row.fault}: {row.tries} of {times}", flush=True)
                continue
            if process.returncode != 0:
                raise SystemExit(f"resume ended with {process.returncode}")
            break
        harness.compare(row, method, folder, before)
        shutil.rmtree(folder)
    return row


def worker_killed(harness: Harness, times: int, *, server: bool = False) -> Row:
    """Or the process that it was forked from, which ends all of them; there is one of either."""
    whom = "what forks the workers" if server else "a worker"
    row = Row(f"SIGKILL to {whom}", ends="complete; what it trained is a failed trial with the reason")
    while row.tries < times:
        folder = harness.folder()
        process = harness.start(["search", *SEARCHES["trials"], "--out", str(folder)])
        killed = 0
        while process.poll() is None:
            time.sleep(harness.rng.uniform(2.0, 5.0))
            running = [trial for trial in trials(folder) if trial.state == "running"] if folder.exists() else []
            if running and killed < 2 and row.tries < times and (workers := workers_of(process)):
                os.kill(children(process.pid)[0] if server else workers[0], signal.SIGKILL)
                killed += 1
                row.tries += 1
        harness.end(process)
        found = [trial for trial in trials(folder) if trial.promotes is None]
        row.doubled += max(0, len(found) - 8)
        row.lost += max(0, 8 - len(found))
        if any(trial.state == "failed" and "SIGKILL" not in (trial.reason or "") for trial in found):
            row.ends = "complete, with failures of another kind"
        shutil.rmtree(folder)
    return row


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[None]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def disk(harness: Harness, times: int, kind: str) -> Row:
    """Full, or read-only, at a random moment."""
    row = Row(
        "disk full" if kind == "full" else "run folder read-only",
        ends="exit 2 with one line that says so; after `resume` complete, the same",
    )
    seconds = harness.whole("trials")[2]
    for _ in range(times):
        place = harness.root / f"disk-{harness.folder().name}"
        with small_disk(place, 64) if kind == "full" else contextlib.nullcontext(place.mkdir()):
            folder = place / "run"
            process = harness.start(["search", *SEARCHES["trials"], "--out", str(folder)])
            while not begun(folder, 2) and process.poll() is None:
                time.sleep(0.1)
            time.sleep(harness.rng.uniform(0.0, 0.4 * seconds))
            if process.poll() is not None:
                raise SystemExit(f"the search had ended before its disk was {kind}: {process.communicate()[1][-500:]}")
            if kind == "full":
                with (place / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(4096))
            else:
                subprocess.run(["chattr", "+i", str(folder)], check=True)  # a disk with open files does not turn
            said = harness.end(process, 2)
            if "resume" not in said:
                row.ends = f"exit 2, without a remedy: {said}"
            if kind == "full":
                (place / "ballast").unlink()
            else:
                subprocess.run(["chattr", "-i", str(folder)], check=True)
            before = trials(folder)
            harness.end(harness.start(["resume", str(folder)]))
            harness.compare(row, "trials", folder, before)
        row.tries += 1
    return row


def checkpoint_damaged(harness: Harness, times: int) -> Row:
    """The full training's, by zeros, by half of it, by nothing."""
    row = Row("checkpoint damaged", ends="complete, the same: the training begins anew")
    for turn in range(times):
        folder = harness.folder()
        process = harness.start(["search", *SEARCHES["trials"], "--out", str(folder)])
        while process.poll() is None and not (found := list(folder.glob("training/*/last.ckpt"))):
            time.sleep(0.05)
        process.kill()
        process.communicate()
        if not found:
            raise SystemExit("no checkpoint was seen")
        content = found[0].read_bytes()
        middle = len(content) // 2
        damaged = [content[: middle - 500] + bytes(1000) + content[middle + 500 :], content[:middle], b""]
        found[0].write_bytes(damaged[turn % 3])
        (folder / "result.json").unlink(missing_ok=True)
        before = trials(folder)
        harness.end(harness.start(["resume", str(folder)]))
        harness.compare(row, "trials", folder, before)
        row.tries += 1
        shutil.rmtree(folder)
    return row


def study_damaged(harness: Harness, times: int) -> Row:
    row = Row("study file damaged", ends="exit 2 with one line; with the file restored complete, the same")
    for _ in range(times):
        folder = harness.folder()
        process = harness.start(["search", *SEARCHES["trials"], "--out", str(folder)])
        while process.poll() is None and not begun(folder, 4):
            time.sleep(0.05)
        process.kill()
        process.communicate()
        before = trials(folder)
        kept = {path: path.read_bytes() for path in folder.glob("study.db*")}
        for path, content in kept.items():
            path.write_bytes(bytes(harness.rng.randrange(256) for _ in range(len(content))))
        said = harness.end(harness.start(["resume", str(folder)]), 2)
        if "study.db" not in said:
            row.ends = f"exit 2, without a remedy: {said}"
        for path in folder.glob("study.db*"):
            path.unlink()
        for path, content in kept.items():
            path.write_bytes(content)
        harness.end(harness.start(["resume", str(folder)]))
        harness.compare(row, "trials", folder, before)
        row.tries += 1
        shutil.rmtree(folder)
    return row


CANDIDATES = """
import resource, sys, time
from dataclasses import dataclass, replace
import archfit
from archfit.evaluators import ProxyTraining
from archfit.training import fit, proxy_recipe

@dataclass(frozen=True)
class Bad:
    fault: str

    def evaluate(self, architecture, network, data, *, seed, on_progress):
        if architecture["block1.op"] != "conv":
            if self.fault == "memory":
                limit = 2**30 * 3
                resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
                try:
                    parts = []
                    import torch
                    while True:
                        parts.append(torch.ones(2**26))
                finally:
                    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            if self.fault == "nan":
                recipe = replace(proxy_recipe(data, 1.0), optimiser="sgd", learning_rate=1e20)
                fit(network, data, recipe, seed=seed, validate=False)
            if self.fault == "hang":
                time.sleep(10**6)
        return ProxyTraining(0.5).evaluate(architecture, network, data, seed=seed, on_progress=on_progress)

result = archfit.search("digits", params="200k", width=0.25, trials=8, final_epochs=1, finalists=1, workers=1, seed=0,
                        evaluator=Bad(sys.argv[1]), trial_time="10s", out=sys.argv[2], sampler="random")
"""
REASONS = {"memory": "memory", "nan": "diverged", "hang": "was ended"}
NAMES = {"memory": "candidate out of memory", "nan": "candidate whose loss is not a number", "hang": "candidate hangs"}


def candidate_bad(harness: Harness, fault: str) -> Row:
    row = Row(NAMES[fault], ends="complete; it is a failed trial with the reason")
    folder, script = harness.folder(), harness.root / "candidates.py"
    script.write_text(CANDIDATES)
    done = subprocess.run(
        [sys.executable, str(script), fault, str(folder)], env=harness.env, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(done.stderr[-2000:])
    found = trials(folder)
    failed = [trial for trial in found if trial.state == "failed"]
    row.tries = len(failed)
    row.lost, row.doubled = max(0, 8 - len(found)), max(0, len(found) - 8)
    if not failed or any(REASONS[fault] not in (trial.reason or "") for trial in failed):
        row.ends = f"complete, with other reasons: {[trial.reason for trial in failed]}"
    return row


CLOCK = """
import datetime, os, time
_real, _start = time.time, time.monotonic()
def _now():
    return _real() - (3600 if time.monotonic() - _start > float(os.environ["JUMP_AFTER"]) else 0)
time.time = _now
class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(_now(), tz)
_Datetime.__name__ = "datetime"
datetime.datetime = _Datetime
"""


def clock_back(harness: Harness, times: int) -> Row:
    """By an hour, in the driver and its workers, as Python sees it."""
    row = Row("clock jumps back an hour")
    place = harness.root / "clock"
    place.mkdir()
    (place / "sitecustomize.py").write_text(textwrap.dedent(CLOCK))
    for _ in range(times):
        folder = harness.folder()
        jump = str(harness.rng.uniform(3.0, harness.whole("trials")[2]))
        path = os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])
        env = {**harness.env, "JUMP_AFTER": jump, "PYTHONPATH": path}
        harness.end(harness.start(["search", *SEARCHES["trials"], "--out", str(folder)], env=env))
        harness.compare(row, "trials", folder)
        row.tries += 1
        shutil.rmtree(folder)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of the driver, for each method")
    parser.add_argument("--demo-kills", type=int, default=20, help="of the demo's driver")
    parser.add_argument("--tries", type=int, default=3, help="of every other fault")
    parser.add_argument("--only", help="names with commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "faults.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        harness = Harness(Path(name), random.Random(args.seed))
        faults: dict[str, Callable[[], Row]] = {
            "kill": lambda: driver_killed(harness, "trials", args.kills, signal.SIGKILL),
            "kill-shared": lambda: driver_killed(harness, "shared", args.kills, signal.SIGKILL),
            "kill-demo": lambda: driver_killed(harness, "demo", args.demo_kills, signal.SIGKILL),
            "term": lambda: driver_killed(harness, "trials", args.tries, signal.SIGTERM),
            "worker": lambda: worker_killed(harness, 2 * args.tries),
            "server": lambda: worker_killed(harness, 2 * args.tries, server=True),
            "full": lambda: disk(harness, args.tries, "full"),
            "read-only": lambda: disk(harness, args.tries, "read-only"),
            "checkpoint": lambda: checkpoint_damaged(harness, args.tries),
            "study": lambda: study_damaged(harness, args.tries),
            "memory": lambda: candidate_bad(harness, "memory"),
            "nan": lambda: candidate_bad(harness, "nan"),
            "hang": lambda: candidate_bad(harness, "hang"),
            "clock": lambda: clock_back(harness, args.tries),
        }
        chosen = args.only.split(",") if args.only else list(faults)
        rows = []
        for key in chosen:
            rows.append(faults[key]())
            print(f"| {rows[-1].fault} | {rows[-1].tries} | {rows[-1].lost} | {rows[-1].doubled} | {rows[-1].ends} |")
            sys.stdout.flush()
    known = json.loads(args.out.read_text())["faults"] if args.only and args.out.is_file() else []
    fresh = {row.fault: asdict(row) for row in rows}
    merged = [fresh.pop(row["fault"], row) for row in known] + list(fresh.values())
    content = {
        "claim": "no finished trial is lost, none is doubled",
        "faults": merged,
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
