"""Where a weight lies in a network's depth, and the lower rates of earlier ones."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

STAGES = 4


def stages(network: nn.Module, count: int = STAGES) -> list[list[nn.Module]]:
    """The modules that hold weights themselves, from the image on: `count` parts of about equal length, then the
    classifier, which is the last linear layer, alone.
    """
    leaves = [module for module in network.modules() if next(module.parameters(recurse=False), None) is not None]
    linear = [module for module in leaves if isinstance(module, nn.Linear)]
    body = [module for module in leaves if not linear or module is not linear[-1]]
    bounds = [round(len(body) * part / count) for part in range(count + 1)]
    last: list[nn.Module] = [*linear[-1:]]
    return [*(body[low:high] for low, high in pairwise(bounds)), last]


def rate_factors(network: nn.Module, decay: float) -> dict[int, float]:
    """`id` of each weight -> factor of its learning rate: 1 for the classifier, `decay` for the part before, ..."""
    parts = stages(network)
    return {
        id(weight): decay ** (len(parts) - 1 - position)
        for position, modules in enumerate(parts)
        for module in modules
        for weight in module.parameters(recurse=False)
    }
