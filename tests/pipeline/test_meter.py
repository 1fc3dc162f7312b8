from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from archfit.architecture import Architecture, random_architecture
from archfit.cost import Budget, count_madds, count_params
from archfit.data import ImageData, load_data
from archfit.device import CostCache, LocalDevice
from archfit.nn.seeded import build_seeded
from archfit.pipeline.meter import QUICK, CostMeter
from archfit.spaces import MnasSpace

SPACE = MnasSpace(width=0.18)


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits")


@pytest.fixture(scope="module")
def architecture(data: ImageData) -> Architecture:
    return SPACE.canonical(random_architecture(SPACE, random.Random(0)), data.task)


class Quiet:
    """Counts how often something was timed."""

    def __init__(self) -> None:
        self.entered = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.entered += 1
        yield


def _meter(data: ImageData, folder: Path, quiet: Quiet, budget: Budget | None = None) -> CostMeter:
    cache = CostCache(folder)
    return CostMeter(
        LocalDevice(cache=cache, effort=QUICK),
        runtime="onnxruntime",
        threads=1,
        data=data,
        budget=budget or Budget(),
        prune_above=2.0,
        quiet=quiet,
        cache=cache,
    )


def test_a_candidate_is_measured_once_on_a_machine(data: ImageData, architecture: Architecture, tmp_path: Path) -> None:
    quiet = Quiet()
    cost = _meter(data, tmp_path, quiet).candidate(SPACE, architecture)
    network = SPACE.build(architecture, data.task)
    assert cost.params == count_params(network)
    assert cost.madds == count_madds(network, data.task)
    assert cost.latency is not None
    assert quiet.entered == 1
    # Another run finds it in the cache, to the last bit.
    assert _meter(data, tmp_path, quiet).candidate(SPACE, architecture) == cost
    assert quiet.entered == 1
    # A quick sample has a place of its own, and so has another size of the space.
    _meter(data, tmp_path, quiet).sample(SPACE, architecture)
    _meter(data, tmp_path, quiet).candidate(MnasSpace(width=0.25), architecture)
    assert quiet.entered == 3


def test_a_sample_is_timed_only_where_a_latency_is_bounded(
    data: ImageData, architecture: Architecture, tmp_path: Path
) -> None:
    quiet = Quiet()
    counts = Budget(params=10**9, madds=10**12)
    sampled = _meter(data, tmp_path, quiet, counts).sample(SPACE, architecture)
    assert (quiet.entered, sampled.latency) == (0, None)
    measured = _meter(data, tmp_path, quiet, Budget(params=10**9, latency_ms=1e3)).sample(SPACE, architecture)
    assert quiet.entered == 1
    assert (measured.params, measured.madds) == (sampled.params, sampled.madds)


def test_what_is_far_past_a_budget_is_not_timed(data: ImageData, architecture: Architecture, tmp_path: Path) -> None:
    quiet = Quiet()
    params = count_params(SPACE.build(architecture, data.task))
    # 2.5 times the bound, pruned above 2 times.
    cost = _meter(data, tmp_path, quiet, Budget(params=int(params / 2.5))).candidate(SPACE, architecture)
    assert (cost.params, cost.latency, quiet.entered) == (params, None, 0)


def test_a_network_built_for_measuring_is_always_the_same(data: ImageData, architecture: Architecture) -> None:
    before = torch.random.get_rng_state()
    one, other = (build_seeded(SPACE, architecture, data.task).state_dict() for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(one[name], other[name]) for name in one)
