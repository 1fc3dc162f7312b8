"""After the search: finalists and references trained in full, by one recipe."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from archfit.architecture import Architecture, SearchSpace, Task, random_architecture
from archfit.catalogue import build_named, get_reference
from archfit.cost import Cost
from archfit.data import ImageData
from archfit.errors import ArchfitError, BudgetError
from archfit.nn.mbconv import Network
from archfit.pipeline.meter import CostMeter
from archfit.pipeline.plan import untimed_final_epochs
from archfit.pipeline.request import SearchRequest
from archfit.pipeline.watch import TrainingClock, Watch
from archfit.report.record import TrainedNetwork
from archfit.reward import Reward, worth
from archfit.spaces import CellSpace, MnasSpace, WarmMnasSpace
from archfit.study.finalists import FullTraining, affordable_epochs, train_in_full, training_rates
from archfit.study.limits import Limits
from archfit.study.ranking import rank
from archfit.study.record import TrialRecord
from archfit.study.run_folder import RunFolder
from archfit.study.workers import WorkerPool
from archfit.training import Recipe, final_recipe, get_metric, score

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
_CONTROL_DRAWS = 50


@dataclass(frozen=True)
class Finals:
    """The full trainings of one run; what an earlier session decided or trained is read back.

    Attributes:
        run: Its folder.
        request: What was asked.
        limits: With the default where nothing was limited.
        data: With its test split, which only references are scored on here.
        space: That was searched.
        reward: Of accuracy and cost ratios.
        meter: Measures networks as they would be deployed.
        pool: Trains them.
        accelerator: Where.
        memory_format: Of the tensors.
        watch: Is told how far it is.
    """

    run: RunFolder
    request: SearchRequest
    limits: Limits
    data: ImageData
    space: SearchSpace
    reward: Reward
    meter: CostMeter
    pool: WorkerPool
    accelerator: str
    memory_format: str
    watch: Watch

    def choose(self, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
        """The best trials whose deployed form, measured anew, holds the budget."""
        by_number = {trial.number: trial for trial in trials}
        if (stored := self.run.decision("finalists")) is not None:
            return [by_number[number] for number in stored]
        ranked = rank(trials, self.space, partial(worth, self.reward, self.request.budget))
        if not ranked:
            raise BudgetError(self._nothing_within(trials))
        chosen: list[TrialRecord] = []
        for trial in ranked[: 4 * self.request.finalists + 4]:
            assert trial.architecture is not None
            self.watch.step(f"measuring trial {trial.number} as it would be deployed")
            cost = self.meter.deployed(self.space, trial.architecture)
            if self.request.budget.holds_surely(cost):
                chosen.append(trial)
            else:
                where = "too near its bound to be sure of it" if self.request.budget.holds(cost) else "past the budget"
                self.watch.note(f"trial {trial.number} is no finalist: deployed, it is {where} ({shown(cost)})")
            if len(chosen) == self.request.finalists:
                break
        if not chosen:
            # Within budget as candidates, just past it as files: the best is delivered, and marked as past it.
            chosen = ranked[:1]
        self.run.decide("finalists", [trial.number for trial in chosen])
        return chosen

    def _nothing_within(self, trials: Sequence[TrialRecord]) -> str:
        trained = [t for t in trials if t.state == "complete"]
        failed = [t for t in trials if t.state == "failed"]
        if failed and not trained:
            return f"no trial could be trained; the last reason: {failed[-1].reason}"
        costs = [t.cost for t in trials if t.cost is not None]
        nearest = min(costs, key=self.request.budget.worst_ratio, default=None)
        found = f"; the nearest one has {shown(nearest)}" if nearest else ""
        return (
            f"no network within the budget ({self.request.budget}) was found in {len(trials)} trials{found}; "
            "raise the budget, lower --width or --image-size, or search longer"
        )

    def train(self, finalists: Sequence[TrialRecord]) -> dict[str, FullTraining]:
        """Trains them as long as the time allows; a training that fails is noted and left out.

        Where the time is limited and the best alone would then get more of it, the others are stopped early.
        """
        networks: dict[str, Callable[[], nn.Module]] = {
            f"trial {trial.number}": partial(_build, self.space, trial.architecture, self.data.task)
            for trial in finalists
        }
        epochs = self.run.decision("final_epochs")
        if epochs is None:
            epochs, stops = self._epochs(networks)
            self.run.decide("stops", stops)
            self.run.decide("final_epochs", epochs)
        stops = self.run.decision("stops")
        return self._one_to_the_end(networks, epochs, stops) if stops else self._full("finalists", networks, epochs)

    def _one_to_the_end(
        self, networks: dict[str, Callable[[], nn.Module]], epochs: Mapping[str, float], stops: Mapping[str, int]
    ) -> dict[str, FullTraining]:
        """All until their stops, then the best on validation by then alone; the next one if that one fails."""
        kept = self.run.decision("kept")
        rest = {name: build for name, build in networks.items() if name != kept}
        stopped = self._full("finalists", rest, epochs, until=stops)
        order = sorted(stopped, key=lambda name: -stopped[name].validation_accuracy)
        failure = None
        for name in order if kept is None else [kept, *order]:
            if name != kept:
                self.run.decide("kept", name)
                self.watch.note(self._kept(stopped.pop(name), list(stopped.values())))
            try:
                ended = self._full("finalist", {name: networks[name]}, epochs, processes=self._most_processes(1))
            except ArchfitError as error:
                failure = error
            else:
                return ended | {name: replace(training, stopped=True) for name, training in stopped.items()}
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
        processes, most = self._processes(len(networks)), self._most_processes(1)
        beside = self.pool.size // processes
        self.watch.step("timing training steps of the finalists")
        rates = self._rates(networks, processes)
        left = self._seconds_left()
        plain = affordable_epochs(left, rates, self.data, beside)
        if len(networks) == 1 or (most == processes and beside >= len(networks)) or left < _FEWEST_SECONDS:
            return plain, {}
        last_rates = self._rates(networks, most) if most > processes else rates
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

    def _rates(self, networks: dict[str, Callable[[], nn.Module]], processes: int) -> dict[str, float]:
        """Images per second at which each network will be trained by so many processes, all workers being busy."""
        assert self.limits.seconds is not None
        rates = training_rates(
            networks,
            self.data.task,
            self.pool,
            batch_size=self._batch_size,
            accelerator=self.accelerator,
            memory_format=self.memory_format,
            seconds=min(_RATE_SECONDS, _RATE_SHARE * self.limits.seconds),
            processes=processes,
        )
        slowest = min(rates.values(), default=1.0)
        kept = _KEPT_SPEED * (_TOGETHER if processes > 1 else 1.0)
        return {name: kept * rates.get(name, slowest) for name in networks}

    def _full(
        self,
        title: str,
        networks: dict[str, Callable[[], nn.Module]],
        epochs: Mapping[str, float],
        *,
        processes: int | None = None,
        until: Mapping[str, int] | None = None,
    ) -> dict[str, FullTraining]:
        """Trains them by so many processes each, those of the finalists unless told, and notes what fails."""
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
        for name, reason in failures.items():
            self.watch.note(f"{name} could not be trained in full: {reason}")
        self.run.tick("train", at_least=0)
        return trained

    def _recipe(self, epochs: float) -> Recipe:
        return final_recipe(
            self.data, epochs, pretrained=self.request.init is not None, cells=isinstance(self.space, CellSpace)
        )

    def rank(
        self, finalists: Sequence[TrialRecord], trained: dict[str, FullTraining]
    ) -> list[tuple[TrainedNetwork, nn.Module]]:
        """The winner first: the best on validation of those trained to the end whose deployed form held the budget."""
        networks = []
        for trial in finalists:
            name = f"trial {trial.number}"
            if name not in trained:
                continue
            assert trial.architecture is not None
            network = self.space.build(trial.architecture, self.data.task)
            network.load_state_dict(trained[name].weights)
            cost = self.meter.deployed(self.space, trial.architecture)
            role = "stopped" if trained[name].stopped else "finalist"
            networks.append((self._trained(trained[name], role, trial.architecture, cost), network))
        return sorted(
            networks,
            key=lambda pair: (pair[0].role == "stopped", not pair[0].within_budget, -pair[0].validation_accuracy),
        )

    def _trained(
        self, training: FullTraining, role: str, architecture: Architecture | None, cost: Cost
    ) -> TrainedNetwork:
        return TrainedNetwork(
            name=training.name,
            role=role,
            architecture=architecture,
            cost=cost,
            within_budget=self.request.budget.holds(cost),
            validation_accuracy=training.validation_accuracy,
            test_accuracy=None,
            epochs=training.epochs,
            seconds_train=training.seconds,
            curve=training.curve,
        )

    def control(self, epochs: float) -> list[TrainedNetwork]:
        """Random architectures within the budget, by the winner's recipe and epochs; in extra time, after the limit.

        Without them nobody knows whether shared weights found anything (arXiv:1902.08142).
        """
        if self.request.method != "shared" or not self.request.control or self.data.test is None:
            return []
        architectures = self._drawn_within()
        names = {f"random {number}": architecture for number, architecture in enumerate(architectures, 1)}
        trained = self._full(
            "control networks",
            {name: partial(_build, self.space, architecture, self.data.task) for name, architecture in names.items()},
            dict.fromkeys(names, epochs),
        )
        rows = []
        for name, training in trained.items():
            network = self.space.build(names[name], self.data.task)
            row = self._tested(training, "control", names[name], network, self.meter.deployed(self.space, names[name]))
            rows.append(row)
        return rows

    def _drawn_within(self) -> list[Architecture]:
        """Uniform draws, the first that hold the budget as deployed; fewer than asked for where they are rare."""
        if (stored := self.run.decision("control")) is not None:
            return [Architecture.from_json(one) for one in stored]
        rng = random.Random(f"control {self.request.seed}")
        found: list[Architecture] = []
        for drawn in range(_CONTROL_DRAWS * self.request.control):
            self.watch.step(f"drawing control networks: {len(found)} of {self.request.control} after {drawn}")
            architecture = self.space.canonical(random_architecture(self.space, rng), self.data.task)
            if architecture not in found and self.request.budget.holds_surely(
                self.meter.deployed(self.space, architecture)
            ):
                found.append(architecture)
            if len(found) == self.request.control:
                break
        else:
            self.watch.note(f"only {len(found)} of {self.request.control} control networks hold the budget")
        self.run.decide("control", [one.to_json() for one in found])
        return found

    def references(self, epochs: float) -> list[TrainedNetwork]:
        """Catalogue networks by the winner's recipe and epochs; they take extra time, after the limit."""
        if not self.request.references or self.data.test is None:
            return []
        builders: dict[str, Callable[[], nn.Module]] = {
            name: partial(_build_reference, name, self.data.task, self.space) for name in self.request.references
        }
        trained = self._full("references", builders, dict.fromkeys(builders, epochs))
        rows = []
        for name, training in trained.items():
            network = _build_reference(name, self.data.task, self.space)
            rows.append(self._tested(training, "reference", None, network, self.meter.exported(network)))
        return rows

    def _tested(
        self, training: FullTraining, role: str, architecture: Architecture | None, network: nn.Module, cost: Cost
    ) -> TrainedNetwork:
        network.load_state_dict(training.weights)
        assert self.data.test is not None
        accuracy = score(network, self.data.test, self.data, get_metric("accuracy"), memory_format=self.memory_format)
        return replace(self._trained(training, role, architecture, cost), test_accuracy=accuracy)


def shown(cost: Cost) -> str:
    """A cost in a few words."""
    latency = f"{cost.latency.p50_ms:.3g} ms, " if cost.latency else ""
    return f"{latency}{cost.params:,} parameters"


def _build(space: SearchSpace, architecture: Architecture | None, task: Task) -> nn.Module:
    assert architecture is not None
    return space.build(architecture, task)


def _build_reference(name: str, task: Task, searched: SearchSpace) -> nn.Module:
    """With inherited weights where the candidates had such and the network is of their kind."""
    network = build_named(name, task)
    if isinstance(searched, WarmMnasSpace) and isinstance(network, Network):
        reference = get_reference(name)
        assert isinstance(reference.space, MnasSpace)
        blocks = reference.space.blocks(reference.architecture, task)
        if len(blocks) == len(searched.skeleton.filters):
            searched.fill(network, list(map(len, blocks)))
    return network
