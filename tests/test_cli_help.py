"""`archfit --help`: quick, because it imports nothing heavy, and complete."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import typer.main

from archfit import __version__
from archfit.cli.app import app
from archfit.cli.options import SAMPLER_NAMES
from archfit.samplers import SAMPLERS

HEAVY = {"lightning", "numpy", "onnx", "onnxruntime", "optuna", "plotly", "sklearn", "torch", "torchvision"}
# Runs the command as its script does, then says on stderr what was imported.
RUN = """
import sys
from archfit.cli import main
try:
    main()
finally:
    print(*{name.split(".")[0] for name in sys.modules}, file=sys.stderr)
"""
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("arguments", [(), *((name,) for name in sorted(COMMANDS))], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    done = run(*arguments, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    assert HEAVY & set(done.stderr.split()) == set()


def test_help_names_every_sampler() -> None:
    assert SAMPLER_NAMES.split(", ") == list(SAMPLERS)


def test_help_answers_within_half_a_second() -> None:
    # The quickest of five: a busy machine can slow down each of them, but speed up none.
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        run("--help")
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.5


def test_help_names_every_command() -> None:
    shown = run("--help").stdout
    assert [name for name in COMMANDS if name not in shown] == []
    assert {"search", "resume", "report", "measure", "predict"} <= set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert [option.name for option in command.params if option.name != "help" and not option.help] == []


def test_version() -> None:
    assert run("--version").stdout == f"archfit {__version__}\n"


def test_unknown_option_is_exit_code_2() -> None:
    assert run("search", "digits", "--latancy", "1ms").returncode == 2
