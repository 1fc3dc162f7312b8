"""Bad input on the command line: one line with the remedy on stderr, exit code 2, nothing half-written."""

from __future__ import annotations

import errno
import json
import random
import re
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from archfit.architecture import Task, random_architecture
from archfit.cli import main
from archfit.cli.live import LiveWatch, run_guarded
from archfit.device import LatencyTable, LocalDevice
from archfit.pipeline import SearchRequest, SearchResult
from archfit.spaces import space_at
from archfit.study.run_folder import RunFolder

if TYPE_CHECKING:
    from conftest import Finished

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the command line in an empty folder; gives the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["archfit", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        code = stopped.value.code
        assert isinstance(code, int)
        return code, out, err

    return call


def refused(result: tuple[int, str, str]) -> str:
    """The one line that says why, after whatever progress was told."""
    code, out, err = result
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if line.startswith("archfit: ")]
    assert lines == err.splitlines()[-1:]
    return lines[0].removeprefix("archfit: ")


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        ("digts", "unknown dataset or folder 'digts'; did you mean 'digits'?"),
        ("digits --sampler pppo", "unknown sampler 'pppo'; did you mean 'ppo'?"),
        ("digits --sampler custom", "unknown sampler 'custom'; "),
        ("digits --reward sof", "unknown reward 'sof'; did you mean 'soft'?"),
        ("digits --runtime onnx", "unknown runtime 'onnx'; did you mean 'onnxruntime'?"),
        ("digits --metric balanced", "unknown metric 'balanced'; did you mean 'balanced-accuracy'?"),
        ("digits --accelerator gpu", "unknown accelerator 'gpu'; did you mean 'cpu'?"),
        ("digits --space mans", "unknown space 'mans'; did you mean 'mnas'?"),
        ("digits --device lokal", "unknown device 'lokal'; did you mean 'local'?"),
        ("digits --references mnasnet-smal", "unknown reference 'mnasnet-smal'; did you mean 'mnasnet-small'?"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(run: Run, tmp_path: Path, arguments: str, nearest: str) -> None:
    line = refused(run("search", *arguments.split(), "--out", "new"))
    assert line.startswith(nearest)
    assert "there are: " in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("--latency 0ms", "latency is '0ms'; it must be above zero, as in 0.3ms"),
        ("--latency -1ms", "latency is '-1ms'; write a positive number with a unit"),
        ("--latency nanms", "latency is 'nanms'; write a positive number with a unit"),
        ("--latency 5", "latency '5' has no unit; use one of us, µs, ms, s"),
        ("--memory 8", "memory '8' has no unit; use one of b, kb, mb, gb"),
        ("--params 0", "params is '0'; it must be above zero, as in 300k"),
        ("--madds -3k", "madds is '-3k'; write a positive number"),
        ("--time 30", "time '30' has no unit; use one of s, m, min, h"),
        ("--trials 0", "trials is 0; it must be above zero"),
        ("--patience -1", "patience is -1; it must be above zero"),
        ("--width 0", "width is 0.0; it must be above zero"),
        ("--width 1e9", "width is 1e+09; it must be at most 16"),
        ("--width nan", "width is nan; it must be above zero"),
        ("--searched-blocks x", "searched_blocks is 'x'; give block numbers with commas"),
        ("--searched-blocks 9", "searched_blocks is (9,); give ascending numbers from 1 to 7"),
        ("--threads 0", "threads is 0; it must be at least 1"),
        ("--workers 0", "workers is 0; it must be at least 1"),
        ("--workers 99999", "workers is 99999; it must be at most 1024"),
        ("--finalists 0", "finalists is 0; it must be at least 1"),
        ("--image-size 0", "image_size is 0; it must be at least 1"),
        ("--image-size 100000", "image_size is 100000; it must be at most 4096"),
        ("--train-images 3", "3 training images asked for; give from 10 (one per class) to 1259 (all)"),
        ("--max-corrupt 3", "max_corrupt is 3.0; give a share from 0 to 1"),
        ("--proxy-epochs 0", "proxy_epochs is 0; give a number above zero"),
        ("--proxy-epochs 3,1", "proxy_epochs is 3,1; give a number above zero, or rising ones as 1,3,9"),
        ("--proxy-epochs 1,x", "proxy_epochs is '1,x'; give a number, or rising ones as in 1,3,9"),
        ("--final-epochs 0", "final_epochs is 0; it must be at least 1"),
        ("--prune-above 0.5", "prune_above is 0.5; it must be at least 1"),
        ("--seed -1", "seed is -1; it must be from 0"),
    ],
)
def test_a_number_out_of_range(run: Run, tmp_path: Path, options: str, what: str) -> None:
    assert refused(run("search", "digits", *options.split(), "--out", "new")).startswith(what)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", ["search", "serch", "search digits --nonsense", "search digits --trials x"])
def test_wrong_usage_is_exit_code_2(run: Run, arguments: str) -> None:
    code, _, err = run(*arguments.split())
    assert code == 2
    assert "Error: " in err


def _picture(path: Path, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(path)


def _no_images(root: Path) -> None:
    (root / "a").mkdir(parents=True)
    (root / "a" / "notes.txt").write_text("no image")


def _loose(root: Path) -> None:
    _picture(root / "0.png")


def _one_class(root: Path) -> None:
    for number in range(4):
        _picture(root / "a" / f"{number}.png")


def _lonely(root: Path) -> None:
    _one_class(root)
    _picture(root / "b" / "0.png")


def _broken(root: Path) -> None:
    for name in "ab":
        for number in range(4):
            _picture(root / name / f"{number}.png")
    (root / "a" / "0.png").write_bytes(b"")
    (root / "b" / "3.png").write_bytes(b"\x89PNG cut")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (Path.mkdir, "holds no images; it needs a folder for each class"),
        (_no_images, "holds no images"),
        (_loose, "holds 1 images without class folders"),
        (_one_class, "has one class only, 'a'; at least 2 are needed"),
        (_lonely, "class 'b' has 1 image; at least 3 are needed, one for each split; add images or remove the class"),
        # 2 of 8 are a quarter, more than the 5 % that are skipped.
        (_broken, "2 of 8 images cannot be read (a/0.png, b/3.png), more than the 5% that are skipped; repair or"),
    ],
)
def test_a_folder_that_is_no_dataset(run: Run, tmp_path: Path, make: Callable[[Path], None], what: str) -> None:
    make(tmp_path / "photos")
    assert what in refused(run("search", "photos", "--out", "new"))
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_more_broken_images_are_skipped_when_asked(run: Run, tmp_path: Path) -> None:
    _broken(tmp_path / "photos")
    code, out, _ = run("search", "photos", "--dry-run", "--max-corrupt", "0.3")
    assert code == 0
    assert "skipped 2 of 8 images that cannot be read: a/0.png, b/3.png" in out


def test_a_folder_that_is_missing(run: Run) -> None:
    assert "there is no folder or file nowhere/photos; give one that exists" in refused(run("search", "nowhere/photos"))


IMAGES = np.zeros((12, 8, 8), np.uint8)
LABELS = np.arange(12) % 3


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"y_train": LABELS[1:]}, "y_train of data.npz has shape (11,) for 12 images; store one label per image"),
        ({"y_train": LABELS - 1}, "y_train of data.npz has the label -1; labels must be integers from 0"),
        ({"y_test": LABELS + 3}, "label 5 of test is not in train, which has 3 classes (0 to 2)"),
        ({"y_train": LABELS / 2}, "y_train of data.npz has type float64; labels must be integers"),
        ({"x_train": np.full((12, 8, 8), np.nan)}, "x_train of data.npz holds NaN or infinity"),
        ({"x_train": np.zeros((12, 64))}, "x_train of data.npz has shape (12, 64)"),
        ({"x_train": None}, "lacks x_train; it needs x_train, y_train, x_test, y_test"),
    ],
)
def test_an_npz_that_is_no_dataset(run: Run, changed: dict[str, np.ndarray | None], what: str) -> None:
    arrays = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS} | changed
    np.savez("data.npz", **{name: array for name, array in arrays.items() if array is not None})
    assert what in refused(run("search", "data.npz"))


@pytest.mark.parametrize("content", [b"", b"text and no archive", b"PK\3\4 cut off"])
def test_an_npz_that_is_no_archive(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    line = refused(run("search", "data.npz"))
    assert re.search("empty file|no .npz file|cannot be read as .npz", line)
    assert "pickle" not in line


def test_an_output_folder_that_cannot_be(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert refused(run("search", "digits", "--out", "folder")) == (
        "output folder folder exists already; choose another --out"
    )
    assert refused(run("search", "digits", "--out", "file")).startswith("output folder file exists already; choose")
    assert "file is a file); choose another --out" in refused(run("search", "digits", "--out", "file/new"))
    RunFolder.create(tmp_path / "run", {}, "0").close()
    assert "go on with it by: archfit resume run" in refused(run("search", "digits", "--out", "run"))


def test_a_budget_out_of_reach_names_the_smallest_cost(run: Run, tmp_path: Path) -> None:
    line = refused(run("search", "digits", "--params", "9", "--width", "0.18", "--workers", "1", "--out", "new"))
    assert re.match(r"no network of space 'mnas' meets the budget \(.*\) at 8x8 pixels; the smallest cost found", line)
    assert list(tmp_path.iterdir()) == []


COMMANDS = ("resume", "report", "measure", "predict")


def _on_a_run(run: Run, command: str, folder: Path) -> str:
    return refused(run(command, folder, *(["picture.png"] if command == "predict" else [])))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_is_no_run(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "folder").mkdir()
    line = _on_a_run(run, command, tmp_path / "folder")
    assert "is not a run of archfit: it has no run.json; give the folder that a search wrote" in line
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            {"schema": 2, "archfit_version": "9.9"},
            "was written by archfit 9.9 (run schema 2); this version reads",
        ),
        ({"request": None}, "run.json cannot be read (it lacks request); the run cannot be resumed, start a new one"),
        ("{", "run.json cannot be read (Expecting"),
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_of_another_version_or_damaged(
    run: Run, tmp_path: Path, command: str, change: dict[str, object] | str, what: str
) -> None:
    RunFolder.create(tmp_path / "run", SearchRequest("digits").to_json(), "0").close()
    file = tmp_path / "run" / "run.json"
    if isinstance(change, str):
        file.write_text(change)
    else:
        content = json.loads(file.read_text()) | change
        file.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    assert what in _on_a_run(run, command, tmp_path / "run")


def test_a_request_that_is_not_understood(run: Run, tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", SearchRequest("digits").to_json() | {"colour": "red"}, "0").close()
    assert "it was written by another version or changed since" in refused(run("resume", "run"))


def test_a_run_in_use(run: Run, tmp_path: Path) -> None:
    busy = RunFolder.create(tmp_path / "run", SearchRequest("digits").to_json(), "0")
    assert "is in use by another archfit process; wait for it or stop it first" in refused(run("resume", "run"))
    busy.close()


def test_an_unfinished_run(run: Run, tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", SearchRequest("digits").to_json(), "0").close()
    assert "finish it with: archfit resume run" in refused(run("report", "run"))
    assert "go on with: archfit resume run" in refused(run("measure", "run"))
    assert "there is no network run/network.onnx; give the folder of a finished run" in refused(
        run("predict", "run", "picture.png")
    )


def test_a_damaged_study(run: Run, tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "run", SearchRequest("digits", width=0.18, workers=1).to_json(), "0").close()
    run_folder = RunFolder.open(tmp_path / "run")
    run_folder.decide("stopped", "3 trials")
    run_folder.close()
    connection = sqlite3.connect(tmp_path / "run" / "study.db")
    connection.execute("CREATE TABLE trials (number INTEGER)")
    connection.close()
    assert "study.db has lost the trials of a search that had ended; restore it" in refused(run("resume", "run"))


def _foreign(path: Path, *, inputs: int = 1, kind: int = TensorProto.FLOAT) -> None:
    names = [f"x{number}" for number in range(inputs)]
    graph = helper.make_graph(
        [helper.make_node("Cast", names[:1], ["y"], to=TensorProto.FLOAT)],
        "foreign",
        [helper.make_tensor_value_info(name, kind, ["N", 3]) for name in names],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_measure_of_what_is_no_network(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("text")
    _foreign(tmp_path / "two.onnx", inputs=2)
    _foreign(tmp_path / "whole.onnx", kind=TensorProto.INT64)
    assert "there is no file nowhere.onnx; give an ONNX file" in refused(run("measure", "nowhere.onnx"))
    assert "text.onnx: 4 bytes are no ONNX model" in refused(run("measure", "text.onnx"))
    assert "two.onnx: the network has 2 inputs; a network is measured with" in refused(run("measure", "two.onnx"))
    assert "whole.onnx: the network's input is INT64" in refused(run("measure", "whole.onnx"))
    assert "did you mean 'mnasnet-small'?" in refused(run("measure", "mnasnet-smal"))
    assert "threads is 0; it must be at least 1" in refused(run("measure", "mnasnet-small", "--threads", "0"))
    assert "image_size is 0; it must be" in refused(run("measure", "mnasnet-small", "--image-size", "0"))


def test_measure_of_a_foreign_network(run: Run, tmp_path: Path) -> None:
    _foreign(tmp_path / "foreign.onnx")
    code, out, _ = run("measure", "foreign.onnx", "--json")
    assert code == 0
    measured = json.loads(out)
    assert (measured["name"], measured["params"]) == ("foreign.onnx", 0)
    assert 0 < measured["latency"]["p10_ms"] <= measured["latency"]["p50_ms"] <= measured["latency"]["p90_ms"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("", "nothing to measure; give an ONNX file, a run folder or a name, or --space mnas"),
        ("mnasnet-small --latency 0.3ms", "latency is 0.3ms, which only --space takes"),
        ("mnasnet-small --space mnas", "network mnasnet-small and space mnas are both given"),
        ("--space mnas --classes 10 --out t.json", "image_size is missing; a space is measured with --image-size"),
        ("--space mnas --image-size 28 --out t.json", "classes is missing"),
        ("--space mnas --image-size 28 --classes 10", "out is missing"),
    ],
)
def test_measure_needs_one_thing_to_measure(run: Run, tmp_path: Path, options: str, what: str) -> None:
    assert refused(run("measure", *options.split())).startswith(what)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("--space mans", "unknown space 'mans'; did you mean 'mnas'?"),
        ("--space mnas --runtime onnx", "unknown runtime 'onnx'; did you mean 'onnxruntime'?"),
        ("--space mnas --latency 5", "latency '5' has no unit"),
        ("--space mnas --width 0", "width is 0.0; it must be above zero"),
        ("--space mnas --threads 0", "threads is 0; it must be at least 1"),
        ("--space mnas --channels 0", "channels is 0; it must be at least 1"),
        ("--space mnas --networks 3", "networks is 3; give from 10 to 10,000"),
        ("--space mnas --out no/t.json", "output folder no does not exist; make it, or choose another --out"),
    ],
)
def test_measure_of_a_space_that_cannot_be(run: Run, tmp_path: Path, options: str, what: str) -> None:
    line = refused(run("measure", "--image-size", 8, "--classes", 2, "--out", "t.json", *options.split()))
    assert line.startswith(what)
    assert list(tmp_path.iterdir()) == []


def test_measure_of_a_space(run: Run, tmp_path: Path) -> None:
    options = "--space mnas --image-size 8 --channels 1 --classes 2 --width 0.18 --networks 10 --out t.json"
    code, out, err = run("measure", *options.split())
    assert code == 0, err
    assert "10 measured" in out
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]
    space, task = space_at("mnas", 0.18), Task(1, 8, 2)
    table = LatencyTable.read(tmp_path / "t.json")
    table.check(space, task, LocalDevice(), runtime="onnxruntime", threads=1)
    architecture = random_architecture(space, random.Random(0))
    assert 0.02 < table.predict(space.pieces(architecture, task)) < 20
    assert "output file t.json exists already" in refused(run("measure", *options.split()))


def test_predict_with_what_is_no_network_of_archfit(run: Run, tmp_path: Path) -> None:
    _foreign(tmp_path / "foreign.onnx")
    (tmp_path / "text.onnx").write_text("text")
    line = refused(run("predict", "foreign.onnx", "picture.png"))
    assert "foreign.onnx is not a network that archfit exported (it takes tensor(float) ['N', 3])" in line
    assert "text.onnx cannot be run by ONNX Runtime" in refused(run("predict", "text.onnx", "picture.png"))
    assert "there is no network nowhere" in refused(run("predict", "nowhere", "picture.png"))


def test_predict_a_picture_that_is_none(run: Run, finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes(b"\x89PNG cut")
    for name in ("empty.png", "cut.png", "."):
        assert f"{name} cannot be read as a picture" in refused(run("predict", finished.folder, name))
    assert "there is no picture nowhere.png; give a file that exists" in refused(
        run("predict", finished.folder, "nowhere.png")
    )


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (MemoryError(), "there is not enough memory; lower --image-size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "there is not enough memory"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/tmp/x"),
            "/tmp/x: No space left on device; free some space",
        ),
    ],
)
def test_what_the_machine_has_not_got(run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, what: str) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr("archfit.cli.app.app", fails)
    assert refused(run("search", "digits")).startswith(what)


def test_a_mistake_of_archfit_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("archfit.cli.app.app", fails)
    with pytest.raises(RuntimeError, match="a mistake"):
        main()


@pytest.mark.parametrize("begun", [False, True])
def test_ctrl_c_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, begun: bool) -> None:
    def interrupted() -> None:
        def verb() -> SearchResult:
            watch.started(tmp_path)
            raise KeyboardInterrupt

        def early() -> SearchResult:
            raise KeyboardInterrupt

        with LiveWatch() as watch:
            run_guarded(verb if begun else early, watch)

    monkeypatch.setattr("archfit.cli.app.app", lambda: sys.exit(_exit_code(interrupted)))
    code, _, err = run("search", "digits")
    assert code == 130
    last = err.splitlines()[-1]
    assert last == (
        f"archfit: stopped; go on with: archfit resume {tmp_path}"
        if begun
        else "archfit: stopped before there was anything to keep"
    )


def _exit_code(call: Callable[[], None]) -> int:
    import typer

    with pytest.raises(typer.Exit) as stopped:
        call()
    return stopped.value.exit_code
