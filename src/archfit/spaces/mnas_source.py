"""The stand-alone Python module that goes out with a network of the mnas space."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from archfit.architecture import Task
from archfit.nn import mbconv

_HEAD = '''\
"""An image classifier found by archfit. It needs torch and safetensors, not archfit.

    network = load("weights.safetensors")
    logits = network(images)

Input: float32 `(N, {channels}, {size}, {size})`, {colour} scaled to 0..1{normalised}.
Output: logits `(N, {classes})`{named}.
"""

'''

_LOAD = '''\


def load(weights: str = "weights.safetensors") -> Network:
    """The network with trained weights, ready for inference."""
    from safetensors.torch import load_file

    network = Network(**ARGUMENTS)
    network.load_state_dict(load_file(weights))
    return network.eval()
'''


def network_source(
    literals: Mapping[str, Any],
    counts: Sequence[int],
    task: Task,
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    class_names: Sequence[str] | None,
) -> str:
    """Docstring, the text of `nn/mbconv.py`, the network as literals, and `load`.

    Args:
        literals: The arguments of `Network`.
        counts: Layers in each block, for the comments.
        task: What the network was built for.
        mean: Per channel, what the images were normalised with; None leaves it unsaid.
        std: The same.
        class_names: In the order of the logits; None leaves them unsaid.
    """
    head = _HEAD.format(
        channels=task.channels,
        size=task.image_size,
        classes=task.classes,
        colour="RGB" if task.channels == 3 else "grey",
        normalised="" if mean is None or std is None else ", then `(image - MEAN) / STD` per channel",
        named="" if class_names is None else " in the order of CLASSES",
    )
    constants = ""
    if mean is not None and std is not None:
        constants += f"MEAN = {_numbers(mean)}\nSTD = {_numbers(std)}\n"
    if class_names is not None:
        constants += "CLASSES = [\n" + "".join(f"    {_quoted(name)},\n" for name in class_names) + "]\n"
    return f"{head}{_blocks_source()}\n\n{constants}{_arguments(literals, counts)}{_LOAD}"


def _blocks_source() -> str:
    """`nn/mbconv.py` after its docstring."""
    text = inspect.getsource(mbconv)
    docstring = ast.parse(text).body[0]
    return "".join(text.splitlines(keepends=True)[docstring.end_lineno :]).lstrip()


def _arguments(literals: Mapping[str, Any], counts: Sequence[int]) -> str:
    lines = ["ARGUMENTS = {"]
    for name, value in literals.items():
        if name != "layers":
            lines.append(f'    "{name}": {_quoted(value) if isinstance(value, str) else repr(value)},')
    lines += ['    "layers": [', "        # op, kernel, stride, SE ratio, skip, filters"]
    layers = iter(literals["layers"])
    for block, count in enumerate(counts, 1):
        for number in range(count):
            values = ", ".join(_quoted(v) if isinstance(v, str) else repr(v) for v in next(layers))
            lines.append(f"        ({values}),{f'  # block {block}' if number == 0 else ''}")
    return "\n".join([*lines, "    ],", "}", ""])


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(repr(round(float(value), 6)) for value in values) + "]"


def _quoted(text: str) -> str:
    """`repr` in double quotes where it can be."""
    quoted = repr(text)
    return f'"{quoted[1:-1]}"' if quoted[0] == "'" and '"' not in text else quoted
