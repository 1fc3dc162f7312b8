"""Where jobs run: what the search asks of local processes and of a cluster alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Job = Callable[[Any, Callable[[Any], None]], Any]
"""A job gets the executor's context and a function that reports progress; what it returns is the event's value."""


@dataclass(frozen=True)
class Event:
    """What is heard of a job.

    Attributes:
        key: Of the job.
        kind: "progress", "done", "failed" (the job raised) or "lost" (the process died).
        value: Progress or result; for the last two the reason as text.
        seconds: Since the job's start, pauses left out.
    """

    key: int
    kind: Literal["progress", "done", "failed", "lost"]
    value: Any
    seconds: float


class Executor(Protocol):
    """Runs jobs beside the driver; each is answered by an event that is not "progress", however it ends."""

    @property
    def size(self) -> int:
        """Jobs that can run at a time."""
        ...

    @property
    def free(self) -> int:
        """Of those, the ones that do not."""
        ...

    def submit(self, key: int, job: Job) -> None:
        """Starts a job; `key` comes back in its events."""
        ...

    def events(self, timeout: float) -> Iterator[Event]:
        """What was heard within `timeout` seconds; returns as soon as there is something."""
        ...

    def seconds(self, key: int) -> float:
        """How long a job has been running, without the start of its process; 0 for one that does not."""
        ...

    def cancel(self, key: int) -> None:
        """Ends a job; it is answered by no event."""
        ...

    def paused(self) -> AbstractContextManager[None]:
        """Stops what runs on this machine while the block runs, so that what is timed in it has the cores."""
        ...
