"""Full trainings in the time that a run has: how many epochs, by how many processes, and who is stopped early."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from archfit.data import ImageData
from archfit.errors import ArchfitError
from archfit.pipeline.plan import untimed_final_epochs
from archfit.pipeline.request import SearchRequest
from archfit.pipeline.watch import TrainingClock, Watch
from archfit.study.finalists import FullTraining, affordable_epochs, train_in_full, training_rates
from archfit.study.limits import Limits
from archfit.study.run_folder import RunFolder
from archfit.study.workers import WorkerPool
from archfit.training import Recipe, final_recipe

_DEPLOY_SECONDS = 12.0
_KEPT_SPEED = 0.85
"""Augmentation, validation after each epoch and the average of weights take their part beside the steps."""
_TOGETHER = 0.87
"""Of their speeds together, what is left to processes that train one network: they exchange gradients."""
_RATE_SECONDS = 5.0
_RATE_SHARE = 0.02
"""Of all the time, for timing the finalists' steps."""
_FEWEST_IMAGES = 16
_SHARE_OF_ALL = 0.3
"""Of its epochs that every finalist is trained for; after them the best goes on alone."""
_WORTH_STOPPING = 1.15
"""Times as many epochs: for less, all finalists are trained to the end."""
_FEWEST_EPOCHS = 4.0
_FEWEST_SECONDS = 120.0
_ANOTHER_START_SECONDS = 5.0
"""Of processes that have met to train one network together, and of Lightning in them."""


@dataclass(frozen=True)
class FullTrainings:
    """Trains the networks of one run in full; what an earlier session decided or trained is read back.

    Attributes:
        run: Its folder.
        request: What was asked.
        limits: With the default where nothing was limited.
        data: Trained on.
        cells: The networks are made of cells.
        pool: Trains them.
        accelerator: Where.
        memory_format: Of the tensors.
        watch: Is told how far it is.
    """

    run: RunFolder
    request: SearchRequest
    limits: Limits
    data: ImageData
    cells: bool
    pool: WorkerPool
    accelerator: str
    memory_format: str
    watch: Watch

    def finalists(self, networks: dict[str, Callable[[], nn.Module]]) -> dict[str, FullTraining]:
        """Trains them as long as the time allows; a training that fails is noted and left out.

        Where the time is limited and the best alone would then get more of it, the others are stopped early.

        Args:
            networks: Name -> what builds it, picklable.
        """
        epochs = self.run.decision("final_epochs")
        if epochs is None:
            epochs, stops = self._epochs(networks)
            self.run.decide("stops", stops)
            self.run.decide("final_epochs", epochs)
        stops = self.run.decision("stops")
        return self._one_to_the_end(networks, epochs, stops) if stops else self.train("finalists", networks, epochs)

    def train(
        self,
        title: str,
        networks: dict[str, Callable[[], nn.Module]],
        epochs: Mapping[str, float],
        *,
        processes: int | None = None,
        until: Mapping[str, int] | None = None,
    ) -> dict[str, FullTraining]:
        """Trains networks by one recipe, and notes which ones fail.

        Args:
            title: As in "finalists" or "references".
            networks: Name -> what builds it, picklable.
            epochs: By name.
            processes: That train each; None is as many as the finalists had beside each other.
            until: By name, epochs after which each is stopped for now.

        Raises:
            ArchfitError: All of them failed.
        """
        clock = TrainingClock(title, len(networks))
        processes = processes or self._processes(len(networks))

        def on_progress(state: dict[str, dict[str, Any]]) -> None:
            self.run.tick("train")
            self.watch.training(clock.status(state))

        counts = " and ".join(f"{count:g}" for count in sorted({epochs[name] for name in networks}))
        first = f"the first {' and '.join(map(str, sorted({until[name] for name in networks})))} of " if until else ""
        each = f", each in {processes} processes" if processes > 1 else ""
        self.watch.step(f"training {len(networks)} {title} for {first}{counts} epochs{each}")
        trained, failures = train_in_full(
            networks,
            {name: self._recipe(epochs[name]) for name in networks},
            self.pool,
            seed=self.request.seed,
            accelerator=self.accelerator,
            memory_format=self.memory_format,
            metric=self.request.metric,
            folder=self.run.path / "training",
            on_progress=on_progress,
            processes=processes,
            until=until,
        )
        for name in (name for name, training in trained.items() if training.slower):
            self.watch.note(f"{name} diverged; it was begun anew at half the learning rates")
        for name, reason in failures.items():
            self.watch.note(f"{name} could not be trained in full: {reason}")
        self.run.tick("train", at_least=0)
        return trained

    def _one_to_the_end(
        self, networks: dict[str, Callable[[], nn.Module]], epochs: Mapping[str, float], stops: Mapping[str, int]
    ) -> dict[str, FullTraining]:
        """All until their stops, then the best on validation by then alone; the next one if that one fails."""
        kept = self.run.decision("kept")
        rest = {name: build for name, build in networks.items() if name != kept}
        try:
            stopped = self.train("finalists", rest, epochs, until=stops)
        except ArchfitError:
            if kept is None:
                raise
            stopped = {}  # those that failed while the kept one did not, before an earlier session ended
        order = sorted(stopped, key=lambda name: -stopped[name].validation_accuracy)
        failure = None
        for name in order if kept is None else [kept, *order]:
            if name != kept:
                self.run.decide("kept", name)
                self.watch.note(self._kept(stopped.pop(name), list(stopped.values())))
            try:
                ended = self.train("finalist", {name: networks[name]}, epochs, processes=self._most_processes(1))
            except ArchfitError as error:
                failure = error
            else:
                return ended | stopped
        assert failure is not None
        raise failure

    @staticmethod
    def _kept(best: FullTraining, others: Sequence[FullTraining]) -> str:
        against = ", ".join(f"{other.name} {other.validation_accuracy:.2%}" for other in others)
        behind = f"; stopped: {against}" if others else ""
        return (
            f"{best.name} alone is trained to the end: {best.validation_accuracy:.2%} on the validation split{behind}"
        )

    @property
    def _batch_size(self) -> int:
        """Of a full training, before its epochs are known."""
        return final_recipe(self.data, 10).batch_size

    def _processes(self, networks: int) -> int:
        """That train one finalist together, and then each network it is compared with: the workers, shared out."""
        processes = self.run.decision("processes")
        if processes is None:
            processes = self.run.decide("processes", self._most_processes(networks))
        return min(int(processes), self.pool.size)

    def _most_processes(self, networks: int) -> int:
        """That can train each of so many networks beside the others.

        A batch that is cut into fewer than 16 images trains no faster, and its batch norms see too few.
        """
        most = self._batch_size // _FEWEST_IMAGES if self.accelerator == "cpu" else 1
        return max(1, min(self.pool.size // networks, most))

    def _epochs(self, networks: dict[str, Callable[[], nn.Module]]) -> tuple[dict[str, float], dict[str, int]]:
        """As asked; else as many as the time allows. And after how many each is stopped unless it is the best by then.

        Nothing is stopped where epochs are asked for: what is trained then never hangs on a clock.
        """
        if self.request.final_epochs is not None:
            return dict.fromkeys(networks, self.request.final_epochs), {}
        if self.limits.seconds is None:
            return dict.fromkeys(networks, untimed_final_epochs(len(self.data.train))), {}
        self.watch.step("timing training steps of the finalists")
        chosen, stops = self._affordable(networks, self._batch_size)
        batch_size = self._recipe(min(chosen.values())).batch_size
        if batch_size != self._batch_size:  # so many epochs that batches are larger, and faster
            chosen, stops = self._affordable(networks, batch_size)
        return chosen, stops

    def _affordable(
        self, networks: dict[str, Callable[[], nn.Module]], batch_size: int
    ) -> tuple[dict[str, float], dict[str, int]]:
        """What the time that is left allows, and the stops, at the speed of such batches."""
        processes, most = self._processes(len(networks)), self._most_processes(1)
        beside = self.pool.size // processes
        rates = self._rates(networks, processes, batch_size)
        left = self._seconds_left()
        plain = affordable_epochs(left, rates, self.data, beside)
        if len(networks) == 1 or (most == processes and beside >= len(networks)) or left < _FEWEST_SECONDS:
            return plain, {}
        last_rates = self._rates(networks, most, batch_size) if most > processes else rates
        left = self._seconds_left() - _ANOTHER_START_SECONDS
        epochs = affordable_epochs(left, rates, self.data, beside, last_rates=last_rates, share=_SHARE_OF_ALL)
        if min(epochs[name] / plain[name] for name in plain) < _WORTH_STOPPING or min(epochs.values()) < _FEWEST_EPOCHS:
            return plain, {}
        return epochs, {name: int(_SHARE_OF_ALL * count) for name, count in epochs.items()}

    def _seconds_left(self) -> float:
        """Of the limit, for training in full."""
        assert self.limits.seconds is not None
        self.run.tick("train", at_least=0)
        return self.limits.seconds - sum(self.run.seconds.values()) - _DEPLOY_SECONDS

    def _rates(self, networks: dict[str, Callable[[], nn.Module]], processes: int, batch_size: int) -> dict[str, float]:
        """Images per second at which each network will be trained by so many processes, all workers being busy."""
        assert self.limits.seconds is not None
        rates = training_rates(
            networks,
            self.data.task,
            self.pool,
            batch_size=batch_size,
            accelerator=self.accelerator,
            memory_format=self.memory_format,
            seconds=min(_RATE_SECONDS, _RATE_SHARE * self.limits.seconds),
            processes=processes,
        )
        slowest = min(rates.values(), default=1.0)
        kept = _KEPT_SPEED * (_TOGETHER if processes > 1 else 1.0)
        return {name: kept * rates.get(name, slowest) for name in networks}

    def _recipe(self, epochs: float) -> Recipe:
        return final_recipe(self.data, epochs, pretrained=self.request.init is not None, cells=self.cells)
