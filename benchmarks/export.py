"""Claim: a winner is written as ONNX in half the time where no activation works in place.

Exports one network by turns: as it is, with activations that work in place, and as `export_winner` makes it.

    python benchmarks/export.py [NETWORK] [--rounds 4]
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch

from archfit.architecture import Task
from archfit.device import export
from archfit.pipeline.model import resolve_model
from machine import describe_machine

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default=str(RESULTS / "fashion_mnist_network_hswish_avx2.json"))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULTS / "export.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    task = Task(1, 28, 10)
    network = resolve_model(args.network).build(task)[0].eval()
    times: dict[str, list[float]] = {"in place": [], "archfit": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(args.rounds + 1):
            for name, found in times.items():
                copying = copy.deepcopy if name == "in place" else export._evaluation_copy
                start = time.perf_counter()
                with mock.patch.object(export, "_evaluation_copy", copying):
                    export.export_winner(
                        network, task, Path(folder) / "network.onnx", mean=[0.5], std=[0.5],
                        classes=[str(number) for number in range(10)], metadata={},
                    )  # fmt: skip
                if turn:  # the first one imports
                    found.append(time.perf_counter() - start)
    medians = {name: statistics.median(found) for name, found in times.items()}
    print(f"in place {medians['in place']:.1f} s, archfit {medians['archfit']:.1f} s")
    result = {
        "claim": "a winner is written as ONNX in half the time where no activation works in place",
        "seconds": medians,
        "rounds": times,
        "network": Path(args.network).name,
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
