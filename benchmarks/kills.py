"""Claim: a search that is killed again and again loses nothing, doubles nothing and ends with the same winner.

Runs the demo search once without interruption (one worker, one seed), then again, killing the driver with SIGKILL at
random moments and resuming it each time; the cost cache is shared, so that both see the same latencies.

    python benchmarks/kills.py [--kills 20] [--trials 12]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from archfit.study.storage import open_study, records
from machine import describe_machine


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "archfit", *words]


def outcome(folder: Path) -> tuple[list[tuple[Any, ...]], dict[str, Any]]:
    """All trials without their times, and the winner."""
    trials = [
        (t.number, t.state, t.architecture, t.origin, t.accuracy, t.reward, t.repeat_of, t.seed)
        for t in records(open_study(folder / "study.db"))
    ]
    return trials, json.loads((folder / "result.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--final-epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "kills.json")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    # The demo's search with its clock replaced by counts, so that two runs can be the same.
    search = ["search", "digits", "--latency", "0.2ms", "--trials", str(args.trials), "--workers", "1"]
    search += ["--final-epochs", str(args.final_epochs)]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        env = {**os.environ, "ARCHFIT_CACHE": str(root / "cache")}
        quiet = {"env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        # The first run fills the cost cache; the second one has what the killed one will have.
        subprocess.run(command(*search, "--out", str(root / "warm")), check=True, **quiet)
        start = time.monotonic()
        subprocess.run(command(*search, "--out", str(root / "whole")), check=True, **quiet)
        whole_seconds = time.monotonic() - start
        print(f"uninterrupted: {whole_seconds:.0f} s", flush=True)

        killed = root / "killed"
        kills: list[float] = []
        begun = False
        while True:
            words = ["resume", str(killed)] if (killed / "run.json").is_file() else [*search, "--out", str(killed)]
            process = subprocess.Popen(command(*words), **quiet)
            # Start-up takes a few seconds: from there on any moment of what is left.
            wait = rng.uniform(2.0, 8.0 + whole_seconds / 3) if len(kills) < args.kills else None
            try:
                code = process.wait(wait)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills.append(wait or 0.0)
                print(f"kill {len(kills)} after {wait:.1f} s", flush=True)
                if killed.exists() and not (killed / "run.json").is_file():
                    raise SystemExit("a half-made run folder was left behind") from None
                begun = True
                continue
            if code != 0:
                raise SystemExit(f"resume ended with code {code}")
            if len(kills) >= args.kills or not begun:
                break
            # It was faster than the moment drawn: the next kills hit a new run of the same search.
            if outcome(killed)[0] != outcome(root / "whole")[0]:
                raise SystemExit("trials differ")
            killed = root / f"killed-{len(kills)}"
        whole_trials, whole = outcome(root / "whole")
        killed_trials, resumed = outcome(killed)
    same = killed_trials == whole_trials
    result = {
        "claim": "20 kills at random moments, each resumed: nothing lost, nothing doubled, the same winner",
        "kills": len(kills),
        "seconds_until_each_kill": kills,
        "trials": len(killed_trials),
        "same_trials": same,
        "same_winner": resumed["architecture"] == whole["architecture"],
        "same_test_accuracy": resumed["test_accuracy"] == whole["test_accuracy"],
        "seconds_uninterrupted": whole_seconds,
        "machine": describe_machine(),
    }
    print(json.dumps(result, indent=2))
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if not (same and result["same_winner"]):
        raise SystemExit("the resumed search differs")


if __name__ == "__main__":
    main()
