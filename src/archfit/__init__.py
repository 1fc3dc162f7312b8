"""archfit: a dataset, a device and a budget in; the network that fits out.

result = archfit.search("digits", latency="0.2ms")
network = result.best.model()
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archfit._lazy import door
from archfit._version import __version__

if TYPE_CHECKING:
    from archfit.architecture import Architecture, Choice, SearchSpace, Task
    from archfit.cost import Budget, Cost, Latency
    from archfit.data import ImageData, load_data
    from archfit.device import LatencyTable
    from archfit.errors import ArchfitError
    from archfit.evaluators import Evaluator, ProxyTraining
    from archfit.pipeline import (
        SearchResult,
        TrainResult,
        compare,
        load,
        measure,
        measure_space,
        predict,
        resume,
        search,
        train,
    )
    from archfit.spaces import MnasSpace, Skeleton

__all__ = [
    "ArchfitError",
    "Architecture",
    "Budget",
    "Choice",
    "Cost",
    "Evaluator",
    "ImageData",
    "Latency",
    "LatencyTable",
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
    "measure_space",
    "predict",
    "resume",
    "search",
    "train",
]

# Late, so that `import archfit` and `archfit --help` do not import torch.
__getattr__, __dir__ = door(
    __name__,
    {
        "architecture": ["Architecture", "Choice", "SearchSpace", "Task"],
        "cost": ["Budget", "Cost", "Latency"],
        "data": ["ImageData", "load_data"],
        "device": ["LatencyTable"],
        "errors": ["ArchfitError"],
        "evaluators": ["Evaluator", "ProxyTraining"],
        "pipeline": [
            "SearchResult",
            "TrainResult",
            "compare",
            "load",
            "measure",
            "measure_space",
            "predict",
            "resume",
            "search",
            "train",
        ],
        "spaces": ["MnasSpace", "Skeleton"],
    },
    beside=["__version__"],
)
