"""What every search space must keep; run it on your own."""

from __future__ import annotations

import ast
import json
import pickle
import random

import torch
from torch import nn

from archfit.architecture import (
    Architecture,
    SearchSpace,
    Task,
    check_member,
    from_indices,
    random_architecture,
    to_indices,
)
from archfit.cost import count_params
from archfit.errors import InputError


def check_space(space: SearchSpace, task: Task, *, samples: int = 8) -> None:
    """Raises `AssertionError` saying what is wrong, if the space breaks the contract of `SearchSpace`.

    Besides random points it visits the one with the first options throughout and the one with the last. Torch's
    global random state is left as it was.

    Args:
        space: To be checked.
        task: Networks are built for it; a small image keeps the check quick.
        samples: Random architectures that are built and run.
    """
    assert isinstance(space, SearchSpace), f"{type(space).__name__} lacks a member of the SearchSpace protocol"
    _check_choices(space)
    _check_settings(space)
    travelled = _pickled(space)
    rng = random.Random(0)
    corners = [from_indices(space, [0] * len(space.choices))]
    corners.append(from_indices(space, [len(choice.options) - 1 for choice in space.choices]))
    with torch.random.fork_rng(devices=[]):
        for architecture in [*corners, *(random_architecture(space, rng) for _ in range(samples))]:
            _check_architecture(space, architecture, task, travelled)
    _check_smaller(space)
    _check_source(space, corners[0], task)


def _check_choices(space: SearchSpace) -> None:
    assert space.name, "the space's name is empty"
    assert space.choices, f"space {space.name!r} has no choices"
    assert space.choices == space.choices, "two reads of space.choices differ"
    names = [choice.name for choice in space.choices]
    twice = sorted({name for name in names if names.count(name) > 1})
    assert not twice, f"choice names are not unique: {twice}"
    for choice in space.choices:
        assert choice.options, f"choice {choice.name} has no options"
        assert len(set(choice.options)) == len(choice.options), f"choice {choice.name} repeats one of {choice.options}"


def _check_settings(space: SearchSpace) -> None:
    settings = space.settings()
    try:
        restored = json.loads(json.dumps(settings))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"settings() is not JSON: {error}") from error
    assert restored == settings, f"settings() changes through JSON, from {settings} to {restored}"


def _pickled(space: SearchSpace) -> SearchSpace:
    try:
        travelled: SearchSpace = pickle.loads(pickle.dumps(space))  # noqa: S301 (what was pickled a moment ago)
    except (pickle.PickleError, AttributeError, TypeError) as error:
        raise AssertionError(f"space {space.name!r} cannot be pickled: {error}") from error
    same = (travelled.name, travelled.choices, travelled.settings()) == (space.name, space.choices, space.settings())
    assert same, "name, choices or settings() change through pickle"
    return travelled


def _check_architecture(space: SearchSpace, architecture: Architecture, task: Task, travelled: SearchSpace) -> None:
    label = f"architecture {architecture.to_json()}"
    assert from_indices(space, to_indices(space, architecture)) == architecture, f"{label} changes through its indices"
    restored = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
    assert restored.id == architecture.id, f"the id of {label} changes through JSON"

    canonical = space.canonical(architecture, task)
    try:
        check_member(space, canonical)
    except InputError as error:
        raise AssertionError(f"canonical() of {label} is not a point of the space: {error}") from error
    again = space.canonical(canonical, task)
    assert again.id == canonical.id, f"canonical() is not idempotent: {canonical.to_json()} becomes {again.to_json()}"
    assert travelled.canonical(architecture, task).id == canonical.id, f"canonical() of {label} changes through pickle"

    module = _seeded(space, architecture, task)
    twin = _seeded(space, canonical, task)
    mine, other = count_params(module), count_params(twin)
    assert mine == other, f"{label} builds {mine} parameters, its canonical one {other}"
    rebuilt = _seeded(space, architecture, task).state_dict()
    for name, value in module.state_dict().items():
        assert name in rebuilt, f"{label} builds a network without {name} the second time"
        same = torch.equal(value.nan_to_num(), rebuilt[name].nan_to_num())
        assert same, f"{name} of {label} is not drawn from torch's global generator alone"
    for training in (True, False):
        _check_forward(module.train(training), task, f"{label} in {'training' if training else 'evaluation'}")


def _seeded(space: SearchSpace, architecture: Architecture, task: Task) -> nn.Module:
    torch.manual_seed(0)
    module = space.build(architecture, task)
    assert isinstance(module, nn.Module), f"build() gave a {type(module).__name__}, not an nn.Module"
    return module


def _check_forward(module: nn.Module, task: Task, label: str) -> None:
    images = torch.randn(2, task.channels, task.image_size, task.image_size)
    with torch.no_grad():
        logits = module(images)
    assert tuple(logits.shape) == (2, task.classes), f"{label} gives {tuple(logits.shape)}, not {(2, task.classes)}"
    assert bool(torch.isfinite(logits).all()), f"{label} gives logits that are not finite"


def _check_smaller(space: SearchSpace) -> None:
    """Follows `smaller`, where there is one, to its end."""
    seen = [space.settings()]
    current: SearchSpace | None = space
    while current is not None and hasattr(current, "smaller"):
        current = current.smaller()
        if current is not None:
            assert isinstance(current, SearchSpace), f"smaller() gave a {type(current).__name__}, not a space"
            assert current.settings() not in seen, f"smaller() comes back to {current.settings()}"
            seen.append(current.settings())
            assert len(seen) <= 100, "smaller() has not come to None in 100 steps"


def _check_source(space: SearchSpace, architecture: Architecture, task: Task) -> None:
    if hasattr(space, "source"):
        try:
            ast.parse(space.source(architecture, task))
        except SyntaxError as error:
            raise AssertionError(f"source() is not Python: {error}") from error
