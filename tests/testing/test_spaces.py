from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from archfit.architecture import Architecture, Choice, Task
from archfit.testing.spaces import check_space

TASK = Task(channels=1, image_size=4, classes=3)


@dataclass(frozen=True)
class ToySpace:
    """One hidden layer of 2 or 4 units; `unused` makes no difference. Right unless `fault` names a fault."""

    fault: str = ""

    @property
    def name(self) -> str:
        return "toy"

    @property
    def choices(self) -> tuple[Choice, ...]:
        second = "units" if self.fault == "same name" else "unused"
        return Choice("units", (2, 2) if self.fault == "same option" else (2, 4)), Choice(second, ("a", "b"))

    def build(self, architecture: Architecture, task: Task) -> nn.Module:
        units = int(architecture["units"]) + (architecture["unused"] == "b" and self.fault == "other params")
        outputs = task.classes + (self.fault == "shape")
        hidden: nn.Module = nn.Linear(task.channels * task.image_size**2, units)
        if self.fault == "randomness":
            nn.init.normal_(hidden.weight, generator=torch.Generator().manual_seed(id(hidden)))
        if self.fault == "not finite":
            nn.init.constant_(hidden.weight, float("nan"))
        layers = [nn.Flatten(), hidden, nn.ReLU(), nn.Linear(units, outputs)]
        return nn.Sequential(*layers)

    def canonical(self, architecture: Architecture, task: Task) -> Architecture:
        kept = {"not idempotent": {"a": "b", "b": "a"}, "not a member": {"a": "c", "b": "c"}}
        unused = kept.get(self.fault, {}).get(str(architecture["unused"]), "a")
        return Architecture("toy", (("units", architecture["units"]), ("unused", unused)))

    def settings(self) -> dict[str, Any]:
        return {"sizes": (2, 4)} if self.fault == "settings" else {"fault": self.fault}

    def smaller(self) -> ToySpace | None:
        return self if self.fault == "smaller" else None

    def source(self, architecture: Architecture, task: Task) -> str:
        return "def (" if self.fault == "source" else "x = 1\n"

    def __reduce__(self) -> Any:
        if self.fault == "pickle":
            raise TypeError("no")
        return (ToySpace, (self.fault,))


def test_a_right_space_passes_and_leaves_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    check_space(ToySpace(), TASK)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("same name", r"choice names are not unique: \['units'\]"),
        ("same option", r"choice units repeats one of \(2, 2\)"),
        ("other params", "its canonical one"),
        ("shape", r"gives \(2, 4\), not \(2, 3\)"),
        ("randomness", "not drawn from torch's global generator alone"),
        ("not finite", "in training gives logits that are not finite"),
        ("not idempotent", "not idempotent"),
        ("not a member", "is not a point of the space"),
        ("settings", "changes through JSON"),
        ("smaller", "smaller\\(\\) comes back to"),
        ("source", "source\\(\\) is not Python"),
        ("pickle", "cannot be pickled"),
    ],
)
def test_every_fault_is_named(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_space(ToySpace(fault), TASK)


def test_something_else_is_not_a_space() -> None:
    with pytest.raises(AssertionError, match="object lacks a member of the SearchSpace protocol"):
        check_space(object(), TASK)  # type: ignore[arg-type]
