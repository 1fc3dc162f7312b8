"""What a search with shared weights keeps between rounds, in one file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from archfit.errors import RunError
from archfit.study.run_folder import write_file


@dataclass(frozen=True)
class Round:
    """What one round of a search with shared weights gave.

    Attributes:
        step: Supernet steps done after it.
        loss: Mean training loss of the sampled paths.
        accuracy: Mean over the paths the controller sampled, on validation batches; None before the controller begins.
        reward: The same for the reward.
        entropy: Of the controller's distribution, in nats, mean over the same.
        best: The best reward of a sampled path so far.
        seconds: That it took.
    """

    step: int
    loss: float
    accuracy: float | None = None
    reward: float | None = None
    entropy: float | None = None
    best: float | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class SharedState:
    """A search with shared weights between two rounds; every random draw is a function of the seed and the round.

    Attributes:
        configuration: Space, task and settings, which a resumed search must share.
        rounds: Done so far.
        supernet: State dict.
        optimiser: The supernet's.
        policy: State dict of the controller.
        policy_optimiser: The controller's.
        baseline: The controller's moving baseline.
    """

    configuration: Mapping[str, Any]
    rounds: tuple[Round, ...]
    supernet: dict[str, Any]
    optimiser: dict[str, Any]
    policy: dict[str, Any]
    policy_optimiser: dict[str, Any]
    baseline: float | None

    def save(self, path: Path) -> None:
        """Whole or not at all."""
        content = {**vars(self), "configuration": json.dumps(self.configuration, sort_keys=True)}
        content["rounds"] = [asdict(entry) for entry in self.rounds]
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_file(path, buffer.getvalue())


@dataclass(frozen=True)
class SharedStatus:
    """How far a search with shared weights is, for whoever shows it.

    Attributes:
        phase: What is done now, in words.
        step: Of the supernet.
        steps: In all.
        rounds: Done so far.
        elapsed: Seconds, earlier sessions included.
        seconds_left: By the speed of this session; None while that is not known.
    """

    phase: str
    step: int
    steps: int
    rounds: tuple[Round, ...]
    elapsed: float
    seconds_left: float | None = None


def read_state(path: Path, configuration: Mapping[str, Any]) -> SharedState | None:
    """The state at `path`, or None where there is none yet.

    Raises:
        RunError: The file is no such state, or that of another configuration; the first setting that differs is named.
    """
    if not path.is_file():
        return None
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is cut off, or no checkpoint")
        content = torch.load(path, map_location="cpu", weights_only=True)
        stored = json.loads(content.pop("configuration"))
        rounds = tuple(Round(**entry) for entry in content.pop("rounds"))
        state = SharedState(stored, rounds, **content)
    except Exception as error:  # noqa: BLE001 - torch raises what it likes on a damaged file
        raise RunError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); delete it, and the search with shared weights "
            "begins anew from its first step"
        ) from None
    expected = json.loads(json.dumps(configuration, sort_keys=True))
    for name in sorted({*stored, *expected}):
        if stored.get(name) != expected.get(name):
            raise RunError(
                f"{path} was written with {name} {stored.get(name)}, this search has {expected.get(name)}; resume it "
                "with what it was begun with, or start a new run"
            )
    return state
