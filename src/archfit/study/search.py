"""The search trial by trial: propose, measure the cost, train, tell."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from archfit.architecture import Architecture, space_size
from archfit.cost import Cost
from archfit.errors import RunError
from archfit.samplers import PROMOTES
from archfit.study.candidates import evaluate, keep_weights, weights_file
from archfit.study.executor import Event, Executor
from archfit.study.limits import Limits, trials_since_best
from archfit.study.ranking import next_alone, next_promotion, trained_alone
from archfit.study.record import TrialRecord
from archfit.study.setup import SearchSetup, over_limit, trial_seed
from archfit.study.storage import DRIVER, asked, begun, distributions, record, records

_REPEATS_TO_STOP = 50
_FAILURES_TO_STOP = 5
_PATIENCE_S = 10.0
_LOOK_AGAIN_S = 0.02
_ABANDONED = "its driver died as it asked for it"


@dataclass(frozen=True)
class SearchStatus:
    """How far a search is, for whoever shows it.

    Attributes:
        trials: All so far.
        running: Number of trial -> share trained, in [0, 1].
        measuring: A latency is being measured now.
        elapsed: Seconds of search so far, earlier sessions included.
        limits: When it stops.
        alone: Candidates are scored by shared weights, then the best trained alone.
    """

    trials: tuple[TrialRecord, ...]
    running: dict[int, float]
    measuring: bool
    elapsed: float
    limits: Limits
    alone: bool = False

    @property
    def wanted_alone(self) -> int:
        """How many networks will have been trained alone, if all hold the budget."""
        return sum(trained_alone([trial.origin for trial in self.trials if trial.promotes is None]))

    @property
    def best(self) -> TrialRecord | None:
        """The best reward within the budget of those trained longest, else the best reward."""
        trained = [t for t in self.trials if t.state == "complete" and t.reward is not None]
        return max(trained, key=lambda t: (bool(t.within_budget), t.rung, t.reward), default=None)


class TrialSearch:
    """Runs trials of a study until a limit is reached; may be stopped and started again at any point.

    Args:
        study: New or with trials in it.
        setup: What is searched.
        pool: Runs jobs whose context is a `WorkerContext`.
        measure: Gives the cost of a canonical architecture; slow, uses a cache.
        on_status: Called after each change.
        elapsed: Seconds that earlier sessions used.
        first: Tried before anything is proposed, each with its origin.
        driver: Name of this one, where others work on the study too; None where none does.
    """

    def __init__(
        self,
        study: optuna.Study,
        setup: SearchSetup,
        pool: Executor,
        measure: Callable[[Architecture], Cost],
        *,
        on_status: Callable[[SearchStatus], None],
        elapsed: float = 0.0,
        first: Sequence[tuple[Architecture, str]] = (),
        driver: str | None = None,
    ) -> None:
        self._study = study
        self._setup = setup
        self._pool = pool
        self._measure = measure
        self._on_status = on_status
        self._start = time.monotonic() - elapsed
        self._distributions = distributions(setup.space)
        self._records = {r.number: r for r in records(study)}
        self._ready: deque[tuple[optuna.Trial, Architecture]] = deque()
        self._training: dict[int, optuna.Trial] = {}
        self._share: dict[int, float] = {}
        self._measuring = False
        self._repeats = _repeats_in_a_row(list(self._records.values()))
        self._proposed = _proposed(study)
        self._driver = driver
        self._first = first
        self._known = {r.architecture for r in self._records.values() if r.architecture}
        self._heard_of: dict[int, float] = {}
        self._nobodys = False

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def run(self) -> str:
        """Runs to the end and says why it ended."""
        for architecture, origin in self._first:
            self._study.enqueue_trial(dict(architecture.choices), user_attrs={"origin": origin}, skip_if_exists=True)
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if frozen.user_attrs.get(DRIVER) != self._driver:
                continue
            # Params that its driver had no time to store are sampled again, to the same values.
            self._prepare(optuna.Trial(self._study, frozen._trial_id))
        while True:
            if self._driver is not None:
                self._hear_of_others()
            stopped = self._stop_reason()
            # One worker: nothing is proposed before the last answer is known, so that a run repeats exactly.
            # More: the next candidate is measured while the others train.
            spare = 1 if self._pool.size > 1 else 0
            asking = len(self._ready) < self._pool.free + spare
            if asking and not self._promote(stopped) and stopped is None:
                self._proposed += 1
                self._prepare(self._ask())
            while self._ready and self._pool.free:
                self._dispatch(*self._ready.popleft())
            if stopped is not None and not self._ready and not self._training:
                if not self._nobodys or self._time_is_up():
                    return stopped
                time.sleep(_LOOK_AGAIN_S)  # if nobody takes it up, another is asked for in its place
            idle = self._pool.free > 0 and stopped is None
            for event in self._pool.events(0.0 if idle or not self._training else 0.25):
                self._handle(event)
            self._end_hanging()
            self._tell_status()

    def _prepare(self, trial: optuna.Trial) -> None:
        """Decides what becomes of a proposal: told at once (repeat, pruned, failed), or ready to train."""
        setup = self._setup
        params = {choice.name: trial.suggest_categorical(choice.name, choice.options) for choice in setup.space.choices}
        architecture = setup.space.canonical(asked(setup.space, params), setup.task)
        attrs = trial.user_attrs
        if "reward" in attrs:  # the driver died between storing the result and telling it
            self._finish(trial)
            return
        if (promoted := attrs.get(PROMOTES)) is not None:
            self._prepare_promotion(trial, self._records[promoted])
            return
        twin = self._twin(architecture, trial.number)
        self._known.add(architecture)
        self._set(trial, architecture=architecture.to_json(), seed=trial_seed(setup.seed, trial.number))
        if self._driver is not None and twin is None:
            if (other := self._other_with(architecture, trial.number)) is not None:
                self._fail(trial, f"trial {other} of another driver has this network")
                return
            self._hear_of_others()  # it may have ended meanwhile
            twin = self._twin(architecture, trial.number)
        if twin is not None:
            self._repeats += 1
            cost = twin.cost.to_json() if twin.cost else None
            ratios = setup.budget.ratios(twin.cost) if twin.cost else None
            self._set(trial, repeat_of=twin.number, ratios=ratios, cost=cost)
            self._set(trial, within_budget=twin.within_budget, reason=twin.reason)
            self._result(trial, twin.accuracy, twin.reward, pruned=twin.state == "pruned")
            return
        self._repeats = 0
        self._measuring = True
        self._tell_status()
        start = time.monotonic()
        try:
            cost_ = Cost.from_json(attrs["cost"]) if "cost" in attrs else self._measure(architecture)
            reason = over_limit(setup.budget, cost_, setup.prune_above)
            within = reason is None and setup.budget.holds(cost_)
        except RunError:  # a disk that is full is not the candidate's doing
            raise
        except Exception as error:  # noqa: BLE001 - whatever a candidate does is recorded, and the search goes on
            self._fail(trial, f"{type(error).__name__}: {error}")
            return
        finally:
            self._measuring = False
        if "cost" not in attrs:
            # The cost last: where it is stored, the time it took is too.
            self._set(
                trial,
                within_budget=within,
                seconds_measure=time.monotonic() - start,
                ratios=setup.budget.ratios(cost_),
                cost=cost_.to_json(),
            )
        if reason is not None:
            self._set(trial, reason=reason)
            self._result(trial, None, setup.worth(setup.chance, cost_), pruned=True)
            return
        self._ready.append((trial, architecture))

    def _promote(self, stopped: str | None) -> bool:
        """Asks for the trial that trains a candidate on, if one is due and time is left."""
        setup = self._setup
        if not setup.promotions or self._time_is_up() or (setup.alone and not self._all_scored(stopped)):
            return False
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if waiting and PROMOTES not in waiting[0].user_attrs:  # `ask` gives it first
            return False
        if not waiting:  # else the driver died before it could ask
            source = self._due()
            if source is None or source.architecture is None:
                return False
            attrs = {PROMOTES: source.number, "rung": source.rung + 1, "origin": source.origin}
            self._study.enqueue_trial(dict(source.architecture.choices), user_attrs=attrs)
        self._prepare(self._ask())
        return True

    def _due(self) -> TrialRecord | None:
        setup, trials = self._setup, tuple(self._records.values())
        holds = setup.budget.holds_surely
        if setup.alone:
            return next_alone(trials, setup.space, setup.worth, holds)
        return next_promotion(
            trials, setup.factors, setup.space, setup.worth, holds, lambda rung: not self._time_is_up(rung)
        )

    def _all_scored(self, stopped: str | None) -> bool:
        """Whether shared weights have scored all that they are going to, so that the best are known."""
        going_on = [*self._training.values(), *(trial for trial, _ in self._ready)]
        return stopped is not None and all(PROMOTES in trial.user_attrs for trial in going_on)

    def _ask(self) -> optuna.Trial:
        trial = self._study.ask(self._distributions)
        if self._driver is not None:
            trial.set_user_attr(DRIVER, self._driver)
        return trial

    def _prepare_promotion(self, trial: optuna.Trial, source: TrialRecord) -> None:
        """Architecture and cost are those of the trial whose network is trained on."""
        assert source.architecture is not None
        assert source.cost is not None
        if "cost" not in trial.user_attrs:
            self._set(
                trial,
                architecture=source.architecture.to_json(),
                seed=trial_seed(self._setup.seed, trial.number),
                within_budget=source.within_budget,
                cost=source.cost.to_json(),
            )
        self._remember(trial)
        self._ready.append((trial, source.architecture))

    def _twin(self, architecture: Architecture, number: int) -> TrialRecord | None:
        """An earlier finished trial with the same network that was itself measured."""
        for other in self._records.values():
            measured = other.repeat_of is None and other.rung == 0 and other.state in ("complete", "pruned")
            if measured and other.architecture == architecture and other.number != number:
                return other
        return None

    def _dispatch(self, trial: optuna.Trial, architecture: Architecture) -> None:
        seed, attrs = trial_seed(self._setup.seed, trial.number), trial.user_attrs
        rung, source = attrs.get("rung", 0), attrs.get(PROMOTES)
        weights = None
        try:
            if source is not None and self._setup.weights is not None:
                weights = weights_file(self._setup, source).read_bytes()
        except OSError as error:
            self._fail(trial, f"the weights of trial {source} cannot be read: {error.strerror}")
            return
        self._training[trial.number] = trial
        self._share[trial.number] = 0.0
        job = partial(evaluate, self._setup, architecture, seed, rung=rung, weights=weights)
        self._pool.submit(trial.number, job)

    def _handle(self, event: Event) -> None:
        if event.key not in self._training:
            return
        if event.kind == "progress":
            self._share[event.key] = event.value
            return
        trial = self._training.pop(event.key)
        self._share.pop(event.key, None)
        self._set(trial, seconds_train=event.seconds)
        if event.kind == "lost":
            self._fail(trial, f"its worker process died ({event.value}), perhaps out of memory")
        elif event.kind == "failed":
            self._fail(trial, event.value)
        elif not 0 <= (accuracy := event.value.accuracy) <= 1:
            self._fail(trial, f"the evaluator gave the accuracy {accuracy}; it must be in [0, 1]")
        else:
            if event.value.weights is not None:
                keep_weights(weights_file(self._setup, event.key), event.value.weights)
            cost = Cost.from_json(trial.user_attrs["cost"])
            self._result(trial, accuracy, self._setup.worth(accuracy, cost), pruned=False)

    def _end_hanging(self) -> None:
        """Ends trainings that take far longer than others did: a deadlock, a file system that does not answer."""
        for number, trial in list(self._training.items()):
            seconds, most = self._pool.seconds(number), self._most_seconds(trial.user_attrs.get("rung", 0))
            if seconds > most:
                self._pool.cancel(number)
                del self._training[number]
                self._share.pop(number, None)
                self._set(trial, seconds_train=seconds)
                self._fail(trial, f"its training took over {most:.0f} s and was ended; see --trial-time")

    def _most_seconds(self, rung: int) -> float:
        setup = self._setup
        if setup.trial_seconds is not None:
            return setup.trial_seconds
        if (typical := self._typical_seconds(rung)) > 0:
            return max(60.0, 10 * typical)
        return setup.limits.search_seconds or math.inf

    def _result(self, trial: optuna.Trial, accuracy: float | None, reward: float | None, *, pruned: bool) -> None:
        if reward is not None and not math.isfinite(reward):
            self._fail(trial, f"the reward is {reward}; it must be finite")
            return
        self._set(trial, accuracy=accuracy, pruned=pruned or None)
        self._set(trial, reward=reward)
        self._finish(trial)

    def _finish(self, trial: optuna.Trial) -> None:
        attrs = trial.user_attrs
        if attrs.get("pruned"):
            if not self._study.get_trials(deepcopy=False)[trial.number].intermediate_values:
                trial.report(attrs["reward"], step=0)  # becomes the pruned trial's value, for samplers that read it
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, attrs["reward"])
        self._remember(trial)

    def _fail(self, trial: optuna.Trial, reason: str) -> None:
        self._set(trial, reason=reason)
        self._study.tell(trial, state=TrialState.FAIL)
        self._remember(trial)
        ended = [r for r in self._records.values() if r.state != "running"]
        if len(ended) >= _FAILURES_TO_STOP and all(r.state == "failed" for r in ended):
            raise RunError(f"the first {len(ended)} trials all failed; the last one with: {reason}")

    def _remember(self, trial: optuna.Trial) -> None:
        trials = self._study.get_trials(deepcopy=False)
        self._records[trial.number] = record(trials[trial.number], trials[0].datetime_start)

    def _set(self, trial: optuna.Trial, **attrs: Any) -> None:
        for name, value in attrs.items():
            if value is not None:
                trial.set_user_attr(name, value)

    def _stop_reason(self) -> str | None:
        limits = self._setup.limits
        if limits.trials is not None and self._proposed >= limits.trials:
            return f"{limits.trials} trials"
        if self._time_is_up():
            return f"the search's half of {limits.seconds:g} s"
        ended = sorted(
            (r for r in self._records.values() if r.finished_s is not None), key=lambda r: r.finished_s or 0.0
        )
        if limits.patience is not None and trials_since_best(ended) >= limits.patience:
            return f"{limits.patience} trials without a better one"
        if self._repeats >= _REPEATS_TO_STOP:
            return f"{self._repeats} proposals in a row were known already"
        if len(self._known) >= space_size(self._setup.space):
            return "every architecture of the space was tried"
        return None

    def _time_is_up(self, rung: int = 0) -> bool:
        """Whether a training to this rung does not fit any more; of a new candidate's, half of it.

        However short the time, every worker gets a candidate: a search without one has nothing to deliver.
        """
        limit = self._setup.limits.search_seconds
        # The rungs of long trainings would have the other workers idle for as long as one goes on past the limit.
        needed = self._typical_seconds(rung) * (1.0 if rung else 0.5)
        late = limit is not None and self.elapsed + needed > limit
        return late and self._proposed >= self._pool.size

    def _typical_seconds(self, rung: int) -> float:
        """Mean time of the trainings to a rung from the one below; where there was none, by that one's."""
        times = [
            r.seconds_train
            for r in self._records.values()
            if r.state == "complete" and r.repeat_of is None and r.rung == rung
        ]
        if times or not rung or self._setup.alone:  # by shared weights it takes no time to speak of
            return sum(times) / len(times) if times else 0.0
        return self._setup.added(rung) / self._setup.added(rung - 1) * self._typical_seconds(rung - 1)

    def _tell_status(self) -> None:
        trials = tuple(self._records[number] for number in sorted(self._records))
        setup = self._setup
        self._on_status(
            SearchStatus(trials, dict(self._share), self._measuring, self.elapsed, setup.limits, setup.alone)
        )

    # ---- other drivers of the study ---------------------------------------------------------------------------------

    def _hear_of_others(self) -> None:
        trials = begun(self._study)
        self._nobodys = False
        for frozen in trials:
            if frozen.state == TrialState.RUNNING and DRIVER not in frozen.user_attrs:
                if self._known_for(frozen) <= _PATIENCE_S:
                    self._nobodys = True
                else:
                    abandoned = optuna.Trial(self._study, frozen._trial_id)
                    abandoned.set_user_attr("reason", _ABANDONED)
                    self._study.tell(abandoned, state=TrialState.FAIL)
            known = self._records.get(frozen.number)
            if frozen.user_attrs.get(DRIVER) != self._driver and (known is None or known.state == "running"):
                self._records[frozen.number] = heard = record(frozen, trials[0].datetime_start)
                if heard.architecture is not None:
                    self._known.add(heard.architecture)
        self._proposed = _proposed(self._study)

    def _other_with(self, architecture: Architecture, number: int) -> int | None:
        """The trial of another driver that has the same network and was there first, or None.

        Each driver has stored its own network before it looks. Those asked before and not told yet what they are may
        have the same one, so they are waited for, unless their driver has died.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            before = [
                trial
                for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
                if trial.number < number and trial.user_attrs.get(DRIVER) != self._driver
            ]
            networks = {trial.number: trial.user_attrs.get("architecture") for trial in before}
            for other, network in networks.items():
                if network is not None and Architecture.from_json(network) == architecture:
                    return other
            silent = [
                trial for trial in before if networks[trial.number] is None and self._known_for(trial) < _PATIENCE_S
            ]
            if not silent or time.monotonic() > deadline:
                return None
            time.sleep(_LOOK_AGAIN_S)

    def _known_for(self, trial: FrozenTrial) -> float:
        """Seconds since this driver first saw a trial; the study has the time of its asker's clock and zone."""
        now = time.monotonic()
        return now - self._heard_of.setdefault(trial.number, now)


def _proposed(study: optuna.Study) -> int:
    """Trials that were asked for; those that train another one on, and those that nobody took up, are not counted."""
    return sum(
        PROMOTES not in trial.user_attrs and trial.user_attrs.get("reason") != _ABANDONED for trial in begun(study)
    )


def _repeats_in_a_row(trials: Sequence[TrialRecord]) -> int:
    """How many of the last trials were known already; those that are running are not counted."""
    ended = [trial for trial in trials if trial.state != "running" and trial.promotes is None]
    return next((n for n, trial in enumerate(reversed(ended)) if trial.repeat_of is None), len(ended))
