from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pytest

from archfit.reward import absolute
from archfit.samplers import GaussianProcess, Observation, Predictor, denoised
from archfit.samplers.gaussian_process import fitted_to

POINTS = list(itertools.product(range(3), repeat=5))


def _effects(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(5, 3))


def _value(effects: np.ndarray, point: tuple[int, ...]) -> float:
    return float(sum(row[option] for row, option in zip(effects, point, strict=True)))


def test_one_observation_by_hand() -> None:
    model = GaussianProcess([(0, 1)], [0.7])
    mean, deviation = model.predict([(0, 1), (2, 2)])
    assert mean == pytest.approx([0.7, 0.7])  # nothing else is known
    assert (deviation >= 0).all()


def test_what_was_not_seen_is_predicted_from_its_parts() -> None:
    effects, rng = _effects(0), np.random.default_rng(1)
    seen = [POINTS[number] for number in rng.choice(len(POINTS), 60, replace=False)]
    model = GaussianProcess(seen, [_value(effects, point) + rng.normal(0, 0.1) for point in seen])
    unseen = [point for point in POINTS if point not in seen]
    mean, deviation = model.predict(unseen)
    truth = np.array([_value(effects, point) for point in unseen])
    assert np.corrcoef(mean, truth)[0, 1] > 0.95
    # Nearly all of the truth is within three deviations: the model knows what it does not know.
    assert (np.abs(mean - truth) < 3 * deviation + 0.1).mean() > 0.95


def test_it_is_surer_of_what_it_saw() -> None:
    model = GaussianProcess([(0, 0, 0), (0, 0, 1), (0, 1, 1)], [0.1, 0.2, 0.4])
    _, deviation = model.predict([(0, 0, 1), (2, 2, 2)])
    assert deviation[0] < deviation[1]


def test_a_network_that_failed_outright_does_not_hide_the_differences_of_others() -> None:
    points = POINTS[:30]
    rewards = [0.9 + 0.001 * sum(point) for point in points]
    mean, _ = GaussianProcess([*points, (2, 2, 2, 2, 2)], [*rewards, -1.0]).predict(points)
    assert np.corrcoef(mean, rewards)[0, 1] > 0.9


def test_a_value_far_below_counts_in_full_where_it_is_asked_to() -> None:
    values = [0.0] * 8 + [0.1] * 8 + [-9.0]
    points = POINTS[:17]
    cut = GaussianProcess(points, values, noises=(1e-4,)).predict([points[-1]])[0]
    whole = GaussianProcess(points, values, noises=(1e-4,), lowest=-np.inf).predict([points[-1]])[0]
    assert whole == pytest.approx(-9.0, abs=0.5)
    assert cut > -1


def test_equal_rewards() -> None:
    mean, _ = GaussianProcess(POINTS[:5], [0.5] * 5).predict(POINTS[5:8])
    assert mean == pytest.approx([0.5] * 3)


def test_half_of_a_surprise_is_believed() -> None:
    effects = _effects(2)
    history = [Observation(number, point, _value(effects, point)) for number, point in enumerate(POINTS)]
    lucky = 17
    seen = [
        *history[:lucky],
        Observation(lucky, POINTS[lucky], history[lucky].reward + 2.0),
        *history[lucky + 1 :],
    ]
    mean = fitted_to(seen).predict([POINTS[lucky]])[0][0]
    assert denoised(seen)[lucky] == pytest.approx((mean + seen[lucky].reward) / 2)
    assert denoised(seen)[lucky] < seen[lucky].reward - 0.5
    assert denoised([]) == []


def test_the_last_reward_of_a_network_counts() -> None:
    history = [Observation(0, (0, 1), 0.2, canonical=(0, 0)), Observation(1, (0, 2), 0.8, canonical=(0, 0))]
    assert fitted_to(history).predict([(0, 0)])[0] == pytest.approx([0.8])


def test_a_long_history_is_cut_to_the_best_and_the_latest() -> None:
    many = [
        Observation(n, (n % 3, n // 3 % 3, n // 9 % 3, n // 27 % 3, n // 81 % 3, n // 243), float(-n))
        for n in range(600)
    ]
    model = fitted_to(many)
    assert {tuple(row) for row in model._points} >= {many[0].indices, many[-1].indices}
    assert len(model._points) == 200


def _constrained(points: Iterable[Sequence[int]]) -> list[Observation]:
    """Each step of a choice is worth 0.05 and costs a tenth of the budget."""
    history = []
    for number, point in enumerate(points):
        accuracy, ratios = 0.4 + 0.05 * sum(point), {"latency": 0.1 + 0.1 * sum(point)}
        history.append(
            Observation(number, tuple(point), absolute(accuracy, ratios, b=-1.0), None, (), accuracy, ratios)
        )
    return history


def test_a_budget_is_hit_by_models_of_accuracy_and_cost() -> None:
    history = _constrained(POINTS[::7])

    def steep(accuracy: float, ratios: Mapping[str, float]) -> float:
        return absolute(accuracy, ratios, b=-1.0)

    seen = {one.indices for one in history}
    predictor = Predictor((3,) * 5, 0, steep)
    for number in range(10):
        proposed = predictor.propose(history, len(history) + number, seen.__contains__).indices
        seen.add(proposed)
        assert sum(proposed) in (8, 9, 10)  # 0.1 + 0.1 * 9 is the budget; 0 to 10 there are in all


def test_without_what_rewards_are_made_of_they_are_modelled_themselves() -> None:
    history = _constrained(POINTS[::7])
    bare = [Observation(seen.number, seen.indices, seen.reward) for seen in history]
    with_reward = Predictor((3,) * 5, 0, absolute).propose(bare, 40, lambda _: False)
    assert with_reward == Predictor((3,) * 5, 0).propose(bare, 40, lambda _: False)
    pruned = [*history, Observation(99, (2, 2, 2, 2, 2), -1.0, None, (), None, {"latency": 1.1})]
    assert Predictor((3,) * 5, 0, absolute).propose(pruned, 40, lambda _: False)


@pytest.mark.parametrize(("choices", "trials"), [(5, 200), (200, 200), (200, 1000)])
def test_a_proposal_takes_a_fraction_of_a_second(choices: int, trials: int) -> None:
    rng = np.random.default_rng(0)
    history = _constrained(rng.integers(3, size=(trials, choices)).tolist())
    predictor = Predictor((3,) * choices, 0, absolute)
    seconds = []
    for number in range(5):
        start = time.process_time()
        predictor.propose(history, trials + number, lambda _: False)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2  # 0.02 on a fast core, 0.12 on a slow one
