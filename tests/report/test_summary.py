from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from archfit.cost import Budget
from archfit.report.summary import print_summary


@pytest.fixture
def printed():
    def print_to_text(result, trials, folder: Path, width: int = 80) -> str:
        stream = io.StringIO()
        print_summary(result, trials, folder, Console(file=stream, width=width))
        return stream.getvalue()

    return print_to_text


def test_summary_reads_without_colours_in_80_columns(result, trials, printed):
    text = printed(result, trials, Path("runs/a"))
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 80
    for words in (
        "trial 38: within the budget",
        "91.0 ± 1.8 %",
        "0.271 ms (0.263–0.293)",
        "9.5 % under the budget of 0.3 ms",
        "timm:mobilenetv2_100",
        "The search did better than drawing at random",
        "36 complete, 3 pruned, 1 failed",
        "same answer as PyTorch on 1000 of 1000 test images",
    ):
        assert words in text


def test_commands_stay_on_one_line_and_are_quoted(result, trials, tmp_path, printed):
    folder = tmp_path / ("a long folder name " * 5).strip()
    lines = printed(result, trials, folder).splitlines()
    assert any(f"archfit predict '{folder}' picture.png" in line for line in lines)
    assert any(f"archfit measure '{folder}/network.onnx'" in line for line in lines)


def test_summary_lists_what_the_folder_holds(result, trials, tmp_path, printed):
    (tmp_path / "network.onnx").touch()
    (tmp_path / "logs").mkdir()
    assert "holds logs/, network.onnx." in " ".join(printed(result, trials, tmp_path, 300).split())


def test_summary_over_the_budget_says_so(result_of, trials, printed):
    text = printed(result_of(p50_ms=0.35), trials, Path("runs/a"))
    assert "trial 38: OVER THE BUDGET" in text
    assert "16.7 % over the budget of 0.3 ms" in text


def test_summary_without_budget_has_no_verdict(result_of, trials, printed):
    text = printed(result_of(p50_ms=None, budget=Budget()), trials, Path("runs/a"))
    assert "no budget was set" in text
    assert "under the budget" not in text
    assert "within" not in text


def test_names_are_not_read_as_markup(result, trials, printed):
    folder = Path("runs/[red]a")
    assert "runs/[red]a" in printed(result, trials, folder)
