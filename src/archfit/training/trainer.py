"""Training a network by a recipe."""

from __future__ import annotations

import importlib.util
import io
import logging
import math
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import nn

from archfit._files import write_whole
from archfit.data import Batches, ImageData
from archfit.errors import InputError, first_line
from archfit.training.accelerators import check_accelerator
from archfit.training.classifier import Classifier, MovingAverage
from archfit.training.metrics import get_metric
from archfit.training.recipes import Recipe
from archfit.training.records import Group, Progress, Training
from archfit.training.scoring import MEMORY_FORMATS, in_order
from archfit.training.together import joined
from archfit.training.unfreezing import GradualUnfreezing
from archfit.training.whitening import whiten_first_convolution


def fit(
    network: nn.Module,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int,
    accelerator: str = "cpu",
    memory_format: str = "channels_last",
    validate: bool = True,
    metric: str = "accuracy",
    checkpoints: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    patience: int | None = None,
    keep_best: bool = False,
    logs: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    group: Group | None = None,
    until: int | None = None,
) -> Training:
    """Trains `network` in place.

    Args:
        network: On the CPU, in any mode; left there, in eval mode, with the averaged weights where the recipe has an
            average.
        data: Its training split is learnt, its validation split scored after each epoch.
        recipe: How.
        seed: Of the order and augmentation of the images; with it, the CPU and one thread the result repeats exactly.
        accelerator: "cpu", "cuda", "mps" or "auto".
        memory_format: "channels_last" or "contiguous".
        validate: Whether to score after each epoch.
        metric: Of the validation score.
        checkpoints: Folder for a checkpoint per epoch; one that is there already is resumed.
        on_progress: Called about twice a second.
        patience: Stop when so many epochs brought no better validation score; None trains to the end.
        keep_best: Leave the network with the weights of its best epoch, not of its last; needs `checkpoints`.
        logs: Folder for `metrics.csv` and, where tensorboard is installed, its events.
        flags: For Lightning's `Trainer`, as {"precision": "bf16-mixed"}; they go before archfit's own.
        group: Other processes that call this with the same arguments, to train together.
        until: Stop after so many epochs for now; a later call with the same `checkpoints` goes on from there.

    Raises:
        DivergedError: The loss became infinite or not a number.
    """
    images = recipe.images(len(data.train))
    partial = images < len(data.train)
    batches = Batches(
        data.train,
        data.mean,
        data.std,
        batch_size=recipe.batch_size,
        augmentation=recipe.augmentation,
        seed=seed,
        shuffle=True,
        drop_last=len(data.train) > recipe.batch_size and images > recipe.batch_size,
        memory_format=MEMORY_FORMATS[memory_format],
        max_images=images if partial else None,
        part=(group.rank, group.size) if group is not None else (0, 1),
    )
    gathered = _gathered(flags or {})
    epoch_steps = math.ceil(len(batches) / gathered)
    steps = epoch_steps if partial else max(1, round(recipe.epochs * epoch_steps))
    goal = steps if until is None else min(steps, until * epoch_steps)
    seen = goal // epoch_steps * batches.images + goal % epoch_steps * gathered * batches.batch_size
    if recipe.whiten:
        whiten_first_convolution(network, batches)
    if keep_best and checkpoints is None:
        raise InputError("keep_best needs a folder for checkpoints")
    module = Classifier(
        network.to(memory_format=MEMORY_FORMATS[memory_format]).train(),  # Lightning leaves the mode as it is
        recipe,
        steps=steps,
        batches=batches,
        classes=len(data.classes),
        metric=get_metric(metric),
        seed=seed,
        gathered=gathered,
    )
    callbacks: list[Callback] = []
    if recipe.ema_decay is not None:
        callbacks.append(MovingAverage(recipe.ema_decay))
    if recipe.unfreeze:
        callbacks.append(GradualUnfreezing(network, math.ceil(recipe.unfreeze * steps)))
    if patience is not None:
        callbacks.append(EarlyStopping("validation_accuracy", mode="max", patience=patience))
    if on_progress is not None:
        callbacks.append(_ProgressCallback(on_progress, goal, epoch_steps))
    last: Path | None = None
    if checkpoints is not None:
        last = checkpoints / "last.ckpt"
        callbacks.append(
            ModelCheckpoint(checkpoints, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
        )
    best: ModelCheckpoint | None = None
    if keep_best:
        best = _Best(
            checkpoints, filename="best", enable_version_counter=False, monitor="validation_accuracy", mode="max"
        )
        callbacks.append(best)
    start = time.monotonic()
    with _quiet_lightning(), torch.random.fork_rng(devices=()), ExitStack() as stack:
        settings: dict[str, Any] = {
            "accelerator": check_accelerator(accelerator),
            "devices": 1,
            "max_steps": goal,
            "max_epochs": -1,
            "logger": _loggers(logs) if logs is not None else False,
            "callbacks": callbacks,
            "enable_checkpointing": checkpoints is not None,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "reload_dataloaders_every_n_epochs": 1,
            "plugins": [_WholeFiles()],
        }
        if group is not None:
            strategy = stack.enter_context(joined(group, settings["accelerator"], unused=recipe.unfreeze > 0))
            settings |= {"strategy": strategy, "devices": group.size, "use_distributed_sampler": False}
        try:
            trainer = pl.Trainer(**{**settings, **(flags or {})})
        except (TypeError, ValueError, MisconfigurationException) as error:
            if not flags:
                raise
            given = ", ".join(f"{name}={value!r}" for name, value in flags.items())
            raise InputError(f"Lightning does not take {given}: {first_line(error)}") from None
        # A checkpoint that was cut off while it was written is no whole archive: the training starts again.
        resumed = last is not None and last.is_file() and zipfile.is_zipfile(last)
        validation = in_order(data.validation, data, memory_format) if validate else None
        if validation is not None:
            validation.part = batches.part
        try:
            trainer.fit(
                module,
                val_dataloaders=validation,
                ckpt_path=str(last) if resumed else None,
                weights_only=True if resumed else None,
            )
        except SystemExit:
            # Lightning turns Ctrl-C into an exit of its own.
            if trainer.interrupted:
                raise KeyboardInterrupt from None
            raise
    network.to("cpu").eval()
    if best is not None and best.best_model_path:
        kept = torch.load(best.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
        own = {name: value for name, value in kept.items() if name.startswith("network.")}
        network.load_state_dict({name.removeprefix("network."): value for name, value in own.items()})
    return Training(tuple(module.curve), images=seen, seconds=time.monotonic() - start)


def _gathered(flags: Mapping[str, Any]) -> int:
    """Batches whose gradients make one step."""
    count = flags.get("accumulate_grad_batches", 1)
    if not isinstance(count, int) or count < 1:
        raise InputError(f"accumulate_grad_batches is {count!r}; it must be a whole number from 1")
    return count


def _loggers(folder: Path) -> list[Logger]:
    """CSV always; TensorBoard where it is installed."""
    loggers: list[Logger] = [CSVLogger(folder, name="", version="csv")]
    if importlib.util.find_spec("tensorboard") is not None:
        loggers.append(TensorBoardLogger(folder, name="", version="tensorboard"))
    return loggers


class _WholeFiles(TorchCheckpointIO):
    """Checkpoints that are at all times the old ones or the new ones.

    Lightning writes them in the system's temporary folder, which may be another file system: moving from there is
    copying, and what is killed leaves them lying there.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), buffer.getvalue())


class _Best(ModelCheckpoint):
    """Keeps the best epoch, and finds it again in a folder that was moved since."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert self.dirpath is not None
        here = Path(self.dirpath)
        state = dict(state_dict, dirpath=self.dirpath)
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = str(here / Path(state[name]).name) if state[name] else ""
        state["best_k_models"] = {str(here / Path(path).name): score for path, score in state["best_k_models"].items()}
        super().load_state_dict(state)


class _ProgressCallback(Callback):
    """Tells the caller how far the training is, at most twice a second and after each epoch."""

    def __init__(self, tell: Callable[[Progress], None], steps: int, epoch_steps: int) -> None:
        self._tell = tell
        self._steps = steps
        self._epoch_steps = epoch_steps
        self._told = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if time.monotonic() - self._told > 0.5:
            self._report(trainer, module)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._report(trainer, module)

    def _report(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        assert isinstance(module, Classifier)
        self._told = time.monotonic()
        accuracy = module.curve[-1][2] if module.curve else None
        step, epochs = trainer.global_step, math.ceil(self._steps / self._epoch_steps)
        done = epochs if step == self._steps else step // self._epoch_steps
        self._tell(Progress(step, self._steps, done, epochs, accuracy))


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silences Lightning's start-up lines and its advice on loaders, which is not for archfit's users."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\..*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
