"""What a search decides before its first trial: data, space, and how long each candidate is trained."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from operator import mul
from pathlib import Path
from typing import Any

import torch
from optuna.samplers import BaseSampler
from torch import nn

from archfit.architecture import Architecture, SearchSpace, Task, random_architecture
from archfit.cost import Budget, Cost, count_madds
from archfit.data import ImageData, load_arrays, load_data, save_arrays
from archfit.errors import InputError, RunError
from archfit.evaluators import Evaluator
from archfit.nn.seeded import build_seeded
from archfit.pipeline.meter import CostMeter
from archfit.pipeline.request import CUSTOM, SearchRequest, TrainRequest
from archfit.pipeline.watch import Watch
from archfit.reward import Reward
from archfit.spaces import KNOWN_SPACES, MnasSpace, SharedSpace, Trained, WarmMnasSpace, space_at
from archfit.study.fitting import Fitted, fit_space, fits_within
from archfit.study.limits import Limits
from archfit.training import proxy_recipe, training_rate

TRIALS_WANTED = 48
_MOST_PROXY_EPOCHS = 5.0
ALONE_SHARE = 0.25
"""Of the search's time with shared weights, for training the best of what they have scored alone."""
UNTIMED_ALONE_EPOCHS = 2.0
_RUNGS = (1, 3, 9)
_LONGEST_RUNG = 15.0
_WORTH_TIMING = 2_000
_SAMPLING_SHARE = 0.03
"""Of a search's time, after which its space is sampled sparingly."""
_PROBE_SHARE = 0.001
"""Of a search's time, for timing the training steps of a step of its space."""
_ENOUGH_EPOCHS = 8
_ENOUGH_IMAGES = 400_000
SUPERNET_SHARE = 1 / 3
"""Of the search's time with shared weights; the table, the ranking and what is trained alone take the rest."""
_CONTROLLER_SHARE = 0.25
"""Of the time that supernet and controller take together, about."""
KEPT_SPEED = 0.7
"""Of the speed of timed steps: the first steps on each path compile its kernels."""
_LEARNT_IMAGES = 100_000
"""That a supernet is to see: on Fashion-MNIST paths of the controller had 32 % after 32,000 images, and random ones 28;
after 146,000 images 83 and 39 %."""
_DATA = "data"


@dataclass(frozen=True)
class Objects:
    """Parts that a user passed from Python in place of a name; None where the request names one."""

    space: SearchSpace | None = None
    sampler: BaseSampler | None = None
    reward: Reward | None = None
    evaluator: Evaluator | None = None


def read_data(
    request: SearchRequest | TrainRequest, watch: Watch, *, given: Any = None, run: Path | None = None
) -> ImageData:
    """The dataset of a request.

    Args:
        request: Names it, its size and its part.
        watch: Is told how far the reading is.
        given: The dataset itself, where it comes from Python.
        run: Folder of a run that kept a dataset from Python.
    """
    if request.dataset == CUSTOM and given is None:
        if run is None or not (run / _DATA).is_dir():
            raise RunError("the dataset was given from Python and was not kept; pass it again")
        return load_arrays(run / _DATA)
    watch.step("reading the dataset" if given is not None else f"reading {request.dataset}")
    data = load_data(
        request.dataset if given is None else given,
        image_size=request.image_size,
        train_images=request.train_images,
        seed=request.seed,
        max_corrupt=request.max_corrupt,
        progress=watch.step,
    )
    if data.test is None:
        raise InputError(f"{data.name} has no test split, and the network is tested once at the end; give one")
    return data if request.flip is None else replace(data, flip=request.flip)


def normalised(data: ImageData, statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> ImageData:
    """The data normalised as a network's pretrained weights expect it; grey images by the mean over the channels."""
    mean, std = statistics
    if data.channels == 1:
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    elif len(mean) == 1:
        mean, std = mean * data.channels, std * data.channels
    return replace(data, mean=mean, std=std)


def keep_data(data: ImageData, run: Path) -> None:
    """Keeps a dataset that was given from Python, for the resume."""
    save_arrays(data, run / _DATA)


def chosen_space(
    objects: Objects, request: SearchRequest, trained: Trained | None = None, origin: Path | None = None
) -> SearchSpace:
    """The space given from Python, or the named one at the width asked for.

    Args:
        objects: May hold a space.
        request: Names one.
        trained: What its networks inherit from.
        origin: Where that is stored by the time one is built; without it they begin at random.
    """
    space = objects.space or _named_space(request, trained, origin)
    if request.method == "shared" and not isinstance(space, SharedSpace):
        raise InputError(
            f"space {space.name!r} has no supernet, so its networks cannot share weights; search it with --method "
            f"trials, or one of {list(KNOWN_SPACES)}"
        )
    return space


def _named_space(request: SearchRequest, trained: Trained | None, origin: Path | None) -> SearchSpace:
    if trained is None:
        return space_at(request.space, request.width, request.searched_blocks)
    return WarmMnasSpace.around(trained, origin, width=request.width or 1.0, searched_blocks=request.searched_blocks)


def sample_space(
    space: SearchSpace,
    request: SearchRequest,
    data: ImageData,
    meter: CostMeter,
    watch: Watch,
    *,
    accelerator: str,
    tick: Callable[[], None] = lambda: None,
) -> Fitted:
    """Random members of the space against the budget; it is scaled down first where the user left that open.

    Then also to the time: what cannot be trained in it is of no use, however fast it will run. Supernets of cells are
    left as they are; whether they gain by it is not measured.

    Args:
        space: At its full size.
        request: Has the budget and the time.
        data: Trained on.
        meter: Gives costs.
        watch: Is told how far it is.
        accelerator: Where training will run.
        tick: Called after each sample.
    """
    available = request.stops.search_seconds

    def on_sample(label: str, count: int, fits: int) -> None:
        tick()
        scaled = f" ({label})" if label else ""
        watch.step(f"sampling the space{scaled}: {fits} of {count} networks within budget")

    slow: list[SearchSpace] = []

    def trainable(step: SearchSpace) -> bool:
        supernet_of_cells = request.method == "shared" and not isinstance(step, MnasSpace)
        however_slow = sees_enough(request, len(data.train), rate=0.0)
        if available is None or however_slow or request.init is not None or supernet_of_cells:
            return True
        with meter.quiet():
            rate = training_rate(
                typical_builder(step, data.task, request.seed),
                data.task,
                memory_format="channels_last",
                batch_size=proxy_recipe(data, 1).batch_size,
                accelerator=accelerator,
                seconds=_PROBE_SHARE * available,
                least=2,
            )
        enough = sees_enough(request, len(data.train), rate)
        if not enough:
            slow.append(step)
        return enough

    fitted = fit_space(
        space,
        data.task,
        request.budget,
        meter.sample,
        scale=request.width is None,
        seed=request.seed,
        seconds=math.inf if available is None else _SAMPLING_SHARE * available,
        trainable=trainable,
        on_sample=on_sample,
    )
    return replace(fitted, note=f"{fitted.note}; for larger networks the time is too short") if slow else fitted


def sees_enough(request: SearchRequest, images: int, rate: float) -> bool:
    """Whether a finalist that trains as fast as a typical network would see eight epochs, or 400,000 images.

    And whether a supernet would see 100,000, where weights are shared.

    Those that a search comes to are about twice as fast. On two cores Fashion-MNIST's 54,000 images under 0.3 ms gave
    93.1 % with a plain network of 4.2 million multiply-adds, and 92.6 % in the same time with one of 7.1 million.

    Args:
        request: Has the time; without one, or with a number of epochs, everything sees enough.
        images: In the training split.
        rate: Images per second that one worker trains.
    """
    seconds = request.stops.final_seconds
    if seconds is None or request.final_epochs is not None:
        return True
    whole = _ENOUGH_EPOCHS * images
    seen = rate * seconds * min(1.0, request.worker_count / request.finalists)
    learnt = supernet_images(request, rate)
    return seen >= min(whole, _ENOUGH_IMAGES) and (learnt is None or learnt >= min(whole, _LEARNT_IMAGES))


def supernet_images(request: SearchRequest, rate: float) -> float | None:
    """That a supernet sees in its share of the time, about; None where it has none, or its epochs are asked for.

    Args:
        request: Has the time.
        rate: Images per second that one worker trains of a typical network.
    """
    seconds = request.stops.search_seconds
    if request.method != "shared" or seconds is None or request.supernet_epochs is not None:
        return None
    return KEPT_SPEED * SUPERNET_SHARE * seconds * supernet_rate(request, rate)


def supernet_rate(request: SearchRequest, rate: float) -> float:
    """Images per second that a supernet is trained on, the controller's turns included, by timed steps.

    A path is taken to train as fast as a typical network alone, two of them at once.

    Args:
        request: Has the workers.
        rate: Images per second that one worker trains of a typical network.
    """
    return (1 - _CONTROLLER_SHARE) * rate * min(2, request.worker_count)


def scaled_to(space: SearchSpace, settings: dict[str, Any]) -> SearchSpace:
    """The step of the space's own ladder that has these settings.

    Raises:
        RunError: There is none: the space is not the one that the run was begun with.
    """
    step: SearchSpace | None = space
    while step is not None:
        if step.settings() == settings:
            return step
        step = getattr(step, "smaller", lambda: None)()
    raise RunError(f"space {space.name!r} never has the run's settings {settings}; pass the space it was begun with")


def typical_builder(space: SearchSpace, task: Task, seed: int) -> Callable[[], nn.Module]:
    """Makes a typical network of the space, picklable and the same every time."""
    return partial(build_seeded, space, typical_architecture(space, task, seed), task)


def typical_architecture(space: SearchSpace, task: Task, seed: int) -> Architecture:
    """Of nine random members the one with the median multiply-adds."""
    rng = random.Random(seed)
    members = [space.canonical(random_architecture(space, rng), task) for _ in range(9)]
    with torch.random.fork_rng(devices=()):
        members.sort(key=lambda member: count_madds(space.build(member, task), task))
    return members[4]


def proxy_epochs_for(
    request: SearchRequest, images: int, limits: Limits, rate: float, *, workers: int, spent: float
) -> tuple[float, ...]:
    """As asked; else, under a time limit, the rungs of a successive halving that sees about 48 candidates.

    Args:
        request: May ask for a number.
        images: In the training split.
        limits: Of the search.
        rate: Images per second that one worker trains.
        workers: Candidates that train at a time.
        spent: Seconds of the search's time that are gone already.
    """
    if request.proxy_epochs is not None:
        return request.proxy_epochs
    if limits.search_seconds is None:
        return (_MOST_PROXY_EPOCHS,)
    left = max(1.0, limits.search_seconds - spent)
    trials = min(TRIALS_WANTED, limits.trials or TRIALS_WANTED)
    first = _first_epochs(left * workers * rate / trials / epochs_per_candidate(_RUNGS), images)
    return tuple(float(f"{first * times:.2g}") for times in _RUNGS if times == 1 or first * times <= _LONGEST_RUNG)


def alone_epochs_for(
    request: SearchRequest, images: int, limits: Limits, rate: float, workers: int, networks: int
) -> float:
    """As asked; else, under a time limit, what trains so many networks in a share of the search's time.

    Args:
        request: May ask for a number.
        images: In the training split.
        limits: Of the search.
        rate: Images per second that one worker trains.
        workers: Networks that train at a time.
        networks: That shared weights have scored and that are trained alone.
    """
    if request.proxy_epochs is not None:
        return request.proxy_epochs[0]
    if limits.search_seconds is None:
        return UNTIMED_ALONE_EPOCHS
    return float(f"{_first_epochs(ALONE_SHARE * limits.search_seconds * workers * rate / networks, images):.2g}")


def _first_epochs(affordable: float, images: int) -> float:
    """Of a network's first training, for which there is time to see so many images; it sees 500 at least."""
    return min(_MOST_PROXY_EPOCHS, max(affordable, 500) / images)


def equal_time(request: SearchRequest, images: float) -> bool:
    """Whether candidates are trained equally long, not for equally many epochs: where finalists are, too.

    Args:
        request: May ask for epochs.
        images: That a typical candidate sees at first; few of them are over before its speed could be told.
    """
    return request.timed_finals and request.proxy_epochs is None and images >= _WORTH_TIMING


def plain_networks(
    space: MnasSpace, task: Task, budget: Budget, measure: Callable[[SearchSpace, Architecture], Cost]
) -> list[Architecture]:
    """Of each operation the largest network that has it throughout and surely holds the budget, where there is one.

    Among networks drawn at random those that one would build by hand are too rare to be met in a short search.

    Args:
        space: They are points of.
        task: They are built for.
        budget: To hold.
        measure: Gives a cost.
    """

    def holds(network: Architecture) -> bool:
        cost = measure(space, network)
        return fits_within(budget, cost) and budget.holds_surely(cost)

    found = []
    for ladder in space.plain_networks(task):
        place = bisect_left(ladder, True, key=holds)
        found += ladder[place : place + 1]
    return list(dict.fromkeys(found))


def epochs_per_candidate(rungs: Sequence[float]) -> float:
    """Mean epochs that a successive halving spends on a candidate: each rung trains on what the one before left."""
    shares = accumulate((low / high for low, high in pairwise(rungs)), mul, initial=1.0)
    return sum(share * (high - low) for share, (low, high) in zip(shares, pairwise((0.0, *rungs)), strict=True))


def untimed_final_epochs(images: int) -> int:
    """Epochs of full training where no time is set: about 1.5 million images, from 20 to 100 epochs."""
    return max(20, min(100, round(1.5e6 / images)))
