"""What stands behind a model's name: a reference, a network of another package, or one that archfit wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from archfit._files import expanded
from archfit.architecture import Architecture, SearchSpace, Task
from archfit.catalogue import (
    build_named,
    get_reference,
    imagenet_network,
    in_published_order,
    is_external,
    pretrained_statistics,
)
from archfit.deploy import ARCHITECTURE
from archfit.errors import InputError, RunError
from archfit.nn.weights import Mapped, load_into, read_weights
from archfit.report.record import Layer, cell_graphs, layer_table
from archfit.spaces import KNOWN_SPACES, CellGraph, space_from

IMAGENET = "imagenet"


@dataclass(frozen=True)
class Model:
    """A network that can be built for any task.

    Attributes:
        name: As it is shown.
        known: Its name in the catalogue, or None.
        space: It is a point of, or None.
        architecture: Its point, or None.
        folder: Of the run that found it, or None.
    """

    name: str
    known: str | None
    space: SearchSpace | None
    architecture: Architecture | None
    folder: Path | None = None

    def build(self, task: Task, weights: str | None = None) -> tuple[nn.Module, str]:
        """A network for a task, and how weights found their places in it.

        Args:
            task: What it must take and give.
            weights: "imagenet", a file, or None for random ones.

        Raises:
            ArchfitError: It cannot be built for the task, or the weights cannot be had or are of another network.
        """
        if weights == IMAGENET:
            if self.known is None:
                raise InputError(f"there are no ImageNet weights for {self.name}; give a file: --weights FILE")
            if is_external(self.known):
                return build_named(self.known, task, imagenet=True), f"ImageNet weights of {self.known}"
            twin, theirs = imagenet_network(self.known)
            network = self._fresh(task)
            return network, f"ImageNet weights of {twin}: {load_into(network, theirs.state_dict(), twin)}"
        network = self._fresh(task)
        if weights is None:
            return network, "from scratch"
        read: Mapping[str, Tensor] = read_weights(expanded(weights))
        if self.known is not None and not is_external(self.known) and Path(weights).suffix == ".safetensors":
            read = in_published_order(self.known, read)  # such a file is in alphabetical order
        mapped: Mapped = load_into(network, read, weights)
        return network, f"{weights}: {mapped}"

    def _fresh(self, task: Task) -> nn.Module:
        if self.space is not None and self.architecture is not None:
            return self.space.build(self.architecture, task)
        assert self.known is not None
        return build_named(self.known, task)

    def statistics(self, weights: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and deviation per channel that weights of it expect, images in 0..1.

        Those of a run are in the run's folder; others are as they were published.

        Args:
            weights: "imagenet" or a file.
        """
        beside = expanded(weights).parent if weights != IMAGENET else None
        for folder in (beside, self.folder):
            if folder is not None and (folder / ARCHITECTURE).is_file():
                return read_statistics(folder)
        return pretrained_statistics(self.known)

    def layers(self, task: Task) -> tuple[Layer, ...]:
        """Rows for the picture of the network; none for a network of another package."""
        if self.space is None or self.architecture is None:
            return ()
        return layer_table(self.space, self.architecture, task)

    def cells(self) -> tuple[CellGraph, ...]:
        """The cells that it is made of, if it is."""
        return () if self.space is None else cell_graphs(self.space, self.architecture)


def read_statistics(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel that the images of a finished run were normalised with."""
    content = json.loads((folder / ARCHITECTURE).read_text(encoding="utf-8"))
    try:
        return tuple(content["mean"]), tuple(content["std"])
    except (KeyError, TypeError):
        raise RunError(f"{folder / ARCHITECTURE} says no mean and std; give the folder of a finished run") from None


def resolve_model(text: str) -> Model:
    """The model of a name, of an `architecture.json`, or of a run folder that holds one."""
    path = expanded(text)
    if path.is_dir():
        path = path / ARCHITECTURE
        if not path.is_file():
            raise RunError(
                f"{path.parent} has no {ARCHITECTURE}; give a finished run, its architecture.json, or a name"
            )
    if path.suffix == ".json" or path.is_file():
        return _from_file(path)
    if is_external(text):
        return Model(text, text, None, None)
    reference = get_reference(text)
    return Model(reference.name, reference.name, reference.space, reference.architecture)


def _from_file(path: Path) -> Model:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no file {path}; give the architecture.json of a run, or a name") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not an architecture ({error}); give the architecture.json of a run") from None
    if isinstance(content, Mapping) and isinstance(content.get("model"), str):
        return resolve_model(content["model"])
    if not isinstance(content, Mapping) or content.get("space") not in KNOWN_SPACES or "settings" not in content:
        raise InputError(
            f"{path} is not an architecture of a space of archfit's ({', '.join(KNOWN_SPACES)}); give the "
            "architecture.json of a run"
        )
    try:
        space = space_from(content["space"], content["settings"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    architecture = Architecture.from_json(content)
    return Model(f"{path.parent.name}/{path.name}", None, space, architecture, path.parent)
