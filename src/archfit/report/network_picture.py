"""The winner's layers drawn as SVG: boxes in reading order, as high as they have channels."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from archfit.report.record import Layer
from archfit.report.wording import count, percent

CELL_WIDTH, BOX_HEIGHT, BOX_WIDTH, TEXT_LINE = 172, 72, 132, 15
COLOURS = {
    "conv": "#4f86c6",
    "dconv": "#2a9d8f",
    "mbconv3": "#c99a2e",
    "mbconv6": "#d9763a",
    "pool": "#8a94a3",
    "linear": "#a06cb8",
    "normal": "#2a9d8f",
    "reduction": "#d9763a",
}
OTHER_COLOUR = "#8a94a3"


def network_svg(layers: Sequence[Layer], *, columns: int = 6) -> str:
    """An `<svg>` element without outer references; text takes the colour of its surroundings.

    Args:
        layers: In the order of the forward pass.
        columns: Boxes in one row; a box takes 172 px.
    """
    columns = max(1, min(columns, len(layers)))
    texts = [_text_lines(layer, layers) for layer in layers]
    most = max((_channels(layer) for layer in layers), default=1)
    # The root keeps 16 channels visible beside 1280.
    boxes = [max(8.0, BOX_HEIGHT * math.sqrt(_channels(layer) / most)) for layer in layers]
    cells, top = [], 0.0
    for start in range(0, len(layers), columns):
        row = range(start, min(start + columns, len(layers)))
        base = top + 8 + max(boxes[i] for i in row)
        for i in row:
            x = CELL_WIDTH * (i - start)
            cells.append(_cell(layers[i], texts[i], boxes[i], x, base, last=i == len(layers) - 1))
        top = base + 26 + TEXT_LINE * max(len(texts[i]) for i in row)
    width, height = CELL_WIDTH * columns, math.ceil(top)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="The network, layer by layer" font-family="system-ui, sans-serif" font-size="12" '
        f'fill="currentColor">{"".join(cells)}</svg>'
    )


def _cell(layer: Layer, lines: Sequence[str], box: float, x: int, base: float, *, last: bool) -> str:
    title = "\n".join(
        [
            f"{layer.name}: {layer.kind}",
            layer.detail,
            f"output {_shape(layer.shape)}",
            f"{layer.params:,} parameters, {layer.madds:,} MAdds",
        ]
    )
    arrow = (
        ""
        if last
        else f'<path d="M{x + BOX_WIDTH + 6} {base - 5:.1f}h24m-5 -4l5 4l-5 4" fill="none" stroke="currentColor" '
        'stroke-opacity=".45" stroke-width="1.3"/>'
    )
    texts = "".join(
        f'<text x="{x}" y="{base + 17 + TEXT_LINE * i:.1f}"'
        + (' font-weight="600"' if i == 0 else ' fill-opacity=".72"')
        + f">{html.escape(line)}</text>"
        for i, line in enumerate(lines)
    )
    return (
        f"<g><title>{html.escape(title)}</title>"
        f'<rect x="{x}" y="{base - box:.1f}" width="{BOX_WIDTH}" height="{box:.1f}" rx="3" '
        f'fill="{COLOURS.get(layer.kind, OTHER_COLOUR)}"/>{arrow}{texts}</g>'
    )


def _text_lines(layer: Layer, layers: Sequence[Layer]) -> list[str]:
    """Name; kind and shape; the detail in lines of a cell's width; shares of the whole."""
    params = sum(each.params for each in layers) or 1
    madds = sum(each.madds for each in layers) or 1
    return [
        _cut(layer.name),
        _cut(f"{layer.kind} → {_shape(layer.shape)}"),
        *_wrapped(layer.detail),
        f"{_share(layer.params / params)} params, {_share(layer.madds / madds)} MAdds",
    ]


def _share(share: float) -> str:
    return "<1 %" if 0 < share < 0.005 else percent(share, 0)


def _channels(layer: Layer) -> int:
    return layer.shape[0] if layer.shape else 1


def _wrapped(detail: str, width: int = 25) -> list[str]:
    """Broken at commas into lines of at most `width` characters."""
    lines: list[str] = []
    for part in (part.strip() for part in detail.split(",") if part.strip()):
        if lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return [_cut(line) for line in lines]


def _cut(text: str, width: int = 27) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(count(size) if size >= 10_000 else str(size) for size in shape)
