from __future__ import annotations

import pytest
import torch

from archfit.architecture import Architecture, SearchSpace, Task
from archfit.cost import Budget, Cost, count_params
from archfit.errors import RunError
from archfit.pipeline import SearchRequest
from archfit.pipeline.plan import (
    epochs_per_candidate,
    equal_time,
    plain_networks,
    proxy_epochs_for,
    scaled_to,
    sees_enough,
    typical_architecture,
    untimed_final_epochs,
)
from archfit.spaces import MnasSpace
from archfit.study.limits import Limits
from archfit.training import one_thread


def _epochs(
    request: SearchRequest, *, images: int = 10_000, rate: float = 400.0, spent: float = 0.0
) -> tuple[float, ...]:
    return proxy_epochs_for(request, images, request.limits, rate, workers=request.worker_count, spent=spent)


def test_proxy_epochs_share_out_the_search_half_of_the_time() -> None:
    request = SearchRequest("digits", limits=Limits(seconds=1200.0), workers=2)
    # Half of 1200 s is 600 s; 2 workers x 400 images/s x 600 s = 480,000 images for 48 candidates: 10,000 each, one
    # epoch; of three rungs the first has 3/7 of that, since 1 + (3 - 1) / 3 + (9 - 3) / 9 = 7/3.
    assert _epochs(request) == (0.43, 1.3, 3.9)
    # 240 s gone already: 360 s give 288,000 images, 6,000 each, 0.6 epochs.
    assert _epochs(request, spent=240.0) == (0.26, 0.77, 2.3)


def test_candidates_are_trained_equally_long_where_finalists_are() -> None:
    timed = Limits(seconds=60.0)
    assert equal_time(SearchRequest("digits", limits=timed), 5_000)
    assert not equal_time(SearchRequest("digits", limits=timed), 500)
    for asked in ({"proxy_epochs": (1.0,)}, {"final_epochs": 3}, {"limits": Limits(trials=3)}):
        assert not equal_time(SearchRequest("digits", **{"limits": timed, **asked}), 5_000)


def test_plain_networks_are_the_largest_of_each_operation_that_hold_the_budget() -> None:
    space, task = MnasSpace(width=0.35), Task(1, 32, 10)
    measured: list[Architecture] = []

    def cost(space: SearchSpace, architecture: Architecture) -> Cost:
        measured.append(architecture)
        return Cost(count_params(space.build(architecture, task)), 0)

    ladders = space.plain_networks(task)
    sizes = [[cost(space, one).params for one in ladder] for ladder in ladders]
    measured.clear()
    bound = sizes[0][2]  # the third of the first operation just holds it
    found = plain_networks(space, task, Budget(params=bound), cost)
    expected = [max((size for size in ladder if size <= bound), default=0) for ladder in sizes]
    assert [cost(space, one).params for one in found] == [size for size in expected if size]
    assert ladders[0][2] in found
    assert len(measured) < sum(map(len, ladders))
    assert plain_networks(space, task, Budget(params=1), cost) == []
    assert plain_networks(space, task, Budget(latency_ms=1), cost) == []  # which was not measured
    assert plain_networks(space, task, Budget(), cost) == [ladder[0] for ladder in ladders]


@pytest.mark.parametrize(
    ("request_", "images", "rate", "expected"),
    [
        # 900 s for two finalists in two workers: 400,000 images at 445 a second.
        (SearchRequest("digits", workers=2), 60_000, 445, True),
        (SearchRequest("digits", workers=2), 60_000, 444, False),
        (SearchRequest("digits", workers=9), 60_000, 444, False),
        (SearchRequest("digits", workers=1), 60_000, 889, True),
        (SearchRequest("digits", workers=1), 60_000, 888, False),
        # With shared weights 1,125 s of the 1,800 are theirs. Of the other 675 the supernet has a third: 100,000 images
        # in 225 s on two cores, at 0.7 of their speed and beside the controller.
        (SearchRequest("digits", workers=2, method="shared", supernet_epochs=1), 60_000, 356, True),
        (SearchRequest("digits", workers=2, method="shared", supernet_epochs=1), 60_000, 355, False),
        (SearchRequest("digits", workers=2, method="shared"), 60_000, 424, True),
        (SearchRequest("digits", workers=2, method="shared"), 60_000, 423, False),
        # Eight epochs of fewer images.
        (SearchRequest("digits", workers=2), 1_500, 14, True),
        (SearchRequest("digits", workers=2), 1_500, 13, False),
        (SearchRequest("digits", workers=2, final_epochs=1), 1_500, 1, True),
        (SearchRequest("digits", workers=2, limits=Limits(trials=3)), 1_500, 1, True),
    ],
)
def test_what_sees_enough_images_in_the_time(request_: SearchRequest, images: int, rate: float, expected: bool) -> None:
    assert sees_enough(request_, images, rate) is expected


def test_what_a_candidate_of_a_halving_costs() -> None:
    assert epochs_per_candidate((4.0,)) == 4.0
    assert epochs_per_candidate((1.0, 3.0, 9.0)) == pytest.approx(7 / 3)
    assert epochs_per_candidate((1.0, 2.0)) == pytest.approx(1 + 1 / 2)


def test_fewer_trials_get_longer_training() -> None:
    request = SearchRequest("digits", limits=Limits(trials=24, seconds=1200.0), workers=2)
    assert _epochs(request) == (0.86, 2.6, 7.7)


def test_proxy_epochs_have_a_floor_of_500_images_and_a_ceiling_of_5_epochs() -> None:
    short = SearchRequest("digits", limits=Limits(seconds=2.0), workers=1)
    assert _epochs(short)[0] == 0.05  # 500 of 10,000 images
    long = SearchRequest("digits", limits=Limits(seconds=1e6), workers=1)
    assert _epochs(long) == (5.0, 15.0)  # 45 would be no proxy any more


def test_proxy_epochs_without_a_time_limit_or_as_asked() -> None:
    assert _epochs(SearchRequest("digits", limits=Limits(trials=3))) == (5.0,)
    for asked in ((0.25,), (1.0, 3.0)):
        assert _epochs(SearchRequest("digits", limits=Limits(seconds=60.0), proxy_epochs=asked)) == asked


def test_final_epochs_without_a_time_limit() -> None:
    # 1.5 million images: 1.5e6 / 50,000 = 30; between 20 and 100.
    assert [untimed_final_epochs(images) for images in (50_000, 1_000_000, 1_000)] == [30, 20, 100]


def test_a_scaled_space_is_found_again_on_its_own_ladder() -> None:
    first = MnasSpace()
    step = first.smaller()
    assert step is not None
    third = step.smaller()
    assert third is not None
    assert scaled_to(first, third.settings()) == third
    with pytest.raises(RunError, match="never has the run's settings"):
        scaled_to(third, first.settings())


def test_the_typical_architecture_repeats_and_leaves_the_global_generator_alone() -> None:
    space, task = MnasSpace(width=0.18), Task(1, 8, 10)
    before = torch.random.get_rng_state()
    first = typical_architecture(space, task, seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    assert first == typical_architecture(space, task, seed=3)


def test_one_thread_restores_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
