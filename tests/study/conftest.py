from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from archfit.study.search import WorkerContext
from archfit.study.workers import WorkerPool

# pytest imports each test file on its own: helpers beside them are no package, and are made known here.
_SPEC = importlib.util.spec_from_file_location("study_toy", Path(__file__).with_name("toy.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_TOY = importlib.util.module_from_spec(_SPEC)
sys.modules["study_toy"] = _TOY
_SPEC.loader.exec_module(_TOY)


@pytest.fixture(scope="session")
def one_worker() -> Iterator[WorkerPool]:
    data = _TOY.DATA
    with WorkerPool(lambda: WorkerContext(data), size=1) as pool:
        yield pool


@pytest.fixture(scope="session")
def two_workers() -> Iterator[WorkerPool]:
    data = _TOY.DATA
    with WorkerPool(lambda: WorkerContext(data), size=2) as pool:
        yield pool
