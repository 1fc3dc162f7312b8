"""What holds for every test: a cache of its own, one thread, and real datasets only where they already are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from archfit.data import data_folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, so that where two run at a time neither is left with one of them in the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stands in for the user's cache, so that measured costs are neither read from it nor added to it."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHFIT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tests are small: more threads cost more than they bring, and sum in another order.

    Processes that a test starts inherit it, so that their floats are the same to the last bit.
    """
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@dataclass(frozen=True)
class Finished:
    """A search that the command line ran to its end.

    Attributes:
        folder: Of the run.
        stdout: What the command printed.
        stderr: Its progress.
    """

    folder: Path
    stdout: str
    stderr: str

    def copy(self, folder: Path) -> Path:
        """The run in a place of its own, to be damaged."""
        return Path(shutil.copytree(self.folder, folder))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, cache_folder: Path, one_thread: None) -> Finished:
    """The smallest search there is, about 20 seconds: many tests share it, none may change its folder.

    It runs once; each process that pytest-xdist tests in has a copy.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)
    options = "--latency 5ms --trials 3 --proxy-epochs 0.3 --final-epochs 2 --width 0.18 --workers 1 --finalists 1"
    options += " --sampler random"  # measures no plain networks first
    command = [sys.executable, "-m", "archfit", "search", "digits", *options.split(), "--out", "finished"]
    with FileLock(shared / "lock"):
        if not (shared / "stderr").is_file():
            done = subprocess.run(command, cwd=shared, capture_output=True, text=True, timeout=240)
            assert done.returncode == 0, done.stderr
            (shared / "stdout").write_text(done.stdout)
            (shared / "stderr").write_text(done.stderr)
    folder = shutil.copytree(shared / "finished", tmp_path_factory.mktemp("runs") / "finished")
    return Finished(Path(folder), (shared / "stdout").read_text(), (shared / "stderr").read_text())


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with downloaded datasets, to be passed as `data_dir`. Tests never download."""
    folders = (data_folder(), Path("~/.cache/archfit-data").expanduser())
    for folder in folders:
        if folder.is_dir():
            return folder
    pytest.skip(f"no real datasets in {' or '.join(map(str, folders))}; name their folder with ARCHFIT_DATA")
