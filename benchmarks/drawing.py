"""Architectures for the scripts beside this one."""

from __future__ import annotations

import random

from archfit.architecture import Architecture, SearchSpace, Task, random_architecture


def drawn(space: SearchSpace, number: int, task: Task, seed: int) -> list[Architecture]:
    """Canonical ones at random, all different."""
    rng = random.Random(seed)
    found: list[Architecture] = []
    while len(found) < number:
        architecture = space.canonical(random_architecture(space, rng), task)
        if architecture not in found:
            found.append(architecture)
    return found
