"""Evaluators: how accurate is an architecture."""

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
