"""The stand-alone Python module that goes out with a network, whatever its space."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from archfit.architecture import Task

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


def module_source(
    blocks: ModuleType,
    arguments: str,
    task: Task,
    *,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    class_names: Sequence[str] | None,
) -> str:
    """Docstring, the text of `blocks`, the network as literals, and `load`.

    Args:
        blocks: A module that imports torch alone and has a class `Network`.
        arguments: Of `Network`, as `arguments_source` writes them.
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
        constants += "CLASSES = [\n" + "".join(f"    {_literal(name)},\n" for name in class_names) + "]\n"
    return f"{head}{_after_docstring(blocks)}\n\n{constants}{arguments}{_LOAD}"


def arguments_source(literals: Mapping[str, Any], fields: str, comments: Iterable[str]) -> str:
    """The arguments of `Network` as a dict, one line per layer.

    Args:
        literals: Plain Python values; `layers` is a list of tuples.
        fields: What the values of a layer are, in words.
        comments: One per layer, "" for none.
    """
    lines = ["ARGUMENTS = {"]
    lines += [f'    "{name}": {_literal(value)},' for name, value in literals.items() if name != "layers"]
    lines += ['    "layers": [', f"        # {fields}"]
    for layer, comment in zip(literals["layers"], comments, strict=True):
        lines.append(f"        ({', '.join(map(_literal, layer))}),{f'  # {comment}' if comment else ''}")
    return "\n".join([*lines, "    ],", "}", ""])


def _after_docstring(module: ModuleType) -> str:
    text = inspect.getsource(module)
    docstring = ast.parse(text).body[0]
    return "".join(text.splitlines(keepends=True)[docstring.end_lineno :]).lstrip()


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(repr(round(float(value), 6)) for value in values) + "]"


def _literal(value: object) -> str:
    """`repr`, of a text in double quotes where it can be."""
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and text[0] == "'" and '"' not in value else text
