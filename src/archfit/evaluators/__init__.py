"""Evaluators: how accurate is an architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archfit._lazy import door

if TYPE_CHECKING:
    from archfit.evaluators.protocol import Evaluator
    from archfit.evaluators.proxy import ProxyTraining
    from archfit.evaluators.shared_weights import BATCH, SharedWeights, path_accuracy
    from archfit.evaluators.tabular import Table, TableRow, read_table

__all__ = [
    "BATCH",
    "Evaluator",
    "ProxyTraining",
    "SharedWeights",
    "Table",
    "TableRow",
    "path_accuracy",
    "read_table",
]

# Late, as are those of `archfit.training`.
__getattr__, __dir__ = door(
    __name__,
    {
        "protocol": ["Evaluator"],
        "proxy": ["ProxyTraining"],
        "shared_weights": ["BATCH", "SharedWeights", "path_accuracy"],
        "tabular": ["Table", "TableRow", "read_table"],
    },
)
