"""A cell drawn as SVG: its inputs on the left, its nodes, and what they give on the right."""

from __future__ import annotations

import html
from collections.abc import Sequence

from archfit.report.network_picture import COLOURS, OTHER_COLOUR
from archfit.spaces import CellGraph

BOX_WIDTH, BOX_HEIGHT, GAP = 118, 26, 6
INPUT_WIDTH, COLUMN, ROW, TOP = 112, 216, 92, 34
_STATES = {0: "cell before last", 1: "last cell"}
_OPERATIONS = {
    "identity": ("identity", "none"),
    "sep": ("separable", COLOURS["dconv"]),
    "dil": ("dilated", COLOURS["linear"]),
    "conv": ("convolution", COLOURS["conv"]),
    "avg": ("mean", COLOURS["pool"]),
    "max": ("maximum", COLOURS["pool"]),
}


def cell_svg(cell: CellGraph) -> str:
    """An `<svg>` element without outer references; text takes the colour of its surroundings.

    A node stands one column right of the rightmost state that it reads. Its two operations lie above each other, their
    sum is the circle beside them.
    """
    columns = _columns(cell)
    rows = max(2, *(columns.count(column) for column in columns))
    places = _places(columns, rows)
    right = INPUT_WIDTH + 46 + COLUMN * max(columns)
    height = TOP + ROW * rows
    lines, boxes = [], []
    for state, column in enumerate(columns):
        x, y = places[state]
        if not column:
            boxes.append(_input(_STATES[state], y))
            continue
        for side, (name, source) in enumerate(cell.nodes[state - 2]):
            top = y - BOX_HEIGHT - GAP / 2 + side * (BOX_HEIGHT + GAP)
            lines.append(_line(*_port(source, places), x, top + BOX_HEIGHT / 2))
            lines.append(_line(x + BOX_WIDTH, top + BOX_HEIGHT / 2, x + BOX_WIDTH + 24, y))
            boxes.append(_operation(name, source, x, top))
        boxes.append(_sum(state - 1, x + BOX_WIDTH + 34, y))
    lines += [_line(*_port(state, places), right, height / 2 + TOP / 2 - 8) for state in cell.outputs]
    boxes.append(_output(len(cell.outputs), right, TOP + (height - TOP) / 2 - 8))
    width = right + 76
    title = html.escape(cell.name)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="The {title} as a graph" font-family="system-ui, sans-serif" font-size="12" fill="currentColor">'
        f'<text x="0" y="14" font-weight="600">{title}</text>{"".join(lines)}{"".join(boxes)}</svg>'
    )


def _columns(cell: CellGraph) -> list[int]:
    """Of each state: 0 for the two inputs."""
    columns = [0, 0]
    for node in cell.nodes:
        columns.append(1 + max(columns[source] for _, source in node))
    return columns


def _places(columns: Sequence[int], rows: int) -> list[tuple[float, float]]:
    """Left edge and middle of each state; those of a column are spread over the height."""
    places: list[tuple[float, float]] = []
    for state, column in enumerate(columns):
        alike = [other for other, at in enumerate(columns) if at == column]
        x = 0 if not column else INPUT_WIDTH + 46 + COLUMN * (column - 1)
        places.append((x, TOP + ROW * rows * (alike.index(state) + 0.5) / len(alike) - 8))
    return places


def _port(state: int, places: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Where lines from a state begin."""
    x, y = places[state]
    return (INPUT_WIDTH, y) if state < 2 else (x + BOX_WIDTH + 44, y)


def _line(x: float, y: float, end_x: float, end_y: float) -> str:
    bend = max(20.0, (end_x - x) / 2)
    return (
        f'<path d="M{x:.1f} {y:.1f}C{x + bend:.1f} {y:.1f} {end_x - bend:.1f} {end_y:.1f} {end_x:.1f} {end_y:.1f}" '
        'fill="none" stroke="currentColor" stroke-opacity=".45" stroke-width="1.3"/>'
    )


def _operation(name: str, source: int, x: float, y: float) -> str:
    text, colour = words(name)
    title = html.escape(f"{text} of {_STATES.get(source, f'node {source - 1}')}")
    return (
        f'<g><title>{title}</title><rect x="{x}" y="{y:.1f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
        f'rx="3" fill="var(--card, #fff)" stroke="{OTHER_COLOUR if colour == "none" else colour}"/>'
        f'<rect x="{x}" y="{y:.1f}" width="7" height="{BOX_HEIGHT}" rx="3" fill="{colour}"/>'
        f'<text x="{x + 14}" y="{y + 17:.1f}">{html.escape(text)}</text></g>'
    )


def words(name: str) -> tuple[str, str]:
    """An operation in words, and its colour."""
    kind, kernel = (name, "") if name == "identity" else (name.rstrip("0123456789"), name[-1])
    if name == "conv1x7":
        return "1x7 and 7x1", _OPERATIONS["conv"][1]
    word, colour = _OPERATIONS.get(kind, (name, OTHER_COLOUR))
    return f"{word} {kernel}x{kernel}" if kernel else word, colour


def _input(name: str, y: float) -> str:
    return (
        f'<rect x="0.5" y="{y - 13:.1f}" width="{INPUT_WIDTH - 1}" height="26" rx="13" fill="var(--card, #fff)" '
        f'stroke="currentColor" stroke-opacity=".45"/>'
        f'<text x="{INPUT_WIDTH / 2}" y="{y + 4:.1f}" text-anchor="middle">{name}</text>'
    )


def _sum(number: int, x: float, y: float) -> str:
    return (
        f'<g><title>node {number}: the sum of the two</title><circle cx="{x:.1f}" cy="{y:.1f}" r="10" '
        'fill="var(--card, #fff)" stroke="currentColor" stroke-opacity=".45"/>'
        f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">+</text></g>'
    )


def _output(count: int, x: float, y: float) -> str:
    what = f"{count} concatenated" if count > 1 else "the output"
    return (
        f'<g><title>{what}</title><rect x="{x}" y="{y - 13:.1f}" width="64" height="26" rx="13" '
        'fill="var(--card, #fff)" stroke="currentColor" stroke-opacity=".45"/>'
        f'<text x="{x + 32}" y="{y + 4:.1f}" text-anchor="middle">output</text></g>'
    )
