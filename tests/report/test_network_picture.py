from __future__ import annotations

from xml.etree import ElementTree

from archfit.report.network_picture import network_svg
from archfit.report.record import Layer

SVG = "{http://www.w3.org/2000/svg}"


def layer(name: str, channels: int, params: int, kind: str = "conv") -> Layer:
    return Layer(name, kind, "3x3, stride 2, SE 0.25, identity skip", (channels, 8, 8), params, params)


def test_every_layer_is_a_box_with_a_tooltip(result):
    root = ElementTree.fromstring(network_svg(result.layers))
    groups = root.findall(f"{SVG}g")
    assert len(groups) == len(result.layers)
    assert [group.find(f"{SVG}title").text.split(":")[0] for group in groups] == [each.name for each in result.layers]


def test_height_grows_with_the_root_of_the_channels():
    # 72 px for the most channels, 72 * sqrt(16 / 64) = 36 for a quarter of them.
    root = ElementTree.fromstring(network_svg([layer("a", 16, 1), layer("b", 64, 3)]))
    assert [float(rect.get("height")) for rect in root.iter(f"{SVG}rect")] == [36.0, 72.0]


def test_shares_are_of_the_whole_network():
    text = network_svg([layer("a", 8, 1), layer("b", 8, 3)])
    assert "25 % params, 25 % MAdds" in text
    assert "75 % params, 75 % MAdds" in text


def test_boxes_wrap_into_rows():
    root = ElementTree.fromstring(network_svg([layer(str(i), 8, 1) for i in range(5)], columns=2))
    boxes = [(float(rect.get("x")), float(rect.get("y"))) for rect in root.iter(f"{SVG}rect")]
    assert [x for x, _ in boxes] == [0, 172, 0, 172, 0]
    assert boxes[0][1] == boxes[1][1] < boxes[2][1] == boxes[3][1] < boxes[4][1]
    _, _, width, height = map(float, root.get("viewBox").split())
    assert width == 344
    lowest = max(float(text.get("y")) for text in root.iter(f"{SVG}text"))
    assert boxes[4][1] < lowest < height


def test_names_are_escaped():
    text = network_svg([layer("<b>&x", 8, 1, kind='"odd"')])
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;x" in text


def test_no_layers_is_an_empty_picture():
    assert ElementTree.fromstring(network_svg([])).findall(f"{SVG}g") == []
