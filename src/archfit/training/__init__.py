"""Training: recipes, the Lightning module, metrics."""

from archfit.training.accelerators import available_cores, check_accelerator, check_devices
from archfit.training.classifier import DivergedError, make_optimiser, rate_at
from archfit.training.fit import (
    MEMORY_FORMATS,
    Progress,
    Training,
    fit,
    predict_logits,
    score,
)
from archfit.training.metrics import (
    METRICS,
    Metric,
    calibration_error,
    chance_level,
    confusion_matrix,
    get_metric,
    per_class,
    top_k,
)
from archfit.training.probe import Probe, one_thread, probe_memory_format, training_rate
from archfit.training.recipes import Recipe, final_recipe, proxy_recipe, supernet_recipe, transfer_recipe
from archfit.training.together import Group

__all__ = [
    "MEMORY_FORMATS",
    "METRICS",
    "DivergedError",
    "Group",
    "Metric",
    "Probe",
    "Progress",
    "Recipe",
    "Training",
    "available_cores",
    "calibration_error",
    "chance_level",
    "check_accelerator",
    "check_devices",
    "confusion_matrix",
    "final_recipe",
    "fit",
    "get_metric",
    "make_optimiser",
    "one_thread",
    "per_class",
    "predict_logits",
    "probe_memory_format",
    "proxy_recipe",
    "rate_at",
    "score",
    "supernet_recipe",
    "top_k",
    "training_rate",
    "transfer_recipe",
]
