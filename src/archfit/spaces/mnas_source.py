"""A network of the mnas space as a stand-alone Python module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archfit.architecture import Task
from archfit.nn import mbconv
from archfit.spaces.source import arguments_source, module_source


def network_source(
    literals: Mapping[str, Any],
    counts: Sequence[int],
    task: Task,
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    class_names: Sequence[str] | None,
) -> str:
    """See `module_source`.

    Args:
        literals: The arguments of `Network`.
        counts: Layers in each block, for the comments.
        task: What the network was built for.
        mean: Per channel, what the images were normalised with; None leaves it unsaid.
        std: The same.
        class_names: In the order of the logits; None leaves them unsaid.
    """
    comments = ["" if number else f"block {block}" for block, count in enumerate(counts, 1) for number in range(count)]
    arguments = arguments_source(literals, "op, kernel, stride, SE ratio, skip, filters", comments)
    return module_source(mbconv, arguments, task, mean=mean, std=std, class_names=class_names)
