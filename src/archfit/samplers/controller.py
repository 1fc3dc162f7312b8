"""The learnt controllers as proposers: a policy rebuilt from the finished trials."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from archfit.samplers.policy import Policy
from archfit.samplers.ppo import Ppo
from archfit.samplers.proposals import Indices, Observation, Proposal, Taken, nearby, stream
from archfit.samplers.reinforce import Reinforce, ReinforceSettings

_DRAWS = 16
_LEARNING = threading.Lock()


class Rule(Protocol):
    """How a policy learns from a batch: `Ppo` or `Reinforce`, or one of your own."""

    policy: Policy

    def update(self, indices: Tensor, rewards: Tensor, old_log_prob: Tensor | None = None) -> float: ...


def ppo_rule(policy: Policy) -> Rule:
    return Ppo(policy)


def reinforce_rule(policy: Policy) -> Rule:
    """ENAS's rule for few trials: its moving baseline needs hundreds of batches, a search of trials has tens."""
    return Reinforce(policy, ReinforceSettings(lr=1e-2, baseline_decay=0.0, normalise=True))


@dataclass(frozen=True)
class _Snapshot:
    learnt: tuple[Observation, ...]
    rule: Rule


class Controller:
    """A policy that learns from every `batch` finished trials, in the order they finished.

    The snapshot of the policy is only a cache: it is used as long as what it learnt from is a prefix of the history,
    and rebuilt from the first trial otherwise.
    """

    def __init__(
        self,
        name: str,
        n_options: Sequence[int],
        seed: int,
        rule: Callable[[Policy], Rule],
        *,
        batch: int = 8,
        startup_trials: int = 16,
    ) -> None:
        """`rule` makes the learning rule for a new policy; it must be picklable, as a function of a module is."""
        self.name = name
        self.n_options = tuple(n_options)
        self.seed = seed
        self.batch = batch
        self.startup_trials = startup_trials
        self._make_rule = rule
        self._snapshot: _Snapshot | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_snapshot": None}

    def propose(self, history: Sequence[Observation], number: int, taken: Taken) -> Proposal:
        rng = stream(self.seed, number)
        with _single_thread():
            policy = self.policy_after(history)
            drawn, log_probs, _ = policy.sample(_DRAWS, _generator(rng))
        points: list[Indices] = [tuple(row) for row in drawn.tolist()]
        for indices, log_prob in zip(points, log_probs.tolist(), strict=True):
            if not taken(indices):
                return Proposal(indices, log_prob)
        return Proposal(nearby(points[0], self.n_options, rng, taken))

    def policy_after(self, history: Sequence[Observation]) -> Policy:
        """The policy that has learnt from all full batches of `history`."""
        batches = len(history) // self.batch
        learnt: tuple[Observation, ...] = ()
        if self._snapshot is not None and tuple(history[: len(self._snapshot.learnt)]) == self._snapshot.learnt:
            learnt, rule = self._snapshot.learnt, self._snapshot.rule
        else:
            rule = self._make_rule(Policy(self.n_options, generator=_generator(stream(self.seed))))
        self._snapshot = None  # the rule is changed in place: while it learns it is nobody's cache
        for start in range(len(learnt), batches * self.batch, self.batch):
            _learn(rule, history[start : start + self.batch])
        self._snapshot = _Snapshot(tuple(history[: batches * self.batch]), rule)
        return rule.policy


def _learn(rule: Rule, batch: Sequence[Observation]) -> None:
    missing = float("nan")  # `Ppo` fills these in with the policy's own
    old = [missing if observation.log_prob is None else observation.log_prob for observation in batch]
    rule.update(
        torch.tensor([observation.indices for observation in batch], device="cpu"),
        torch.tensor([observation.reward for observation in batch], dtype=torch.float64, device="cpu"),
        torch.tensor(old, dtype=torch.float32, device="cpu"),
    )


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(int(rng.integers(2**63)))


@contextmanager
def _single_thread() -> Iterator[None]:
    """One intra-op thread: tensors this small gain nothing from more, and sums keep their order on every machine."""
    with _LEARNING:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
