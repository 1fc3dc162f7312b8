from __future__ import annotations

import json
import pickle
import random
from collections import Counter
from typing import Any

import pytest
from torch import nn

from archfit.architecture import (
    Architecture,
    Choice,
    SearchSpace,
    Task,
    check_member,
    from_indices,
    random_architecture,
    space_size,
    to_indices,
)
from archfit.errors import InputError


class Pair:
    """A space of 3 * 2 points that builds nothing."""

    name = "pair"
    choices = (Choice("op", ("conv", "pool", "none")), Choice("ratio", (0.0, 0.25)))

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        return nn.Identity()

    def canonical(self, architecture: Architecture, task: Task) -> Architecture:
        return architecture

    def settings(self) -> dict[str, Any]:
        return {}


POOL = Architecture("pair", (("op", "pool"), ("ratio", 0.25)))


def test_protocol_is_structural() -> None:
    assert isinstance(Pair(), SearchSpace)
    assert not isinstance(object(), SearchSpace)


def test_options_by_name() -> None:
    assert POOL["op"] == "pool"
    with pytest.raises(KeyError):
        POOL["kernel"]


def test_id_is_the_same_on_every_machine() -> None:
    # printf '{"choices": {"op": "pool", "ratio": 0.25}, "space": "pair"}' | sha256sum | cut -c1-12
    assert POOL.id == "7e04fe129875"
    assert POOL.id != Architecture("other", POOL.choices).id
    assert POOL.id != Architecture("pair", (("op", "pool"), ("ratio", 0.0))).id


def test_id_does_not_depend_on_the_order() -> None:
    assert Architecture("pair", POOL.choices[::-1]).id == POOL.id


def test_json_and_pickle_give_it_back() -> None:
    assert Architecture.from_json(json.loads(json.dumps(POOL.to_json()))) == POOL
    assert pickle.loads(pickle.dumps(POOL)).id == POOL.id  # noqa: S301
    assert hash(Architecture.from_json(POOL.to_json())) == hash(POOL)


@pytest.mark.parametrize("value", [{}, {"space": "pair"}, {"space": "pair", "choices": ["op"]}, None])
def test_what_is_no_architecture(value: Any) -> None:
    with pytest.raises(InputError, match="not an architecture"):
        Architecture.from_json(value)


def test_indices_both_ways() -> None:
    assert from_indices(Pair(), [1, 1]) == POOL
    assert to_indices(Pair(), POOL) == (1, 1)
    assert space_size(Pair()) == 6
    with pytest.raises(ValueError, match="zip"):
        from_indices(Pair(), [1])


def test_members() -> None:
    check_member(Pair(), POOL)
    check_member(Pair(), Architecture("pair", POOL.choices[::-1]))


@pytest.mark.parametrize(
    ("space", "choices", "message"),
    [
        ("mnas", POOL.choices, "of space 'mnas', not of 'pair'"),
        ("pair", (("op", "pool"),), r"lacks choices \['ratio'\]"),
        ("pair", (*POOL.choices, ("ratios", 1)), "unknown choice of space 'pair' 'ratios'; did you mean 'ratio'"),
        ("pair", (("op", "max"), ("ratio", 0.25)), r"op is 'max'; it must be one of \['conv', 'pool', 'none'\]"),
    ],
)
def test_not_members(space: str, choices: tuple[tuple[str, Any], ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_member(Pair(), Architecture(space, choices))


def test_random_architectures_are_uniform_and_seeded() -> None:
    rng = random.Random(0)
    drawn = [random_architecture(Pair(), rng) for _ in range(6000)]
    counts = Counter(drawn)
    # 1000 of each of the six expected, standard deviation sqrt(6000 * 1/6 * 5/6) = 29
    assert len(counts) == 6
    assert all(abs(count - 1000) < 5 * 29 for count in counts.values())
    assert random_architecture(Pair(), random.Random(0)) == drawn[0]
