"""The stand-alone Python module that goes out with a network, whatever its space."""

from __future__ import annotations

import ast
import importlib
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


def load(weights: str = "weights.safetensors") -> {network}:
    """The network with trained weights, ready for inference."""
    from safetensors.torch import load_file

    network = {network}(**ARGUMENTS)
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
    network: str = "Network",
) -> str:
    """Docstring, the text of `blocks`, the network as literals, and `load`.

    Args:
        blocks: A module with the class `network` that imports torch and modules of its kind alone; their text goes in.
        arguments: Of the class, as `arguments_source` writes them.
        task: What the network was built for.
        mean: Per channel, what the images were normalised with; None leaves it unsaid.
        std: The same.
        class_names: In the order of the logits; None leaves them unsaid.
        network: Name of the class.
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
    return f"{head}{_standing_alone(blocks)}\n\n{constants}{arguments}{_LOAD.format(network=network)}"


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


def _standing_alone(module: ModuleType) -> str:
    """The text of a module after its docstring, after that of the modules of archfit that it imports from."""
    imports: dict[str, None] = {}
    bodies: dict[str, str] = {}
    _collect(module, imports, bodies)
    groups = ["", "", ""]
    for line in sorted(imports, key=lambda line: line.startswith("from")):
        groups[0 if "__future__" in line else 2 if "torch" in line else 1] += line + "\n"
    return "\n\n".join(["\n".join(groups), *bodies.values()])


def _collect(module: ModuleType, imports: dict[str, None], bodies: dict[str, str]) -> None:
    """Adds import lines, and by module's name what follows them."""
    text = inspect.getsource(module)
    end = 0
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            name = getattr(statement, "module", None) or ""
            if name.startswith("archfit.") and name not in bodies:
                _collect(importlib.import_module(name), imports, bodies)
            elif not name.startswith("archfit."):
                imports[ast.unparse(statement)] = None
        elif not isinstance(statement, ast.Expr):
            break
        end = statement.end_lineno or end
    bodies[module.__name__] = "".join(text.splitlines(keepends=True)[end:]).strip() + "\n"


def _numbers(values: Sequence[float]) -> str:
    return "[" + ", ".join(repr(round(float(value), 6)) for value in values) + "]"


def _literal(value: object) -> str:
    """`repr`, of a text in double quotes where it can be."""
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and text[0] == "'" and '"' not in value else text
