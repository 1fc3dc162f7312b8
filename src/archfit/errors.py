"""What archfit raises when the input, the machine or a run is not as it must be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ArchfitError(Exception):
    """Base of every error that a user can mend.

    The message says what is wrong, the value, and what to do. The command line prints it as one line and exits
    with code 2.
    """


class InputError(ArchfitError, ValueError):
    """An argument has a value that cannot be used."""


class DataError(ArchfitError):
    """A dataset is missing, unreadable or not usable for training."""


class BudgetError(ArchfitError):
    """No network of the space can meet the budget."""


class DivergedError(ArchfitError):
    """The training loss became infinite or not a number."""


class RunError(ArchfitError):
    """A run folder cannot be written, read or resumed."""


class DeviceError(ArchfitError):
    """A network cannot be exported, or executed by the chosen runtime."""


class WeightsError(ArchfitError):
    """A weights file cannot be read, or is of another architecture."""


class MissingExtraError(ArchfitError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'archfit[{extra}]'")


def first_line(error: BaseException) -> str:
    """What an error of another library says, as much of it as goes into a message of ours."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not known, with the nearest known one suggested.

    Args:
        kind: What the name stands for, as in "sampler".
        name: What was given.
        known: All valid names.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {name!r}; {hint}there are: {', '.join(names)}")
