"""A network of cells as a stand-alone Python module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archfit.architecture import Task
from archfit.nn import cells
from archfit.spaces.source import module_source


def network_source(
    literals: Mapping[str, Any],
    task: Task,
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    class_names: Sequence[str] | None,
) -> str:
    """See `module_source`.

    Args:
        literals: The arguments of `CellNetwork`.
        task: What the network was built for.
        mean: Per channel, what the images were normalised with; None leaves it unsaid.
        std: The same.
        class_names: In the order of the logits; None leaves them unsaid.
    """
    lines = ["ARGUMENTS = {"]
    for name, value in literals.items():
        if name in ("normal", "reduction"):
            nodes = [f"        {_literal(node)},  # state {number}" for number, node in enumerate(value, 2)]
            lines += [f'    "{name}": [', *nodes, "    ],"]
        else:
            lines.append(f'    "{name}": {_literal(value)},')
    arguments = "\n".join([*lines, "}", ""])
    return module_source(
        cells, arguments, task, mean=mean, std=std, class_names=class_names, network=cells.CellNetwork.__name__
    )


def _literal(value: object) -> str:
    """Names of operations and stems have no quotes in them."""
    return repr(value).replace("'", '"')
