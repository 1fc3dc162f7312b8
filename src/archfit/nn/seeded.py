"""Networks whose weights do not matter, always the same."""

from __future__ import annotations

import torch
from torch import nn

from archfit.architecture import Architecture, SearchSpace, Task


def build_seeded(space: SearchSpace, architecture: Architecture, task: Task) -> nn.Module:
    """A network for measuring: always the same weights, torch's global generator as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        return space.build(architecture, task)
