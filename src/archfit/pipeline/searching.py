"""The verb `search`: from a dataset and a budget to a deployed, tested, measured network."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from torch import nn

from archfit._process import keep_kernels
from archfit._version import __version__
from archfit.architecture import Architecture, SearchSpace, Task, from_indices, to_indices
from archfit.cost import Cost
from archfit.data import ImageData
from archfit.deploy import NETWORK, test_deployed, write_network
from archfit.device import Device, LocalDevice
from archfit.errors import RunError
from archfit.evaluators import Evaluator, ProxyTraining
from archfit.pipeline.finals import Finals, shown
from archfit.pipeline.full_training import FullTrainings
from archfit.pipeline.initial import INIT
from archfit.pipeline.meter import SAMPLING, CostMeter
from archfit.pipeline.outcome import SLOTS, SearchResult, summarise
from archfit.pipeline.plan import (
    Objects,
    alone_epochs_for,
    chosen_space,
    epochs_per_candidate,
    equal_time,
    normalised,
    plain_networks,
    proxy_epochs_for,
    sample_space,
    scaled_to,
    typical_builder,
)
from archfit.pipeline.request import SearchRequest
from archfit.pipeline.sharing import Sharing
from archfit.pipeline.watch import Watch
from archfit.report import write_report
from archfit.report.record import TrainedNetwork
from archfit.report.wording import epochs_in_words
from archfit.reward import get_reward
from archfit.samplers import make_sampler
from archfit.spaces import CellSpace, MnasSpace, SharedSpace, WarmMnasSpace, read_trained
from archfit.study.candidates import WorkerContext, training_pool
from archfit.study.executor import Executor
from archfit.study.limits import Limits
from archfit.study.ranking import trained_alone
from archfit.study.ray_cluster import RayCluster, Share
from archfit.study.record import DERIVED, FIRST, PLAIN, TrialRecord
from archfit.study.run_folder import RunFolder, write_json
from archfit.study.search import SearchStatus, TrialSearch
from archfit.study.setup import SearchSetup
from archfit.study.storage import Database, close_study, holds_trials, open_study, records, storage_errors, study_place
from archfit.study.workers import WorkerPool
from archfit.training import (
    chance_level,
    check_accelerator,
    one_thread,
    probe_memory_format,
    proxy_recipe,
)

RESULT = "result.json"
_PLAN = "plan"
_OTHERS_S = 0.5
_SHARED_DECISIONS = ("space", "proxy_epochs")
_ASKED = ("space", "reward", "metric", "evaluator", "runtime", "threads", "prune_above", "init")
REPORT = "report.html"


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
        self.trained = read_trained(run.path / INIT) if request.init is not None else None
        self.data = normalised(data, self.trained.statistics) if self.trained is not None else data
        self.objects = objects
        self.watch = watch
        self.limits = request.stops
        self.accelerator = check_accelerator(request.accelerator)
        self.device: Device = LocalDevice()
        self.reward = objects.reward or get_reward(request.reward)
        self.study = study_place(run.path, request.storage, request.study)

    @property
    def task(self) -> Task:
        return self.data.task

    def execute(self) -> SearchResult:
        """Runs what is left to run, and returns the result."""
        watch = self.watch
        if self.run.decision("stopped") is not None and not holds_trials(self.study):
            raise RunError(
                f"{self.study} has lost the trials of a search that had ended; restore it, or start a new run"
            )
        watch.started(self.run.path)
        if self.request.method == "shared":
            keep_kernels()
        if self.trained is not None:
            watch.note(f"candidates begin with what fits of {self.trained.name} ({self.request.init})")
        for note in self.data.notes:
            watch.note(note)
        first = chosen_space(self.objects, self.request, self.trained, self.run.path / INIT)
        data = self.data.without_test()
        log = self.run.path / "workers.log"
        # Exporting beside the workers is five times slower with more torch threads than one.
        with training_pool(data, self.request.worker_count, log) as pool, ExitStack() as stack, one_thread():
            executor = self._executor(data, pool, stack)
            self._take_over()
            meter = self._meter(pool, executor)
            return self._search_and_train(self._fit(first, meter), meter, pool, executor)

    def _executor(self, data: ImageData, pool: WorkerPool, stack: ExitStack) -> Executor:
        """What trains the candidates; finalists are trained by `pool`, beside their checkpoints."""
        request = self.request
        if request.executor == "local":
            pool.warm_up()
            return pool
        self.watch.step(f"reaching the Ray cluster at {request.address}" if request.address else "starting Ray")
        share = Share(request.trial_cpus, request.trial_gpus)
        context = partial(WorkerContext, data)
        cluster = RayCluster(context, address=request.address, share=share, local_cpus=request.worker_count)
        stack.enter_context(cluster)
        self.device = cluster.device() or self.device
        timed = self.device.describe()
        self.watch.note(f"a Ray cluster trains {cluster.size} candidates at a time; they are timed on {timed}")
        return cluster

    def _search_and_train(
        self, space: SearchSpace, meter: CostMeter, pool: WorkerPool, executor: Executor
    ) -> SearchResult:
        with pool.paused():  # workers that start up would slow the probe down
            memory_format, rate = self._probe(space)
        evaluators, given = self._evaluators(space, meter, memory_format, rate, executor.size)
        self.run.decide(SLOTS, executor.size)
        with storage_errors(self.study, self.run.path):
            study = open_study(self.study, self._sampler(space))
            try:
                stopped = self._search(study, space, meter, executor, evaluators, given)
                trials = records(study)
            finally:
                close_study(study)
        self.run.tick("search", at_least=0)
        training = FullTrainings(
            self.run,
            self.request,
            self.limits,
            self.data,
            isinstance(space, CellSpace),
            pool,
            self.accelerator,
            memory_format,
            self.watch,
        )
        finals = Finals(self.run, self.request, self.data, space, self.reward, meter, training, self.watch)
        finalists = finals.choose(trials)
        trained = finals.train(finalists)
        networks = finals.rank(finalists, trained)
        epochs = networks[0][0].epochs
        others = [*finals.control(epochs), *finals.references(epochs)]
        return self._deliver(space, networks, others, trials, meter, stopped, memory_format)

    # ---- drivers that share a study ---------------------------------------------------------------------------------

    def _take_over(self) -> None:
        """Takes what another driver of the study has decided; refuses one that was asked for something else."""
        if not isinstance(self.study, Database) or self.run.decision("space") is not None:
            return
        with storage_errors(self.study, self.run.path):
            study = open_study(self.study)
            try:
                plan = study.user_attrs.get(_PLAN)
            finally:
                close_study(study)
        if plan is None:
            return
        asked = self._asked()
        if other := [name for name, value in asked.items() if plan["asked"].get(name) != value]:
            raise RunError(
                f"the study {self.study} was begun with another {', '.join(other)}; ask for the same as its first "
                "driver, or choose another --study"
            )
        for name, value in plan["decisions"].items():
            self.run.decide(name, value)
        self.watch.note(f"works on the study {self.study} with its other drivers")

    def _driver(self, study: optuna.Study) -> str:
        """This driver's name in the study, whose plan is its first driver's."""
        plan = {"asked": self._asked(), "decisions": {name: self.run.decision(name) for name in _SHARED_DECISIONS}}
        if study.user_attrs.get(_PLAN) is None:
            study.set_user_attr(_PLAN, plan)
            time.sleep(_OTHERS_S)  # one that found no plan either may be writing its own
        if study.user_attrs[_PLAN]["decisions"] != plan["decisions"]:
            raise RunError(f"another driver began the study {self.study} meanwhile; start this one again")
        name: str = self.run.decision("driver") or self.run.decide("driver", uuid.uuid4().hex)
        return name

    def _asked(self) -> dict[str, Any]:
        """What all drivers of a study must have in common."""
        request, data = self.request, self.data
        asked: dict[str, Any] = {
            "budget": asdict(request.budget),
            "dataset": [list(data.classes), data.channels, data.image_size, len(data.train), len(data.validation)],
            "device": self.device.fingerprint(),
        }
        return asked | {name: getattr(request, name) for name in _ASKED}

    # ---- before the search ------------------------------------------------------------------------------------------

    def _meter(self, pool: WorkerPool, executor: Executor) -> CostMeter:
        @contextmanager
        def quiet() -> Iterator[None]:
            with pool.paused(), executor.paused() if executor is not pool else nullcontext():
                yield

        return CostMeter(
            self.device,
            runtime=self.request.runtime,
            threads=self.request.threads,
            data=self.data,
            budget=self.request.budget,
            prune_above=self.request.prune_above,
            quiet=quiet,
        )

    def _fit(self, space: SearchSpace, meter: CostMeter) -> SearchSpace:
        """Scales the space to the budget, unless the user fixed its width."""
        if (stored := self.run.decision("space")) is not None:
            return scaled_to(space, stored["settings"])
        fitted = sample_space(
            space,
            self.request,
            self.data,
            meter,
            self.watch,
            accelerator=self.accelerator,
            tick=lambda: self.run.tick("search"),
        )
        if fitted.note:
            self.watch.note(f"space scaled to the budget: {fitted.note}")
        if self.request.budget.names():
            self.watch.note(f"{fitted.share:.0%} of {len(fitted.costs)} random networks of the space hold the budget")
        self.run.add(SAMPLING, meter.sampling_seconds)
        self.run.decide("space", {"settings": fitted.space.settings(), "scaled": fitted.note, "share": fitted.share})
        return fitted.space

    def _probe(self, space: SearchSpace) -> tuple[str, float]:
        """Memory format and training speed of a typical network, images per second of one worker."""
        if (stored := self.run.decision("probe")) is None:
            self.watch.step("timing a training step in both memory formats")
            batch = proxy_recipe(self.data, 1).batch_size
            probe = probe_memory_format(
                typical_builder(space, self.task, self.request.seed),
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

    def _evaluators(
        self, space: SearchSpace, meter: CostMeter, memory_format: str, rate: float, workers: int
    ) -> tuple[Sequence[Evaluator], Sequence[tuple[Architecture, str]]]:
        """What scores candidates, one for each rung, and those that are tried before any is proposed, with origins."""
        given = [(one, PLAIN if self.trained is None else FIRST) for one in self._given(space, meter)]
        if self.request.method == "shared":
            assert isinstance(space, SharedSpace), "the plan has seen to it"
            sharing = Sharing(
                self.run,
                self.request,
                self.limits,
                self.data,
                space,
                self.reward,
                meter,
                self.device,
                memory_format,
                self.accelerator,
                self.watch,
            )
            given = [*((one, DERIVED) for one in sharing.derived()), *given]
            return [sharing.evaluator(), self._alone(space, memory_format, rate, workers, given)], given
        if self.objects.evaluator is not None:
            return [self.objects.evaluator], given
        return self._proxies(space, memory_format, rate, workers), given

    def _given(self, space: SearchSpace, meter: CostMeter) -> Sequence[Architecture]:
        """What is tried before anything is proposed; a sampler that was asked for by name begins by itself.

        It is no merit of the search, but what it finds is to be better than what one would have built by hand.
        """
        if isinstance(space, WarmMnasSpace):
            return space.starting_points(self.task)
        asked_for = self.request.sampler != "auto" or self.objects.sampler is not None
        if not isinstance(space, MnasSpace) or (asked_for and self.request.method == "trials"):
            return ()
        if (stored := self.run.decision("plain")) is None:
            self.watch.step("measuring plain networks, with one operation throughout")
            before = meter.sampling_seconds
            stored = [one.to_json() for one in plain_networks(space, self.task, self.request.budget, meter.sample)]
            if self.limits.trials is not None:
                stored = stored[: self.limits.trials // 2]
            self.run.add(SAMPLING, meter.sampling_seconds - before)
            self.run.decide("plain", stored)
        return [Architecture.from_json(one) for one in stored]

    def _proxies(self, space: SearchSpace, memory_format: str, rate: float, workers: int) -> list[ProxyTraining]:
        rungs, images = self.run.decision("proxy_epochs"), len(self.data.train)
        undecided = rungs is None
        if undecided:
            spent = self.run.seconds["search"]
            chosen = proxy_epochs_for(self.request, images, self.limits, rate, workers=workers, spent=spent)
            if isinstance(self.study, Database):
                # Nothing is trained on: its weights would be with the driver that trained it. As long in all.
                chosen = (float(f"{chosen[0] * epochs_per_candidate([each / chosen[0] for each in chosen]):.2g}"),)
            rungs = self.run.decide("proxy_epochs", list(chosen))
        equal = equal_time(self.request, rungs[0] * images)
        if undecided:
            seen = f"{round(rungs[0] * images):,} images{' at first' if len(rungs) > 1 else ''}"
            how = "for as long as a typical one takes for" if equal else "for"
            self.watch.note(f"each candidate is trained {how} {epochs_in_words(rungs)} ({seen})")
        first = self._proxy(space, rungs[0], memory_format)
        return [first, *(replace(first, epochs=high - low, continued=True) for low, high in pairwise(rungs))]

    def _alone(
        self,
        space: SearchSpace,
        memory_format: str,
        rate: float,
        workers: int,
        given: Sequence[tuple[Architecture, str]],
    ) -> ProxyTraining:
        """Trains the best of what shared weights have scored, each alone and all equally long."""
        epochs = self.run.decision("proxy_epochs")
        if epochs is None:
            derived, plain = trained_alone([origin for _, origin in given])
            images, networks = len(self.data.train), derived + plain
            chosen = alone_epochs_for(self.request, images, self.limits, rate, workers, networks)
            epochs = self.run.decide("proxy_epochs", [chosen])
            beside = f" and {plain} of one operation throughout" if plain else ""
            self.watch.note(
                f"the {derived} best derived networks{beside} are trained alone for {epochs_in_words(epochs)}, so that "
                "finalists are not chosen by shared weights"
            )
        return self._proxy(space, epochs[0], memory_format)

    def _proxy(self, space: SearchSpace, epochs: float, memory_format: str) -> ProxyTraining:
        equal = equal_time(self.request, epochs * len(self.data.train))
        return ProxyTraining(
            epochs,
            self.request.metric,
            # What "auto" stands for on this machine may not be what it stands for on a cluster's node.
            self.accelerator if self.request.executor == "local" else self.request.accelerator,
            memory_format,
            pretrained=self.trained is not None,
            typical=typical_builder(space, self.task, self.request.seed) if equal else None,
        )

    def _sampler(self, space: SearchSpace) -> BaseSampler:
        if self.objects.sampler is not None:
            return self.objects.sampler
        task = self.task

        def canonical(indices: tuple[int, ...]) -> tuple[int, ...]:
            return to_indices(space, space.canonical(from_indices(space, indices), task))

        return make_sampler(
            self.request.sampler,
            choices=space.choices,
            seed=self.request.seed,
            canonical=canonical,
            reward=self.reward,
        )

    # ---- the search -------------------------------------------------------------------------------------------------

    def _search(
        self,
        study: optuna.Study,
        space: SearchSpace,
        meter: CostMeter,
        executor: Executor,
        evaluators: Sequence[Evaluator],
        given: Sequence[tuple[Architecture, str]],
    ) -> str:
        weights = self.run.path / "training" / "candidates"
        if (stopped := self.run.decision("stopped")) is not None:
            shutil.rmtree(weights, ignore_errors=True)  # where an earlier session was killed just before
            return str(stopped)
        request, shared = self.request, self.request.method == "shared"
        rungs = self.run.decision("proxy_epochs") or ()
        setup = SearchSetup(
            space=space,
            task=self.task,
            budget=request.budget,
            reward=self.reward,
            chance=chance_level(self.data.validation.labels, len(self.data.classes), request.metric),
            limits=Limits(trials=len(given)) if shared else self.limits,
            prune_above=request.prune_above,
            seed=request.seed,
            evaluator=evaluators[0],
            promotions=tuple(evaluators[1:]),
            alone=shared,
            factors=tuple(high / low for low, high in pairwise(rungs)),
            weights=None if shared else weights,
            trial_seconds=request.trial_seconds,
        )

        def on_status(status: SearchStatus) -> None:
            self.run.tick("search")
            self.watch.searching(status, request.budget)

        search = TrialSearch(
            study,
            setup,
            executor,
            partial(meter.candidate, space),
            on_status=on_status,
            elapsed=self.run.seconds["search"],
            first=given,
            driver=self._driver(study) if isinstance(self.study, Database) else None,
        )
        if len(evaluators) > 1 and not shared:
            weights.mkdir(parents=True, exist_ok=True)
        stopped = self.run.decide("stopped", search.run())
        shutil.rmtree(weights, ignore_errors=True)
        return str(stopped)

    # ---- the winner out ---------------------------------------------------------------------------------------------

    def _written(
        self, space: SearchSpace, networks: Sequence[tuple[TrainedNetwork, nn.Module]], meter: CostMeter
    ) -> tuple[TrainedNetwork, nn.Module, Cost]:
        """Writes the first network whose file, measured once more, holds the budget; without one, the very first.

        What was stopped early is not trained, and no network to deliver.
        """
        folder = self.run.path
        measured: list[Cost] = []
        trained = [pair for pair in networks if pair[0].role != "stopped"]
        for place, (row, network) in enumerate([*trained, trained[0]]):
            self.watch.step(f"writing {row.name} and measuring it")
            write_network(folder, network, self.data, space=space, architecture=row.architecture, version=__version__)
            if place == len(trained):
                break
            measured.append(meter.file(folder / NETWORK, network))
            if self.request.budget.holds(measured[-1]):
                return row, network, measured[-1]
            self.watch.note(f"{row.name} is past the budget as a file ({shown(measured[-1])})")
        return *trained[0], measured[0]

    def _deliver(
        self,
        space: SearchSpace,
        networks: Sequence[tuple[TrainedNetwork, nn.Module]],
        compared: Sequence[TrainedNetwork],
        trials: Sequence[TrialRecord],
        meter: CostMeter,
        stopped: str,
        memory_format: str,
    ) -> SearchResult:
        folder = self.run.path
        row, network, cost = self._written(space, networks, meter)
        self.watch.step("testing the network once")
        test, parity = test_deployed(folder / NETWORK, network, self.data)
        winner = replace(
            row,
            role="winner",
            cost=cost,
            within_budget=self.request.budget.holds(cost),
            test_accuracy=test.accuracy,
        )
        self.run.tick("train", at_least=0)
        result = summarise(
            run=self.run,
            request=self.request,
            data=self.data,
            space=space,
            device=self.device,
            winner=winner,
            others=[*(other for other, _ in networks if other is not row), *compared],
            trials=trials,
            test=test,
            parity=parity,
            stopped=stopped,
            memory_format=memory_format,
            accelerator=self.accelerator,
        )
        write_report(result, trials, folder / REPORT)
        write_json(folder / RESULT, result.to_json())  # the last: where it is, the run is finished
        return SearchResult(folder, result, tuple(trials), network)
