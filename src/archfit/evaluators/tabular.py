"""Tables of trained networks: a search is played on them at full speed."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archfit.architecture import Choice, Option
from archfit.cost import Cost, Latency
from archfit.errors import InputError

Indices = tuple[int, ...]

_ACCURACY = re.compile(r"accuracy(_\d+)?")
_COSTS = ("params", "madds", "memory_bytes", "latency_ms")


@dataclass(frozen=True)
class TableRow:
    """One network of a table.

    Attributes:
        accuracies: Of its trainings, in [0, 1].
        cost: What the table knows of it; 0 parameters or multiply-adds where it knows none.
    """

    accuracies: tuple[float, ...]
    cost: Cost

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return math.fsum(self.accuracies) / len(self.accuracies)


@dataclass(frozen=True)
class Table:
    """Every network of a space, trained.

    Attributes:
        name: Of its file.
        choices: Of the space.
        costs: Columns of costs that it has: "params", "madds", "memory_bytes", "latency_ms".
        rows: By the option numbers of the choices; all combinations are there.
    """

    name: str
    choices: tuple[Choice, ...]
    costs: tuple[str, ...]
    rows: Mapping[Indices, TableRow]


def read_table(path: Path) -> Table:
    """Reads a CSV file, a JSON list of objects, or NAS-Bench-Macro's JSON object.

    Columns are `accuracy`, or `accuracy_1`, `accuracy_2`, ... for several trainings of a network (shares, or percent
    throughout), any of `params`, `madds`, `memory_bytes` and `latency_ms`; every other column is a choice.

    Raises:
        InputError: The file cannot be read, a value is missing or no number, a combination of options is missing or
            there twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path} is not there; give a CSV or JSON table") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error}); give a CSV or JSON table") from None
    if path.suffix.lower() == ".json":
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{path} is no JSON ({error})") from None
        rows = _macro(content, path) if isinstance(content, dict) else content
    else:
        rows = list(csv.DictReader(text.splitlines()))
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path} holds no rows; give a CSV with a header, or a JSON list of objects")
    return _table(path, rows)


def _macro(content: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """NAS-Bench-Macro's layout: "01220120" -> test_acc of three runs, params, flops (which are multiply-adds)."""
    rows = []
    for key, entry in content.items():
        if not (key.isdigit() and isinstance(entry, dict) and isinstance(entry.get("test_acc"), list)):
            raise InputError(f"{path}: {key!r} is no row of NAS-Bench-Macro; give that, or a list of objects")
        rows.append(
            {
                **{f"layer{position}": int(digit) for position, digit in enumerate(key, 1)},
                **{f"accuracy_{run}": accuracy for run, accuracy in enumerate(entry["test_acc"], 1)},
                **{
                    name: entry[theirs]
                    for name, theirs in (("params", "params"), ("madds", "flops"))
                    if theirs in entry
                },
            }
        )
    return rows


def _table(path: Path, rows: list[dict[str, Any]]) -> Table:
    for number, row in enumerate(rows, 1):
        if None in row:
            raise InputError(f"{path}, row {number} has more values than there are columns")
    columns = list(rows[0])
    accuracies = [name for name in columns if _ACCURACY.fullmatch(name)]
    costs = tuple(name for name in _COSTS if name in columns)
    names = [name for name in columns if name not in accuracies and name not in costs]
    if not accuracies:
        raise InputError(f"{path} has no column 'accuracy'; it has {', '.join(map(repr, columns))}")
    if not names:
        raise InputError(f"{path} has no column for a choice, only {', '.join(map(repr, columns))}")
    for number, row in enumerate(rows, 1):
        if missing := [name for name in columns if row.get(name) in (None, "")]:
            raise InputError(f"{path}, row {number}: {missing[0]!r} has no value")
    for number, row in enumerate(rows, 1):
        if other := [name for name in names if not isinstance(row[name], str | int | float)]:
            raise InputError(f"{path}, row {number}: {other[0]!r} is {row[other[0]]!r}; give a text or a number")
    choices = tuple(Choice(name, _options(row[name] for row in rows)) for name in names)
    scale = 0.01 if any(_number(row[name], path, name) > 1 for row in rows for name in accuracies) else 1.0
    found: dict[Indices, TableRow] = {}
    for number, row in enumerate(rows, 1):
        values = tuple(scale * _number(row[name], path, name) for name in accuracies)
        if not all(0 <= value <= 1 for value in values):
            raise InputError(f"{path}, row {number}: an accuracy is outside of 0 to {1 / scale:g}")
        indices = tuple(choice.index(_option(row[choice.name], choice)) for choice in choices)
        if indices in found:
            raise InputError(f"{path}, row {number}: {_words(choices, indices)} is there twice")
        found[indices] = TableRow(values, _cost({name: _number(row[name], path, name) for name in costs}))
    _check_whole(path, choices, found)
    return Table(path.name, choices, costs, found)


def _check_whole(path: Path, choices: tuple[Choice, ...], found: Mapping[Indices, TableRow]) -> None:
    total = math.prod(len(choice.options) for choice in choices)
    if len(found) == total:
        return
    known = set(found)
    point = [0] * len(choices)
    while tuple(point) in known:  # counts up, the last choice fastest
        for position in reversed(range(len(choices))):
            point[position] = (point[position] + 1) % len(choices[position].options)
            if point[position]:
                break
    raise InputError(
        f"{path} lacks {total - len(found):,} of {total:,} combinations of options, the first with "
        f"{_words(choices, tuple(point))}; a search can be played on a whole table alone"
    )


def _options(values: Iterable[Any]) -> tuple[Option, ...]:
    """Different ones in ascending order: numbers where all are numbers, else text."""
    different = set(values)
    try:
        numbers = {float(value) for value in different}
    except (TypeError, ValueError):
        return tuple(sorted(map(str, different)))
    return tuple(int(value) if value.is_integer() else value for value in sorted(numbers))


def _option(value: Any, choice: Choice) -> Option:
    return str(value) if isinstance(choice.options[0], str) else float(value)


def _number(value: Any, path: Path, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{path}: {name!r} is {value!r}; it must be a number")
    return number


def _cost(values: Mapping[str, float]) -> Cost:
    latency = values.get("latency_ms")
    return Cost(
        params=int(values.get("params", 0)),
        madds=int(values.get("madds", 0)),
        memory_bytes=int(values["memory_bytes"]) if "memory_bytes" in values else None,
        latency=Latency(latency, latency, latency, 0.0, 1, "table", "table") if latency is not None else None,
    )


def _words(choices: tuple[Choice, ...], indices: Indices) -> str:
    return ", ".join(f"{choice.name}={choice.options[index]}" for choice, index in zip(choices, indices, strict=True))
