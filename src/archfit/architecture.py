"""What is searched: choices, the spaces they span, and architectures, the points of a space."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from archfit.errors import InputError, unknown_name

if TYPE_CHECKING:
    from torch import nn

Option = int | float | str


@dataclass(frozen=True)
class Task:
    """What a network must take and give.

    Attributes:
        channels: Of the input images, 1 (grey) or 3 (RGB).
        image_size: Height and width of the input in pixels.
        classes: Number of logits.
    """

    channels: int
    image_size: int
    classes: int


@dataclass(frozen=True)
class Choice:
    """One categorical decision, as `block3.kernel` in (3, 5).

    Attributes:
        name: Unique in its space.
        options: At least one, all different; the order is the index that samplers see.
    """

    name: str
    options: tuple[Option, ...]

    def index(self, option: Option) -> int:
        """Position of `option`. Raises `InputError` if it is none of the options."""
        try:
            return self.options.index(option)
        except ValueError:
            raise InputError(f"{self.name} is {option!r}; it must be one of {list(self.options)}") from None


@dataclass(frozen=True)
class Architecture:
    """One point of a space: frozen, hashable, JSON both ways.

    Attributes:
        space: Name of the space it belongs to.
        choices: (choice name, option) in the order of the space.
    """

    space: str
    choices: tuple[tuple[str, Option], ...]

    def __getitem__(self, name: str) -> Option:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Option]:
        return dict(self.choices)

    @cached_property
    def id(self) -> str:
        """12 hex digits that depend on the space's name and the choices alone; the same on every machine."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        return {"space": self.space, "choices": dict(self.choices)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Architecture:
        """Inverse of `to_json`. Raises `InputError` where a key is missing."""
        try:
            return cls(str(value["space"]), tuple(value["choices"].items()))
        except (KeyError, TypeError, AttributeError):
            raise InputError(f"not an architecture: {value!r}; it needs 'space' and 'choices'") from None


@runtime_checkable
class SearchSpace(Protocol):
    """An ordered list of choices, and how an architecture becomes a module.

    A space must be picklable (it travels to worker processes) and pass `archfit.testing.check_space`. It may also
    offer `smaller() -> SearchSpace | None`, a cheaper variant of itself that a search falls back on when the budget
    is out of reach, `source(architecture, task, *, mean, std, class_names) -> str`, a stand-alone Python module for
    `network.py`, `layers(architecture, task)`, rows for the report's table (see `archfit.spaces.mnas_layers`), and
    `graphs(architecture)`, the cells that it draws (see `archfit.spaces.CellGraph`).
    """

    @property
    def name(self) -> str: ...

    @property
    def choices(self) -> tuple[Choice, ...]: ...

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        """A new module, `(N, channels, image_size, image_size)` float in, `(N, classes)` logits out.

        Weights are drawn from torch's global generator.
        """
        ...

    def canonical(self, architecture: Architecture, task: Task) -> Architecture:
        """The one architecture that stands for all that build the same network for `task`."""
        ...

    def settings(self) -> dict[str, Any]:
        """Everything but the choices that decides what is built, as JSON; part of the cost cache's key."""
        ...


def space_size(space: SearchSpace) -> int:
    """How many points the space has, before equal networks are merged."""
    return math.prod(len(choice.options) for choice in space.choices)


def from_indices(space: SearchSpace, indices: Sequence[int]) -> Architecture:
    """The architecture whose i-th choice has option number `indices[i]`."""
    pairs = zip(space.choices, indices, strict=True)
    return Architecture(space.name, tuple((choice.name, choice.options[index]) for choice, index in pairs))


def to_indices(space: SearchSpace, architecture: Architecture) -> tuple[int, ...]:
    """Inverse of `from_indices`. Raises `InputError` if the architecture is not a point of the space."""
    return tuple(choice.index(architecture[choice.name]) for choice in space.choices)


def check_member(space: SearchSpace, architecture: Architecture) -> None:
    """Raises `InputError` unless `architecture` is a point of `space`."""
    if architecture.space != space.name:
        raise InputError(f"architecture is of space {architecture.space!r}, not of {space.name!r}")
    names = [choice.name for choice in space.choices]
    given = [name for name, _ in architecture.choices]
    for name in given:
        if name not in names:
            raise unknown_name(f"choice of space {space.name!r}", name, names)
    if missing := [name for name in names if name not in given]:
        raise InputError(f"architecture lacks choices {missing} of space {space.name!r}")
    to_indices(space, architecture)


def random_architecture(space: SearchSpace, rng: random.Random) -> Architecture:
    """Every choice drawn uniformly and independently."""
    return from_indices(space, [rng.randrange(len(choice.options)) for choice in space.choices])
