"""What every space with shared weights must keep; run it on your own."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import torch

from archfit.architecture import Architecture, Task, random_architecture
from archfit.cost import count_madds, count_params
from archfit.spaces import SharedSpace, Supernet


def check_supernet(space: SharedSpace, task: Task, *, samples: int = 8, tolerance: float = 1e-4) -> None:
    """Raises `AssertionError` saying what is wrong, if the space breaks the contract of `SharedSpace`.

    Args:
        space: To be checked.
        task: The supernet is built for it; a small image keeps the check quick.
        samples: Random architectures whose paths are compared with the module cut out of the supernet.
        tolerance: Of the outputs, absolute and relative.
    """
    assert isinstance(space, SharedSpace), f"{type(space).__name__} lacks a member of the SharedSpace protocol"
    rng = random.Random(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        supernet = space.supernet(task)
        assert isinstance(supernet, Supernet), f"supernet() gave a {type(supernet).__name__}, not a Supernet"
        drawn = [space.canonical(random_architecture(space, rng), task) for _ in range(samples)]
        for architecture in drawn:
            _check_path(space, supernet, architecture, task, tolerance)
            _check_pieces(space, architecture, task)
        _check_threads(supernet, drawn, task)


def _check_path(
    space: SharedSpace, supernet: Supernet, architecture: Architecture, task: Task, tolerance: float
) -> None:
    label = f"the path of {architecture.to_json()}"
    images = torch.randn(8, task.channels, task.image_size, task.image_size)
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    shared = supernet.train()(images, architecture)
    assert tuple(shared.shape) == (8, task.classes), f"{label} gives {tuple(shared.shape)}, not {(8, task.classes)}"
    with torch.no_grad():
        evaluated = supernet.eval()(images, architecture)
    torch.testing.assert_close(evaluated, shared.detach(), rtol=tolerance, atol=tolerance)
    blended = supernet.blended(images, architecture).shape
    assert blended == shared.shape, f"{label} gives {tuple(blended)} when it is blended, not {tuple(shared.shape)}"
    for name, value in supernet.state_dict().items():
        assert torch.equal(value, before[name]), f"running {label} changes {name}"

    module = supernet.cut(architecture)
    built = count_params(space.build(architecture, task))
    assert count_params(module) == built, f"{label} is cut with {count_params(module)} parameters, built with {built}"
    alone = module.train()(images)
    torch.testing.assert_close(alone, shared, rtol=tolerance, atol=tolerance)

    supernet.zero_grad(set_to_none=True)
    shared.sum().backward()
    alone.sum().backward()
    theirs = sum(float(p.grad.double().square().sum()) for p in supernet.parameters() if p.grad is not None)
    mine = sum(float(p.grad.double().square().sum()) for p in module.parameters() if p.grad is not None)
    torch.testing.assert_close(theirs, mine, rtol=1e-2, atol=1e-6)
    supernet.zero_grad(set_to_none=True)


def _check_threads(supernet: Supernet, architectures: list[Architecture], task: Task) -> None:
    """Paths run beside each other in a search; none may see another's weights."""
    images = torch.randn(64, task.channels, task.image_size, task.image_size)

    def logits(architecture: Architecture) -> torch.Tensor:
        with torch.inference_mode():
            return supernet(images, architecture)  # type: ignore[no-any-return]

    alone = [logits(architecture) for architecture in architectures]
    with ThreadPoolExecutor(4, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for expected, found in zip(4 * alone, pool.map(logits, 4 * architectures), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def _check_pieces(space: SharedSpace, architecture: Architecture, task: Task) -> None:
    pieces = space.pieces(architecture, task)
    assert pieces, f"{architecture.to_json()} has no pieces"
    assert pieces == space.pieces(architecture, task), f"two readings of the pieces of {architecture.to_json()} differ"
    assert all(piece.elements > 0 for piece in pieces), f"a piece of {architecture.to_json()} touches nothing"
    network = space.build(architecture, task)
    for name, added, whole in (
        ("parameters", sum(piece.params for piece in pieces), count_params(network)),
        ("multiply-adds", sum(piece.madds for piece in pieces), count_madds(network, task)),
    ):
        assert added == whole, f"the pieces of {architecture.to_json()} have {added} {name}, the network {whole}"
