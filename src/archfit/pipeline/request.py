"""What a user asks of a search, as plain values that a run folder keeps."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

from archfit.catalogue import check_name
from archfit.cost import Budget
from archfit.data import Augmentation
from archfit.device import get_runtime
from archfit.errors import InputError, RunError, unknown_name
from archfit.reward import get_reward
from archfit.samplers import SAMPLERS
from archfit.spaces import KNOWN_SPACES
from archfit.study.limits import Limits
from archfit.study.storage import STORAGES, check_storage
from archfit.training import Recipe, available_cores, get_metric

METHODS = ("trials", "shared")
_RULES = ("auto", "reinforce", "ppo")
_SHARED_SEARCH = 1 / 3
_SHARED_SEARCH_SECONDS = 75.0
"""The search's part of the time with shared weights, which is at most a half: what it has more of brings less than what
the finalists have. Timing, ranking and measuring take so many seconds of a short one."""
_OF_SHARED = ("supernet_epochs", "supernet_learning_rate", "latency_table")
DEVICES = ("local",)
EVALUATORS = ("proxy",)
EXECUTORS = ("local", "ray")
CUSTOM = "<custom>"
"""Stands for an object given from Python where a name would be; a name that nobody gives to a file."""
TRAIN = "train"
"""The `verb` of a training's request; a search's has none."""
AUGMENTATIONS = tuple(field.name for field in fields(Augmentation))
RECIPE_FIELDS = (
    *(field.name for field in fields(Recipe) if field.name not in ("epochs", "augmentation")),
    *AUGMENTATIONS,
)
_ONLY_FROM_PYTHON = ("warmup", "whiten", "filter_learning_rate", "filter_weight_decay", "flip")
"""Fields of a training's recipe that are no options; `--flip` is the dataset's."""
_MOST = {"width": 16, "image_size": 4096, "threads": 1024, "workers": 1024}
"""Past these a typing error is likelier than a wish, and a computer that swaps is a bad way to find out."""


@dataclass(frozen=True)
class SearchRequest:
    """One search, checked on creation. Names stand for objects; `CUSTOM` for one given from Python.

    Attributes:
        dataset: Name, folder or file.
        budget: To hold.
        limits: When to stop.
        image_size: Pixels, or None for the dataset's own.
        train_images: Of the training split, or None for all.
        flip: Whether a mirrored image keeps its label; None is what is known of the dataset.
        max_corrupt: Largest share of unreadable images of a folder that is skipped.
        method: "trials" (each candidate trained alone) or "shared" (one supernet).
        space: Name of the search space.
        width: Multiplier of the space; None scales it to the budget.
        searched_blocks: Which blocks vary, from 1; None for all.
        init: What candidates inherit weights from: a weights file, a run's folder or a catalogue name; None is nothing.
        sampler: Proposes architectures.
        reward: Of accuracy and cost.
        metric: "accuracy" or "balanced-accuracy".
        evaluator: "proxy" or `CUSTOM`.
        device: Where cost is measured.
        runtime: What executes the network there.
        threads: Of the runtime.
        accelerator: Where networks are trained.
        proxy_epochs: Of a candidate, with shared weights of the best alone; several, rising, for successive halving;
            None chooses.
        supernet_epochs: Of the supernet; None chooses.
        supernet_learning_rate: At its peak; None chooses.
        latency_table: File to predict latencies from; None measures one, or reads back what this machine measured.
        final_epochs: Of a finalist; None chooses.
        control: Random architectures within the budget that are trained like the winner, beside shared weights.
        finalists: How many are trained in full.
        references: Networks trained by the same recipe, by their names in the catalogue or in another package.
        prune_above: Times a budget past which a candidate is not trained.
        trial_seconds: That a candidate's training may take; None is ten times what others took.
        workers: Training processes; None is one per core.
        executor: Where candidates are trained: "local" (processes of this machine) or "ray".
        address: Of a Ray cluster; None starts one on this machine.
        trial_cpus: Cores of the cluster for each candidate.
        trial_gpus: GPUs for each; a fraction shares one.
        storage: Of the trials: "sqlite", "journal" (Optuna's, a file that is only added to) or a PostgreSQL URL.
        study: Its name in a database; None is that of the run's folder.
        seed: Of everything random.
    """

    dataset: str
    budget: Budget = field(default_factory=Budget)
    limits: Limits = field(default_factory=Limits)
    image_size: int | None = None
    train_images: int | None = None
    flip: bool | None = None
    max_corrupt: float = 0.05
    method: str = "trials"
    space: str = "mnas"
    width: float | None = None
    searched_blocks: tuple[int, ...] | None = None
    init: str | None = None
    sampler: str = "auto"
    reward: str = "absolute"
    metric: str = "accuracy"
    evaluator: str = "proxy"
    device: str = "local"
    runtime: str = "onnxruntime"
    threads: int = 1
    accelerator: str = "auto"
    proxy_epochs: tuple[float, ...] | None = None
    supernet_epochs: float | None = None
    supernet_learning_rate: float | None = None
    latency_table: str | None = None
    final_epochs: int | None = None
    control: int = 3
    finalists: int = 2
    references: tuple[str, ...] = ()
    prune_above: float = 2.0
    trial_seconds: float | None = None
    workers: int | None = None
    executor: str = "local"
    address: str | None = None
    trial_cpus: float = 1
    trial_gpus: float = 0
    storage: str = "sqlite"
    study: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.dataset:
            raise InputError("dataset is empty; give a name as digits, a .npz file, or a folder of class folders")
        _known("space", self.space, tuple(KNOWN_SPACES))
        if self.method not in METHODS:
            raise unknown_name("method", self.method, METHODS)
        if self.method == "shared":
            self._check_shared()
        elif taken := [name for name in _OF_SHARED if getattr(self, name) is not None]:
            raise InputError(f"{taken[0]} is given, and method {self.method!r}; it belongs to --method shared")
        _known("evaluator", self.evaluator, EVALUATORS)
        _known("sampler", self.sampler, SAMPLERS)
        _known("device", self.device, DEVICES)
        self._check_storage()
        self._check_executor()
        if self.reward != CUSTOM:
            get_reward(self.reward)
        get_metric(self.metric)
        get_runtime(self.runtime)
        for name in self.references:
            check_name(name)
        if self.init is not None and self.space != "mnas":
            raise InputError(
                f"init is given, and space {self.space!r}; only networks of the mnas space inherit weights"
            )
        for name in ("threads", "finalists", "workers", "image_size", "train_images", "final_epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        if self.control < 0:
            raise InputError(f"control is {self.control}; it must be at least 0 (none)")
        if self.proxy_epochs is not None:
            _check_rungs(self.proxy_epochs)
        for name in ("width", "supernet_epochs", "supernet_learning_rate", "trial_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} is {value}; it must be above zero")
        for name, most in _MOST.items():
            value = getattr(self, name)
            if value is not None and value > most:
                raise InputError(f"{name} is {value:g}; it must be at most {most}")
        if not self.prune_above >= 1:
            raise InputError(f"prune_above is {self.prune_above:g}; it must be at least 1 (the budget itself)")
        _check_seed(self.seed)

    def _check_executor(self) -> None:
        _known("executor", self.executor, EXECUTORS)
        if self.executor == "local":
            for name in ("address", "trial_cpus", "trial_gpus"):
                if getattr(self, name) != getattr(type(self), name):
                    raise InputError(f"{name} is given, and executor 'local'; it belongs to --executor ray")
        if self.executor == "ray" and self.method == "shared":
            raise InputError("executor is 'ray', and method 'shared'; one supernet is trained by one machine")
        for name in ("trial_cpus", "trial_gpus"):
            if not 0 <= getattr(self, name) <= 1024:
                raise InputError(f"{name} is {getattr(self, name):g}; it must be from 0 to 1024")
        if not self.trial_cpus and not self.trial_gpus:
            raise InputError("trial_cpus and trial_gpus are 0; a trial needs one of them")

    def _check_storage(self) -> None:
        check_storage(self.storage)
        if self.storage in STORAGES:
            if self.study is not None:
                raise InputError(f"study is given, and storage {self.storage!r}; it belongs to --storage postgresql://")
            return
        if self.method == "shared":
            raise InputError("storage is a database, and method 'shared'; its supernet lies in the run's folder")
        if self.proxy_epochs is not None and len(self.proxy_epochs) > 1:
            raise InputError(
                "proxy_epochs are several, and storage is a database; the weights of candidates stay with the driver "
                "that trained them, give one number"
            )

    def _check_shared(self) -> None:
        for name, given in (
            ("init", self.init is not None),
            ("evaluator", self.evaluator != "proxy"),
            ("patience", self.limits.patience is not None),
        ):
            if given:
                raise InputError(f"{name} is given, and method 'shared'; it belongs to --method trials")
        if self.proxy_epochs is not None and len(self.proxy_epochs) > 1:
            raise InputError(
                "proxy_epochs are several, and method 'shared'; the best of what its weights have scored are trained "
                "alone once, give one number"
            )
        if self.sampler not in _RULES:
            raise InputError(
                f"sampler is {self.sampler!r}; with shared weights a controller learns, by one of {list(_RULES)}"
            )

    @property
    def worker_count(self) -> int:
        """The number asked for, or one per core that this process may use."""
        return self.workers if self.workers is not None else available_cores()

    @property
    def custom(self) -> tuple[str, ...]:
        """Which parts were given as Python objects."""
        return tuple(
            name for name in ("dataset", "space", "sampler", "reward", "evaluator") if getattr(self, name) == CUSTOM
        )

    @property
    def stops(self) -> Limits:
        """The limits with what was left open."""
        limits = self.limits.with_default()
        if self.method == "trials" or limits.seconds is None:
            return limits
        return replace(limits, search_share=min(1 / 2, _SHARED_SEARCH + _SHARED_SEARCH_SECONDS / limits.seconds))

    @property
    def timed_finals(self) -> bool:
        """Whether the time decides for how long finalists are trained."""
        return self.stops.seconds is not None and self.final_epochs is None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "limits": self.limits.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SearchRequest:
        """Inverse of `to_json`, lists for tuples. Raises `RunError` where it is not what `to_json` wrote."""
        try:
            return cls._from_json(value)
        except (KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"what the run was asked for cannot be read ({error}); it was written by another version or "
                "changed since, start a new run"
            ) from None

    @classmethod
    def _from_json(cls, value: Mapping[str, Any]) -> SearchRequest:
        known: dict[str, Any] = {
            name: tuple(entry) if isinstance(entry, list) else entry
            for name, entry in value.items()
            if name not in ("budget", "limits")
        }
        return cls(**known, budget=Budget(**value["budget"]), limits=Limits(**value["limits"]))

    def command(self) -> str:
        """The command line that asks for the same; parts given from Python are named by a comment."""
        words = ["archfit", "search", self.dataset]
        units = {
            "--latency": f"{self.budget.latency_ms:g}ms" if self.budget.latency_ms is not None else None,
            "--memory": f"{self.budget.memory_bytes}B" if self.budget.memory_bytes is not None else None,
            "--params": self.budget.params,
            "--madds": self.budget.madds,
            "--trials": self.limits.trials,
            "--time": f"{self.limits.seconds:g}s" if self.limits.seconds is not None else None,
            "--patience": self.limits.patience,
            "--trial-time": f"{self.trial_seconds:g}s" if self.trial_seconds is not None else None,
        }
        for flag, value in units.items():
            if value is not None:
                words += [flag, str(value)]
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name in ("dataset", "budget", "limits", "trial_seconds") or value in (entry.default, CUSTOM):
                continue
            flag = entry.name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
                continue
            shown = ",".join(f"{part}" for part in value) if isinstance(value, tuple) else f"{value}"
            words += [f"--{flag}", shown]
        line = shlex.join(words)
        return f"{line}  # from Python, with its own {', '.join(self.custom)}" if self.custom else line


def _check_rungs(epochs: tuple[float, ...]) -> None:
    rising = all(low < high for low, high in pairwise((0.0, *epochs)))
    if not epochs or not rising or epochs[-1] == float("inf"):
        shown = ",".join(f"{each:g}" for each in epochs)
        raise InputError(f"proxy_epochs is {shown}; give a number above zero, or rising ones as 1,3,9")


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**31:
        raise InputError(f"seed is {seed}; it must be from 0 to 2^31 - 1")


def _known(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in (*known, CUSTOM):
        raise unknown_name(kind, name, known)


@dataclass(frozen=True)
class TrainRequest:
    """One training, checked on creation.

    Attributes:
        model: Name, `architecture.json` or run folder.
        dataset: Name, folder or file; `CUSTOM` for one given from Python.
        epochs: Passes over the training split.
        weights: "imagenet", a file, or None for random ones.
        recipe: Fields of `Recipe` and `Augmentation` to set, others are archfit's.
        image_size: Pixels; None leaves images as they are.
        train_images: None for all.
        flip: Whether a mirrored image keeps its label; None is by the dataset.
        max_corrupt: Largest share of unreadable images of a folder that is skipped.
        patience: Stop after so many epochs without a better one.
        metric: Of the validation score.
        runtime: That times the network.
        threads: Of the runtime.
        accelerator: Where it trains.
        devices: GPUs, or processes on the CPU, that train it together.
        flags: For Lightning's `Trainer`.
        seed: Of everything random.
    """

    model: str
    dataset: str
    epochs: float = 20
    weights: str | None = None
    recipe: Mapping[str, Any] | None = None
    image_size: int | None = None
    train_images: int | None = None
    flip: bool | None = None
    max_corrupt: float = 0.05
    patience: int | None = None
    metric: str = "accuracy"
    runtime: str = "onnxruntime"
    threads: int = 1
    accelerator: str = "auto"
    devices: int = 1
    flags: Mapping[str, Any] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        get_metric(self.metric)
        get_runtime(self.runtime)
        for name, value in (("image_size", self.image_size), ("threads", self.threads), ("patience", self.patience)):
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        _check_seed(self.seed)
        if taken := {"accelerator", "devices", "strategy"} & set(self.flags or {}):
            raise InputError(f"flags has {', '.join(sorted(taken))}; give accelerator and devices themselves")
        for name in self.recipe or {}:
            if name not in RECIPE_FIELDS:
                raise unknown_name("field of the recipe", name, RECIPE_FIELDS)
        Recipe(self.epochs)

    def to_json(self) -> dict[str, Any]:
        return {"verb": TRAIN, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrainRequest:
        """Inverse of `to_json`."""
        try:
            return cls(**{name: content for name, content in value.items() if name != "verb"})
        except TypeError as error:
            raise RunError(f"the request of this run cannot be read ({error}); start a new one") from None

    def command(self) -> str:
        """As it can be typed again; parts that can be given from Python alone are named by a comment."""
        words = ["archfit", "train", self.model, self.dataset, "--epochs", f"{self.epochs:g}"]
        recipe, flags = dict(self.recipe or {}), dict(self.flags or {})
        python = {name: recipe.pop(name) for name in _ONLY_FROM_PYTHON if name in recipe}
        given = {
            "weights": self.weights,
            "image-size": self.image_size,
            "train-images": self.train_images,
            "patience": self.patience,
            "precision": flags.pop("precision", None),
            **{name.replace("_", "-"): value for name, value in recipe.items()},
        }
        for name, value in given.items():
            if value is not None:
                words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
        if self.flip is not None:
            words.append("--flip" if self.flip else "--no-flip")
        for name in ("max_corrupt", "metric", "runtime", "threads", "accelerator", "devices", "seed"):
            if getattr(self, name) != getattr(type(self), name):  # the default
                words += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        if self.dataset == CUSTOM:
            return f"archfit.train({self.model!r}, ..., epochs={self.epochs:g})"
        own = [f"{name}={value}" for name, value in {**python, **flags}.items()]
        line = shlex.join(words)
        return f"{line}  # from Python, with {', '.join(own)}" if own else line
