"""Several processes that train one network together: each takes its part of every batch, and gradients are averaged."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from archfit.training.records import Group

_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"

# Batch statistics are told once an epoch (`same_buffers`), not at every step, which takes a tenth of its time. Newer
# versions of PyTorch have another name for it.
_WITHOUT_BUFFERS: dict[str, Any] = {
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else "broadcast_buffers": False
}


def same_buffers(network: nn.Module) -> None:
    """Gives all processes of a group the batch statistics of the first one; nothing where there is no group."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)


@contextmanager
def joined(group: Group, accelerator: str, *, unused: bool) -> Iterator[DDPStrategy]:
    """What Lightning needs to train in a group, while the block runs.

    Args:
        group: Of processes.
        accelerator: "cpu", or "cuda" with a GPU for each.
        unused: Some weights may have no gradient at some steps.
    """
    backend = "nccl" if accelerator == "cuda" else "gloo"
    os.environ.update(GLOO_SOCKET_IFNAME=_LOOPBACK, NCCL_SOCKET_IFNAME=_LOOPBACK)
    torch.distributed.init_process_group(
        backend, init_method=f"file://{group.meeting}", rank=group.rank, world_size=group.size
    )
    try:
        yield DDPStrategy(
            cluster_environment=_Place(group.rank, group.size),
            process_group_backend=backend,
            find_unused_parameters=unused,
            **_WITHOUT_BUFFERS,
        )
    finally:
        torch.distributed.destroy_process_group()


class _Place(ClusterEnvironment):
    """Tells Lightning who this process is; the processes are there already, and have met."""

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return 0

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._size

    def set_world_size(self, size: int) -> None:
        """Known already."""

    def global_rank(self) -> int:
        return self._rank

    def set_global_rank(self, rank: int) -> None:
        """Known already."""

    def local_rank(self) -> int:
        return self._rank

    def node_rank(self) -> int:
        return 0
