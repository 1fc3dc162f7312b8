"""What a space offers for a search with shared weights (ENAS, arXiv:1802.03268)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from archfit.architecture import Architecture, SearchSpace, Task
from archfit.cost import Piece


class Supernet(nn.Module):
    """One module that holds the weights of every architecture of a space; a step trains one path through it.

    Batch norms normalise by the batch, in training and in evaluation alike: a running average over steps would mix
    paths and belong to none of them.
    """

    def forward(self, images: Tensor, architecture: Architecture) -> Tensor:
        """Logits `(N, classes)` of normalised images `(N, channels, H, W)` by the path of a canonical architecture."""
        raise NotImplementedError

    def blended(self, images: Tensor, architecture: Architecture) -> Tensor:
        """Logits as by the path, but by all operations of each layer at once; training begins with it, ever less often.

        Where a supernet has nothing of the kind it is the path.
        """
        logits: Tensor = self(images, architecture)
        return logits

    def cut(self, architecture: Architecture) -> nn.Module:
        """The path as a module of its own, as the space builds it, with a copy of the shared weights.

        In training mode it gives what the supernet gives; its running statistics are still those of a new network.
        """
        raise NotImplementedError


@runtime_checkable
class SharedSpace(SearchSpace, Protocol):
    """A search space whose networks can share weights; it must pass `archfit.testing.check_supernet`.

    It may also offer `skip_positions`, the positions of its skip bits among the choices, one row per layer: a
    controller that learns by REINFORCE then pays `archfit.samplers.skip_penalty`.
    """

    def supernet(self, task: Task) -> Supernet:
        """A new supernet; weights are drawn from torch's global generator."""
        ...

    def pieces(self, architecture: Architecture, task: Task) -> list[Piece]:
        """The network in parts whose latencies add up, for a latency table; their parameters and multiply-adds too."""
        ...
