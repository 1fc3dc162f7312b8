"""Claim: trainings of some epochs want lower rates than short ones, and crops come too early at 8 epochs.

Trains one network from scratch by variants of the final recipe, on the training split less 10,000 images; these and
the validation split tell the accuracy, the test split is not read. Two at a time, one thread each. `--variants moves`
asks whether digits are learnt better when they are turned and scaled: not in 6 epochs.

    python benchmarks/long_training.py runs/fashion/architecture.json [--dataset fashion-mnist] [--epochs 8] [--seed 0]
    python benchmarks/long_training.py runs/mnist/architecture.json --variants moves --dataset mnist --epochs 6
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from archfit.data import Augmentation, ImageData, load_data
from archfit.pipeline.model import Model, resolve_model
from archfit.study.candidates import WorkerContext, training_pool
from archfit.training import Recipe, final_recipe, fit, get_metric, score
from machine import describe_machine

HELD_OUT = 10_000


def moves(recipe: Recipe, image_size: int) -> dict[str, Recipe]:
    """The recipe with images as they are, turned and scaled, and cropped as well."""

    def by(**moves: float) -> Recipe:
        return replace(recipe, augmentation=Augmentation(flip=recipe.augmentation.flip, **moves))

    turned = {"rotation": 10.0, "zoom": 0.1}
    crops = {"crop_padding": round(image_size / 16)}
    return {"as they are": by(), "turned": by(**turned), "turned, crops": by(**turned, **crops)}


def rates(recipe: Recipe, image_size: int) -> dict[str, Recipe]:
    """The recipe at shares of the rates of short trainings, with and without crops by a sixteenth of the size."""

    def at(share: float, crop_padding: int) -> Recipe:
        return replace(
            recipe,
            learning_rate=0.07 * share,
            filter_learning_rate=0.08 * share,
            augmentation=Augmentation(crop_padding=crop_padding, flip=recipe.augmentation.flip),
        )

    plain = {f"rates {share:g}": at(share, 0) for share in (1.0, 0.6, 0.35)}
    return {**plain, **{f"rates {share:g}, crops": at(share, round(image_size / 16)) for share in (1.0, 0.6)}}


VARIANTS = {
    "rates": (rates, "lower rates than in short trainings, and no crops yet", "long_training.json"),
    "moves": (moves, "turning by 10 degrees and scaling by 10 % make no difference yet", "long_training_mnist.json"),
}


def train(context: WorkerContext, emit: object, *, model: Model, recipe: Recipe, seed: int) -> tuple[float, float]:
    """Accuracies on the validation split and on the images held out."""
    del emit
    data = context.data
    torch.manual_seed(seed)
    network, _ = model.build(data.task)
    fit(network, data, recipe, seed=seed, validate=False)
    assert data.test is not None
    validation, test = (score(network, split, data, get_metric("accuracy")) for split in (data.validation, data.test))
    return validation, test


def held_out(data: ImageData) -> ImageData:
    """The data with some of the training images in place of the test split."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(7))
    kept, taken = (data.train.subset(part.sort().values) for part in (order[HELD_OUT:], order[:HELD_OUT]))
    return replace(data, train=kept, test=taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="an architecture.json, a run, or a name")
    parser.add_argument("--variants", choices=list(VARIANTS), default="rates")
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="default: the variants' own file under results/")
    args = parser.parse_args()
    data, model = held_out(load_data(args.dataset)), resolve_model(args.model)
    variants, claim, name = VARIANTS[args.variants]
    out = args.out or Path(__file__).parent / "results" / name
    recipes = variants(final_recipe(data, args.epochs), data.image_size)
    names = list(recipes)
    jobs = [partial(train, model=model, recipe=recipe, seed=args.seed) for recipe in recipes.values()]
    rows: dict[str, Any] = {}
    with training_pool(data, 2) as pool:
        for event in pool.run(jobs):
            if event.kind == "done":
                validation, test = event.value
                counts = len(data.validation), HELD_OUT
                both = (validation * counts[0] + test * counts[1]) / sum(counts)
                rows[names[event.key]] = {"validation": validation, "held_out": test, "both": both}
                print(f"{names[event.key]}: {both:.4f}", flush=True)
            elif event.kind != "progress":
                raise SystemExit(str(event.value))
    result = {
        "claim": claim,
        "dataset": args.dataset,
        "epochs": args.epochs,
        "training_images": len(data.train),
        "seed": args.seed,
        "accuracies": rows,
        "machine": describe_machine(),
    }
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
