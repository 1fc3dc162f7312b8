"""The HTML parts of a page; every value is escaped unless it already is `Markup`."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any


class Markup(str):
    """HTML made by this module, safe to embed as it is."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    if isinstance(value, Markup):
        return value
    # A number stays on one line with its unit.
    return Markup(re.sub(r"(?<=\d) (?=(%|ms|MB|kB|min|s)\b|%)", "\u00a0", html.escape(str(value))))


def joined(parts: Sequence[object]) -> Markup:
    return Markup("".join(escaped(part) for part in parts))


def element(name: str, *content: object, **attributes: str) -> Markup:
    """`<name attribute="value">content</name>`; `class_` stands for class."""
    words = "".join(f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{words}>{joined(content)}</{name}>")


def section(anchor: str, title: str, *content: object) -> Markup:
    return element("section", element("h2", title), *content, id=anchor)


def paragraph(*content: object, class_: str = "text") -> Markup:
    return element("p", *content, class_=class_)


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: Sequence[int] = ()) -> Markup:
    """A table that scrolls inside its box.

    Args:
        head: Column names.
        rows: Cells, as many in each row as in the head.
        numbers: Columns set flush right.
    """

    def cells(tag: str, row: Sequence[object]) -> Markup:
        return joined(
            [element(tag, cell, class_="number") if i in numbers else element(tag, cell) for i, cell in enumerate(row)]
        )

    body = joined([element("tr", cells("td", row)) for row in rows])
    inner = joined([element("thead", element("tr", cells("th", head))), element("tbody", body)])
    return element("div", element("table", inner), class_="scroll", tabindex="0")


def facts(pairs: Sequence[tuple[str, object]]) -> Markup:
    """A two-column list of names and values; pairs without a value are left out."""
    kept = [(name, value) for name, value in pairs if value not in (None, "", [], {}, ())]
    return element("dl", *[joined([element("dt", name), element("dd", value)]) for name, value in kept])


def tile(label: str, value: object, note: object, *, mood: str = "") -> Markup:
    """One number with its name above and what it means below; `mood` is "good", "bad" or ""."""
    return element(
        "div",
        element("div", label, class_="label"),
        element("div", value, class_="value"),
        element("div", note, class_="note"),
        class_=f"tile {mood}".strip(),
    )


def plain(value: Any) -> str:
    """A JSON value in words: {"epochs": 3, "batch": 64} -> "epochs 3, batch 64"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{readable(key)} {plain(inner)}" for key, inner in value.items() if inner is not None)
    if isinstance(value, list | tuple):
        return ", ".join(plain(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(value)


def readable(key: object) -> str:
    return str(key).replace("_", " ")
