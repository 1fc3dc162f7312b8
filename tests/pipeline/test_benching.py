from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.samplers import BaseSampler

from archfit.architecture import Choice
from archfit.cli import main
from archfit.cost import Budget
from archfit.errors import ArchfitError
from archfit.pipeline import bench_samplers
from archfit.pipeline.benching import looks
from archfit.report.benching import Band, SamplerResult, ratio_to, verdicts
from archfit.samplers import make_sampler


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["a,b,c,d,accuracy_1,accuracy_2,madds"]
    for point in itertools.product(range(3), repeat=4):
        mean = 80 + 2 * sum(point)
        first, second = mean + rng.normal(0, 0.5, 2)
        lines.append(",".join(map(str, (*point, first, second, 100 + sum(point)))))
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines))
    return path


def test_samplers_are_compared(table: Path, tmp_path: Path) -> None:
    told: list[str] = []

    class Told:
        def step(self, text: str) -> None:
            told.append(text)

    found = bench_samplers(
        table,
        samplers=["predictor", "evolution", "random"],
        evaluations=[15, 30],
        seeds=3,
        seed=5,
        workers=2,
        out=tmp_path / "bench",
        watch=Told(),  # type: ignore[arg-type]
    )
    by_name = {result.name: result for result in found.samplers}
    assert list(by_name) == ["predictor", "evolution", "random"]
    assert found.seeds == (5, 6, 7)
    last = by_name["predictor"].evaluations.index(30)
    assert by_name["predictor"].regret.mean[last] <= by_name["random"].regret.mean[last]
    assert set(found.ratios) == set(by_name)
    assert any("of 9 searches, about" in text for text in told)
    written = json.loads((tmp_path / "bench" / "bench.json").read_text())
    assert written["samplers"][0]["regrets"] == [list(each) for each in found.samplers[0].regrets]
    page = (tmp_path / "bench" / "bench.html").read_text()
    assert "figure-regret" in page
    assert "figure-hypervolume" in page
    assert all(name in page for name in by_name)


def test_places_of_a_curve() -> None:
    assert looks([50, 200])[-1] == 200
    assert set(looks([50, 200])) >= {50, 200}
    assert looks([50, 200])[0] >= 4
    assert looks([1]) == (1,)


def _result(name: str, regrets: list[list[float]], observed: list[list[float]]) -> SamplerResult:
    band = Band((0.0,), (0.0,), (0.0,))
    return SamplerResult(
        name, (10,), band, band, band, None, 1.0, tuple(map(tuple, regrets)), tuple(map(tuple, observed))
    )


def test_a_ratio_by_hand() -> None:
    baseline = _result("evolution", [[9.0], [9.0]], [[2.0], [4.0]])
    ratio, low, high = ratio_to(baseline, _result("ours", [[1.0], [1.0]], [[9.0], [9.0]]), [10])[10]
    assert ratio == pytest.approx(1 / 3)
    assert (low, high) == pytest.approx((1 / 4, 1 / 2))  # one of the two searches drawn twice
    assert ratio_to(_result("perfect", [[0.0]], [[0.0]]), baseline, [10]) == {}
    played = {"name": "ours", "evaluations": [5, 10], "regret_seen": {"mean": [0.5, 0.125]}}
    bench = {"against": "evolution", "ratios": {"ours": {"10": [ratio, low, high]}}, "evaluations": [10]}
    said = verdicts({**bench, "samplers": [played]})
    assert len(said) == 2
    assert said[0].startswith("ours after 10 evaluations: 0.33 times the regret of evolution that keeps its best")
    assert said[0].endswith("(95 % interval 0.25 to 0.50)")
    assert said[1] == (
        "ours: points from the best network that it had trained to the table's best: 0.125 after 10 evaluations"
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"samplers": ["evolutoin"]}, "unknown sampler 'evolutoin'; did you mean 'evolution'"),
        ({"samplers": []}, "give at least one, each once"),
        ({"samplers": ["random", "random"]}, "samplers is random,random"),
        ({"seeds": 0}, "seeds is 0; it must be at least 1"),
        ({"evaluations": [0]}, "evaluations is 0; it must be at least 1"),
        ({"evaluations": [100]}, "evaluations is 100; the table has 81 networks"),
        ({"seed": -1}, "seed is -1; it must be 0 or more"),
        ({"reward": "sofd"}, "unknown reward 'sofd'; did you mean 'soft'"),
        ({"budget": Budget(latency_ms=1.0)}, "has no column 'latency_ms', which the bound of latency needs"),
    ],
)
def test_bad_input(table: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ArchfitError, match=message):
        bench_samplers(table, **wrong)


def test_a_folder_that_is_there_is_left_alone(table: Path, tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "mine").write_text("mine")
    with pytest.raises(ArchfitError, match="bench"):
        bench_samplers(table, out=tmp_path / "bench")


def test_a_sampler_and_a_reward_of_ones_own(table: Path) -> None:
    def backwards(choices: Sequence[Choice], seed: int) -> BaseSampler:
        return make_sampler("random", choices=choices, seed=seed + 1)

    def worst(accuracy: float, ratios: Mapping[str, float]) -> float:
        return -accuracy

    found = bench_samplers(table, samplers={"mine": backwards}, reward=worst, evaluations=[40, 81], seeds=2, workers=1)
    assert found.samplers[0].name == "mine"
    assert found.reward == "worst"
    assert found.samplers[0].regret.mean[-1] < 0.5  # all of the table was seen; noise may mislead by a little
    assert found.ratios == {}


def test_the_command(table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"archfit bench samplers {table} --samplers random --evaluations 5 --seeds 2 --madds 104 --workers 1"
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "after 5" in capsys.readouterr().out


def test_a_bounded_cost_is_above_zero(table: Path) -> None:
    table.write_text(table.read_text().replace(",100\n", ",0\n", 1))
    assert bench_samplers(table, samplers=["random"], evaluations=[5], seeds=1, workers=1).samplers
    with pytest.raises(ArchfitError, match="has 'madds' of 0 times its bound; a cost is above zero"):
        bench_samplers(table, samplers=["random"], budget=Budget(madds=105), evaluations=[5], seeds=1, workers=1)
