from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from archfit.study.candidates import training_pool
from archfit.study.workers import WorkerPool


# pytest imports each test file on its own: helpers beside them are no package, and are made known here.
def _made_known(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"study_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_TOY = _made_known("toy")
_made_known("postgresql")


@pytest.fixture(scope="session")
def one_worker() -> Iterator[WorkerPool]:
    data = _TOY.DATA
    with training_pool(data, 1) as pool:
        yield pool


@pytest.fixture(scope="session")
def two_workers() -> Iterator[WorkerPool]:
    data = _TOY.DATA
    with training_pool(data, 2) as pool:
        yield pool
