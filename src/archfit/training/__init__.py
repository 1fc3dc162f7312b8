"""Training: recipes, the Lightning module, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archfit._lazy import door

if TYPE_CHECKING:
    from archfit.training.accelerators import available_cores, check_accelerator, check_devices
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
    from archfit.training.optimisers import make_optimiser, rate_at
    from archfit.training.probe import Probe, one_thread, probe_memory_format, relative_rate, training_rate
    from archfit.training.recipes import Recipe, final_recipe, proxy_recipe, supernet_recipe, transfer_recipe
    from archfit.training.records import Group, Progress, Training
    from archfit.training.scoring import MEMORY_FORMATS, predict_logits, score
    from archfit.training.trainer import fit

__all__ = [
    "MEMORY_FORMATS",
    "METRICS",
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
    "relative_rate",
    "score",
    "supernet_recipe",
    "top_k",
    "training_rate",
    "transfer_recipe",
]

# Late, since Lightning takes two seconds and 150 MB: only those who call `fit` import it, as they do, which are workers
# as a rule.
__getattr__, __dir__ = door(
    __name__,
    {
        "accelerators": ["available_cores", "check_accelerator", "check_devices"],
        "metrics": [
            "METRICS",
            "Metric",
            "calibration_error",
            "chance_level",
            "confusion_matrix",
            "get_metric",
            "per_class",
            "top_k",
        ],
        "optimisers": ["make_optimiser", "rate_at"],
        "probe": ["Probe", "one_thread", "probe_memory_format", "relative_rate", "training_rate"],
        "recipes": ["Recipe", "final_recipe", "proxy_recipe", "supernet_recipe", "transfer_recipe"],
        "records": ["Group", "Progress", "Training"],
        "scoring": ["MEMORY_FORMATS", "predict_logits", "score"],
        "trainer": ["fit"],
    },
)
