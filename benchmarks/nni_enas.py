"""Claim: the search by shared weights takes at most half of NNI 3.0's time a step, and 60 % of its memory.

NNI's ENAS cell space (width 20, 6 cells, 5 nodes) and the same space here, batches of 128 images of CIFAR-10, one
thread, the same 20 architectures one after the other, archfit and NNI by turns, each in a process of its own. A weight
step is forward, loss, backward and SGD; a reward step is what NNI does for one (training mode, no backward) and here
the same path under inference mode. NNI's Lightning loop and metrics are left out, which is in its favour. As NNI's
supernet does, every node is part of a cell's output.

NNI needs an environment of its own:

    python3.11 -m venv nni && nni/bin/pip install torch nni==3.0 pytorch-lightning==2.0.9 tianshou==0.5.1 \
        gym==0.26.2 "setuptools<81"
    python benchmarks/nni_enas.py nni/bin/python [--rounds 2]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

WIDTH, CELLS, NODES, BATCH = 20, 6, 5, 128
OPERATIONS = {
    "identity": "skip_connect",
    "sep3": "sep_conv_3x3",
    "sep5": "sep_conv_5x5",
    "avg3": "avg_pool_3x3",
    "max3": "max_pool_3x3",
}
KINDS = ("normal", "reduce")
Cells = dict[str, list[list[list[Any]]]]
"""Of each kind the nodes, of each node two pairs of operation and input."""


def drawn(count: int, seed: int) -> list[Cells]:
    rng = random.Random(seed)
    return [
        {
            kind: [[[rng.choice(list(OPERATIONS)), rng.randrange(node + 2)] for _ in range(2)] for node in range(NODES)]
            for kind in KINDS
        }
        for _ in range(count)
    ]


class Archfit:
    """Our steps, as a search takes them."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        from archfit.architecture import Task
        from archfit.samplers.policy import Policy
        from archfit.spaces import CellSpace
        from archfit.study.supernet_trainer import SupernetTrainer
        from archfit.training import Recipe, get_metric

        every = tuple(range(2, NODES + 2))
        self.space = CellSpace(filters=WIDTH, cells=CELLS, nodes=NODES, outputs=(every, every))
        supernet = self.space.supernet(Task(3, 32, 10)).to(memory_format=torch.channels_last)
        recipe = Recipe(1, batch_size=BATCH, learning_rate=0.01)
        self.trainer = SupernetTrainer(supernet, recipe, device=torch.device("cpu"), threads=1)
        self.metric = get_metric("accuracy")
        self.batch = (images.contiguous(memory_format=torch.channels_last), labels)
        self.generator = torch.Generator().manual_seed(0)
        self.policy = Policy([len(choice.options) for choice in self.space.choices], generator=self.generator)

    def prepared(self, cells: Cells) -> Any:
        nodes = [[tuple(tuple(side) for side in node) for node in cells[kind]] for kind in KINDS]
        return self.space.architecture(*nodes)  # type: ignore[arg-type]

    def weights(self, architecture: Any) -> None:
        self.trainer.step([(architecture, self.batch)], 1.0)

    def reward(self, architecture: Any) -> None:
        self.trainer.accuracies([(architecture, [self.batch])], self.metric, 10)

    def sample(self, count: int) -> None:
        self.policy.sample(count, self.generator)


class Nni:
    """NNI's one-shot ENAS strategy on its hub's ENAS space."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        np.bool8 = np.bool_  # type: ignore[attr-defined] # the name that gym 0.26 knows
        from nni.nas.evaluator.pytorch import ClassificationModule
        from nni.nas.hub.pytorch.nasnet import ENAS as Space
        from nni.nas.strategy import ENAS

        strategy = ENAS(reward_metric_name="val_acc")
        self.supernet = strategy.mutate_model(Space(width=WIDTH, num_cells=CELLS, dataset="cifar"))
        self.module = strategy.configure_oneshot_module(ClassificationModule(num_classes=10))
        self.module.set_model(self.supernet)
        self.optimiser = torch.optim.SGD(self.supernet.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True)
        self.images, self.labels = images, labels

    def prepared(self, cells: Cells) -> dict[str, Any]:
        sample: dict[str, Any] = {}
        for kind in KINDS:
            for node, sides in enumerate(cells[kind], 2):
                for side, (operation, state) in enumerate(sides):
                    sample[f"{kind}/op_{node}_{side}"] = OPERATIONS[operation]
                    sample[f"{kind}/input_{node}_{side}"] = [state]
        return sample

    def _loss(self, sample: dict[str, Any]) -> torch.Tensor:
        for part in self.module.supernet_modules():
            part.resample(memo=sample)
        return torch.nn.functional.cross_entropy(self.supernet(self.images), self.labels)

    def weights(self, sample: dict[str, Any]) -> None:
        loss = self._loss(sample)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def reward(self, sample: dict[str, Any]) -> None:
        self._loss(sample).item()

    def sample(self, count: int) -> None:
        self.module.policy.eval()
        with torch.no_grad():
            for _ in range(count):
                self.module.generator.next_sample()


def serve(side: Archfit | Nni, cells: Sequence[Cells], answer: Callable[[Any], None]) -> None:
    """Does what each line of the input says and answers with the seconds."""
    prepared = [side.prepared(each) for each in cells]
    answer(
        {
            "parameters": sum(
                p.numel() for p in (side.trainer if isinstance(side, Archfit) else side).supernet.parameters()
            )
        }
    )
    for line in sys.stdin:
        what, argument = json.loads(line)
        start = time.perf_counter()
        if what == "sample":
            side.sample(argument)
        elif what in ("weights", "reward"):
            getattr(side, what)(prepared[argument])
        answer(peak_bytes() if what == "memory" else time.perf_counter() - start)


def peak_bytes() -> int:
    """The most physical memory this process has had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024


class Side:
    """One of the two processes."""

    def __init__(self, python: str, name: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [python, __file__, python, "--side", name, "--folder", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if name == "nni" else None,  # warnings of old packages
            text=True,
        )
        self.parameters = self._read()["parameters"]

    def ask(self, what: str, argument: int = 0) -> float:
        assert self._process.stdin is not None
        print(json.dumps([what, argument]), file=self._process.stdin, flush=True)
        return float(self._read())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a side ended early; run this file with --side to see why")
        return json.loads(line)


def write_batch(folder: Path) -> None:
    from archfit.data import Batches, load_data

    data = load_data("cifar10")
    images, labels = next(iter(Batches(data.train, data.mean, data.std, BATCH)))
    np.savez(folder / "batch.npz", images=images.contiguous().numpy(), labels=labels.numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nni", help="Python of the environment with NNI")
    parser.add_argument("--rounds", type=int, default=2, help="times that each architecture is run")
    parser.add_argument("--architectures", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "nni_enas.json")
    parser.add_argument("--side", choices=["archfit", "nni"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.side is not None:
        output = sys.stdout
        sys.stdout = sys.stderr  # answers alone go to the driver
        batch = np.load(args.folder / "batch.npz")
        kind = {"archfit": Archfit, "nni": Nni}[args.side]
        side = kind(torch.from_numpy(batch["images"]), torch.from_numpy(batch["labels"]))
        cells = json.loads((args.folder / "cells.json").read_text(encoding="utf-8"))
        serve(side, cells, lambda value: print(json.dumps(value), file=output, flush=True))
        return

    from machine import describe_machine

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_batch(folder)
        (folder / "cells.json").write_text(json.dumps(drawn(args.architectures, 0)), encoding="utf-8")
        sides = {"archfit": Side(sys.executable, "archfit", folder), "nni": Side(args.nni, "nni", folder)}
        try:
            seconds = measure(sides, args.architectures, args.rounds)
            memory = {name: side.ask("memory") for name, side in sides.items()}
            parameters = {name: side.parameters for name, side in sides.items()}
        finally:
            for side in sides.values():
                side.close()
    ratios = {what: each["nni"] / each["archfit"] for what, each in seconds.items()}
    share = memory["archfit"] / memory["nni"]
    result = {
        "claim": "weight step 2 times, reward step 3 times, sampling 10 times as fast as NNI 3.0; 60 % of its memory",
        "times_as_fast": ratios,
        "seconds": seconds,
        "memory_share": share,
        "peak_memory_gb": {name: value / 1e9 for name, value in memory.items()},
        "parameters": parameters,
        "architectures": args.architectures,
        "rounds": args.rounds,
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(", ".join(f"{what} {ratio:.2f} times as fast" for what, ratio in ratios.items()), f"memory {share:.0%}")


def measure(sides: dict[str, Side], architectures: int, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds by step and side: of each architecture the least of its rounds, their mean over architectures."""
    for side in sides.values():
        side.ask("weights")
        side.ask("reward")
        side.ask("sample", 20)
    found: dict[str, dict[str, dict[int, float]]] = {
        what: {name: {} for name in sides} for what in ("weights", "reward")
    }
    sampling: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for architecture in range(architectures):
            for what, by_side in found.items():
                for name, side in sides.items():
                    took = side.ask(what, architecture)
                    by_side[name][architecture] = min(took, by_side[name].get(architecture, took))
            for name, side in sides.items():
                sampling[name].append(side.ask("sample", 20))
            so_far = {
                what: f"{sum(by_side['nni'].values()) / sum(by_side['archfit'].values()):.2f}"
                for what, by_side in found.items()
            }
            print(f"round {number + 1}, architecture {architecture + 1}: times as fast {so_far}", flush=True)
    seconds = {
        what: {name: statistics.mean(values.values()) for name, values in by_side.items()}
        for what, by_side in found.items()
    }
    return {**seconds, "sampling 20": {name: min(values) for name, values in sampling.items()}}


if __name__ == "__main__":
    main()
