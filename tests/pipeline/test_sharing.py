from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import archfit
from archfit.data import load_data
from archfit.errors import InputError
from archfit.pipeline import SearchRequest, SearchResult, Silent, measure_space, recorded
from archfit.pipeline.sharing import SUPERNET, TABLE, PredictedCost, Sharing
from archfit.reward import absolute
from archfit.spaces import MacroSpace, MnasSpace, Skeleton
from archfit.study.limits import Limits
from archfit.study.record import DERIVED, PLAIN
from archfit.study.run_folder import RunFolder
from archfit.study.shared_search import SharedSearch, Speed

pytestmark = pytest.mark.slow

SPACE = MnasSpace(skeleton=Skeleton(stem=8, filters=(8, 16), layers=(1, 1), strides=(1, 2), head=32))
ASKED: dict[str, Any] = {
    "method": "shared",
    "space": SPACE,
    "params": 3_000,
    "trials": 3,
    "control": 2,
    "supernet_epochs": 2,
    "final_epochs": 1,
    "train_images": 600,
    "workers": 1,
}


def search(out: Path, **changes: Any) -> SearchResult:
    return archfit.search("digits", out=out, **{**ASKED, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    return search(tmp_path_factory.mktemp("shared") / "whole")


def test_derived_architectures_become_trials_of_the_study(whole: SearchResult) -> None:
    scored = [trial for trial in whole.trials if trial.promotes is None]
    assert [trial.origin for trial in scored] == [DERIVED] * 3 + [PLAIN]  # half as many at most, and one is
    assert {trial.state for trial in whole.trials} == {"complete"}
    assert all(0 <= (trial.accuracy or 0) <= 1 and trial.cost is not None for trial in whole.trials)
    decided = json.loads((whole.folder / "run.json").read_text())["decisions"]["derived"]["architectures"]
    assert [trial.architecture.to_json() for trial in scored[:3] if trial.architecture] == decided


def test_the_best_are_trained_alone_and_finalists_chosen_among_them(whole: SearchResult) -> None:
    alone = [trial for trial in whole.trials if trial.promotes is not None]
    within = [trial.number for trial in whole.trials if trial.promotes is None and trial.within_budget]
    assert sorted(trial.promotes for trial in alone if trial.promotes is not None) == within
    assert all(trial.rung == 1 and trial.seconds_train > 0 for trial in alone)
    assert whole.record.winner.name in {f"trial {trial.number}" for trial in alone}
    assert {trial.number for trial in whole.front} <= {trial.number for trial in alone}
    page = (whole.folder / "report.html").read_text(encoding="utf-8")
    assert "trained alone" in page
    assert "proxy accuracy, 2 epochs" in page.replace("\xa0", " ")


def test_epochs_alone_may_be_asked_for(tmp_path: Path) -> None:
    found = search(tmp_path / "run", proxy_epochs=1, control=0, sampler="ppo")
    assert found.record.search["proxy"]["epochs"] == [1.0]
    assert found.record.search["sampler"] == "controller (ppo)"
    assert [trial.origin for trial in found.trials].count(PLAIN) == 2


def test_the_result_says_how_it_was_found(whole: SearchResult) -> None:
    said = whole.record.search
    assert said["method"] == "shared"
    assert said["sampler"] == "controller (reinforce)"
    assert said["shared"]["epochs"] == 2
    assert said["shared"]["random"]["architectures"] == said["shared"]["controller"]["architectures"] == 64
    assert len(said["shared"]["rounds"]) >= 2
    assert said["proxy"]["epochs"] == [2.0]
    assert (whole.folder / SUPERNET).is_file()
    seconds = whole.record.seconds
    assert seconds["training"] >= said["shared"]["ranking_seconds"] + sum(
        r["seconds"] for r in said["shared"]["rounds"]
    )
    assert said["shared"]["ranking_seconds"] > 0


def test_control_networks_hold_the_budget_and_are_tested(whole: SearchResult) -> None:
    control = [network for network in whole.record.trained if network.role == "control"]
    assert len(control) == 2
    for network in control:
        assert network.cost.params <= 3_000
        assert network.test_accuracy is not None
        assert network.epochs == whole.record.winner.epochs
        assert network.architecture != whole.record.winner.architecture
    assert "random networks within the budget" in whole.record.recommendation


def test_it_loads_again_and_its_network_predicts_the_same(whole: SearchResult) -> None:
    again = archfit.load(whole.folder, space=SPACE)
    assert isinstance(again, SearchResult)
    assert again.best.architecture == whole.best.architecture
    assert recorded(whole.folder)[0].search["method"] == "shared"


def test_a_killed_search_goes_on_to_the_same_end(
    whole: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    kept = SharedSearch._learn_weights

    def mortal(self: SharedSearch) -> Any:
        if len(self.rounds) == 2:
            raise Killed
        return kept(self)

    with monkeypatch.context() as patch:
        patch.setattr(SharedSearch, "_learn_weights", mortal)
        with pytest.raises(Killed):
            search(tmp_path / "killed")
    assert (tmp_path / "killed" / SUPERNET).is_file()
    resumed = archfit.resume(tmp_path / "killed", space=SPACE)
    assert isinstance(resumed, SearchResult)
    assert [trial.architecture for trial in resumed.trials] == [trial.architecture for trial in whole.trials]
    assert [trial.accuracy for trial in resumed.trials] == [trial.accuracy for trial in whole.trials]
    assert resumed.record.test.accuracy == whole.record.test.accuracy


def test_costs_are_counted_without_building() -> None:
    task = archfit.Task(1, 8, 10)
    space = MacroSpace(filters=4, depth=3)
    cost = PredictedCost(space, task)
    architecture = archfit.Architecture(
        "enas-macro",
        (("layer1.op", "conv3"), ("layer2.op", "sep3"), ("layer2.skip0", 1), ("layer3.op", "avg3"), ("layer3.skip0", 0),
         ("layer3.skip1", 1)),
    )  # fmt: skip
    network = space.build(architecture, task)
    assert cost(architecture).params == sum(weight.numel() for weight in network.parameters())
    assert cost(architecture) is cost(architecture)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "table.json"
    measure_space(SPACE, image_size=8, channels=1, classes=10, networks=10, out=path)
    return path


def test_latencies_are_predicted_from_a_table_and_measured_in_the_end(table: Path, tmp_path: Path) -> None:
    found = search(tmp_path / "run", params=None, latency="5ms", latency_table=table, control=0)
    assert (tmp_path / "run" / TABLE).read_text() == table.read_text()
    assert found.record.search["shared"]["latency_table"]["networks"] == 10
    for trial in found.trials:
        assert trial.cost is not None
        assert trial.cost.latency is not None
        assert trial.cost.latency.runs > 0  # a predicted one has none
    assert found.record.winner.within_budget


def test_a_table_of_another_space_is_refused(table: Path, tmp_path: Path) -> None:
    wider = replace(SPACE, width=2.0)
    with pytest.raises(InputError, match=r"table is of width 1.0, and width 2.0 is asked for"):
        search(tmp_path / "run", space=wider, params=None, latency="5ms", latency_table=table, width=2.0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "share"}, "did you mean 'shared'"),
        ({"method": "shared", "sampler": "evolution"}, "a controller learns, by one of"),
        ({"method": "shared", "proxy_epochs": (1.0, 3.0)}, "proxy_epochs are several, and method 'shared'"),
        ({"method": "shared", "init": "x.pth"}, "init is given, and method 'shared'"),
        ({"supernet_epochs": 3.0}, "supernet_epochs is given, and method 'trials'"),
        ({"supernet_learning_rate": 0.1}, "supernet_learning_rate is given, and method 'trials'"),
        ({"latency_table": "t.json"}, "belongs to --method shared"),
        ({"method": "shared", "control": -1}, "control is -1"),
        ({"method": "shared", "supernet_epochs": 0.0}, "supernet_epochs is 0.0"),
        ({"method": "shared", "supernet_learning_rate": -1.0}, "supernet_learning_rate is -1.0"),
        ({"space": "enas-makro"}, "did you mean 'enas-macro'"),
    ],
)
def test_requests_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SearchRequest("digits", **changes)


def test_a_space_that_cannot_share_says_which_can(tmp_path: Path) -> None:
    class Alone:
        """Everything of a space but the supernet."""

        name = "alone"
        choices = SPACE.choices
        build = SPACE.build
        canonical = SPACE.canonical
        settings = SPACE.settings

    with pytest.raises(InputError, match=r"space 'alone' has no supernet.*mnas"):
        search(tmp_path / "alone", space=Alone())
    assert not (tmp_path / "alone").exists()


def test_searched_blocks_belong_to_the_mnas_space(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only the mnas space has such blocks"):
        search(tmp_path / "blocks", space="enas-macro", searched_blocks=(1, 2))


def test_the_supernet_is_trained_for_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SharedSearch, "speed", lambda self: Speed(10.0, 1e-3))
    data = load_data("digits").without_test()
    request = SearchRequest("digits", method="shared", limits=Limits(seconds=5_775.0), workers=1)
    run = RunFolder.create(tmp_path / "run", request.to_json(), "0")
    meter, device = cast(Any, None), cast(Any, None)
    sharing = Sharing(
        run, request, request.stops, data, SPACE, absolute, meter, device, "channels_last", "cpu", Silent()
    )
    cost = PredictedCost(SPACE, data.task, None)
    # A third of 5,775 s and 75 s are for the search: of 2,000 s 131 s rank 128 architectures by 1,024 images, 40 s end
    # ten of them and 500 s train the best alone. 0.7 of the rest are rounds of 10 s, of all images but what no pair of
    # batches holds.
    epochs = sharing._epochs(cost)
    assert epochs == pytest.approx(93, rel=0.02)
    assert run.decision("ranked_images") == 1024
    images = sharing._shared(epochs, cost).steps * sharing._settings(epochs).images_per_step
    assert images == pytest.approx(epochs * len(data.train), rel=0.01)
    # Slower: 0.15 of the time ranks, by 468 images; slower yet, by 256.
    for image_s, images in ((5e-3, 468), (1.0, 256)):
        monkeypatch.setattr(SharedSearch, "speed", lambda self, image_s=image_s: Speed(10.0, image_s))
        sharing._epochs(cost)
        assert run.decision("ranked_images") == images
    run.close()


def test_a_request_says_its_command() -> None:
    request = replace(SearchRequest("digits"), method="shared", space="enas-macro", supernet_epochs=3.0, control=0)
    assert request.command() == (
        "archfit search digits --method shared --space enas-macro --supernet-epochs 3.0 --control 0"
    )
