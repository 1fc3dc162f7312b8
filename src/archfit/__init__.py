"""archfit: a dataset, a device and a budget in; the network that fits out.

result = archfit.search("digits", latency="0.2ms")
network = result.best.model()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from archfit._version import __version__

if TYPE_CHECKING:
    from archfit.architecture import Architecture, Choice, SearchSpace, Task
    from archfit.cost import Budget, Cost, Latency
    from archfit.data import ImageData, load_data
    from archfit.errors import ArchfitError
    from archfit.evaluators import Evaluator, ProxyTraining
    from archfit.pipeline import SearchResult, TrainResult, compare, load, measure, predict, resume, search, train
    from archfit.spaces import MnasSpace, Skeleton

_HOMES = {
    "ArchfitError": "errors",
    "Architecture": "architecture",
    "Budget": "cost",
    "Choice": "architecture",
    "Cost": "cost",
    "Evaluator": "evaluators",
    "ImageData": "data",
    "Latency": "cost",
    "MnasSpace": "spaces",
    "ProxyTraining": "evaluators",
    "SearchResult": "pipeline",
    "SearchSpace": "architecture",
    "Skeleton": "spaces",
    "Task": "architecture",
    "TrainResult": "pipeline",
    "compare": "pipeline",
    "load": "pipeline",
    "load_data": "data",
    "measure": "pipeline",
    "predict": "pipeline",
    "resume": "pipeline",
    "search": "pipeline",
    "train": "pipeline",
}

__all__ = [
    "ArchfitError",
    "Architecture",
    "Budget",
    "Choice",
    "Cost",
    "Evaluator",
    "ImageData",
    "Latency",
    "MnasSpace",
    "ProxyTraining",
    "SearchResult",
    "SearchSpace",
    "Skeleton",
    "Task",
    "TrainResult",
    "__version__",
    "compare",
    "load",
    "load_data",
    "measure",
    "predict",
    "resume",
    "search",
    "train",
]


def __getattr__(name: str) -> Any:
    # Late, so that `import archfit` and `archfit --help` do not import torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
