"""The random weights that networks begin with, in plain PyTorch."""

from __future__ import annotations

import math

from torch import nn


def initialise(module: nn.Module) -> None:
    """Variance-keeping weights: He's over the outgoing connections, per group, so that depthwise kernels count too."""
    if isinstance(module, nn.Conv2d):
        outgoing = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / outgoing))
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
