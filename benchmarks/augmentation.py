"""Claim: augmenting whole batches as tensors is at least 7 times as fast as doing it image by image with Pillow.

Both give shuffled, cropped (4 pixels of padding), mirrored, normalised float32 batches of 32x32 RGB images, with one
thread and no worker processes; they take turns, so that the machine's drift meets both.

    python benchmarks/augmentation.py [--rounds 9] [--images 10000] [--out benchmarks/results/augmentation.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from archfit.data import Augmentation, Batches, MemorySplit, channel_statistics, load_data
from archfit.errors import DataError
from machine import describe_machine

TARGET = 7.0
BATCH_SIZE = 128
PADDING = 4


class PillowImages(Dataset[tuple[Tensor, int]]):
    """The usual way: one image at a time through torchvision's transforms."""

    def __init__(self, split: MemorySplit, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.split = split
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(split.images.shape[2], padding=PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.split.images[index]), int(self.split.labels[index])


def read_images(count: int) -> tuple[MemorySplit, str]:
    """CIFAR-10's training images where they are on disk, else random bytes of the same shape."""
    try:
        data = load_data("cifar10", download=False)
    except DataError:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return MemorySplit(images, torch.randint(0, 10, (count,), generator=generator)), "random 32x32 RGB"
    split = data.train.subset(torch.arange(count))
    assert isinstance(split, MemorySplit)
    return split, "CIFAR-10"


def images_per_second(batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    start = time.perf_counter()
    images = sum(len(labels) for _, labels in batches)
    return images / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="times that each pipeline is timed")
    parser.add_argument("--images", type=int, default=10_000, help="images per round")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "augmentation.json")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    split, images = read_images(arguments.images)
    mean, std = channel_statistics(split)
    ours = Batches(split, mean, std, BATCH_SIZE, augmentation=Augmentation(PADDING, flip=True), shuffle=True)
    pillow = DataLoader(PillowImages(split, mean, std), BATCH_SIZE, shuffle=True, num_workers=0)

    images_per_second(ours)
    rounds = []
    for number in range(arguments.rounds):
        ours.set_epoch(number)
        pair = {"archfit": images_per_second(ours), "pillow": images_per_second(pillow)}
        rounds.append(pair)
        print(f"round {number + 1}: {pair['archfit']:,.0f} against {pair['pillow']:,.0f} images/s")
    ratios = sorted(pair["archfit"] / pair["pillow"] for pair in rounds)
    result = {
        "claim": f"batched augmentation is at least {TARGET:g}x as fast as Pillow, one thread",
        "images": f"{len(split)} of {images}",
        "batch_size": BATCH_SIZE,
        "images_per_second": {
            name: round(statistics.median(pair[name] for pair in rounds)) for name in ("archfit", "pillow")
        },
        "ratio": {
            "median": round(statistics.median(ratios), 2),
            "min": round(ratios[0], 2),
            "max": round(ratios[-1], 2),
        },
        "holds": statistics.median(ratios) >= TARGET,
        "rounds": len(rounds),
        "machine": describe_machine(),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"median ratio {result['ratio']['median']}, written to {arguments.out}")


if __name__ == "__main__":
    main()
