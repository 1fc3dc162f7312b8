"""After the search: finalists and references trained in full, by one recipe."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from archfit.architecture import Architecture, SearchSpace, Task, random_architecture
from archfit.catalogue import build_named, get_reference
from archfit.cost import Cost
from archfit.data import ImageData
from archfit.errors import ArchfitError, BudgetError
from archfit.nn.mbconv import Network
from archfit.pipeline.full_training import FullTrainings
from archfit.pipeline.meter import CostMeter
from archfit.pipeline.request import SearchRequest
from archfit.pipeline.watch import Watch
from archfit.report.record import TrainedNetwork
from archfit.reward import Reward, worth
from archfit.spaces import MnasSpace, WarmMnasSpace
from archfit.study.finalists import FullTraining
from archfit.study.ranking import contenders, surely_behind
from archfit.study.record import TrialRecord
from archfit.study.run_folder import RunFolder
from archfit.training import get_metric, score

_CONTROL_DRAWS = 50
_HOPELESS = 4.0
"""Standard errors behind the best finalist, after equally long trainings, from which none of its time is given away."""


@dataclass(frozen=True)
class Finals:
    """The full trainings of one run; what an earlier session decided or trained is read back.

    Attributes:
        run: Its folder.
        request: What was asked.
        data: With its test split, which only references are scored on here.
        space: That was searched.
        reward: Of accuracy and cost ratios.
        meter: Measures networks anew.
        training: Trains in full.
        watch: Is told how far it is.
    """

    run: RunFolder
    request: SearchRequest
    data: ImageData
    space: SearchSpace
    reward: Reward
    meter: CostMeter
    training: FullTrainings
    watch: Watch

    def choose(self, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
        """The best trials that, measured a second time, hold the budget.

        Where the time is limited, none that is far behind the best of them: it would take time from that one.
        """
        by_number = {trial.number: trial for trial in trials}
        if (stored := self.run.decision("finalists")) is not None:
            return [by_number[number] for number in stored]
        reward = partial(worth, self.reward, self.request.budget)
        ranked = contenders(trials, self.space, reward, len(self.data.validation))
        if not ranked:
            raise BudgetError(self._nothing_within(trials))
        chosen: list[TrialRecord] = []
        left_out: list[TrialRecord] = []
        behind: list[TrialRecord] = []
        for trial in ranked[: 4 * self.request.finalists + 4]:
            assert trial.architecture is not None
            if self._hopeless(trial, chosen):
                behind.append(trial)
                continue
            self.watch.step(f"measuring trial {trial.number} once more")
            cost = self.meter.again(self.space, trial.architecture)
            if self.request.budget.holds_surely(cost):
                chosen.append(trial)
            else:
                left_out.append(trial)
                where = "too near its bound to be sure of it" if self.request.budget.holds(cost) else "past the budget"
                self.watch.note(
                    f"trial {trial.number} is no finalist: measured once more, it is {where} ({shown(cost)})"
                )
            if len(chosen) == self.request.finalists:
                break
        if behind and len(chosen) < self.request.finalists:
            self.watch.note(
                f"{len(chosen)} finalist{'s' * (len(chosen) > 1)}, not {self.request.finalists}: after equally long "
                f"trainings the others are behind by over {_HOPELESS:g} standard errors (trial {behind[0].number} has "
                f"{behind[0].accuracy:.1%})"
            )
        if not chosen:
            # Within budget at first, just past it the second time: the best is delivered, and marked as past it.
            chosen = ranked[:1]
        self.run.decide("left_out", [trial.number for trial in left_out if trial not in chosen])
        self.run.decide("finalists", [trial.number for trial in chosen])
        return chosen

    def _hopeless(self, trial: TrialRecord, chosen: Sequence[TrialRecord]) -> bool:
        if not chosen or not self.request.timed_finals:
            return False
        best = max(chosen, key=lambda one: (one.rung, one.accuracy or 0.0))
        return trial.rung == best.rung and surely_behind(trial, best, len(self.data.validation), _HOPELESS)

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
        """Trains each, by the name of its trial, as long as the time allows."""
        return self.training.finalists(
            {
                f"trial {trial.number}": partial(_build, self.space, trial.architecture, self.data.task)
                for trial in finalists
            }
        )

    def rank(
        self, finalists: Sequence[TrialRecord], trained: dict[str, FullTraining]
    ) -> list[tuple[TrainedNetwork, nn.Module]]:
        """The winner first: the best on validation of those trained to the end that held the budget twice."""
        networks = []
        for trial in finalists:
            name = f"trial {trial.number}"
            if name not in trained:
                continue
            assert trial.architecture is not None
            network = self.space.build(trial.architecture, self.data.task)
            network.load_state_dict(trained[name].weights)
            cost = self.meter.again(self.space, trial.architecture)
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
        trained = self._compared(
            "control networks",
            {name: partial(_build, self.space, architecture, self.data.task) for name, architecture in names.items()},
            epochs,
        )
        rows = []
        for name, training in trained.items():
            network = self.space.build(names[name], self.data.task)
            row = self._tested(training, "control", names[name], network, self.meter.again(self.space, names[name]))
            rows.append(row)
        return rows

    def _drawn_within(self) -> list[Architecture]:
        """Uniform draws, the first that hold the budget; fewer than asked for where they are rare."""
        if (stored := self.run.decision("control")) is not None:
            return [Architecture.from_json(one) for one in stored]
        rng = random.Random(f"control {self.request.seed}")
        found: list[Architecture] = []
        for drawn in range(_CONTROL_DRAWS * self.request.control):
            self.watch.step(f"drawing control networks: {len(found)} of {self.request.control} after {drawn}")
            architecture = self.space.canonical(random_architecture(self.space, rng), self.data.task)
            if architecture in found:
                continue
            if self.request.budget.holds_surely(self.meter.again(self.space, architecture)):
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
        rows = []
        for name, training in self._compared("references", builders, epochs).items():
            network = _build_reference(name, self.data.task, self.space)
            try:
                cost = self.meter.exported(network)
            except ArchfitError as error:
                self.watch.note(f"{name} could not be measured: {error}")
            else:
                rows.append(self._tested(training, "reference", None, network, cost))
        return rows

    def _compared(
        self, title: str, builders: dict[str, Callable[[], nn.Module]], epochs: float
    ) -> dict[str, FullTraining]:
        """Trains what the winner is compared with. Where none of it can be trained, the winner stands without."""
        try:
            return self.training.train(title, builders, dict.fromkeys(builders, epochs))
        except ArchfitError as error:
            self.watch.note(f"the winner stands without {title}: {error}")
            return {}

    def _tested(
        self, training: FullTraining, role: str, architecture: Architecture | None, network: nn.Module, cost: Cost
    ) -> TrainedNetwork:
        network.load_state_dict(training.weights)
        assert self.data.test is not None
        accuracy = score(
            network, self.data.test, self.data, get_metric("accuracy"), memory_format=self.training.memory_format
        )
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
