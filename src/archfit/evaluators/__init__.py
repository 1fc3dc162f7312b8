"""Evaluators: how accurate is an architecture."""

from archfit.evaluators.protocol import Evaluator
from archfit.evaluators.proxy import ProxyTraining
from archfit.evaluators.shared_weights import BATCH, SharedWeights, path_accuracy

__all__ = ["BATCH", "Evaluator", "ProxyTraining", "SharedWeights", "path_accuracy"]
