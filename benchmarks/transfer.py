"""Claim: EfficientNet-Lite0 with its ImageNet weights learns CIFAR-10 to 95 % on two cores in 30 minutes.

Trainings by `archfit train`'s own recipe: all of CIFAR-10, and 10,000 images of CIFAR-10 and of Fashion-MNIST for
5 epochs at 96 pixels; those of CIFAR-10 again with sharpness-aware minimisation, and with two copies of each image in
its batch on top of it. Accuracy, precision, recall and F1 (means over classes) are those on the test split. A training
that is there already is read back.

    python benchmarks/transfer.py --weights efficientnet-lite0.pth [--only cifar10] [--runs runs/transfer]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import archfit
from machine import describe_machine

SHORT: dict[str, Any] = {"image_size": 96, "epochs": 5, "train_images": 10_000}
TRAININGS: dict[str, dict[str, Any]] = {
    "cifar10": {"dataset": "cifar10", "image_size": 128, "epochs": 3},
    "cifar10-10k": {"dataset": "cifar10", **SHORT},
    "cifar10-10k-sharpness": {"dataset": "cifar10", **SHORT, "recipe": {"sharpness": 0.15}},
    "cifar10-10k-sharpness-repeats": {"dataset": "cifar10", **SHORT, "recipe": {"sharpness": 0.15, "repeats": 2}},
    "fashion-mnist-10k": {"dataset": "fashion-mnist", **SHORT},
}
TARGETS = {"cifar10": 0.95, "cifar10-10k": 0.92, "fashion-mnist-10k": 0.91}
PUBLISHED = {
    "cifar10": {"accuracy": 0.8848, "precision": 0.8969, "recall": 0.8848, "f1": 0.8866},
    "cifar10-10k": {"accuracy": 0.6705},
    "fashion-mnist-10k": {"accuracy": 0.7932},
}
"""Student work with MnasNet's ImageNet weights; the first for 20 epochs at 224 pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--only", choices=list(TRAININGS))
    parser.add_argument("--devices", type=int, default=2, help="processes that train together")
    parser.add_argument("--runs", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "transfer.json")
    args = parser.parse_args()
    rows = json.loads(args.out.read_text())["trainings"] if args.out.is_file() else {}
    for name in [args.only] if args.only else TRAININGS:
        settings = TRAININGS[name]
        folder = args.runs / name
        start, whole = time.monotonic(), not folder.exists()
        if folder.exists():
            found = archfit.resume(folder)
        else:
            given = {key: value for key, value in settings.items() if key != "dataset"}
            found = archfit.train(
                "efficientnet-lite0",
                settings["dataset"],
                weights=args.weights.expanduser(),
                devices=args.devices,
                out=folder,
                **given,
            )
        record, kind = found.record, name.removesuffix("-repeats").removesuffix("-sharpness")
        test = record.test
        rows[name] = {
            **settings,
            "accuracy": test.accuracy,
            "precision": test.precision,
            "recall": test.recall,
            "f1": test.f1,
            "devices": args.devices,
            "seconds_train": record.seconds,
            "seconds_in_all": time.monotonic() - start if whole else None,
            "target": TARGETS[kind],
            "published": PUBLISHED[kind],
            "recipe": record.recipe,
        }
        print(f"{name}: {test.accuracy:.4f}, trained for {record.seconds:.0f} s", flush=True)
        result = {
            "claim": "at least 95 % of CIFAR-10 within 30 minutes; 92 % and 91 % from 10,000 images in 5 epochs",
            "weights": args.weights.name,
            "trainings": rows,
            "machine": describe_machine(),
        }
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
