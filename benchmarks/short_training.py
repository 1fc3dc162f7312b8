"""Claim: from scratch on 10,000 training images for 5 epochs, at least 89 % on Fashion-MNIST and 72 % on CIFAR-10.

Searches with 10,000 training images, trains the finalists for 5 epochs, and tests the winner.

    python benchmarks/short_training.py [--datasets fashion-mnist,cifar10] [--latency 2ms] [--trials 24]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import archfit
from machine import describe_machine

TARGETS = {"fashion-mnist": 0.89, "cifar10": 0.72}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default="fashion-mnist,cifar10")
    parser.add_argument("--latency", default="2ms")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--proxy-epochs", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "short_training.json")
    args = parser.parse_args()
    rows = json.loads(args.out.read_text(encoding="utf-8"))["rows"] if args.out.is_file() else {}
    for name in args.datasets.split(","):
        with tempfile.TemporaryDirectory() as folder:
            result = archfit.search(
                name,
                latency=args.latency,
                trials=args.trials,
                train_images=10_000,
                proxy_epochs=args.proxy_epochs,
                final_epochs=5,
                seed=args.seed,
                out=Path(folder) / "run",
            )
        record, best = result.record, result.best
        assert best.cost.latency is not None
        rows[name] = {
            "target": TARGETS[name],
            "test_accuracy": best.test_accuracy,
            "standard_error": record.test.standard_error,
            "latency_ms": best.cost.latency.p50_ms,
            "params": best.cost.params,
            "madds": best.cost.madds,
            "architecture": best.architecture.to_json(),
            "seconds": record.seconds,
            "command": record.command,
        }
        print(
            f"{name}: {best.test_accuracy:.4f} (target {TARGETS[name]}), {best.cost.latency.p50_ms:.2f} ms", flush=True
        )
        write(args.out, rows)


def write(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    result = {
        "claim": "10,000 training images, 5 epochs, from scratch: Fashion-MNIST 89 %, CIFAR-10 72 %",
        "rows": rows,
        "machine": describe_machine(),
    }
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
