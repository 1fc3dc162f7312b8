"""What a search knows of each trial, as plain values: read from the study, shown by the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archfit.architecture import Architecture
from archfit.cost import Cost

State = Literal["complete", "pruned", "failed", "running"]

FIRST = "source"
"""Origin of trials that were given, not proposed: those nearest to the network whose weights are inherited."""

PLAIN = "plain"
"""Origin of trials that were given: networks with one operation throughout, the largest within the budget."""

GIVEN = (FIRST, PLAIN)
"""Origins of trials that are no merit of the search."""

DERIVED = "derived"
"""Origin of trials that the controller of a search with shared weights gave at its end."""


@dataclass(frozen=True)
class TrialRecord:
    """One architecture in a study.

    Attributes:
        number: From 0, in the order proposed.
        state: pruned: its cost was too far past the budget, never trained. failed: `reason` says why.
        architecture: Canonical; None only where a trial died before it was decided.
        origin: "random" for uniformly drawn start-up trials, `FIRST`, `PLAIN`, `DERIVED`, else the sampler's name.
        cost: As far as it was determined before training.
        accuracy: On the validation split in [0, 1]: by proxy training, or by shared weights.
        reward: What the sampler was told.
        within_budget: None where a bounded cost is unknown.
        seconds_measure: Building, export and timing.
        seconds_train: Proxy training and validation.
        reason: Why it was pruned or failed.
        repeat_of: Number of the earlier trial with the same network, whose accuracy this one shares.
        seed: Of its proxy training.
        finished_s: Seconds after the start of the study's first trial.
        rung: Of successive halving; 0 where a network is trained for the first time. With shared weights 0 is scored by
            them, 1 trained alone.
        promotes: Number of the trial whose network this one trains on; with shared weights, alone.
        driver: Name of the driver that asked for it, where several share the study.
    """

    number: int
    state: State
    architecture: Architecture | None
    origin: str
    cost: Cost | None
    accuracy: float | None
    reward: float | None
    within_budget: bool | None
    seconds_measure: float = 0.0
    seconds_train: float = 0.0
    reason: str | None = None
    repeat_of: int | None = None
    seed: int = 0
    finished_s: float | None = None
    rung: int = 0
    promotes: int | None = None
    driver: str | None = None
