"""What holds for every test: a cache of its own, one thread, and real datasets only where they already are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from archfit.data import data_folder


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


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with downloaded datasets, to be passed as `data_dir`. Tests never download."""
    folders = (data_folder(), Path("~/.cache/archfit-data").expanduser())
    for folder in folders:
        if folder.is_dir():
            return folder
    pytest.skip(f"no real datasets in {' or '.join(map(str, folders))}; name their folder with ARCHFIT_DATA")
