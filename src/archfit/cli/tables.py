"""The small tables of the short commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from archfit.report.wording import clock_note, count, latency_range, megabytes, milliseconds, percent

if TYPE_CHECKING:
    from pathlib import Path

    from archfit.catalogue import Reference
    from archfit.device import LatencyTable
    from archfit.pipeline import Comparison, Measured
    from archfit.report import Compared


_COMPARED = ("network", "pixels", "params", "publ.", "MAdds", "publ.", "latency", "top-1")


def cost_table(measured: Measured) -> Table:
    """Everything that `archfit measure` found."""
    table = Table(show_header=False, box=None, pad_edge=False)
    cost = measured.cost
    table.add_row("network", escape(measured.name))
    if cost.latency is not None:
        table.add_row("latency", f"{latency_range(cost.latency)}  p50 (p10-p90), {cost.latency.runs} runs")
        table.add_row("spread", f"{cost.latency.spread:.1%} of the median between blocks")
        if (note := clock_note(cost.latency)) is not None:
            table.add_row("clock", note)
        threads = f"{cost.latency.threads} thread" + ("s" if cost.latency.threads > 1 else "")
        table.add_row("runtime", f"{cost.latency.runtime}, {threads}, batch {cost.latency.batch}")
        table.add_row("device", cost.latency.device)
    table.add_row("memory", f"{megabytes(cost.memory_bytes)}  peak activations plus weights")
    if cost.file_bytes is not None:
        table.add_row("file", megabytes(cost.file_bytes))
    table.add_row("parameters", f"{cost.params:,}")
    if cost.madds:
        table.add_row("MAdds", f"{cost.madds:,}")
    return table


def latency_table_summary(table: LatencyTable, path: Path) -> Table:
    """What a latency table rests on, and how far it can be trusted."""
    shown = Table(show_header=False, box=None, pad_edge=False)
    size = table.task.image_size
    measured = sum(entry.networks > 0 for entry in table.entries.values())
    shown.add_row("latency table", escape(str(path)))
    shown.add_row("space", f"{table.space}, {size}x{size} pixels, {table.task.classes} classes")
    shown.add_row("networks", f"{table.networks} measured")
    shown.add_row("pieces", f"{measured:,} in one of them, {len(table.entries) - measured:,} judged by their like")
    shown.add_row(
        "error", f"{percent(table.error)} median, 90 % within {percent(table.error_p90)}, of networks left out"
    )
    threads = f"{table.threads} thread" + ("s" if table.threads > 1 else "")
    shown.add_row("runtime", f"{table.runtime}, {threads}, batch {table.batch}")
    shown.add_row("device", table.device)
    return shown


def comparison_table(comparison: Comparison) -> Table:
    """Networks side by side; beside the counts, how far they lie from the published ones."""
    threads = f"{comparison.threads} thread" + ("s" if comparison.threads > 1 else "")
    table = Table(
        title=f"{comparison.runtime}, {threads}, on {comparison.device}; {comparison.classes} classes",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    sizes = {row.image_size for row in comparison.rows}
    shown = [column for column in range(len(_COMPARED)) if len(sizes) > 1 or _COMPARED[column] != "pixels"]
    for column in shown:
        table.add_column(_COMPARED[column], justify="right" if column else "left", no_wrap=column > 0)
    for row in comparison.rows:
        cells = _compared(row)
        table.add_row(*(Text(cells[column]) for column in shown))
    return table


def _compared(row: Compared) -> list[str]:
    from archfit.report.comparison import difference, signed_percent

    cost, published = row.cost, row.published
    return [
        row.label,
        str(row.image_size),
        count(cost.params) if cost is not None else "–",
        signed_percent(difference(cost, published, "params")),
        count(cost.madds) if cost is not None else "–",
        signed_percent(difference(cost, published, "madds")),
        milliseconds(cost.latency.p50_ms) if cost is not None and cost.latency is not None else "–",
        f"{published.top1:g} %" if published.top1 else "",
    ]


def reference_table(references: Sequence[Reference]) -> Table:
    """Our references with their published figures."""
    table = Table(box=None, pad_edge=False)
    for name in ("network", "family", "params", "MAdds", "pixels", "top-1", "weights"):
        table.add_column(name, justify="right" if name in ("params", "MAdds", "pixels", "top-1") else "left")
    for reference in references:
        published = reference.published
        table.add_row(
            reference.name,
            reference.family,
            count(published.params),
            count(published.madds),
            str(published.image_size),
            f"{published.top1:g} %" if published.top1 else "–",
            reference.weights.partition(":")[0] or "–",
        )
    return table
