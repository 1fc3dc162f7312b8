from __future__ import annotations

import inspect
import json

import pytest

from archfit.cli.train import train
from archfit.cost import Budget
from archfit.errors import ArchfitError, InputError, RunError
from archfit.pipeline import SearchRequest
from archfit.pipeline.request import CUSTOM, RECIPE_FIELDS, TrainRequest
from archfit.study.limits import Limits
from archfit.training import available_cores

FULL = SearchRequest(
    "cifar10.npz",
    budget=Budget(latency_ms=0.3, memory_bytes=8_000_000, params=300_000),
    limits=Limits(trials=20, seconds=1800.0),
    image_size=32,
    searched_blocks=(2, 3),
    sampler="ppo",
    references=("mnasnet-small",),
    workers=3,
    seed=7,
)


def test_json_both_ways() -> None:
    assert SearchRequest.from_json(json.loads(json.dumps(FULL.to_json()))) == FULL
    assert SearchRequest.from_json(SearchRequest("digits").to_json()) == SearchRequest("digits")


@pytest.mark.parametrize("change", [{"colour": "red"}, {"budget": {"weight": 1}}, {"limits": None}])
def test_what_another_version_wrote(change: dict[str, object]) -> None:
    with pytest.raises(RunError, match="it was written by another version"):
        SearchRequest.from_json(FULL.to_json() | change)


def test_what_is_missing() -> None:
    with pytest.raises(RunError, match="'budget'"):
        SearchRequest.from_json({"dataset": "digits"})


def test_command_asks_for_the_same() -> None:
    assert FULL.command() == (
        "archfit search cifar10.npz --latency 0.3ms --memory 8000000B --params 300000 --trials 20 --time 1800s "
        "--image-size 32 --searched-blocks 2,3 --sampler ppo --references mnasnet-small --workers 3 --seed 7"
    )
    assert SearchRequest("my photos").command() == "archfit search 'my photos'"
    assert SearchRequest("photos", flip=False).command() == "archfit search photos --no-flip"


def test_parts_from_python_are_named() -> None:
    request = SearchRequest(CUSTOM, space=CUSTOM, evaluator=CUSTOM)
    assert request.custom == ("dataset", "space", "evaluator")
    assert request.command().endswith("# from Python, with its own dataset, space, evaluator")


def test_the_command_of_a_training_has_only_options_that_there_are() -> None:
    recipe = {"learning_rate": 0.1, "cutout": 3, "warmup": 0.2, "whiten": True}
    flags = {"precision": "bf16-mixed", "log_every_n_steps": 5}
    request = TrainRequest("mnasnet-small", "digits", epochs=2, recipe=recipe, flags=flags, flip=False)
    assert request.command() == (
        "archfit train mnasnet-small digits --epochs 2 --precision bf16-mixed --learning-rate 0.1 --cutout 3 --no-flip"
        "  # from Python, with warmup=0.2, whiten=True, log_every_n_steps=5"
    )
    options = {parameter.replace("_", "-") for parameter in inspect.signature(train).parameters}
    typed = TrainRequest("m", "d", recipe=dict.fromkeys(RECIPE_FIELDS, 1)).command().partition("#")[0]
    assert {word[2:] for word in typed.split() if word.startswith("--")} <= options


def test_workers_default_to_the_cores() -> None:
    assert SearchRequest("digits").worker_count == available_cores() >= 1
    assert FULL.worker_count == 3


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"dataset": ""}, "dataset is empty"),
        ({"space": "nasnet"}, "unknown space 'nasnet'"),
        ({"evaluator": "table"}, "unknown evaluator 'table'; there are: proxy"),
        ({"sampler": "custom"}, "unknown sampler 'custom'"),
        ({"reward": "custom"}, "unknown reward 'custom'"),
        ({"width": 17.0}, "width is 17; it must be at most 16"),
        ({"threads": 0}, "threads is 0; it must be at least 1"),
        ({"prune_above": float("nan")}, "prune_above is nan; it must be at least 1"),
        ({"seed": 2**31}, "seed is 2147483648; it must be from 0"),
    ],
)
def test_what_cannot_be_asked(change: dict[str, object], what: str) -> None:
    with pytest.raises(InputError, match=what.replace("(", r"\(")) as raised:
        SearchRequest(**({"dataset": "digits"} | change))  # type: ignore[arg-type]
    assert isinstance(raised.value, ArchfitError)
