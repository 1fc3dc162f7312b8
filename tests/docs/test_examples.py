"""The documentation is executed: its Python blocks file by file, in order, as one script per file."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer.main

import archfit
from archfit.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
NOT_RUN = "<!-- not run -->"
FENCE = re.compile(r"(?P<mark>^<!-- not run -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: The file it stands in.
        line: Of its first line of code, from 1.
        language: As the fence names it.
        code: Between the fences.
        runs: Not marked as not run.
    """

    page: Path
    line: int
    language: str
    code: str
    runs: bool

    def compiled(self) -> types.CodeType:
        # Blank lines before it, so that a traceback names the line of the page.
        return compile("\n" * (self.line - 1) + self.code, str(self.page), "exec")


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, match.start("code")) + 1,
            match["language"],
            match["code"],
            runs=match["mark"] is None,
        )
        for match in FENCE.finditer(text)
    ]


def label(value: object) -> str:
    return f"{value.page.name}:{value.line}" if isinstance(value, Block) else Path(str(value)).name


PYTHON = [block for page in PAGES for block in blocks(page) if block.language == "python"]
SHELL = [block for page in PAGES for block in blocks(page) if block.language == "sh"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> types.ModuleType:
    """The namespace of a script that is run in an empty folder, as `python script.py` gives it."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.chdir(tmp_path)
    return module


def test_every_mark_stands_right_before_a_python_block() -> None:
    marks = sum(page.read_text(encoding="utf-8").count(NOT_RUN) for page in PAGES)
    assert marks == sum(not block.runs for block in PYTHON)


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_the_python_blocks_of_a_page_run_in_order(page: Path, script: types.ModuleType) -> None:
    for block in blocks(page):
        if block.language == "python" and block.runs:
            exec(block.compiled(), script.__dict__)


@pytest.mark.parametrize("block", [block for block in PYTHON if not block.runs], ids=label)
def test_a_block_that_is_not_run_names_only_what_exists(block: Block) -> None:
    for call in ast.walk(ast.parse(block.code)):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and _name(call.func.value) == "archfit":
            known = inspect.signature(getattr(archfit, call.func.attr)).parameters
            assert [word.arg for word in call.keywords if word.arg not in known] == []
    block.compiled()
    pytest.skip("marked as not run: its names were checked only")


@pytest.mark.parametrize("block", SHELL, ids=label)
def test_the_commands_of_a_page_exist_with_their_options(block: Block) -> None:
    for line in block.code.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] != "archfit" or words[1].startswith("-"):
            continue
        options = {option for parameter in COMMANDS[words[1]].params for option in parameter.opts}
        assert [word for word in words if word.startswith("--") and word.partition("=")[0] not in options] == []


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def _name(node: ast.expr) -> str | None:
    return node.id if isinstance(node, ast.Name) else None
