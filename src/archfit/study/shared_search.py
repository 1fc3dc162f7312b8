"""The search with shared weights: a supernet and a controller learn by turns.

ENAS (arXiv:1802.03268, section 2.2), with the reward of TuNAS (arXiv:2008.06120): the accuracy of a path on a batch of
validation images, combined with what the architecture costs.
"""

from __future__ import annotations

import math
import random
import statistics
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count, islice, pairwise
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from archfit.architecture import Architecture, Task, from_indices, random_architecture
from archfit.cost import Budget, Cost
from archfit.data import Augmentation, Batches, ImageData, Split
from archfit.errors import DivergedError, InputError
from archfit.evaluators import BATCH
from archfit.reward import Reward, worth
from archfit.samplers import Policy, Ppo, PpoSettings, Reinforce, ReinforceSettings, skip_penalty, stream
from archfit.spaces import SharedSpace
from archfit.study.shared_settings import SharedSettings
from archfit.study.shared_state import Round, SharedState, SharedStatus, read_state
from archfit.study.supernet_trainer import Batch, SupernetTrainer
from archfit.training import (
    MEMORY_FORMATS,
    check_accelerator,
    get_metric,
    rate_at,
)

Item = TypeVar("Item")
_TIMED_SECONDS = 10.0
_TIMED_STEPS = 40
_FEWEST_STEPS = 5
_UPDATE_SECONDS = 0.01


@dataclass(frozen=True)
class Scored:
    """An architecture with the accuracy that the shared weights give it."""

    architecture: Architecture
    cost: Cost
    accuracy: float
    reward: float


@dataclass(frozen=True)
class Speed:
    """Of a search with shared weights.

    Attributes:
        round_s: Seconds of a round of supernet and controller, in the mean.
        image_s: Seconds in which an architecture is scored on one image.
    """

    round_s: float
    image_s: float


class SharedSearch:
    """Trains supernet and controller; may be killed and started again at any point, with the same end to the bit.

    Args:
        space: That shares weights.
        task: Of the networks.
        data: Its test split is not read.
        budget: For the reward.
        reward: Of accuracy and cost ratios.
        cost: Of an architecture, quick: predicted, or counted.
        settings: How to learn.
        seed: Of everything random.
        path: Of the state's file.
        on_status: Called about twice a second.
        accelerator: Where the supernet is; the controller stays on the CPU.
        threads: Paths that are trained or scored at once.
        elapsed: Seconds that earlier sessions used.
    """

    def __init__(
        self,
        space: SharedSpace,
        task: Task,
        data: ImageData,
        *,
        budget: Budget,
        reward: Reward,
        cost: Callable[[Architecture], Cost],
        settings: SharedSettings,
        seed: int,
        path: Path,
        on_status: Callable[[SharedStatus], None],
        accelerator: str = "cpu",
        threads: int = 1,
        elapsed: float = 0.0,
    ) -> None:
        if len(data.validation) < 2 * len(data.classes):
            raise InputError(
                f"the validation split has {len(data.validation)} images of {len(data.classes)} classes; the "
                "controller learns from two a class at least: add images, or search with --method trials"
            )
        self._space = space
        self._task = task
        self._data = data
        self._budget = budget
        self._reward = reward
        self._cost = cost
        self._settings = settings
        self._seed = seed
        self._path = path
        self._on_status = on_status
        self._start = time.monotonic() - elapsed
        self._told = 0.0
        self._metric = get_metric(settings.metric)
        recipe = settings.recipe
        self.steps = max(1, round(recipe.epochs * len(data.train) / settings.images_per_step))
        self.rounds: tuple[Round, ...] = ()
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(_mixed(seed, "weights"))
            supernet = space.supernet(task)
        target = torch.device(check_accelerator(accelerator))
        supernet.to(target).to(memory_format=MEMORY_FORMATS[settings.memory_format])
        self._trainer = SupernetTrainer(supernet, recipe, device=target, threads=min(threads, settings.paths))
        self.policy = Policy(
            [len(choice.options) for choice in space.choices],
            generator=_generator(seed, "controller"),
            temperature=settings.temperature,
            tanh_constant=settings.tanh_constant,
        )
        self._rule = _rule(self.policy, settings)
        self._configuration = {
            "space": {"name": space.name, **space.settings()},
            "task": asdict(task),
            "settings": asdict(settings),
            "seed": seed,
            "images": len(data.train),
        }
        self._restore(read_state(path, self._configuration))
        self._begun, self._resumed_at = time.monotonic(), self.step

    @property
    def step(self) -> int:
        """Of the supernet, done so far."""
        return self.rounds[-1].step if self.rounds else 0

    def run(self) -> None:
        """To the last step, from wherever the state is.

        Raises:
            DivergedError: The loss is not a number any more; the state is that of the last whole round.
        """
        while self.step < self.steps:
            start = time.monotonic()
            learnt = self._learn_weights()
            if self._warm(learnt.step):
                learnt = self._learn_policy(learnt)
            self.rounds = (*self.rounds, replace(learnt, seconds=time.monotonic() - start))
            self._state().save(self._path)

    def drawn(self, number: int) -> list[Architecture]:
        """From the controller, equal ones as often as they come."""
        indices, _, _ = self.policy.sample(number, _generator(self._seed, "derive"))
        return [self._canonical(row) for row in indices.tolist()]

    def scored(self, architectures: Sequence[Architecture], images: int) -> list[Scored]:
        """Each on the same `images` of the validation split, by the shared weights."""
        endless = self._stream(self._data.validation, BATCH, None)
        batches = list(islice(endless, max(1, self.images_scored(images) // BATCH)))
        found: dict[Architecture, Scored] = {}
        different = list(dict.fromkeys(architectures))
        for first in range(0, len(different), self._settings.paths):
            self._tell(f"ranking {first + 1} of {len(different)}", self.step)
            group = different[first : first + self._settings.paths]
            found |= zip(group, self._scored([(architecture, batches) for architecture in group]), strict=True)
        return [found[architecture] for architecture in architectures]

    def images_scored(self, images: int) -> int:
        """How many validation images `scored` takes where so many are asked for: whole batches, one at least."""
        there = len(self._data.validation)
        return min(there, max(1, min(images, there) // BATCH) * BATCH)

    def speed(self) -> Speed:
        """How long things will take, from a few steps; the search itself must begin anew after it."""
        settings = self._settings
        paths = self._paths(_TIMED_STEPS * settings.paths, warm=False)
        batch = next(self._stream(self._data.train, settings.recipe.batch_size, settings.recipe.augmentation))
        validation = next(self._stream(self._data.validation, settings.reward_images, None))
        learning: list[float] = []
        scoring: list[float] = []
        latest = time.perf_counter() + _TIMED_SECONDS
        for group in batched(paths, settings.paths):
            if time.perf_counter() > latest and len(learning) >= _FEWEST_STEPS:
                break
            for _ in range(2):  # what the first compiles, most of a search finds compiled
                times = [time.perf_counter()]
                for blended in (False, True):
                    self._trainer.step([(path, batch) for path in group], 1.0, blended=blended)
                    times.append(time.perf_counter())
                self._scored([(path, [validation]) for path in group])
                times.append(time.perf_counter())
            plain, of_all, scores = (end - start for start, end in pairwise(times))
            learning.append(plain + (of_all - plain) * settings.warmup / 2)
            scoring.append(scores / settings.paths)
        share, score = 1 - settings.warmup, statistics.median(scoring)
        updates = settings.updates * (settings.samples * score + _UPDATE_SECONDS)
        return Speed(settings.round_steps * statistics.median(learning) + share * updates, score / len(validation[1]))

    def _learn_weights(self) -> Round:
        settings, first = self._settings, self.step
        steps = min(settings.round_steps, self.steps - first)
        paths = self._paths(steps * settings.paths, warm=self._warm(first))
        losses: list[float] = []
        rng = random.Random(_mixed(self._seed, "blended", len(self.rounds)))
        warm_steps = settings.warmup * self.steps
        batches = self._stream(self._data.train, settings.recipe.batch_size, settings.recipe.augmentation)
        for position, group in enumerate(batched(zip(paths, batches, strict=False), settings.paths)):
            factor = rate_at(settings.recipe, first + position, self.steps)
            blended = rng.random() * warm_steps < warm_steps - (first + position)
            losses.append(self._trainer.step(group, factor, blended=blended))
            if not math.isfinite(losses[-1]):
                raise DivergedError(
                    f"the shared weights diverged: the loss is {losses[-1]} at step {first + position + 1}; the state "
                    f"of step {first} is kept; search anew with a lower learning rate (--supernet-learning-rate; it is "
                    f"{settings.recipe.learning_rate:g})"
                )
            self._tell("supernet" if self._warm(first) else "supernet, paths at random", first + position + 1)
        return Round(first + steps, sum(losses) / len(losses), best=self.rounds[-1].best if self.rounds else None)

    def _learn_policy(self, learnt: Round) -> Round:
        settings = self._settings
        batches = self._stream(self._data.validation, settings.reward_images, None)
        accuracies, rewards, entropies = [], [], []
        generator = _generator(self._seed, "samples", len(self.rounds))
        for _ in range(settings.updates):
            indices, log_prob, entropy = self.policy.sample(settings.samples, generator)
            scored = self._scored([(self._canonical(row), [next(batches)]) for row in indices.tolist()])
            found = torch.tensor([one.reward for one in scored], dtype=torch.float64)
            self._update(indices, found, log_prob)
            rewards += found.tolist()
            accuracies += [one.accuracy for one in scored]
            entropies += entropy.tolist()
            self._tell("controller", learnt.step)
        return replace(
            learnt,
            accuracy=sum(accuracies) / len(accuracies),
            reward=sum(rewards) / len(rewards),
            entropy=sum(entropies) / len(entropies),
            best=max([*rewards, *([] if learnt.best is None else [learnt.best])]),
        )

    def _update(self, indices: Tensor, rewards: Tensor, log_prob: Tensor) -> None:
        positions = getattr(self._space, "skip_positions", ())
        if positions and isinstance(self._rule, Reinforce):
            self._rule.update(indices, rewards, penalty=partial(skip_penalty, positions=positions))
        else:
            self._rule.update(indices, rewards, log_prob)

    def _paths(self, number: int, *, warm: bool) -> list[Architecture]:
        """For the steps of the next round: from the controller, or uniformly before it has begun."""
        if warm:
            indices, _, _ = self.policy.sample(number, _generator(self._seed, "paths", len(self.rounds)))
            return [self._canonical(row) for row in indices.tolist()]
        rng = random.Random(_mixed(self._seed, "paths", len(self.rounds)))
        return [self._space.canonical(random_architecture(self._space, rng), self._task) for _ in range(number)]

    def _scored(self, paths: Sequence[tuple[Architecture, Sequence[Batch]]]) -> list[Scored]:
        found = []
        accuracies = self._trainer.accuracies(paths, self._metric, len(self._data.classes))
        for (architecture, _), accuracy in zip(paths, accuracies, strict=True):
            cost = self._cost(architecture)
            found.append(Scored(architecture, cost, accuracy, worth(self._reward, self._budget, accuracy, cost)))
        return found

    def _canonical(self, indices: Sequence[int]) -> Architecture:
        return self._space.canonical(from_indices(self._space, indices), self._task)

    def _warm(self, step: int) -> bool:
        return step >= self._settings.warmup * self.steps

    def _stream(self, split: Split, batch_size: int, augmentation: Augmentation | None) -> Iterator[Batch]:
        """Shuffled batches without end; they are those of this round alone."""
        batches = Batches(
            split,
            self._data.mean,
            self._data.std,
            min(batch_size, len(split)),
            augmentation=augmentation,
            seed=_mixed(self._seed, "batches", len(self.rounds)),
            shuffle=True,
            drop_last=True,
            memory_format=MEMORY_FORMATS[self._settings.memory_format],
        )
        for epoch in count():
            batches.set_epoch(epoch)
            yield from batches

    def _state(self) -> SharedState:
        return SharedState(
            configuration=self._configuration,
            rounds=self.rounds,
            **self._trainer.state(),
            policy=self.policy.state_dict(),
            policy_optimiser=self._rule.optimiser.state_dict(),
            baseline=self._rule.baseline,
        )

    def _restore(self, state: SharedState | None) -> None:
        if state is None:
            return
        self.rounds = state.rounds
        self._trainer.restore(state.supernet, state.optimiser)
        self.policy.load_state_dict(state.policy)
        self._rule.optimiser.load_state_dict(state.policy_optimiser)
        self._rule.baseline = state.baseline

    def _tell(self, phase: str, step: int) -> None:
        now = time.monotonic()
        if now - self._told > 0.5:
            self._told = now
            done, spent = step - self._resumed_at, now - self._begun
            left = spent / done * (self.steps - step) if done > 0 and spent > 5 else None
            self._on_status(SharedStatus(phase, step, self.steps, self.rounds, now - self._start, left))


def _rule(policy: Policy, settings: SharedSettings) -> Reinforce | Ppo:
    if settings.rule == "ppo":
        return Ppo(policy, PpoSettings(lr=settings.learning_rate, entropy_weight=settings.entropy_weight))
    return Reinforce(
        policy,
        ReinforceSettings(
            lr=settings.learning_rate,
            baseline_decay=settings.baseline_decay,
            entropy_weight=settings.entropy_weight,
            normalise=True,
        ),
    )


def _mixed(seed: int, purpose: str, number: int = 0) -> int:
    """One seed for each purpose and round, independent of the others."""
    return int(stream(seed, zlib.crc32(purpose.encode()), number).integers(2**62))


def _generator(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(_mixed(seed, purpose, number))


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one perhaps shorter (`itertools.batched` comes with Python 3.12)."""
    source = iter(items)
    while group := list(islice(source, size)):
        yield group
