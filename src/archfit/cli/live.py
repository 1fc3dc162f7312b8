"""What the terminal shows while a verb works, and what a dry run found."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from archfit.report.wording import duration, epochs_in_words, megabytes, milliseconds, percent

if TYPE_CHECKING:
    from archfit.cost import Budget
    from archfit.pipeline import Estimate, SearchRequest, SearchResult, TrainingStatus, TrainResult
    from archfit.study.record import TrialRecord
    from archfit.study.search import SearchStatus
    from archfit.study.shared_state import SharedStatus

_LOG_SECONDS = 15.0


class LiveWatch:
    """Live lines on a terminal; elsewhere one plain line now and then.

    While it is entered, Ctrl-C is remembered as well as raised: Python drops a `KeyboardInterrupt` that comes up in a
    finaliser or a callback from C, so the next line of progress raises it again.
    """

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._noted: set[str] = set()
        self._logged = 0.0
        self._told: set[int] = set()
        self._folder: Path | None = None
        self._interrupted = False
        self._handler: Any = None

    def __enter__(self) -> LiveWatch:
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._interrupt)
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def close(self) -> None:
        """Ends the live lines, so that something else can be printed."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def folder(self) -> Path | None:
        """Of the run, once there is one to resume."""
        return self._folder if self._folder is not None and self._folder.is_dir() else None

    def started(self, folder: Path) -> None:
        self._folder = folder
        self.console.print(Text(f"run folder {folder}"), soft_wrap=True)

    def note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self.console.print(Text(text), soft_wrap=True)

    def step(self, text: str) -> None:
        self._show(Text(f"{text} ..."), text)

    def searching(self, status: SearchStatus, budget: Budget) -> None:
        for trial in status.trials:
            if trial.state == "failed" and trial.number not in self._told:
                self._told.add(trial.number)
                self.note(f"trial {trial.number} failed: {trial.reason}")
        share, left = _left(status)
        ended = [t for t in status.trials if t.state != "running"]
        done = [t for t in ended if t.promotes is None]
        pruned = sum(t.state == "pruned" for t in done)
        head = f"search  candidate {len(done)}"
        if status.limits.trials is not None:
            head += f" of {status.limits.trials}"
        how = "trained alone" if status.alone else "trained on"
        further = f", {len(ended) - len(done)} {how}" if len(ended) > len(done) else ""
        head += f" ({pruned} pruned{further}), {duration(status.elapsed)}, {left}"
        best = f"best so far  {_trial(status.best, budget, shared=status.alone)}"
        now = ", ".join(f"trial {number} {share_:.0%}" for number, share_ in sorted(status.running.items()))
        now = "measuring latency, training paused" if status.measuring else f"training {now}" if now else "proposing"
        self._show(
            Group(
                Text(head),
                _bar(share),
                Text(best),
                Text(now, style="dim"),
            ),
            f"{head}; {best}",
            slow=True,
        )

    def sharing(self, status: SharedStatus, budget: Budget) -> None:
        share = status.step / status.steps
        head = f"shared weights  step {status.step:,} of {status.steps:,}, {duration(status.elapsed)}"
        if status.seconds_left is not None:
            head += f", about {duration(status.seconds_left)} left"
        lines = []
        if status.rounds:
            last = status.rounds[-1]
            learnt = f"round {len(status.rounds)}  loss {last.loss:.3f}"
            if last.reward is not None and last.best is not None:
                learnt += f", the controller's mean reward {last.reward:.3f}, best {last.best:.3f}"
                learnt += f", accuracy {percent(last.accuracy)} by shared weights"
            lines.append(learnt)
        if names := budget.names():
            lines.append(f"budget {budget} ({', '.join(names)} predicted until the end)")
        now = Text(status.phase, style="dim")
        self._show(Group(Text(head), _bar(share), *map(Text, lines), now), "; ".join([head, *lines]), slow=True)

    def training(self, status: TrainingStatus) -> None:
        share = status.share
        left = duration(status.seconds_left) if status.seconds_left is not None else "..."
        head = f"training {status.total} {status.title}  {share:.0%}, {duration(status.elapsed)}, about {left} left"
        lines = []
        for name, progress in status.networks.items():
            accuracy = progress["accuracy"]
            shown = f", validation {percent(accuracy)}" if accuracy is not None else ""
            epoch = min(progress["epochs"], progress["epoch"] + 1)
            lines.append(f"{name}  epoch {epoch} of {progress['epochs']}{shown}")
        bar = _bar(share)
        self._show(Group(Text(head), bar, *(Text(line) for line in lines)), "; ".join([head, *lines]), slow=True)

    def _show(self, live: Text | Group, plain: str, *, slow: bool = False) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        if self._live is not None:
            self._live.update(live)
        elif not self.console.is_terminal and time.monotonic() - self._logged > (_LOG_SECONDS if slow else 2.0):
            self._logged = time.monotonic()
            self.console.print(Text(plain), soft_wrap=True)


def _bar(share: float, width: int = 60) -> Text:
    """A line that is as full as the work; Rich's own bar ends without a new line inside a group."""
    done = round(min(1.0, max(0.0, share)) * width)
    return Text.assemble(("━" * done, "green"), ("━" * (width - done), "dim"))


def _left(status: SearchStatus) -> tuple[float, str]:
    """Share of the search that is done, and how long it has yet."""
    if status.alone:
        return _left_alone(status)
    limits = status.limits
    shares = []
    done = sum(t.state != "running" and t.promotes is None for t in status.trials)
    if limits.trials is not None:
        shares.append(min(1.0, done / limits.trials))
    if limits.search_seconds is not None:
        shares.append(min(1.0, status.elapsed / limits.search_seconds))
    if not shares:
        return 0.0, f"until {limits.patience} trials bring nothing better"
    share = max(shares)
    if share < 0.03:
        return share, "time left unknown yet"
    if limits.search_seconds is not None and share == shares[-1]:
        return share, f"{duration(max(0.0, limits.search_seconds - status.elapsed))} left"
    return share, f"about {duration(status.elapsed * (1 - share) / share)} left"


def _left_alone(status: SearchStatus) -> tuple[float, str]:
    """The same where shared weights score in seconds, and training the best alone is what takes its time."""
    ended = [t.seconds_train for t in status.trials if t.promotes is not None and t.state != "running"]
    if not ended:
        return 0.0, "time left unknown yet"
    wanted = max(status.wanted_alone, len(ended))
    left = fmean(ended) * (wanted - len(ended)) / max(1, len(status.running))
    return len(ended) / wanted, f"about {duration(left)} left"


def _trial(trial: TrialRecord | None, budget: Budget, *, shared: bool) -> str:
    if trial is None:
        return "none yet"
    kind = "accuracy by shared weights" if shared and trial.promotes is None else "proxy accuracy"
    parts = [f"trial {trial.number}", f"{kind} {percent(trial.accuracy)}"]
    if trial.cost is not None:
        latency = trial.cost.latency
        if latency is not None:
            bound = f" of {milliseconds(budget.latency_ms)}" if budget.latency_ms is not None else ""
            parts.append(f"{milliseconds(latency.p50_ms)}{bound}")
        parts.append(f"{trial.cost.params:,} parameters")
    if trial.within_budget is False:
        parts.append("past the budget")
    return ", ".join(parts)


def run_guarded(verb: Callable[[], SearchResult | TrainResult], watch: LiveWatch) -> None:
    """Runs a verb with a run folder, prints its summary; after Ctrl-C says how to go on and exits with 130."""
    from archfit.pipeline import TrainResult
    from archfit.report import print_summary, print_training

    try:
        result = verb()
    except KeyboardInterrupt:
        watch.close()
        if watch.folder is not None:
            print(f"archfit: stopped; go on with: archfit resume {watch.folder}", file=sys.stderr)
        else:
            print("archfit: stopped before there was anything to keep", file=sys.stderr)
        raise typer.Exit(130) from None
    watch.close()
    if isinstance(result, TrainResult):
        print_training(result.record, result.folder, Console())
    else:
        print_summary(result.record, result.trials, result.folder, Console())


def print_estimate(found: Estimate, request: SearchRequest) -> None:
    """What a dry run found."""
    console = Console(highlight=False)
    for note in found.notes:
        console.print(Text(note))
    table = Table(title=f"space {found.space}", title_justify="left", box=None, pad_edge=False)
    for name in ("", "least", "median", "most"):
        table.add_column(name, justify="right" if name else "left")
    latencies = [c.latency.p50_ms for c in found.costs if c.latency is not None]
    rows: list[tuple[str, list[float], Callable[[float], str]]] = [
        ("latency", latencies, milliseconds),
        ("memory", [c.memory_bytes for c in found.costs if c.memory_bytes is not None], megabytes),
        ("parameters", [c.params for c in found.costs], lambda value: f"{value:,.0f}"),
        ("MAdds", [c.madds for c in found.costs], lambda value: f"{value:,.0f}"),
    ]
    for name, values, show in rows:
        if values:
            ordered = sorted(values)
            table.add_row(name, show(ordered[0]), show(ordered[len(ordered) // 2]), show(ordered[-1]))
    console.print(table)
    if found.scaled:
        console.print(f"scaled to the budget: {found.scaled}")
    if request.budget.names():
        console.print(
            f"{found.share:.0%} of {len(found.costs)} random networks are within the budget ({request.budget})"
        )
    if found.supernet_epochs is not None:
        console.print(
            f"the supernet: {found.supernet_epochs:.2g} epochs, two paths at once "
            f"({found.images_per_second:,.0f} images/s each)"
        )
    console.print(
        f"{'one of the best' if found.supernet_epochs is not None else 'a candidate'}: proxy training for "
        f"{epochs_in_words(found.proxy_epochs)}; about {duration(found.seconds_per_trial)} on one of "
        f"{request.worker_count} workers ({found.images_per_second:,.0f} images/s)"
    )
    total = f"about {duration(found.seconds)}" if found.seconds is not None else "until patience runs out"
    trials = f" with about {found.trials} candidates" if found.trials is not None else ""
    console.print(f"the whole search{trials}: {total}")
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
