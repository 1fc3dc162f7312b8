"""How a search with shared weights learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from archfit.errors import InputError, unknown_name
from archfit.training import Recipe

Rule = Literal["reinforce", "ppo"]


@dataclass(frozen=True)
class SharedSettings:
    """How supernet and controller learn.

    Attributes:
        recipe: Of the supernet; its `epochs` are those of the supernet over the training split.
        paths: Sampled in each supernet step, every one with a batch of its own.
        round_steps: Supernet steps of a round, after which the controller has its turn and all is written.
        warmup: Share of the steps that are taken on uniformly drawn paths, before the controller begins. The first are
            blended (`Supernet.blended`), ever fewer of the later ones.
        updates: Of the controller in a round.
        samples: Architectures of one update.
        reward_images: Validation images that a sampled architecture is scored on.
        rule: "reinforce" (ENAS) or "ppo" (MnasNet).
        learning_rate: Of the controller's Adam.
        baseline_decay: Of the moving baseline.
        entropy_weight: Reward of one nat.
        temperature: Of the controller.
        tanh_constant: Of the controller.
        memory_format: "channels_last" or "contiguous".
        metric: Of the validation batches.
    """

    recipe: Recipe
    round_steps: int
    paths: int = 2
    warmup: float = 0.25
    updates: int = 30
    samples: int = 10
    reward_images: int = 128
    rule: Rule = "reinforce"
    learning_rate: float = 3.5e-3
    baseline_decay: float = 0.95
    entropy_weight: float = 1e-4
    temperature: float = 1.0
    tanh_constant: float = 2.5
    memory_format: str = "channels_last"
    metric: str = "accuracy"

    @property
    def images_per_step(self) -> int:
        """Training images that the supernet sees in a step: a batch for each path."""
        return self.recipe.batch_size * self.paths

    @property
    def images_per_round(self) -> int:
        """Training images that the supernet sees in a round."""
        return self.round_steps * self.images_per_step

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise unknown_name("rule", self.rule, get_args(Rule))
        for name in ("round_steps", "paths", "updates", "samples", "reward_images"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.warmup < 1:
            raise InputError(f"warmup is {self.warmup}; it must be from 0 to below 1")
