from __future__ import annotations

from pathlib import Path

import pytest

from archfit.architecture import Architecture, SearchSpace
from archfit.cost import Cost, Latency
from archfit.errors import InputError
from archfit.pipeline import Silent, measure_space
from archfit.pipeline.meter import CandidateMeter
from archfit.spaces import MnasSpace

SPACE = MnasSpace(0.18, searched_blocks=(2, 3), ops=("conv",), kernels=(3,))


class Told(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network takes 1 ms per 100 units of its space's width."""

    def sample(self: CandidateMeter, space: SearchSpace, architecture: Architecture) -> Cost:
        ms = space.settings()["width"] * 100
        return Cost(params=1, madds=1, latency=Latency(ms, ms, ms, 0.01, 1, "toy", "toy"))

    monkeypatch.setattr(CandidateMeter, "sample", sample)


@pytest.mark.usefixtures("quick")
def test_a_space_of_ones_own_and_its_progress(tmp_path: Path) -> None:
    watch = Told()
    table = measure_space(SPACE, image_size=8, classes=2, networks=20, out=tmp_path / "t.json", watch=watch)
    assert (table.networks, table.settings["searched_blocks"]) == (20, [2, 3])
    assert (tmp_path / "t.json").read_text() == table.text()
    assert watch.steps[0] == "measuring the space: 0 of at most 20 networks"
    assert watch.steps[-1].startswith("measuring the space: 20 of at most 20 networks, at most 0.0 s left")
    assert watch.notes == []


@pytest.mark.usefixtures("quick")
def test_the_space_is_scaled_to_a_latency_as_a_search_does(tmp_path: Path) -> None:
    watch = Told()
    # 60 ms stand for a width of 0.6: the first on the way down that holds it.
    table = measure_space(image_size=8, classes=2, latency="60ms", networks=10, watch=watch)
    assert table.settings["width"] == 0.6
    assert len(watch.notes) == 1
    assert "width 1.0 -> 0.6" in watch.notes[0]
    # A width that is given stays.
    assert measure_space(image_size=8, classes=2, latency="60ms", width=0.5, networks=10).settings["width"] == 0.5


def test_a_space_without_pieces() -> None:
    class Whole:
        name = "whole"
        choices = SPACE.choices
        build, canonical, settings = SPACE.build, SPACE.canonical, SPACE.settings

    with pytest.raises(InputError, match="space 'whole' has no pieces"):
        measure_space(Whole(), image_size=8, classes=2)


@pytest.mark.usefixtures("quick")
def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    class Stopped(Told):
        def step(self, text: str) -> None:
            if "15 of" in text:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_space(SPACE, image_size=8, classes=2, networks=20, out=tmp_path / "t.json", watch=Stopped())
    assert list(tmp_path.iterdir()) == []
