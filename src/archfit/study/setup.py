"""What one search trial by trial is about."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from archfit.architecture import SearchSpace, Task
from archfit.cost import Budget, Cost
from archfit.evaluators import Evaluator
from archfit.reward import Reward, worth
from archfit.study.limits import Limits


@dataclass(frozen=True)
class SearchSetup:
    """What one search is about.

    Attributes:
        space: Searched, scaled to the budget already.
        task: Gives the networks' input and output.
        budget: For rewards and pruning.
        reward: Of accuracy and cost ratios.
        chance: Accuracy of the best constant answer; what a pruned trial is rewarded for.
        limits: When to stop.
        prune_above: A candidate whose cost is past this many times a bound is not trained.
        seed: Of everything random.
        evaluator: Runs in the workers.
        promotions: Evaluators that train a candidate on, one for each rung after the first.
        alone: Shared weights score all candidates; then `promotions`, a single one, trains the best of them anew.
        factors: One in so many candidates of a rung goes on to the next; one for each of `promotions`.
        weights: Folder for the weights of candidates that may be trained on; None where that begins anew.
        trial_seconds: That a candidate's training may take; None is ten times the mean of its rung's, a minute at
            least, and where there was none yet the search's own time.
    """

    space: SearchSpace
    task: Task
    budget: Budget
    reward: Reward
    chance: float
    limits: Limits
    prune_above: float
    seed: int
    evaluator: Evaluator
    promotions: tuple[Evaluator, ...] = ()
    alone: bool = False
    factors: tuple[float, ...] = ()
    weights: Path | None = None
    trial_seconds: float | None = None

    def worth(self, accuracy: float, cost: Cost) -> float:
        """The reward."""
        return worth(self.reward, self.budget, accuracy, cost)

    def added(self, rung: int) -> float:
        """How much a training to a rung adds to what its network had before, in first trainings."""
        return prod(self.factors[: rung - 1]) * (self.factors[rung - 1] - 1) if rung else 1.0


def trial_seed(seed: int, number: int) -> int:
    """Seed of a trial's weights and training: a function of the run's seed and the trial's number alone."""
    return (seed * 1_000_003 + number * 7919 + 1) % 2**31


def over_limit(budget: Budget, cost: Cost, prune_above: float) -> str | None:
    """Why a candidate is not worth training, or None."""
    for name, ratio in budget.ratios(cost).items():
        if ratio > prune_above:
            return f"{name} is {ratio:.2f} times the budget (pruned above {prune_above:g})"
    return None
