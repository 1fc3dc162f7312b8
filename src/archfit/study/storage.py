"""The Optuna study on disk: opened, and read back as plain records."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from archfit.architecture import Architecture, SearchSpace
from archfit.cost import Cost
from archfit.errors import RunError
from archfit.samplers import PROMOTES
from archfit.study.record import State, TrialRecord

STUDY_NAME = "archfit"
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


def open_study(path: Path, sampler: BaseSampler | None = None) -> optuna.Study:
    """Opens the study in the SQLite file at `path`, creating both where they are missing.

    The file is written ahead (WAL): a commit outlives the death of the process at once, and a power cut costs at
    most the last commits, never the file.

    Raises:
        RunError: The file is no study, or cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        # Opened by path, not by URL: SQLAlchemy would read meaning into a % or ? in the folder's name.
        connect = partial(sqlite3.connect, path, timeout=30, check_same_thread=False)
        storage = RDBStorage(f"sqlite:///{path.name}", engine_kwargs={"creator": connect})
        _write_ahead(storage)
        return optuna.create_study(
            storage=storage, sampler=sampler, study_name=STUDY_NAME, direction="maximize", load_if_exists=True
        )
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, RuntimeError) as error:
        raise RunError(
            f"{path} cannot be opened as a study ({_cause(error)}); free some space or mend its permissions, or "
            "restore it; else start a new run"
        ) from error


def _write_ahead(storage: RDBStorage) -> None:
    def on_connect(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(storage.engine, "connect", on_connect)
    storage.engine.dispose()


def holds_trials(path: Path) -> bool:
    """Whether the study at `path` has a trial; a file that cannot be read for now may have some."""
    if not path.is_file():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM trials)").fetchone()[0])
    except sqlite3.Error as error:
        return "no such table" not in str(error)


def close_study(study: optuna.Study) -> None:
    """Folds the write-ahead file into the study and closes it; one plain file is left."""
    storage = getattr(study._storage, "_backend", study._storage)
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns a database error inside the block (a full disk, say) into a `RunError`."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, optuna.exceptions.StorageInternalError) as error:
        raise RunError(
            f"the study {path} could not be written ({_cause(error)}); free some space or mend the file's "
            f"permissions, then go on with: archfit resume {path.parent}"
        ) from error


def _cause(error: BaseException) -> str:
    origin = getattr(error, "orig", None) or error.__cause__ or error
    return str(getattr(origin, "orig", None) or origin).splitlines()[0]


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Each choice as Optuna's categorical distribution."""
    return {choice.name: CategoricalDistribution(choice.options) for choice in space.choices}


def asked(space: SearchSpace, params: Mapping[str, Any]) -> Architecture:
    """The architecture a trial was asked for, not yet canonical."""
    return Architecture(space.name, tuple((choice.name, params[choice.name]) for choice in space.choices))


def record(trial: FrozenTrial, start: datetime | None) -> TrialRecord:
    """One trial as plain values; `start` is that of the study's first trial."""
    attrs = trial.user_attrs
    architecture = attrs.get("architecture")
    cost = attrs.get("cost")
    finished = trial.datetime_complete
    return TrialRecord(
        number=trial.number,
        state=_STATES[trial.state],
        architecture=Architecture.from_json(architecture) if architecture else None,
        origin=attrs.get("origin", "unknown"),
        cost=Cost.from_json(cost) if cost else None,
        accuracy=attrs.get("accuracy"),
        reward=attrs.get("reward"),
        within_budget=attrs.get("within_budget"),
        seconds_measure=attrs.get("seconds_measure", 0.0),
        seconds_train=attrs.get("seconds_train", 0.0),
        reason=attrs.get("reason"),
        repeat_of=attrs.get("repeat_of"),
        seed=attrs.get("seed", 0),
        finished_s=(finished - start).total_seconds() if finished and start else None,
        rung=attrs.get("rung", 0),
        promotes=attrs.get(PROMOTES),
    )


def records(study: optuna.Study) -> list[TrialRecord]:
    """All trials in the order of their numbers."""
    trials = study.get_trials(deepcopy=False)
    start = trials[0].datetime_start if trials else None
    return [record(trial, start) for trial in trials]
