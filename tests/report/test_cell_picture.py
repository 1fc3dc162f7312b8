from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from archfit.report.cell_picture import cell_svg, words
from archfit.report.load import result_from_json
from archfit.report.page import page
from archfit.spaces import CellGraph

SVG = "{http://www.w3.org/2000/svg}"
CELL = CellGraph("normal <cell>", ((("sep3", 0), ("max3", 1)), (("identity", 2), ("conv1x7", 0))), (2, 3))


def test_a_cell_is_its_operations_sums_and_lines():
    root = ElementTree.fromstring(cell_svg(CELL))
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert titles == [
        "separable 3x3 of cell before last", "maximum 3x3 of last cell", "node 1: the sum of the two",
        "identity of node 1", "1x7 and 7x1 of cell before last", "node 2: the sum of the two", "2 concatenated",
    ]  # fmt: skip
    # Two lines an operation, to it and to its sum, and one an output.
    assert len(list(root.iter(f"{SVG}path"))) == 2 * 4 + 2
    assert len(list(root.iter(f"{SVG}circle"))) == 2


def test_nodes_stand_right_of_what_they_read():
    root = ElementTree.fromstring(cell_svg(CELL))
    first, second = (float(circle.get("cx")) for circle in root.iter(f"{SVG}circle"))
    assert second - first == 216
    _, _, width, height = map(float, root.get("viewBox").split())
    assert max(float(each.get("x")) for each in root.iter(f"{SVG}rect")) + 64 < width
    assert max(float(each.get("y")) for each in root.iter(f"{SVG}text")) < height


@pytest.mark.parametrize(
    ("name", "said"),
    [("sep5", "separable 5x5"), ("avg3", "mean 3x3"), ("dil3", "dilated 3x3"), ("conv1", "convolution 1x1")],
)
def test_words(name, said):
    assert words(name)[0] == said


def test_the_page_shows_the_winners_cells(result, trials):
    assert 'class="picture graph"' not in page(result, trials)
    shown = page(replace(result, cells=(CELL,)), trials)
    assert shown.count('class="picture graph"') == 1
    assert "normal &lt;cell&gt;" in shown


def test_cells_come_back_from_json(result):
    kept = replace(result, cells=(CELL,))
    value = json.loads(json.dumps(kept.to_json()))
    assert result_from_json(value).cells == (CELL,)
    del value["cells"]  # as older versions wrote it
    assert result_from_json(value).cells == ()
