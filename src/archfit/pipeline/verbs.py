"""The user's verbs, each from inputs to a run folder or a value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from optuna.samplers import BaseSampler

from archfit._files import expanded
from archfit._version import __version__
from archfit.architecture import SearchSpace, Task
from archfit.catalogue import build_named
from archfit.cost import Budget, parse_bytes, parse_count, parse_latency_ms, parse_seconds
from archfit.data import BUILTIN
from archfit.deploy import NETWORK, load_weights
from archfit.device import LatencyTable
from archfit.errors import RunError
from archfit.evaluators import Evaluator
from archfit.pipeline.initial import INIT, resolve_initial
from archfit.pipeline.model import IMAGENET, resolve_model
from archfit.pipeline.outcome import SearchResult
from archfit.pipeline.plan import (
    Objects,
    chosen_space,
    keep_data,
    read_data,
    scaled_to,
)
from archfit.pipeline.request import CUSTOM, SearchRequest, TrainRequest
from archfit.pipeline.searching import REPORT, RESULT, SearchRun
from archfit.pipeline.sharing import SUPERNET
from archfit.pipeline.training import TrainResult, TrainRun, is_training, load_training, prepare
from archfit.pipeline.watch import Silent, Watch
from archfit.report import read_result, read_training, write_report, write_training_page
from archfit.report.record import RunResult
from archfit.report.training import METRICS
from archfit.reward import Reward
from archfit.spaces import KNOWN_SPACES, space_from
from archfit.study.limits import Limits
from archfit.study.record import TrialRecord
from archfit.study.run_folder import RunFolder, read_run, write_file
from archfit.study.storage import (
    Database,
    close_study,
    holds_trials,
    open_study,
    records,
    storage_errors,
    study_place,
)
from archfit.training import check_accelerator, check_devices


def search(
    dataset: Any,
    *,
    latency: str | None = None,
    memory: str | None = None,
    params: str | int | None = None,
    madds: str | int | None = None,
    trials: int | None = None,
    time: str | None = None,
    patience: int | None = None,
    space: str | SearchSpace = "mnas",
    width: float | None = None,
    searched_blocks: Sequence[int] | None = None,
    init: str | Path | None = None,
    image_size: int | None = None,
    train_images: int | None = None,
    flip: bool | None = None,
    max_corrupt: float = 0.05,
    method: str = "trials",
    sampler: str | BaseSampler = "auto",
    evaluator: str | Evaluator = "proxy",
    reward: str | Reward = "absolute",
    metric: str = "accuracy",
    device: str = "local",
    runtime: str = "onnxruntime",
    threads: int = 1,
    accelerator: str = "auto",
    proxy_epochs: float | Sequence[float] | None = None,
    supernet_epochs: float | None = None,
    supernet_learning_rate: float | None = None,
    latency_table: str | Path | None = None,
    final_epochs: int | None = None,
    control: int = 3,
    finalists: int = 2,
    references: Sequence[str] = (),
    prune_above: float = 2.0,
    trial_time: str | None = None,
    workers: int | None = None,
    executor: str = "local",
    address: str | None = None,
    trial_cpus: float = 1,
    trial_gpus: float = 0,
    storage: str = "sqlite",
    study: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    watch: Watch | None = None,
) -> SearchResult:
    """Finds the network for a dataset that fits a budget: searched, trained, exported, measured, tested.

    Args:
        dataset: A name (`digits`, `mnist`, `fashion-mnist`, `cifar10`, `cifar100`), a `.npz` file, a folder of class
            folders, a torch `Dataset` of (image, label), or a tuple (train, test) of those.
        latency: Bound with its unit, as in "0.3ms", for one image on one thread.
        memory: Bound on peak activations plus weights, as in "8MB".
        params: Bound on the number of parameters, as in "300k".
        madds: Bound on multiply-adds, as in "20M".
        trials: Stop after so many architectures; with shared weights, how many the controller derives.
        time: Stop after so long, as in "30m"; half of it, or more with shared weights, is for the full training of
            the finalists. Without `trials`, `time` and `patience` it is 30 minutes.
        patience: Stop after so many trials without a better one.
        space: "mnas", "enas-micro", "enas-macro", or an object of your own (see `archfit.SearchSpace`).
        width: Multiplier of the mnas space; None scales the space to the budget.
        searched_blocks: Which of the seven blocks vary, from 1; None for all.
        init: Trained network that candidates inherit filters from, as far as they fit: a `.safetensors` or `.pth` file
            of a network of the catalogue, the folder of a run, or a name (its ImageNet weights). None is at random.
        image_size: Resize images to so many pixels.
        train_images: Use a class-balanced part of the training split.
        flip: Whether a mirrored image keeps its label; None is no for digits, yes for photographs.
        max_corrupt: Largest share of unreadable images of a folder that is skipped.
        method: "trials" trains each candidate alone; "shared" trains one supernet for all (ENAS, TuNAS).
        sampler: Name, or an Optuna sampler; with shared weights the controller's rule, "reinforce" or "ppo".
        evaluator: "proxy", or an object of your own (see `archfit.Evaluator`).
        reward: "absolute", "soft", "hard", or a function of accuracy and cost ratios.
        metric: "accuracy", or "balanced-accuracy" for uneven classes.
        device: Where cost is measured; "local" is this machine.
        runtime: "onnxruntime" or "torch".
        threads: Of the runtime.
        accelerator: Where networks are trained: "auto", "cpu", "cuda", "mps".
        proxy_epochs: Of each candidate's short training. Several, as [1, 3, 9], for successive halving: those that
            are best after 1 are trained on to 3, and so on. With shared weights, of the best networks, which are then
            trained alone. None chooses.
        supernet_epochs: Of the supernet; None chooses.
        supernet_learning_rate: At its peak; None chooses.
        latency_table: File to predict latencies from, for shared weights; None measures one.
        final_epochs: Of the finalists' full training; None chooses.
        control: With shared weights, random networks within the budget to train like the winner, after the limit.
        finalists: How many are trained in full.
        references: Published networks to train by the same recipe, as in `["mnasnet-small",
            "torchvision:mobilenet_v3_small"]`.
        prune_above: A candidate past so many times a bound is not trained.
        trial_time: That one candidate's training may take, as in "10m"; past it the candidate is a failed trial. None
            is ten times what others took.
        workers: Training processes of one thread each; None is one per core.
        executor: Where candidates are trained: "local" (processes of this machine) or "ray" (a cluster).
        address: Of the Ray cluster, as "10.0.0.1:6379", or "auto" for the one on this machine; None starts one here.
        trial_cpus: Cores of the cluster for each candidate.
        trial_gpus: GPUs for each; 0.5 shares one by two.
        storage: Of the trials: "sqlite", "journal" (Optuna's, a file that is only added to; it takes less time a
            trial), or "postgresql://user@host/database".
        study: Its name in a database; drivers that give the same one search together. None is the folder's.
        seed: Of everything random, the data's splits too.
        out: Folder for the run; None makes one under `runs/`.
        watch: Is told what happens; None is silent.

    Returns:
        The result; its `folder` holds the network, the report and the study.

    Raises:
        ArchfitError: Something given cannot be used, or no network fits; the message says what to change.
    """
    given_data = not isinstance(dataset, (str, Path))
    objects = Objects(
        space=None if isinstance(space, str) else space,
        sampler=None if isinstance(sampler, str) else sampler,
        reward=None if isinstance(reward, str) else reward,
        evaluator=None if isinstance(evaluator, str) else evaluator,
    )
    request = SearchRequest(
        dataset=CUSTOM if given_data else str(dataset),
        budget=make_budget(latency=latency, memory=memory, params=params, madds=madds),
        limits=Limits(trials, parse_seconds(time) if time is not None else None, patience),
        image_size=image_size,
        train_images=train_images,
        flip=flip,
        max_corrupt=max_corrupt,
        method=method,
        space=space if isinstance(space, str) else CUSTOM,
        width=width,
        searched_blocks=tuple(searched_blocks) if searched_blocks is not None else None,
        init=str(init) if init is not None else None,
        sampler=sampler if isinstance(sampler, str) else CUSTOM,
        reward=reward if isinstance(reward, str) else CUSTOM,
        metric=metric,
        evaluator=evaluator if isinstance(evaluator, str) else CUSTOM,
        device=device,
        runtime=runtime,
        threads=threads,
        accelerator=accelerator,
        proxy_epochs=_rungs(proxy_epochs),
        supernet_epochs=supernet_epochs,
        supernet_learning_rate=supernet_learning_rate,
        latency_table=str(latency_table) if latency_table is not None else None,
        final_epochs=final_epochs,
        control=control,
        finalists=finalists,
        references=tuple(references),
        prune_above=prune_above,
        trial_seconds=parse_seconds(trial_time) if trial_time is not None else None,
        workers=workers,
        executor=executor,
        address=address,
        trial_cpus=trial_cpus,
        trial_gpus=trial_gpus,
        storage=storage,
        study=study,
        seed=seed,
    )
    return start(request, objects, dataset if given_data else None, Path(out) if out else None, watch or Silent())


def start(request: SearchRequest, objects: Objects, dataset: Any, out: Path | None, watch: Watch) -> SearchResult:
    """Runs a checked request in a new folder.

    Args:
        request: What is asked.
        objects: Parts given from Python.
        dataset: A dataset object where the request's is `CUSTOM`.
        out: The folder; None makes one under `runs/`.
        watch: Is told what happens.
    """
    check_accelerator(request.accelerator)
    trained = resolve_initial(request.init) if request.init is not None else None
    chosen_space(objects, request, trained)
    if request.dataset not in (*BUILTIN, CUSTOM):
        request = replace(request, dataset=_absolute(request.dataset))
    if request.init is not None:
        request = replace(request, init=_absolute(request.init))
    if request.latency_table is not None:
        LatencyTable.read(expanded(request.latency_table))  # refused before anything is measured
        request = replace(request, latency_table=_absolute(request.latency_table))
    if out is not None:
        RunFolder.check_free(out)
    data = read_data(request, watch, given=dataset)
    with torch.random.fork_rng(devices=()):
        for name in request.references:
            build_named(name, data.task)  # one that images are too small for is refused now, not after the search
    folder = out if out is not None else _new_folder(request)
    run = RunFolder.create(folder, request.to_json(), __version__)
    try:
        if dataset is not None:
            keep_data(data, folder)
        if trained is not None:
            write_file(folder / INIT, trained.to_bytes())
        return SearchRun(run, request, data, objects, watch).execute()
    finally:
        place = study_place(folder, request.storage, request.study)
        # In a database there may be trials of other drivers; this one has its name once its own search begins.
        begun = run.decision("driver") is not None if isinstance(place, Database) else holds_trials(place)
        if not begun and not (folder / SUPERNET).is_file():
            run.discard()  # it never got as far as its first trial, or its first round
        run.close()


def train(
    model: str | Path,
    dataset: Any,
    *,
    epochs: float = 20,
    weights: str | Path | None = None,
    recipe: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    train_images: int | None = None,
    flip: bool | None = None,
    max_corrupt: float = 0.05,
    patience: int | None = None,
    metric: str = "accuracy",
    runtime: str = "onnxruntime",
    threads: int = 1,
    accelerator: str = "auto",
    devices: int = 1,
    flags: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    watch: Watch | None = None,
) -> TrainResult:
    """Trains one network on a dataset; exports, measures and tests it.

    Args:
        model: A name ("mnasnet-a1", "timm:NAME", "torchvision:NAME"; see `archfit models`), the `architecture.json`
            of a run, or the run's folder.
        dataset: As in `search`.
        epochs: Passes over the training split.
        weights: "imagenet", or a `.safetensors` or `.pth` file; None begins with random ones.
        recipe: What to set of the recipe, as {"learning_rate": 0.01, "mixup": 0.2}: the fields of
            `archfit.training.Recipe`, and crop_padding, flip, cutout, rotation, zoom.
        image_size: Resize images to so many pixels.
        train_images: Use a class-balanced part of the training split.
        flip: Whether a mirrored image keeps its label.
        max_corrupt: Largest share of unreadable images of a folder that is skipped.
        patience: Stop after so many epochs without a better one.
        metric: "accuracy" or "balanced-accuracy", by which the best epoch is kept.
        runtime: "onnxruntime" or "torch", which times the network.
        threads: Of the runtime.
        accelerator: "auto", "cpu", "cuda", "mps".
        devices: GPUs, or processes of one thread each on the CPU, that train it together: each takes its part of
            every batch.
        flags: For Lightning's `Trainer`, as {"precision": "bf16-mixed"}.
        seed: Of everything random, the data's splits too.
        out: Folder for the run; None makes one under `runs/`.
        watch: Is told what happens; None is silent.

    Returns:
        The result; its `folder` holds the network, `metrics.json`, the report and the logs.

    Raises:
        ArchfitError: Something given cannot be used; the message says what to change.
    """
    given = not isinstance(dataset, (str, Path))
    request = TrainRequest(
        model=str(model),
        dataset=CUSTOM if given else str(dataset),
        epochs=epochs,
        weights=str(weights) if weights is not None else None,
        recipe=dict(recipe) if recipe else None,
        image_size=image_size,
        train_images=train_images,
        flip=flip,
        max_corrupt=max_corrupt,
        patience=patience,
        metric=metric,
        runtime=runtime,
        threads=threads,
        accelerator=accelerator,
        devices=devices,
        flags=dict(flags) if flags else None,
        seed=seed,
    )
    watch = watch or Silent()
    check_devices(request.accelerator, request.devices)
    found = resolve_model(request.model)
    request = replace(
        request,
        dataset=_absolute(request.dataset) if request.dataset not in (*BUILTIN, CUSTOM) else request.dataset,
        model=_absolute(request.model) if found.known is None else request.model,
        weights=_absolute(request.weights) if request.weights not in (None, IMAGENET) else request.weights,
    )
    if out is not None:
        RunFolder.check_free(Path(out))
    data = read_data(request, watch, given=dataset if given else None)
    prepared = prepare(request, data)  # what cannot be built is refused before there is a folder
    folder = Path(out) if out is not None else _free_folder(f"{_word(found.name)}-{_word(Path(request.dataset).stem)}")
    run = RunFolder.create(folder, request.to_json(), __version__)
    try:
        if given:
            keep_data(data, folder)
        return TrainRun(run, request, prepared, watch).execute()
    finally:
        if not (folder / "training").is_dir():
            run.discard()  # it never ended an epoch
        run.close()


def resume(
    folder: str | Path,
    *,
    space: SearchSpace | None = None,
    sampler: BaseSampler | None = None,
    evaluator: Evaluator | None = None,
    reward: Reward | None = None,
    address: str | None = None,
    watch: Watch | None = None,
) -> SearchResult | TrainResult:
    """Goes on with a search or a training that was stopped, whatever stopped it; a finished one is read back.

    Args:
        folder: Of the run.
        space: Where the search was given one from Python, the same again; likewise the next three.
        sampler: The same.
        evaluator: The same.
        reward: The same.
        address: Of the Ray cluster, where the search had another one.
        watch: Is told what happens.
    """
    folder = Path(folder)
    watch = watch or Silent()
    run = RunFolder.open(folder)
    try:
        if is_training(run.request):
            return _resume_training(run, watch)
        request = SearchRequest.from_json(run.request)
        if address is not None:
            request = replace(request, address=address)
        objects = Objects(space, sampler, reward, evaluator)
        if (folder / RESULT).is_file() and (folder / NETWORK).is_file():
            try:
                result = load(folder, space=space)
            except RunError as error:
                watch.note(f"what is not whole is written anew: {error}")
            else:
                watch.note(f"{folder} is finished already; nothing is left to do")
                return result
        data = read_data(request, watch, run=folder)
        return SearchRun(run, request, data, objects, watch).execute()
    finally:
        run.close()


def _resume_training(run: RunFolder, watch: Watch) -> TrainResult:
    folder = run.path
    if (folder / METRICS).is_file() and (folder / NETWORK).is_file():
        watch.note(f"{folder} is finished already; nothing is left to do")
        return load_training(folder)
    request = TrainRequest.from_json(run.request)
    return TrainRun(run, request, prepare(request, read_data(request, watch, run=folder)), watch).execute()


def load(folder: str | Path, *, space: SearchSpace | None = None) -> SearchResult | TrainResult:
    """The result of a finished run, its network included.

    Args:
        folder: Of the run.
        space: Where the search was given one from Python, the same again.
    """
    folder = Path(folder)
    if is_training(read_run(folder)["request"]):
        return load_training(folder)
    record, trials = recorded(folder)
    architecture = record.winner.architecture
    assert architecture is not None
    settings = record.space["settings"]
    if space is not None:
        space = scaled_to(space, settings)
    elif record.space["name"] in KNOWN_SPACES:
        space = space_from(record.space["name"], settings)
    else:
        raise RunError(
            f"the run's space {record.space['name']!r} came from Python; load it there: "
            f"archfit.load({str(folder)!r}, space=...)"
        )
    data = record.dataset
    task = Task(data["channels"], data["image_size"], len(data["classes"]))
    with torch.random.fork_rng(devices=()):
        network = load_weights(folder, space.build(architecture, task))
    return SearchResult(folder, record, tuple(trials), network)


def report(folder: str | Path) -> Path:
    """Writes a finished run's page anew and returns its path."""
    folder = Path(folder)
    if is_training(read_run(folder)["request"]):
        write_training_page(read_training(folder), folder / REPORT)
    else:
        write_report(*recorded(folder), folder / REPORT)
    return folder / REPORT


def recorded(folder: Path) -> tuple[RunResult, list[TrialRecord]]:
    """What a finished search says of itself, and its trials; the network is not needed for it."""
    return read_result(folder), _trials(folder)


def _trials(folder: Path) -> list[TrialRecord]:
    asked = read_run(folder)["request"]
    place = study_place(folder, asked.get("storage", "sqlite"), asked.get("study"))
    if isinstance(place, Path) and not place.is_file():
        raise RunError(f"{folder} has no {place.name}; it is not a whole run")
    with storage_errors(place, folder):
        study = open_study(place)
        try:
            return records(study)
        finally:
            close_study(study)


def make_budget(
    *,
    latency: str | None = None,
    memory: str | None = None,
    params: str | int | None = None,
    madds: str | int | None = None,
) -> Budget:
    """A budget from texts with units. Raises `InputError` for zero, negative or unit-less ones."""
    return Budget(
        latency_ms=parse_latency_ms(str(latency)) if latency is not None else None,
        memory_bytes=parse_bytes(str(memory)) if memory is not None else None,
        params=parse_count("params", str(params)) if params is not None else None,
        madds=parse_count("madds", str(madds)) if madds is not None else None,
    )


def _new_folder(request: SearchRequest) -> Path:
    bound = request.budget.latency_ms
    return _free_folder(_word(Path(request.dataset).stem) + (f"-{bound:g}ms" if bound is not None else ""))


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-") or "run"


def _free_folder(name: str) -> Path:
    return Path("runs") / f"{name}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"


def _absolute(text: str | None) -> str:
    """So that a resume finds a file from another folder; what is no file stays as it is."""
    path = expanded(text or "")
    return str(path.resolve()) if path.exists() else str(text)


def _rungs(epochs: float | Sequence[float] | None) -> tuple[float, ...] | None:
    if epochs is None:
        return None
    return (float(epochs),) if isinstance(epochs, int | float) else tuple(map(float, epochs))
