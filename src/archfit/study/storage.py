"""The Optuna study, in a file or a database: opened, and read back as plain records."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sqlite3
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
import sqlalchemy.exc
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.storages.journal._storage import JournalOperation
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from archfit.architecture import Architecture, SearchSpace
from archfit.cost import Cost
from archfit.errors import InputError, RunError, unknown_name
from archfit.samplers import PROMOTES
from archfit.study.record import State, TrialRecord

STUDY_NAME = "archfit"
DRIVER = "driver"
"""Attribute of a trial: which driver asked for it, where several work on a study."""
_POSTGRESQL = "postgresql://"
STORAGES = {"sqlite": "study.db", "journal": "study.journal"}
"""Where trials are kept, and the name of the file in the run's folder."""
_FAULTS = (
    sqlalchemy.exc.SQLAlchemyError,
    sqlite3.Error,
    optuna.exceptions.StorageInternalError,
)
_TURNS = (JournalOperation.CREATE_STUDY, JournalOperation.CREATE_TRIAL, JournalOperation.SET_TRIAL_STATE_VALUES)
_STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}


@dataclass(frozen=True)
class Database:
    """A study in a PostgreSQL database, which several drivers may work on.

    Attributes:
        url: As "postgresql://user@host/database"; a password comes from PGPASSWORD or ~/.pgpass.
        study: Its name.
    """

    url: str
    study: str

    def __str__(self) -> str:
        return f"{self.study} at {self.url}"


Place = Path | Database
"""Where a study is: a file of the run's folder, or a database."""


def study_place(folder: Path, storage: str, study: str | None) -> Place:
    """Where the trials of a run are; `storage` is one of `STORAGES` or a URL."""
    return folder / STORAGES[storage] if storage in STORAGES else Database(storage, study or folder.name)


def check_storage(storage: str) -> None:
    """Raises `InputError` for what is neither one of `STORAGES` nor the URL of a PostgreSQL database."""
    if storage in STORAGES:
        return
    if not storage.startswith(_POSTGRESQL):
        raise unknown_name("storage", storage, (*STORAGES, f"{_POSTGRESQL}user@host/database"))
    try:
        password = urlsplit(storage).password
    except ValueError as error:
        raise InputError(f"storage {storage!r} is no URL ({error}); give postgresql://user@host/database") from None
    if password is not None:
        raise InputError(
            "storage has a password, which would be written into the run's folder; put it into ~/.pgpass or the "
            "variable PGPASSWORD"
        )
    if importlib.util.find_spec("psycopg") is None:
        raise InputError("storage is a PostgreSQL database; it needs: pip install 'archfit[postgresql]'")


def open_study(place: Place, sampler: BaseSampler | None = None) -> optuna.Study:
    """Opens a study, creating it where it is missing.

    The file `.db` is SQLite, written ahead (WAL): a commit outlives the death of the process at once, and a power cut
    costs at most the last commits, never the file. A `.journal` is Optuna's: every change is a line that is added and
    flushed to the disk where a trial begins or ends.

    Raises:
        RunError: The file is no study, or cannot be written; the database does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        return optuna.create_study(
            storage=_storage(place),
            sampler=sampler,
            study_name=place.study if isinstance(place, Database) else STUDY_NAME,
            direction="maximize",
            load_if_exists=True,
        )
    except (*_FAULTS, OSError, RuntimeError, ValueError, KeyError) as error:
        remedy = (
            "see that the database runs, takes this user and has its password in PGPASSWORD or ~/.pgpass"
            if isinstance(place, Database)
            else "free some space or mend its permissions, or restore it; else start a new run"
        )
        raise RunError(f"{place} cannot be opened as a study ({_cause(error)}); {remedy}") from error


def _storage(place: Place) -> BaseStorage:
    if isinstance(place, Database):
        return _postgresql(place.url.replace(_POSTGRESQL, "postgresql+psycopg://", 1))
    return _journal(place) if place.suffix == ".journal" else _sqlite(place)


def _postgresql(url: str) -> RDBStorage:
    settings = {"pool_pre_ping": True, "connect_args": {"client_encoding": "utf8"}}
    for wait in (0.1, 0.5, 2.0):
        try:
            return RDBStorage(url, engine_kwargs=settings)
        except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.ProgrammingError):
            time.sleep(wait)  # another driver makes the same tables at this moment
    return RDBStorage(url, engine_kwargs=settings)


def _sqlite(path: Path) -> RDBStorage:
    # Opened by path, not by URL: SQLAlchemy would read meaning into a % or ? in the folder's name.
    connect = partial(sqlite3.connect, path, timeout=30, check_same_thread=False)
    storage = RDBStorage(f"sqlite:///{path.name}", engine_kwargs={"creator": connect})
    _write_ahead(storage)
    return storage


def _journal(path: Path) -> JournalStorage:
    if path.is_file() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)  # the line that a driver wrote as it died
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return JournalStorage(_JournalFile(str(path), _RunsLock()))


class _RunsLock(BaseJournalFileLock):
    """Nothing to lock: the run's folder is."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class _JournalFile(JournalFileBackend):
    """Flushes to the disk where a trial begins or ends, not after each of its fifty values.

    What was written outlives the process in any case; a power cut costs at most the last trial. Errors are told from
    those of other files.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        try:
            with open(self._file_path, "ab") as file:  # noqa: PTH123 - Optuna has a text there
                file.write(lines.encode())
                file.flush()
                if any(log["op_code"] in _TURNS for log in logs):
                    os.fsync(file.fileno())
        except OSError as error:
            raise optuna.exceptions.StorageInternalError(error.strerror) from error


def _write_ahead(storage: RDBStorage) -> None:
    def on_connect(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(storage.engine, "connect", on_connect)
    storage.engine.dispose()


def holds_trials(place: Place) -> bool:
    """Whether a study has a trial; a file that cannot be read for now may have some."""
    if isinstance(place, Database):
        study = open_study(place)
        held = bool(study.get_trials(deepcopy=False))
        close_study(study)
        return held
    if not place.is_file():
        return False
    if place.suffix == ".journal":
        return f'"op_code":{JournalOperation.CREATE_TRIAL.value},'.encode() in place.read_bytes()
    try:
        with closing(sqlite3.connect(place, timeout=30)) as connection:
            return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM trials)").fetchone()[0])
    except sqlite3.Error as error:
        return "no such table" not in str(error)


def close_study(study: optuna.Study) -> None:
    """Folds the write-ahead file into the study and closes it; one plain file is left."""
    storage = getattr(study._storage, "_backend", study._storage)
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


@contextmanager
def storage_errors(place: Place, folder: Path) -> Iterator[None]:
    """Turns an error of the storage inside the block (a full disk, say) into a `RunError`; `folder` is the run's."""
    try:
        yield
    except _FAULTS as error:
        remedy = "see to the database" if isinstance(place, Database) else "free some space or mend its permissions"
        raise RunError(
            f"the study {place} could not be written ({_cause(error)}); {remedy}, then go on with: "
            f"archfit resume {folder}"
        ) from error


def _cause(error: BaseException) -> str:
    origin = getattr(error, "orig", None) or error.__cause__ or error
    if isinstance(origin, OSError) and origin.strerror:
        return origin.strerror
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
        driver=attrs.get(DRIVER),
    )


def begun(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were asked for, in the order of their numbers: those that are given at the start wait for it."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.WAITING]


def records(study: optuna.Study) -> list[TrialRecord]:
    """Of the trials that were asked for, in the order of their numbers."""
    trials = begun(study)
    start = trials[0].datetime_start if trials else None
    return [record(trial, start) for trial in trials]
