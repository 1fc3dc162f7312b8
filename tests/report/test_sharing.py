from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from archfit.report.evidence import comparable
from archfit.report.page import page
from archfit.report.sharing import evidence_sentence, reward_over_rounds, sharing_evidence
from archfit.study.record import DERIVED, PLAIN


def shared(controller: float, random: float, error: float = 0.003) -> dict[str, Any]:
    def group(mean: float) -> dict[str, float]:
        return {
            "architectures": 64,
            "mean_reward": mean,
            "standard_error": error,
            "best_reward": mean + 0.1,
            "mean_accuracy": mean + 0.05,
        }

    rounds = [
        {"step": 400, "loss": 1.2, "reward": None, "accuracy": None, "entropy": None, "best": None, "seconds": 40.0},
        {"step": 800, "loss": 0.9, "reward": 0.5, "accuracy": 0.6, "entropy": 20.0, "best": 0.7, "seconds": 50.0},
        {"step": 900, "loss": 0.8, "reward": 0.6, "accuracy": 0.7, "entropy": 19.0, "best": 0.8, "seconds": 15.0},
    ]
    return {
        "controller": group(controller),
        "random": group(random),
        "images": 1024,
        "rounds": rounds,
        "epochs": 4.0,
        "steps": 900,
    }


@pytest.fixture
def networks(network_of: Any) -> Any:
    def made(winner: float | None, *control: float) -> tuple[Any, ...]:
        rows = [network_of("trial 3", "winner", 0.28, 0.93, winner)]
        rows += [network_of(f"random {n}", "control", 0.27, 0.9, value) for n, value in enumerate(control, 1)]
        return tuple(rows)

    return made


def test_a_controller_that_learnt(networks: Any) -> None:
    # Both standard errors 0.003: that of the difference is 0.003 * sqrt(2) = 0.00424, and 0.1 is 23 of them.
    evidence = sharing_evidence(shared(0.7, 0.6), networks(0.93, 0.90, 0.92))
    assert evidence.gain == pytest.approx(0.1)
    assert evidence.gain_error == pytest.approx(0.00424, abs=1e-5)
    assert evidence.sentence.startswith("The controller learnt to draw better than chance")
    assert "(93.0 % test) is above 2 of 2 random networks within the budget: 90.0 %, 92.0 %" in evidence.sentence


@pytest.mark.parametrize(
    ("controller", "start"),
    [
        (0.612, "The controller cannot be told from chance"),  # 0.012 is 2.8 standard errors of 0.00424
        (0.58, "The controller draws worse than chance"),
    ],
)
def test_a_controller_that_did_not(networks: Any, controller: float, start: str) -> None:
    assert sharing_evidence(shared(controller, 0.6), networks(0.9, 0.9, 0.91)).sentence.startswith(start)


def test_a_derived_network_no_better_than_random_is_said_to_be_so(networks: Any) -> None:
    sentence = sharing_evidence(shared(0.7, 0.6), networks(0.90, 0.90, 0.92, 0.91)).sentence
    assert "is above 0 of 3 random networks" in sentence
    assert "(mean 91.0 %, standard deviation 1.0 %)" in sentence  # of 90, 92, 91
    assert "is not above one random network: 92.0 %" in sharing_evidence(shared(0.7, 0.6), networks(0.9, 0.92)).sentence


def test_without_control_nothing_is_claimed(networks: Any) -> None:
    sentence = sharing_evidence(shared(0.7, 0.6), networks(0.9)).sentence
    assert "nothing says whether the derived network is better" in sentence


def test_a_plain_winner_is_not_credited_to_the_controller(networks: Any, trial_of: Any) -> None:
    trials = [trial_of(3, 0.9, origin=PLAIN), trial_of(4, 0.95, origin=DERIVED)]
    sentence = sharing_evidence(shared(0.7, 0.6), networks(0.93, 0.90, 0.92), trials).sentence
    assert "The winner is no find of the controller" in sentence
    assert "Trained alike, the plain network (93.0 % test) is above 2 of 2 random networks" in sentence
    derived = [trial_of(3, 0.9, origin=DERIVED), trial_of(4, 0.95, origin=PLAIN)]
    assert "no find" not in sharing_evidence(shared(0.7, 0.6), networks(0.93, 0.90), derived).sentence


def test_the_page_sets_what_was_trained_alone_beside_its_shared_weights(result: Any, trial_of: Any) -> None:
    search = {**result.search, "method": "shared", "shared": shared(0.7, 0.6)}
    scored = [trial_of(0, 0.61, origin=DERIVED), trial_of(1, 0.32, origin=PLAIN), trial_of(2, 0.55, origin=DERIVED)]
    alone = [
        replace(trial_of(3, 0.81, origin=DERIVED), rung=1, promotes=0),
        replace(trial_of(4, 0.83, origin=PLAIN), rung=1, promotes=1),
    ]
    found = page(replace(result, search=search), [*scored, *alone]).replace("\xa0", " ")
    rows = found[found.index("trained alone</th>") :]
    plain, derived = rows.index("trial 4"), rows.index("trial 3")
    assert plain < derived
    assert "32.0 %" in rows[plain:derived]
    assert "83.0 %" in rows[plain:derived]
    assert "trains trial 1 alone" in found
    assert "proxy accuracy" in found  # of the two trained alone, which alone are in the figure
    assert [t.number for t in comparable(search, [*scored, *alone])] == [3, 4]
    assert comparable(search, scored) == scored
    # Where none of them could be trained alone, what the figure shows is what shared weights gave.
    assert "proxy accuracy" not in page(replace(result, search=search), scored)
    assert comparable({**search, "method": "trials"}, [*scored, *alone]) == [*scored, *alone]


def test_the_page_of_a_search_with_shared_weights(result: Any, trials: Any, networks: Any) -> None:
    search = {**result.search, "method": "shared", "shared": shared(0.7, 0.6)}
    del search["proxy"]
    trained = (*result.trained, *networks(0.9, 0.88)[1:])
    derived = [replace(trial, origin=DERIVED) for trial in trials]
    found = page(replace(result, search=search, trained=trained), derived).replace("\xa0", " ")
    assert evidence_sentence(search, trained, derived) in found
    assert "shared-weight accuracy" in found
    assert "proxy accuracy" not in found
    assert "drawn from the controller" in found
    assert "Control networks were drawn at random within the budget." in found
    assert "4 epochs, 900 steps" in found


def test_the_curve_leaves_out_rounds_before_the_controller_began() -> None:
    figure = reward_over_rounds(shared(0.7, 0.6))
    assert list(figure.data[0].x) == [800, 900]
    assert list(figure.data[0].y) == [0.5, 0.6]
