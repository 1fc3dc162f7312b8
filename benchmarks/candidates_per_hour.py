"""Claim: at least 3 times as many candidates per hour as a straightforward loop; overhead under 5 % of the wall time.

The same candidates, the same images, the same epochs, by turns: archfit's workers (one thread each, the memory format
of the probe, batches augmented as tensors), and the loop that one writes first (channels-first, two threads, one
candidate at a time, torchvision transforms on Pillow images through a DataLoader). As in a search a worker that is free
takes the next candidate at once; whenever one has ended, both are stopped while the loop trains the same candidate.

    python benchmarks/candidates_per_hour.py [--candidates 12] [--images 10000] [--dataset fashion-mnist]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from archfit.architecture import Architecture, Task, random_architecture
from archfit.cost import Budget
from archfit.data import ImageData, MemorySplit, load_data
from archfit.evaluators import ProxyTraining
from archfit.reward import absolute
from archfit.spaces import MnasSpace
from archfit.spaces.skeleton import MNAS_SKELETON
from archfit.study.candidates import evaluate, training_pool
from archfit.study.limits import Limits
from archfit.study.setup import SearchSetup
from archfit.training import proxy_recipe
from machine import describe_machine


class PillowImages(Dataset[tuple[torch.Tensor, int]]):
    def __init__(self, split: MemorySplit, data: ImageData, train: bool) -> None:
        self.split = split
        steps = [transforms.ToPILImage()]
        if train and data.flip:
            steps.append(transforms.RandomHorizontalFlip())
        self.transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(data.mean, data.std)])

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.split.images[index]), int(self.split.labels[index])


def plain_loop(network: nn.Module, data: ImageData, epochs: int) -> float:
    """The loop that one writes first; the same optimiser, batch size and number of epochs."""
    recipe = proxy_recipe(data, epochs)
    train = DataLoader(PillowImages(data.train, data, True), recipe.batch_size, shuffle=True, drop_last=True)
    validation = DataLoader(PillowImages(data.validation, data, False), 500)
    optimiser = torch.optim.SGD(network.parameters(), recipe.learning_rate, 0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * len(train))
    network.train()
    for _ in range(epochs):
        for images, labels in train:
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images), labels).backward()
            optimiser.step()
            schedule.step()
    network.eval()
    right = 0
    with torch.no_grad():
        for images, labels in validation:
            right += int((network(images).argmax(1) == labels).sum())
    return right / len(data.validation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--images", type=int, default=10000)
    parser.add_argument("--width", type=float, default=0.42, help="with --layers, as a search for 0.3 ms scales it")
    parser.add_argument("--layers", default="1,1,2,3,2,2,1")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "candidates_per_hour.json")
    args = parser.parse_args()
    data = load_data(args.dataset, train_images=args.images)
    task: Task = data.task
    layers = tuple(int(count) for count in args.layers.split(","))
    space = MnasSpace(args.width, skeleton=replace(MNAS_SKELETON, layers=layers))
    rng = random.Random(0)
    candidates: list[Architecture] = [
        space.canonical(random_architecture(space, rng), task) for _ in range(args.candidates)
    ]
    evaluator = ProxyTraining(1.0)
    setup = SearchSetup(space, task, Budget(), absolute, 0.1, Limits(trials=1), 2.0, 0, evaluator)
    theirs: list[float] = []
    accuracies: list[dict[str, float]] = []
    with training_pool(data.without_test(), 2) as pool:
        for key in (-1, -2):  # start-up is not what is compared
            pool.submit(key, partial(evaluate, setup, candidates[0], 0))
        while pool.busy:
            list(pool.events(1.0))
        torch.set_num_threads(2)
        start = time.monotonic()
        for event in pool.run([partial(evaluate, setup, one, key) for key, one in enumerate(candidates)]):
            if event.kind == "progress":
                continue
            if event.kind != "done":
                raise SystemExit(str(event.value))
            with pool.paused():
                begun = time.monotonic()
                torch.manual_seed(event.key)
                plain = plain_loop(space.build(candidates[event.key], task), data, 1)
                theirs.append(time.monotonic() - begun)
            accuracies.append({"ours": event.value.accuracy, "plain": plain})
            ours = (time.monotonic() - start - sum(theirs)) / len(theirs)
            print(
                f"{len(theirs)} candidates: ours {ours:.1f} s each, plain {statistics.mean(theirs):.1f} s", flush=True
            )
    ratio = statistics.mean(theirs) / ours
    result = {
        "claim": "candidates per hour at least 3 times a straightforward loop",
        "ratio": ratio,
        "seconds_per_candidate": {"archfit": ours, "plain": statistics.mean(theirs)},
        "plain_seconds": theirs,
        "validation_accuracies": accuracies,
        "dataset": args.dataset,
        "images": args.images,
        "space": space.settings(),
        "batch_size": proxy_recipe(data, 1.0).batch_size,
        "machine": describe_machine(),
    }
    print(f"ratio {ratio:.2f}")
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
