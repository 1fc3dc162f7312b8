from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from study_toy import DATA, TASK, ToyEvaluator, ToySpace, ToySteps

from archfit.architecture import from_indices
from archfit.cost import Budget
from archfit.errors import RunError
from archfit.reward import absolute
from archfit.study.candidates import WorkerContext, evaluate, keep_weights, weights_file
from archfit.study.limits import Limits
from archfit.study.setup import SearchSetup

SPACE = ToySpace()
POINT = from_indices(SPACE, (2, 0, 1))  # width 3, depth 2


def _setup(**changes: Any) -> SearchSetup:
    given = {"evaluator": ToySteps(1.0), **changes}
    return SearchSetup(SPACE, TASK, Budget(), absolute, 0.5, Limits(trials=1), 2.0, 0, **given)


def _evaluate(setup: SearchSetup, seed: int = 0, **where: Any) -> Any:
    return evaluate(setup, POINT, seed, WorkerContext(DATA), lambda _: None, **where)


def test_the_same_seed_gives_the_same_network() -> None:
    setup = _setup(evaluator=ToyEvaluator())  # whose accuracy has a little of the first weight in it
    first, same, other = (_evaluate(setup, seed).accuracy for seed in (1, 1, 2))
    assert first == same != other
    assert first == pytest.approx(0.5 + 3 * 0.05 - 2 * 0.02, abs=0.001)


def test_each_rung_trains_on_from_the_weights_of_the_one_before(tmp_path: Path) -> None:
    promotions = ToySteps(2.0, continued=True), ToySteps(6.0, continued=True)
    setup = _setup(promotions=promotions, factors=(3.0, 3.0), weights=tmp_path)
    weights, accuracies = None, []
    for rung in range(3):
        found = _evaluate(setup, seed=rung, rung=rung, weights=weights)
        accuracies.append(found.accuracy)
        if found.weights is not None:
            keep_weights(weights_file(setup, rung), found.weights)
            weights = weights_file(setup, rung).read_bytes()
    # A thousandth for each epoch that the network has had: 1, then 2 and 6 more.
    assert accuracies == pytest.approx([0.611, 0.613, 0.619])
    assert found.weights is None, "nothing follows the last rung"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trial-0.pt", "trial-1.pt"]
    kept = torch.load(tmp_path / "trial-1.pt", weights_only=True)
    assert set(kept) == set(SPACE.build(POINT, TASK).state_dict())


def test_weights_that_the_disk_does_not_take(tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file where the folder should be")
    path = weights_file(_setup(weights=tmp_path / "weights"), 4)
    with pytest.raises(RunError, match=r"trial-4\.pt cannot be written \(.*\); free some space, then resume the run"):
        keep_weights(path, b"weights")
