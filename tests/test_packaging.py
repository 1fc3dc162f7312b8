"""What the package says of itself: versions, dependencies, extras and the files that travel with it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from archfit import __version__

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "archfit"
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
OUTSIDE = [need for needs in (CORE, *EXTRAS.values()) for need in needs if need.name != "archfit"]


def pins() -> dict[str, str]:
    """Canonical name -> version, as in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): pinned for name, pinned in pairs}


def imported(node: ast.AST, *, deep: bool) -> Iterator[str]:
    """Top-level packages that a module imports; without `deep`, only what runs when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (name.name for name in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
        elif deep or not (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or _for_types_only(child)):
            yield from imported(child, deep=deep)


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def undeclared(requirements: list[Requirement], *, deep: bool) -> set[str]:
    """`file: module` for each import of a package that is in none of the distributions required."""
    declared = {canonicalize_name(need.name) for need in requirements} | {"archfit"}
    homes = packages_distributions()
    missing = set()
    for path in SOURCE.rglob("*.py"):
        for module in imported(ast.parse(path.read_text()), deep=deep):
            # `google` is shared by many distributions; protobuf is the one meant by google.protobuf.
            package = "protobuf" if module.startswith("google.protobuf") else module.split(".")[0]
            owners = {canonicalize_name(owner) for owner in homes.get(package, [package])}
            if package not in sys.stdlib_module_names and not owners & declared:
                missing.add(f"{path.relative_to(ROOT)}: {module}")
    return missing


def test_installed_version_is_the_one_declared() -> None:
    assert version("archfit") == __version__, "install again: pip install -e ."


def test_changelog_begins_with_the_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert headings[0] == __version__


def test_working_set() -> None:
    assert (pins()["torch"], pins()["torchvision"]) == ("2.14.1", "0.29.1")


@pytest.mark.parametrize("need", OUTSIDE, ids=lambda need: need.name)
def test_every_requirement_is_pinned_within_its_range(need: Requirement) -> None:
    assert need.specifier.contains(pins()[canonicalize_name(need.name)])


def test_pins_leave_out_what_only_cuda_has() -> None:
    assert not [name for name in pins() if re.match(r"nvidia-|cuda-|triton$", name)]


def test_all_takes_every_extra() -> None:
    (everything,) = EXTRAS["all"]
    assert everything.name == "archfit"
    assert everything.extras == set(EXTRAS) - {"all", "dev"}


def test_import_needs_core_dependencies_alone() -> None:
    assert undeclared(CORE, deep=False) == set()


def test_every_import_is_declared() -> None:
    assert undeclared(OUTSIDE, deep=True) == set()


def test_a_search_begins_without_what_only_training_needs() -> None:
    """Lightning and torchmetrics take 3 seconds and 230 MB, which its driver does without."""
    code = "import sys, archfit.pipeline.searching; print(*{'lightning', 'torchmetrics'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_package_data_names_every_file_that_is_not_python() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["archfit"]
    files = [path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*") if path.is_file()]
    data = {file for file in files if not file.endswith((".py", ".pyc"))}
    assert "py.typed" in data
    assert {file for file in data if not any(fnmatch(file, pattern) for pattern in patterns)} == set()
