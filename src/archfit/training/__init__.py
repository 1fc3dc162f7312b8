"""Training: recipes, the Lightning module, metrics."""

from archfit.training.classifier import DivergedError
from archfit.training.fit import (
    Progress,
    Training,
    check_accelerator,
    fit,
    predict_logits,
    score,
)
from archfit.training.metrics import (
    METRICS,
    calibration_error,
    chance_level,
    confusion_matrix,
    get_metric,
    per_class,
    top_k,
)
from archfit.training.probe import Probe, one_thread, probe_memory_format, training_rate
from archfit.training.recipes import Recipe, final_recipe, proxy_recipe, transfer_recipe

__all__ = [
    "METRICS",
    "DivergedError",
    "Probe",
    "Progress",
    "Recipe",
    "Training",
    "calibration_error",
    "chance_level",
    "check_accelerator",
    "confusion_matrix",
    "final_recipe",
    "fit",
    "get_metric",
    "one_thread",
    "per_class",
    "predict_logits",
    "probe_memory_format",
    "proxy_recipe",
    "score",
    "top_k",
    "training_rate",
    "transfer_recipe",
]
