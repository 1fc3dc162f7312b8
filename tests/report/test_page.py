from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from archfit.cost import Budget
from archfit.errors import RunError
from archfit.report.page import page, write_report


class Reader(HTMLParser):
    """Collects tags, outer references and visible text; complains of tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "data")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.text = re.sub(r"\s+", " ", reader.text.replace("\u00a0", " "))
    return reader


@pytest.fixture
def reader(result, trials):
    return read(page(result, trials))


def test_page_is_whole_and_needs_nothing_else(reader):
    assert reader.open == []
    assert reader.references == []
    assert reader.tags.count("section") == 9


def test_plotly_is_inlined_once(result, trials):
    text = page(result, trials)
    assert text.count("* plotly.js v") == 1
    assert text.count("Plotly.newPlot(") >= 4
    assert "connect-src" not in text
    assert "default-src 'none'" in text


def test_page_says_what_to_ship_and_how_it_stands(reader):
    for words in (
        "Ship trial 38 within the budget",
        "91.0 ± 1.8 %",
        "9.5 % under the budget of 0.3 ms",
        "same top-1 answer as PyTorch on 1000 of 1000 test images; logits differ by at most 3.1e-06",
        "p50 (p10–p90) of 400 runs on local: AMD EPYC, onnxruntime 1.31.1, 1 thread, batch 1",
        "The search did better than drawing at random",
        "absolute: accuracy − 0.10 · |latency / budget − 1|",
        "archfit search pictures --latency 0.3ms",
        "proxy accuracy, 3 epochs",
        "train 8,000, validation 1,000, test 1,000",
        "width from 1.0 to 0.75",
    ):
        assert words in reader.text


def test_page_says_who_was_stopped(result, trials):
    assert "were stopped there" not in page(result, trials)
    trained = tuple(
        dataclasses.replace(n, role="stopped", epochs=9) if n.role == "finalist" else n for n in result.trained
    )
    text = page(dataclasses.replace(result, trained=trained), trials)
    assert "Finalists that were behind on the validation split early on were stopped there" in text
    assert text.count("<td>stopped</td>") == 2


def test_user_text_is_escaped(result, trials):
    text = page(result, trials)
    reader = read(text)
    assert "b" not in reader.tags
    assert "<b>&x" in reader.text
    assert "(<broken>.png, notes & more.txt)" in reader.text
    assert "loss is not finite <after> 40 steps" in reader.text
    hostile = dataclasses.replace(result, command="archfit search '</code><script>alert(1)</script>'")
    assert "<script>alert(1)" not in page(hostile, trials)


def test_hostile_class_name_cannot_leave_its_figure(result, trials):
    name = "</script><script>alert(1)</script>"
    classes = [name, *result.dataset["classes"][1:]]
    hostile = dataclasses.replace(result, dataset={**result.dataset, "classes": classes})
    text = page(hostile, trials)
    assert name not in text
    assert "<script>alert(1)" not in text


def test_all_trials_are_listed(reader, trials):
    assert f"{len(trials)} trials" in reader.text
    assert "repeats trial 31" in reader.text
    assert "latency is far past the budget of 0.3 ms" in reader.text


def test_network_over_the_budget_is_not_shipped(result_of, trials):
    # 0.35 / 0.30 - 1 = 16.7 %.
    result = result_of(p50_ms=0.35)
    text = read(page(result, trials)).text
    assert "Best found: trial 38 over the budget" in text
    assert "16.7 % over the budget of 0.3 ms" in text
    assert "Ship" not in text


def test_page_without_latency_and_budget(result_of):
    text = read(page(result_of(p50_ms=None, budget=Budget()), [])).text
    assert "no budget was set" in text
    assert "not measured" in text
    assert "Accuracy against cost" in text


def test_report_is_replaced_whole(result, trials, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    write_report(result, trials, path)
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_unwritable_report_is_a_run_error(result, trials, tmp_path):
    with pytest.raises(RunError, match="cannot be written"):
        write_report(result, trials, tmp_path / "missing" / "report.html")
