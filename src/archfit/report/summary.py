"""What the terminal says at the end of a search."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from archfit.report.record import RunResult, TrainedNetwork
from archfit.report.sharing import evidence_sentence
from archfit.report.wording import (
    BOUND_NAMES,
    accuracy_with_error,
    budget_verdicts,
    clock_note,
    count,
    duration,
    latency_range,
    megabytes,
    milliseconds,
    percent,
)
from archfit.study.record import TrialRecord

_ROLES = ("finalist", "stopped", "control", "reference")


def print_summary(result: RunResult, trials: Sequence[TrialRecord], folder: Path, console: Console) -> None:
    """Prints the winner, its rivals, the evidence, and what to do next; all of it reads without colours."""
    console.print(_winner_panel(result))
    others = sorted(
        (network for network in result.trained if network.role in _ROLES),
        key=lambda network: (_ROLES.index(network.role), -network.validation_accuracy),
    )
    if others:
        console.print(_others_table(others, bounded=bool(result.budget.names())))
        console.print(_indented("valid.: validation accuracy when its training ended; latency: median", style="dim"))
    console.print()
    console.print(_indented(evidence_sentence(result.search, result.trained, trials)))
    console.print(_indented(_times(result, trials)))
    console.print()
    name = shlex.quote(str(folder))
    if files := _files(folder):
        console.print(_indented(f"{folder} holds {', '.join(files)}."))
    for command, purpose in (
        (f"archfit report {name}", "write the page again"),
        (f"archfit predict {name} picture.png", "classify a picture"),
        (f"archfit measure {shlex.quote(str(folder / 'network.onnx'))}", "time it on this machine"),
    ):
        # Not wrapped, so that a command can be copied whole.
        console.print(Text.assemble("  ", (command, "bold"), (f"   # {purpose}", "dim")), soft_wrap=True)


def _indented(text: str, *, style: str = "") -> Padding:
    return Padding(Text(text, style=style), (0, 1, 0, 2))


def _winner_panel(result: RunResult) -> Panel:
    winner, cost = result.winner, result.winner.cost
    verdicts = {verdict.name: verdict for verdict in budget_verdicts(cost, result.budget)}
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()

    def row(label: str, value: str, bound: str = "") -> None:
        text = Text(value)
        if bound in verdicts:
            style = {True: "green", False: "bold red", None: "yellow"}[verdicts[bound].holds]
            text.append(f"\n{verdicts[bound].text}", style=style)
        grid.add_row(label, text)

    test = result.test
    row(
        "test accuracy",
        f"{accuracy_with_error(test.accuracy, test.standard_error)}  (two standard errors, {test.images} images)",
    )
    row("validation", percent(winner.validation_accuracy))
    row("latency p50 (p10–p90)" if cost.latency else "latency", latency_range(cost.latency), "latency")
    if cost.latency:
        latency = cost.latency
        threads = f"{latency.threads} thread{'' if latency.threads == 1 else 's'}"
        row("measured on", f"{latency.device}, {latency.runtime}, {threads}")
        if (note := clock_note(latency)) is not None:
            row("clock", note)
    row(BOUND_NAMES["params"], count(cost.params), "params")
    row(BOUND_NAMES["madds"], count(cost.madds), "madds")
    row(BOUND_NAMES["memory"], megabytes(cost.memory_bytes), "memory")
    row("file", megabytes(cost.file_bytes))
    parity = result.parity
    row("export", f"same answer as PyTorch on {parity.same_top1} of {parity.images} test images")
    if not result.budget.names():
        standing, style = "no budget was set", "cyan"
    elif winner.within_budget:
        standing, style = "within the budget", "green"
    else:
        standing, style = "OVER THE BUDGET", "red"
    title = Text(f"{winner.name}: {standing}", style="bold")
    return Panel(grid, title=title, title_align="left", border_style=style)


def _others_table(networks: Sequence[TrainedNetwork], *, bounded: bool) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=True, header_style="dim")
    table.add_column("network", overflow="fold")
    table.add_column("role")
    for name in ("valid.", "test", "latency", "params"):
        table.add_column(name, justify="right", no_wrap=True)
    if bounded:
        table.add_column("budget", no_wrap=True)
    for network in networks:
        latency = network.cost.latency
        cells: list[str | Text] = [
            Text(network.name),
            network.role,
            percent(network.validation_accuracy),
            percent(network.test_accuracy),
            milliseconds(latency.p50_ms if latency else None),
            count(network.cost.params),
        ]
        if bounded:
            cells.append("within" if network.within_budget else "over")
        table.add_row(*cells)
    return table


def _times(result: RunResult, trials: Sequence[TrialRecord]) -> str:
    states = {state: sum(trial.state == state for trial in trials) for state in ("complete", "pruned", "failed")}
    told = ", ".join(f"{number} {state}" for state, number in states.items() if number)
    seconds = result.seconds
    spent = ", ".join(
        f"{words} {duration(seconds[name])}"
        for name, words in (("search", "search"), ("train", "training in full"), ("total", "all"))
        if name in seconds
    )
    further = sum(trial.promotes is not None for trial in trials)
    how = "alone" if result.search.get("method") == "shared" else "on"
    told += f"; {further} of them train an earlier one {how}" if further else ""
    return f"{len(trials)} trials ({told}). Time: {spent}."


def _files(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir() if path.name[0] != ".")
