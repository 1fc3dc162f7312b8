"""The verb `search`: from a dataset and a budget to a deployed, tested, measured network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.samplers import BaseSampler
from torch import nn

from archfit._version import __version__
from archfit.architecture import Architecture, SearchSpace, Task, from_indices, space_size, to_indices
from archfit.catalogue import get_reference
from archfit.cost import Cost
from archfit.data import ImageData, load_arrays, load_data, save_arrays
from archfit.deploy import NETWORK, test_deployed, write_network
from archfit.device import LocalDevice
from archfit.errors import BudgetError, RunError
from archfit.evaluators import Evaluator, ProxyTraining
from archfit.pipeline.meter import CostMeter, build_seeded
from archfit.pipeline.outcome import SearchResult, summarise
from archfit.pipeline.request import CUSTOM, SearchRequest
from archfit.pipeline.watch import TrainingStatus, Watch
from archfit.report import write_report
from archfit.report.record import TrainedNetwork
from archfit.reward import Reward, get_reward
from archfit.samplers import make_sampler
from archfit.spaces import MnasSpace
from archfit.study.finalists import FullTraining, affordable_epochs, rank, train_in_full
from archfit.study.fitting import Fitted, fit_space
from archfit.study.limits import Limits
from archfit.study.record import TrialRecord
from archfit.study.run_folder import RunFolder, write_json
from archfit.study.search import SearchSetup, SearchStatus, TrialSearch, WorkerContext
from archfit.study.storage import close_study, holds_trials, open_study, records, storage_errors
from archfit.study.workers import WorkerPool
from archfit.training import (
    chance_level,
    check_accelerator,
    final_recipe,
    get_metric,
    probe_memory_format,
    proxy_recipe,
    score,
    training_rate,
)

STUDY = "study.db"
RESULT = "result.json"
REPORT = "report.html"
_DATA = "data"
_TRIALS_WANTED = 48
_MOST_PROXY_EPOCHS = 5.0
_DEPLOY_SECONDS = 12.0


@dataclass(frozen=True)
class Objects:
    """Parts that a user passed from Python in place of a name; None where the request names one."""

    space: SearchSpace | None = None
    sampler: BaseSampler | None = None
    reward: Reward | None = None
    evaluator: Evaluator | None = None


def read_data(request: SearchRequest, watch: Watch, *, given: Any = None, run: Path | None = None) -> ImageData:
    """The dataset of a request.

    Args:
        request: Names it, its size and its part.
        watch: Is told how far the reading is.
        given: The dataset itself, where it comes from Python.
        run: Folder of a run that kept a dataset from Python.
    """
    if request.dataset == CUSTOM and given is None:
        if run is None or not (run / _DATA).is_dir():
            raise RunError("the dataset was given from Python and was not kept; pass it to archfit.search again")
        return load_arrays(run / _DATA)
    watch.step("reading the dataset" if given is not None else f"reading {request.dataset}")
    data = load_data(
        request.dataset if given is None else given,
        image_size=request.image_size,
        train_images=request.train_images,
        seed=request.seed,
        progress=watch.step,
    )
    return data if request.flip is None else replace(data, flip=request.flip)


def keep_data(data: ImageData, run: Path) -> None:
    """Keeps a dataset that was given from Python, for the resume."""
    save_arrays(data, run / _DATA)


class SearchRun:
    """One search from its folder; every stage reads back what an earlier session decided or finished.

    Args:
        run: Its folder, locked.
        request: What was asked.
        data: With its test split, which goes to the deployed network alone.
        objects: Parts given from Python.
        watch: Is told what happens.
    """

    def __init__(self, run: RunFolder, request: SearchRequest, data: ImageData, objects: Objects, watch: Watch) -> None:
        missing = [name for name in request.custom if name != "dataset" and getattr(objects, name) is None]
        if missing:
            raise RunError(
                f"the run's {', '.join(missing)} came from Python as objects; resume it there: "
                f"archfit.resume({str(run.path)!r}, {', '.join(f'{name}=...' for name in missing)})"
            )
        self.run = run
        self.request = request
        self.data = data
        self.objects = objects
        self.watch = watch
        self.limits = request.limits.with_default()
        self.accelerator = check_accelerator(request.accelerator)
        self.device = LocalDevice()
        self.reward = objects.reward or get_reward(request.reward)

    @property
    def task(self) -> Task:
        return self.data.task

    def execute(self) -> SearchResult:
        """Runs what is left to run, and returns the result."""
        watch = self.watch
        watch.started(self.run.path)
        for note in self.data.notes:
            watch.note(note)
        first = objects_or_mnas(self.objects, self.request)
        context = partial(WorkerContext, self.data.without_test())
        log = self.run.path / "workers.log"
        with WorkerPool(context, self.request.worker_count, log=log) as pool, one_thread():
            pool.warm_up()
            meter = self._meter(pool)
            return self._search_and_train(self._fit(first, meter), meter, pool)

    def _search_and_train(self, space: SearchSpace, meter: CostMeter, pool: WorkerPool) -> SearchResult:
        with pool.paused():  # workers that start up would slow the probe down
            memory_format, rate = self._probe(space)
        evaluator = self._evaluator(space, memory_format, rate)
        path = self.run.path / STUDY
        if self.run.decision("stopped") is not None and not holds_trials(path):
            raise RunError(f"{path} has lost the trials of a search that had ended; restore it, or start a new run")
        with storage_errors(path):
            study = open_study(path, self._sampler(space, rate))
            try:
                stopped = self._search(study, space, meter, pool, evaluator)
                trials = records(study)
            finally:
                close_study(study)
        self.run.tick("search", at_least=0)
        finalists = self._finalists(space, trials, meter)
        trained = self._train(space, finalists, memory_format, pool, trials)
        winner, networks = self._choose(space, finalists, trained, meter, memory_format)
        references = self._references(pool, meter, memory_format, trained)
        return self._deliver(space, winner, networks, references, trials, meter, stopped, memory_format, evaluator)

    # ---- before the search ------------------------------------------------------------------------------------------

    def _meter(self, pool: WorkerPool) -> CostMeter:
        return CostMeter(
            self.device,
            runtime=self.request.runtime,
            threads=self.request.threads,
            data=self.data,
            budget=self.request.budget,
            prune_above=self.request.prune_above,
            quiet=pool.paused,
            version=__version__,
        )

    def _fit(self, space: SearchSpace, meter: CostMeter) -> SearchSpace:
        """Scales the space to the budget, unless the user fixed its width."""
        if (stored := self.run.decision("space")) is not None:
            return scaled_to(space, stored["settings"])
        fitted = sample_space(space, self.request, self.task, meter, self.watch, tick=lambda: self.run.tick("search"))
        if fitted.note:
            self.watch.note(f"space scaled to the budget: {fitted.note}")
        if self.request.budget.names():
            self.watch.note(f"{fitted.share:.0%} of {len(fitted.costs)} random networks of the space hold the budget")
        self.run.decide("space", {"settings": fitted.space.settings(), "scaled": fitted.note, "share": fitted.share})
        return fitted.space

    def _probe(self, space: SearchSpace) -> tuple[str, float]:
        """Memory format and training speed of a typical network, images per second of one worker."""
        if (stored := self.run.decision("probe")) is None:
            self.watch.step("timing a training step in both memory formats")
            architecture = typical_architecture(space, self.task, self.request.seed)
            batch = proxy_recipe(self.data, 1).batch_size
            probe = probe_memory_format(
                lambda: build_seeded(space, architecture, self.data),
                self.task,
                accelerator=self.accelerator,
                batch_size=batch,
            )
            stored = {
                "memory_format": probe.memory_format,
                "images_per_second": probe.images_per_second,
                "speedup": probe.speedup,
            }
            self.run.decide("probe", stored)
            self.run.tick("search", at_least=0)
        return stored["memory_format"], stored["images_per_second"]

    def _evaluator(self, space: SearchSpace, memory_format: str, rate: float) -> Evaluator:
        if self.objects.evaluator is not None:
            return self.objects.evaluator
        epochs = self.run.decision("proxy_epochs")
        if epochs is None:
            spent = self.run.seconds["search"]
            epochs = proxy_epochs_for(self.request, len(self.data.train), self.limits, rate, spent=spent)
            self.run.decide("proxy_epochs", epochs)
            images = round(epochs * len(self.data.train))
            self.watch.note(f"each candidate is trained for {epochs:g} epochs ({images:,} images) before it is scored")
        return ProxyTraining(epochs, self.request.metric, self.accelerator, memory_format)

    def _sampler(self, space: SearchSpace, rate: float) -> BaseSampler:
        if self.objects.sampler is not None:
            return self.objects.sampler
        task = self.task

        def canonical(indices: tuple[int, ...]) -> tuple[int, ...]:
            return to_indices(space, space.canonical(from_indices(space, indices), task))

        return make_sampler(
            self.request.sampler,
            choices=space.choices,
            seed=self.request.seed,
            trials=self.limits.trials or _TRIALS_WANTED,
            canonical=canonical,
        )

    # ---- the search -------------------------------------------------------------------------------------------------

    def _search(
        self, study: optuna.Study, space: SearchSpace, meter: CostMeter, pool: WorkerPool, evaluator: Evaluator
    ) -> str:
        if (stopped := self.run.decision("stopped")) is not None:
            return str(stopped)
        request = self.request
        setup = SearchSetup(
            space=space,
            task=self.task,
            budget=request.budget,
            reward=self.reward,
            chance=chance_level(self.data.validation.labels, len(self.data.classes), request.metric),
            limits=self.limits,
            prune_above=request.prune_above,
            seed=request.seed,
            evaluator=evaluator,
        )

        def on_status(status: SearchStatus) -> None:
            self.run.tick("search")
            self.watch.searching(status, request.budget)

        search = TrialSearch(
            study,
            setup,
            pool,
            partial(meter.candidate, space),
            on_status=on_status,
            elapsed=self.run.seconds["search"],
        )
        return str(self.run.decide("stopped", search.run()))

    # ---- finalists --------------------------------------------------------------------------------------------------

    def _finalists(self, space: SearchSpace, trials: Sequence[TrialRecord], meter: CostMeter) -> list[TrialRecord]:
        """The best trials whose deployed form, measured anew, holds the budget."""
        by_number = {trial.number: trial for trial in trials}
        if (stored := self.run.decision("finalists")) is not None:
            return [by_number[number] for number in stored]
        ranked = rank(trials)
        if not ranked:
            raise BudgetError(self._nothing_within(trials))
        chosen: list[TrialRecord] = []
        for trial in ranked[: 4 * self.request.finalists + 4]:
            assert trial.architecture is not None
            self.watch.step(f"measuring trial {trial.number} as it would be deployed")
            cost = meter.deployed(space, trial.architecture)
            # A measurement repeats within 1 %: what is nearer to the bound could be past it the next time.
            if max(self.request.budget.ratios(cost).values(), default=0) <= 0.99:
                chosen.append(trial)
            else:
                self.watch.note(f"trial {trial.number} is no finalist: deployed, it is past the budget ({shown(cost)})")
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
        nearest = min(costs, key=lambda cost: max(self.request.budget.ratios(cost).values(), default=0), default=None)
        found = f"; the nearest one has {shown(nearest)}" if nearest else ""
        return (
            f"no network within the budget ({self.request.budget}) was found in {len(trials)} trials{found}; "
            "raise the budget, lower --width or --image-size, or search longer"
        )

    def _train(
        self,
        space: SearchSpace,
        finalists: Sequence[TrialRecord],
        memory_format: str,
        pool: WorkerPool,
        trials: Sequence[TrialRecord],
    ) -> dict[str, FullTraining]:
        epochs = self.run.decision("final_epochs")
        if epochs is None:
            epochs = self.run.decide("final_epochs", self._final_epochs(space, finalists, memory_format))
        networks: dict[str, Callable[[], nn.Module]] = {
            f"trial {trial.number}": partial(_build, space, trial.architecture, self.task) for trial in finalists
        }
        return self._full("finalists", networks, epochs, memory_format, pool)

    def _final_epochs(self, space: SearchSpace, finalists: Sequence[TrialRecord], memory_format: str) -> int:
        """As asked; else as many as the time allows, by the speed of the slowest finalist's proxy training."""
        if self.request.final_epochs is not None:
            return self.request.final_epochs
        images = len(self.data.train)
        if self.limits.seconds is None:
            return untimed_final_epochs(images)
        spent = sum(self.run.seconds.values())
        left = self.limits.seconds - spent - _DEPLOY_SECONDS
        proxy_epochs = self.run.decision("proxy_epochs")
        slowest = max(finalists, key=lambda trial: trial.seconds_train)
        architecture = slowest.architecture
        assert architecture is not None

        def rate(batch_size: int) -> float:
            return training_rate(
                lambda: build_seeded(space, architecture, self.data),
                self.task,
                memory_format=memory_format,
                accelerator=self.accelerator,
                batch_size=batch_size,
            )

        if proxy_epochs is None or slowest.seconds_train == 0:  # the user's own evaluator need not train
            workers_rate = 0.7 * rate(128)
        else:
            # What a worker reached with its neighbours at work, times what the larger batches bring.
            proxy, final = proxy_recipe(self.data, proxy_epochs).batch_size, final_recipe(self.data, 10).batch_size
            workers_rate = proxy_epochs * images / slowest.seconds_train * rate(final) / rate(proxy)
        # Validation after each epoch and the average of weights cost a little beside the proxies' training.
        return affordable_epochs(left, 0.9 * workers_rate, self.data, len(finalists), self.request.worker_count)

    def _full(
        self,
        title: str,
        networks: dict[str, Callable[[], nn.Module]],
        epochs: int,
        memory_format: str,
        pool: WorkerPool,
    ) -> dict[str, FullTraining]:
        start = time.monotonic()

        def on_progress(state: dict[str, dict[str, Any]]) -> None:
            self.run.tick("train")
            self.watch.training(TrainingStatus(title, state, len(networks), time.monotonic() - start))

        self.watch.step(f"training {len(networks)} {title} for {epochs} epochs")
        trained, failures = train_in_full(
            networks,
            final_recipe(self.data, epochs),
            pool,
            seed=self.request.seed,
            accelerator=self.accelerator,
            memory_format=memory_format,
            metric=self.request.metric,
            folder=self.run.path / "training",
            on_progress=on_progress,
        )
        for name, reason in failures.items():
            self.watch.note(f"{name} could not be trained in full: {reason}")
        self.run.tick("train", at_least=0)
        return trained

    def _choose(
        self,
        space: SearchSpace,
        finalists: Sequence[TrialRecord],
        trained: dict[str, FullTraining],
        meter: CostMeter,
        memory_format: str,
    ) -> tuple[str, list[tuple[TrainedNetwork, nn.Module]]]:
        """The winner is the best on validation among those whose deployed form held the budget."""
        networks = []
        for trial in finalists:
            name = f"trial {trial.number}"
            if name not in trained:
                continue
            assert trial.architecture is not None
            network = space.build(trial.architecture, self.task)
            network.load_state_dict(trained[name].weights)
            cost = meter.deployed(space, trial.architecture)
            networks.append((self._trained(trained[name], "finalist", trial.architecture, cost), network))
        winner = max(networks, key=lambda pair: (pair[0].within_budget, pair[0].validation_accuracy))[0]
        return winner.name, networks

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

    def _references(
        self, pool: WorkerPool, meter: CostMeter, memory_format: str, finalists: dict[str, FullTraining]
    ) -> list[TrainedNetwork]:
        """Catalogue networks by the finalists' recipe and epochs; they take extra time, after the limit."""
        if not self.request.references or self.data.test is None:
            return []
        epochs = next(iter(finalists.values())).epochs
        builders: dict[str, Callable[[], nn.Module]] = {
            name: partial(_build_reference, name, self.task) for name in self.request.references
        }
        trained = self._full("references", builders, epochs, memory_format, pool)
        rows = []
        for name, training in trained.items():
            network = _build_reference(name, self.task)
            network.load_state_dict(training.weights)
            row = self._trained(training, "reference", None, meter.exported(network))
            accuracy = score(network, self.data.test, self.data, get_metric("accuracy"), memory_format=memory_format)
            rows.append(replace(row, test_accuracy=accuracy))
        return rows

    # ---- the winner out ---------------------------------------------------------------------------------------------

    def _deliver(
        self,
        space: SearchSpace,
        winner_name: str,
        networks: Sequence[tuple[TrainedNetwork, nn.Module]],
        references: Sequence[TrainedNetwork],
        trials: Sequence[TrialRecord],
        meter: CostMeter,
        stopped: str,
        memory_format: str,
        evaluator: Evaluator,
    ) -> SearchResult:
        folder = self.run.path
        row, network = next(pair for pair in networks if pair[0].name == winner_name)
        self.watch.step("writing the network, testing it once")
        write_network(folder, network, self.data, space=space, architecture=row.architecture, version=__version__)
        test, parity = test_deployed(folder / NETWORK, network, self.data)
        cost = meter.file(folder / NETWORK, network)
        winner = replace(
            row,
            role="winner",
            cost=cost,
            within_budget=self.request.budget.holds(cost),
            test_accuracy=test.accuracy,
        )
        others = [other for other, _ in networks if other.name != winner_name]
        self.run.tick("train", at_least=0)
        result = summarise(
            run=self.run,
            request=self.request,
            data=self.data,
            space=space,
            device=self.device,
            winner=winner,
            others=[*others, *references],
            trials=trials,
            test=test,
            parity=parity,
            stopped=stopped,
            memory_format=memory_format,
            proxy_epochs=evaluator.epochs if isinstance(evaluator, ProxyTraining) else None,
            accelerator=self.accelerator,
        )
        write_report(result, trials, folder / REPORT)
        write_json(folder / RESULT, result.to_json())  # the last: where it is, the run is finished
        return SearchResult(folder, result, tuple(trials), network)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch in this process to one thread: exporting beside the workers is five times slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def objects_or_mnas(objects: Objects, request: SearchRequest) -> SearchSpace:
    """The space given from Python, or the named one at the width asked for."""
    if objects.space is not None:
        return objects.space
    return MnasSpace(width=request.width or 1.0, searched_blocks=request.searched_blocks)


def sample_space(
    space: SearchSpace,
    request: SearchRequest,
    task: Task,
    meter: CostMeter,
    watch: Watch,
    tick: Callable[[], None] = lambda: None,
) -> Fitted:
    """Random members of the space against the budget; it is scaled down first where the user left that open."""

    def on_sample(label: str, count: int, fits: int) -> None:
        tick()
        scaled = f" ({label})" if label else ""
        watch.step(f"sampling the space{scaled}: {fits} of {count} networks within budget")

    return fit_space(
        space,
        task,
        request.budget,
        meter.sample,
        scale=request.width is None,
        seed=request.seed,
        on_sample=on_sample,
    )


def scaled_to(space: SearchSpace, settings: dict[str, Any]) -> SearchSpace:
    """The step of the space's own ladder that has these settings.

    Raises:
        RunError: There is none: the space is not the one that the run was begun with.
    """
    step: SearchSpace | None = space
    while step is not None:
        if step.settings() == settings:
            return step
        step = getattr(step, "smaller", lambda: None)()
    raise RunError(
        f"space {space.name!r} never has the settings {settings} of the run; pass the space it was begun with"
    )


def typical_architecture(space: SearchSpace, task: Task, seed: int) -> Architecture:
    """Of nine random members the one with the median multiply-adds."""
    import random

    from archfit.architecture import random_architecture
    from archfit.cost import count_madds

    rng = random.Random(seed)
    members = [space.canonical(random_architecture(space, rng), task) for _ in range(9)]
    with torch.random.fork_rng(devices=()):
        members.sort(key=lambda member: count_madds(space.build(member, task), task))
    return members[4]


def proxy_epochs_for(request: SearchRequest, images: int, limits: Limits, rate: float, *, spent: float) -> float:
    """As asked; else a few, so few that a search under a time limit still sees about 48 candidates.

    Args:
        request: May ask for a number.
        images: In the training split.
        limits: Of the search.
        rate: Images per second that one worker trains.
        spent: Seconds of the search's half that are gone already.
    """
    if request.proxy_epochs is not None:
        return request.proxy_epochs
    if limits.search_seconds is None:
        return _MOST_PROXY_EPOCHS
    left = max(1.0, limits.search_seconds - spent)
    trials = min(_TRIALS_WANTED, limits.trials or _TRIALS_WANTED)
    affordable = left * request.worker_count * rate / trials
    return float(f"{min(_MOST_PROXY_EPOCHS, max(affordable, 500) / images):.2g}")


def untimed_final_epochs(images: int) -> int:
    """Epochs of full training where no time is set: about 1.5 million images, from 20 to 100 epochs."""
    return max(20, min(100, round(1.5e6 / images)))


def shown(cost: Cost) -> str:
    """A cost in a few words."""
    latency = f"{cost.latency.p50_ms:.3g} ms, " if cost.latency else ""
    return f"{latency}{cost.params:,} parameters"


def describe_space(space: SearchSpace, run: RunFolder) -> dict[str, Any]:
    """For the report: name, number of points, settings, and what was scaled."""
    stored = run.decision("space") or {}
    return {
        "name": space.name,
        "size": space_size(space),
        "settings": space.settings(),
        "scaled": stored.get("scaled"),
    }


def _build(space: SearchSpace, architecture: Architecture | None, task: Task) -> nn.Module:
    assert architecture is not None
    return space.build(architecture, task)


def _build_reference(name: str, task: Task) -> nn.Module:
    return get_reference(name).build(task)
