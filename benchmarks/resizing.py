"""Claim: images that are resized bicubically suit networks pretrained on ImageNet no worse than bilinear ones.

EfficientNet-Lite0 with its ImageNet weights makes 1,280 features of CIFAR-10's images at 96 pixels, resized in both
ways; a ridge regression on those of 6,000 training images classifies 3,000 others of the training split.

    python benchmarks/resizing.py --weights efficientnet-lite0.pth [--image-size 96]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from archfit.data import load_data
from archfit.pipeline.model import resolve_model
from machine import describe_machine

MODEL = "efficientnet-lite0"
PENALTIES = (300.0, 1000.0, 3000.0)


def features(network: nn.Module, images: Tensor, statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """What the classifier is given, `(N, 1280)`, of uint8 images `(N, 3, S, S)`."""
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in statistics)
    seen: list[Tensor] = []
    classifier = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    hook = classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        for batch in images.split(100):
            network(((batch.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last))
    hook.remove()
    return torch.cat(seen)


def ridge_accuracy(train: Tensor, labels: Tensor, held_out: Tensor, held_out_labels: Tensor) -> float:
    """Of the best of three penalties."""
    mean, std = train.mean(0), train.std(0) + 1e-5
    train, held_out = (train - mean) / std, (held_out - mean) / std
    targets = functional.one_hot(labels).float()
    moments = train.T @ train
    found = []
    for penalty in PENALTIES:
        weights = torch.linalg.solve(moments + penalty * torch.eye(len(moments)), train.T @ (targets - targets.mean(0)))
        found.append(float(((held_out @ weights).argmax(1) == held_out_labels).float().mean()))
    return max(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--train-images", type=int, default=6000)
    parser.add_argument("--held-out", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "resizing.json")
    args = parser.parse_args()
    train = load_data("cifar10").train
    drawn = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[: args.train_images + args.held_out]
    images, labels = torch.as_tensor(train.images)[drawn], torch.as_tensor(train.labels)[drawn].long()
    model = resolve_model(MODEL)
    data = load_data("cifar10", image_size=args.image_size, train_images=100)
    network, _ = model.build(data.task, str(args.weights.expanduser()))
    network.eval().to(memory_format=torch.channels_last)
    accuracies = {}
    for mode in ("bilinear", "bicubic"):
        shape = (args.image_size, args.image_size)
        resized = functional.interpolate(images, shape, mode=mode, antialias=True)
        found = features(network, resized, model.statistics())
        cut = args.train_images
        accuracies[mode] = ridge_accuracy(found[:cut], labels[:cut], found[cut:], labels[cut:])
        print(f"{mode}: {accuracies[mode]:.4f}", flush=True)
    result = {
        "claim": __doc__.splitlines()[0].removeprefix("Claim: "),
        "model": MODEL,
        "image_size": args.image_size,
        "train_images": args.train_images,
        "held_out_images": args.held_out,
        "accuracies": accuracies,
        "machine": describe_machine(),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
