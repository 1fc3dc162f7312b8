"""Claim: 5 epochs of 10,000 images gain by sharpness-aware minimisation and by two copies of each, not by mixing them.

Trains EfficientNet-Lite0 from its ImageNet weights at 96 pixels by variants of the recipe for pretrained networks, on
10,000 images of CIFAR-10's training split; 10,000 others of it tell the accuracy, the test split is not read. Two at
a time, one thread each.

    python benchmarks/transfer_variants.py --weights efficientnet-lite0.pth [--only plain,sharpness-0.15] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from archfit.data import ImageData, load_data
from archfit.pipeline.model import Model, resolve_model
from archfit.pipeline.plan import normalised
from archfit.study.candidates import WorkerContext, training_pool
from archfit.training import Recipe, fit, get_metric, score, transfer_recipe
from machine import describe_machine

CLAIM = "5 epochs of 10,000 images gain by sharpness-aware minimisation and by two copies of each, not by mixing them"
IMAGES = 10_000
EPOCHS = 5


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe, and what is changed in it, one thing at a time."""
    assert recipe.augmentation is not None
    found = {
        "plain": recipe,
        "half-rate": replace(recipe, learning_rate=recipe.learning_rate / 2),
        "double-rate": replace(recipe, learning_rate=recipe.learning_rate * 2),
        "layer-decay-0.85": replace(recipe, layer_decay=0.85),
        "average-0.995": replace(recipe, ema_decay=0.995),
        "sgd": replace(recipe, optimiser="sgd", learning_rate=0.06, weight_decay=5e-4),
        "batches-32": replace(recipe, batch_size=32, learning_rate=0.7 * recipe.learning_rate),
        "muon": replace(recipe, optimiser="muon", learning_rate=0.02, filter_learning_rate=0.01),
        "mixup": replace(recipe, mixup=0.3, label_smoothing=0.0),
        "cutmix": replace(recipe, cutmix=1.0),
        "cutout": replace(recipe, augmentation=replace(recipe.augmentation, cutout=32)),
        "crops-4-smoothing-0": replace(
            recipe, label_smoothing=0.0, augmentation=replace(recipe.augmentation, crop_padding=4)
        ),
        "crops-12-smoothing-0.2": replace(
            recipe, label_smoothing=0.2, augmentation=replace(recipe.augmentation, crop_padding=12)
        ),
    }
    found |= {f"sharpness-{radius:g}": replace(recipe, sharpness=radius) for radius in (0.05, 0.15, 0.35)}
    twice = replace(recipe, augmentation=replace(recipe.augmentation, repeats=2))
    return found | {"repeats-2": twice, "sharpness-0.15-repeats-2": replace(twice, sharpness=0.15)}


def train(
    context: WorkerContext, emit: Callable[[float], None], *, model: Model, weights: str, recipe: Recipe, seed: int
) -> dict[str, float]:
    """Accuracies on the images held out and on some of those trained on."""
    data = context.data
    torch.manual_seed(seed)
    network, _ = model.build(data.task, weights)
    start = time.monotonic()
    fit(
        network,
        data,
        recipe,
        seed=seed,
        validate=False,
        on_progress=lambda progress: emit(progress.step / progress.steps),
    )
    seconds = time.monotonic() - start
    splits = {"held_out": data.validation, "training": data.train.subset(torch.arange(3000))}
    found = {name: score(network, split, data, get_metric("accuracy")) for name, split in splits.items()}
    return {**found, "seconds": seconds}


def halves(data: ImageData) -> ImageData:
    """Some of the training images to train on, as many others in place of the validation split, no test split."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(5))
    held_out, kept = (data.train.subset(part) for part in (order[:IMAGES], order[IMAGES : 2 * IMAGES]))
    return replace(data, train=kept, validation=held_out, test=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--only", default="", help="names of variants, with commas between them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "transfer_variants.json")
    args = parser.parse_args()
    weights = str(args.weights.expanduser())
    model = resolve_model("efficientnet-lite0")
    data = normalised(halves(load_data("cifar10", image_size=96, train_images=22_000)), model.statistics(weights))
    chosen = variants(transfer_recipe(data, EPOCHS))
    if args.only:
        chosen = {name: chosen[name] for name in args.only.split(",")}
    names = list(chosen)
    jobs = [partial(train, model=model, weights=weights, recipe=chosen[name], seed=args.seed) for name in names]
    rows: dict[str, Any] = json.loads(args.out.read_text(encoding="utf-8"))["variants"] if args.out.is_file() else {}
    with training_pool(data, 2) as pool:
        for event in pool.run(jobs):
            if event.kind == "progress":
                continue
            if event.kind != "done":
                raise SystemExit(str(event.value))
            rows[names[event.key]] = event.value
            print(f"{names[event.key]}: {event.value['held_out']:.4f}, {event.value['seconds']:.0f} s", flush=True)
            result = {
                "claim": CLAIM,
                "images": IMAGES,
                "epochs": EPOCHS,
                "variants": rows,
                "machine": describe_machine(),
            }
            args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
