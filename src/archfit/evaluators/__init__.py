"""Evaluators: how accurate is an architecture."""

from archfit.evaluators.protocol import Evaluator
from archfit.evaluators.proxy import ProxyTraining

__all__ = ["Evaluator", "ProxyTraining"]
