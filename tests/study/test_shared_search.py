from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from archfit.architecture import Architecture, random_architecture, to_indices
from archfit.cost import Budget, Cost
from archfit.data import ImageData, load_data
from archfit.errors import DivergedError, InputError, RunError
from archfit.reward import absolute
from archfit.spaces import MnasSpace, Skeleton
from archfit.study.shared_search import SharedSearch
from archfit.study.shared_settings import SharedSettings
from archfit.study.shared_state import SharedStatus, read_state
from archfit.study.supernet_trainer import SupernetTrainer
from archfit.training import Recipe

pytestmark = pytest.mark.slow

SPACE = MnasSpace(skeleton=Skeleton(stem=8, filters=(8, 16), layers=(1, 1), strides=(1, 2), head=32))
SETTINGS = SharedSettings(
    Recipe(epochs=2, batch_size=64, learning_rate=0.1), round_steps=8, paths=1, updates=2, samples=4, reward_images=64
)


class Killed(BaseException):
    """The driver's death."""


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data("digits", train_images=1000, seed=0).without_test()


def counted(data: ImageData) -> Any:
    def cost(architecture: Architecture) -> Cost:
        pieces = SPACE.pieces(architecture, data.task)
        return Cost(sum(piece.params for piece in pieces), sum(piece.madds for piece in pieces))

    return cost


def make(data: ImageData, path: Path, settings: SharedSettings = SETTINGS, **changes: Any) -> SharedSearch:
    given: dict[str, Any] = {
        "budget": Budget(params=3_000),
        "reward": absolute,
        "cost": counted(data),
        "settings": settings,
        "seed": 1,
        "path": path / "supernet.pt",
        "on_status": lambda status: None,
        **changes,
    }
    return SharedSearch(SPACE, data.task, data, **given)


def weights(search: SharedSearch) -> list[torch.Tensor]:
    return [*search._trainer.supernet.state_dict().values(), *search.policy.state_dict().values()]


def test_steps_and_rounds_are_those_of_the_recipe(data: ImageData, tmp_path: Path) -> None:
    search = make(data, tmp_path)
    search.run()
    # 2 epochs of 1,000 images in batches of 64 are 31.25 steps; rounds of 8 end at 8, 16, 24 and 31.
    assert search.steps == 31
    assert [entry.step for entry in search.rounds] == [8, 16, 24, 31]
    # A quarter of 31 steps is 7.75: the controller begins with the first round that ends past it.
    assert all(entry.reward is not None for entry in search.rounds)


def test_the_controller_waits_for_the_warm_up(data: ImageData, tmp_path: Path) -> None:
    search = make(data, tmp_path, replace(SETTINGS, warmup=0.6))
    before = [value.clone() for value in search.policy.state_dict().values()]
    search.run()
    # 0.6 of 31 steps is 18.6: the rounds that end at 8 and 16 are before it.
    assert [entry.reward is None for entry in search.rounds] == [True, True, False, False]
    assert any(not torch.equal(a, b) for a, b in zip(before, search.policy.state_dict().values(), strict=True))


@pytest.mark.parametrize("rule", ["reinforce", "ppo"])
def test_a_search_killed_after_any_round_ends_in_the_same_bits(
    data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: Any
) -> None:
    # By Muon, as searches do.
    settings = replace(SETTINGS, rule=rule, recipe=replace(SETTINGS.recipe, optimiser="muon", learning_rate=0.03))
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = make(data, tmp_path / "whole", settings)
    whole.run()
    kept = SharedSearch._learn_policy
    calls = iter(range(1000))

    def mortal(self: SharedSearch, learnt: Any) -> Any:
        if next(calls) % 2 == 1:  # the weights have learnt, the controller has not, nothing is written
            raise Killed
        return kept(self, learnt)

    monkeypatch.setattr(SharedSearch, "_learn_policy", mortal)
    deaths = 0
    while True:
        search = make(data, tmp_path / "killed", settings)
        try:
            search.run()
            break
        except Killed:
            deaths += 1
    assert deaths >= 2
    for mine, other in zip(weights(search), weights(whole), strict=True):
        assert torch.equal(mine, other)
    assert [replace(entry, seconds=0) for entry in search.rounds] == [
        replace(entry, seconds=0) for entry in whole.rounds
    ]


def test_two_threads_give_the_bits_of_one(data: ImageData, tmp_path: Path) -> None:
    settings = replace(SETTINGS, paths=2, round_steps=4)
    ends = []
    for threads in (1, 2):
        (tmp_path / str(threads)).mkdir()
        search = make(data, tmp_path / str(threads), settings, threads=threads)
        search.run()
        assert search.steps == 16  # 31.25 batches in pairs
        ends.append(weights(search))
    for mine, other in zip(*ends, strict=True):
        assert torch.equal(mine, other)


def test_the_controller_learns_what_the_reward_asks_for(data: ImageData, tmp_path: Path) -> None:
    """Where accuracy counts for nothing, it is to draw ever smaller networks."""
    cost = counted(data)
    settings = replace(SETTINGS, recipe=replace(SETTINGS.recipe, epochs=4), warmup=0.0, updates=15, learning_rate=0.02)
    search = make(data, tmp_path, settings, reward=lambda accuracy, ratios: -ratios["params"])
    search.run()
    rng = random.Random(0)
    uniform = [SPACE.canonical(random_architecture(SPACE, rng), data.task) for _ in range(32)]
    drawn = search.drawn(32)
    mean = sum(cost(one).params for one in drawn) / 32
    assert mean < 0.8 * sum(cost(one).params for one in uniform) / 32


def test_shared_weights_learn(data: ImageData, tmp_path: Path) -> None:
    settings = replace(SETTINGS, recipe=replace(SETTINGS.recipe, epochs=12, learning_rate=0.5), updates=1)
    search = make(data, tmp_path, settings)
    search.run()
    scored = search.scored(search.drawn(8), 128)
    # A tenth of the digits are of each class; paths that learnt nothing have 10 % and a loss of ln 10 = 2.30.
    assert sum(one.accuracy for one in scored) / 8 > 0.2
    assert search.rounds[-1].loss < 2.0


def test_equal_architectures_have_equal_scores_and_the_policy_knows_the_space(data: ImageData, tmp_path: Path) -> None:
    search = make(data, tmp_path)
    one = search.drawn(1)[0]
    first, second = search.scored([one, one], 128)
    assert first == second
    assert search.policy.n_options == tuple(len(choice.options) for choice in SPACE.choices)
    assert len(to_indices(SPACE, one)) == len(search.policy.n_options)


def test_a_loss_that_is_no_number_stops_at_the_last_round(
    data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = make(data, tmp_path)
    kept, calls = SupernetTrainer.step, iter(range(1000))

    def poisoned(self: SupernetTrainer, *given: Any, **named: Any) -> float:
        return float("nan") if next(calls) == 10 else kept(self, *given, **named)

    monkeypatch.setattr(SupernetTrainer, "step", poisoned)
    with pytest.raises(
        DivergedError, match=r"nan at step 11; the state of step 8 is kept.*--supernet-learning-rate; it is 0.1\)"
    ):
        search.run()
    assert make(data, tmp_path).step == 8


def test_progress_says_how_far_it_is(data: ImageData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[SharedStatus] = []
    clock = iter(range(10_000))
    monkeypatch.setattr("archfit.study.shared_search.time.monotonic", lambda: float(next(clock)))
    make(data, tmp_path, on_status=seen.append).run()
    assert [status.step for status in seen] == sorted(status.step for status in seen)
    assert {status.phase for status in seen} >= {"supernet", "controller"}
    assert seen[-1].seconds_left is not None
    assert seen[-1].seconds_left < seen[10].seconds_left  # type: ignore[operator]


def test_the_state_of_another_configuration_is_refused(data: ImageData, tmp_path: Path) -> None:
    make(data, tmp_path).run()
    with pytest.raises(RunError, match="was written with seed 1, this search has 2"):
        make(data, tmp_path, seed=2)
    with pytest.raises(RunError, match="was written with settings"):
        make(data, tmp_path, replace(SETTINGS, samples=5))


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"", lambda raw: b"not a file" * 99])
def test_a_damaged_state_is_refused_with_the_remedy(data: ImageData, tmp_path: Path, damage: Any) -> None:
    search = make(data, tmp_path)
    search.run()
    path = tmp_path / "supernet.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match=r"supernet.pt cannot be read .*delete it"):
        make(data, tmp_path)


def test_no_state_is_a_beginning(tmp_path: Path) -> None:
    assert read_state(tmp_path / "none.pt", {}) is None


def test_too_few_validation_images_are_refused(data: ImageData, tmp_path: Path) -> None:
    few = load_data("digits", train_images=60, seed=0)
    validation = few.validation
    assert len(validation) >= 20
    few = replace(few, classes=tuple(f"class {n}" for n in range(len(validation))))
    with pytest.raises(InputError, match="learns from two a class"):
        make(few, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "ppq"}, "did you mean 'ppo'"),
        ({"samples": 0}, "samples is 0"),
        ({"warmup": 1.0}, "warmup is 1.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SETTINGS, **changes)
