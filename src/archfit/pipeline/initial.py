"""What `--init` names: the trained network that the candidates of a search inherit from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from archfit._files import expanded
from archfit.architecture import Architecture, Task
from archfit.catalogue import REFERENCES, Reference, get_reference, imagenet_network, in_published_order, is_external
from archfit.deploy import WEIGHTS
from archfit.errors import InputError, WeightsError
from archfit.nn.weights import load_into, read_weights
from archfit.pipeline.model import Model, read_statistics, resolve_model
from archfit.spaces import MnasSpace, Trained, inheritable_layers

INIT = "init.safetensors"
"""The trained network, kept in the run's folder: a resume needs no other file."""

_SUFFIXES = (".safetensors", ".pth", ".pt")
_WIDTHS = (0.35, 0.5, 0.75, 1.3, 1.4)


def resolve_initial(text: str) -> Trained:
    """The trained network of a weights file, of a run's folder, or of a catalogue name (its ImageNet weights).

    Raises:
        ArchfitError: There is no such thing, or the weights are of no network of the mnas space.
    """
    path = expanded(text)
    if path.is_dir():
        return _from_run(path, text)
    if path.suffix in _SUFFIXES or path.is_file():
        return _recognised(read_weights(path), text)
    if is_external(text):
        raise InputError(f"{text} is no network of the mnas space; candidates can inherit from {_known()}")
    reference = get_reference(text)
    if not isinstance(reference.space, MnasSpace):
        raise InputError(f"{text} is no network of the mnas space; candidates can inherit from {_known()}")
    inheritable_layers(text, reference.space, reference.architecture)  # before anything is fetched
    twin, network = imagenet_network(text)
    return _of_reference(reference, network.state_dict(), twin)


def _from_run(folder: Path, text: str) -> Trained:
    model: Model = resolve_model(text)
    if not isinstance(model.space, MnasSpace) or model.architecture is None:
        raise InputError(f"{text} holds no network of the mnas space; candidates can inherit from {_known()}")
    weights = read_weights(folder / WEIGHTS)
    channels = next((value.shape[1] for name, value in weights.items() if name == "stem.0.weight"), 3)
    return _loaded(model.name, model.space, model.architecture, weights, text, read_statistics(folder), channels)


def _recognised(weights: Mapping[str, Tensor], source: str) -> Trained:
    for order in (lambda name, tensors: tensors, in_published_order):
        for name in _names():
            with suppress(WeightsError):
                return _of_reference(get_reference(name), order(name, weights), source)
    raise WeightsError(f"{source} holds the weights of none of our networks; candidates can inherit from {_known()}")


def _names() -> Iterator[str]:
    yield from _mnas_names()
    for base in ("mobilenet-v2", "mnasnet-b1", "mnasnet-a1"):
        yield from (f"{base}-{width}" for width in _WIDTHS)


def _mnas_names() -> list[str]:
    return [name for name, reference in REFERENCES.items() if isinstance(reference.space, MnasSpace)]


def _known() -> str:
    return f"{', '.join(name for name in _mnas_names() if name != 'mobilenet-v1')}, or the folder of a run"


def _of_reference(reference: Reference, weights: Mapping[str, Tensor], source: str) -> Trained:
    assert isinstance(reference.space, MnasSpace)
    return _loaded(reference.name, reference.space, reference.architecture, weights, source, reference.statistics)


def _loaded(
    name: str,
    space: MnasSpace,
    architecture: Architecture,
    weights: Mapping[str, Tensor],
    source: str,
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
    channels: int = 3,
) -> Trained:
    """With the tensors under our own names. Raises `WeightsError` where they are of another network."""
    classes = next((value.shape[0] for value in weights.values() if value.dim() == 2), 1)  # of the classifier
    with torch.random.fork_rng(devices=()):
        network = space.build(architecture, Task(channels, 224, classes))
    load_into(network, weights, source)
    inheritable_layers(name, space, architecture)
    return Trained(name, space, architecture, channels, classes, network.state_dict(), statistics)
