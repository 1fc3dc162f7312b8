"""The shared weights of the macro space (ENAS, arXiv:1802.03268, section 2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from archfit.architecture import Architecture, Task
from archfit.nn.macro import Network, Reduction, initialise, last_output, operation, stem
from archfit.spaces.supernet import Supernet

if TYPE_CHECKING:
    from archfit.spaces.macro import MacroSpace


class MacroSupernet(Supernet):
    """Every operation of every layer, and a reduction of every output; a path runs those of its own alone.

    The operations are chosen among by their name when a path runs. (In the authors' code each layer's candidates are
    closures over one variable, so that all of them give the last one's result.)
    """

    def __init__(self, space: MacroSpace, task: Task) -> None:
        super().__init__()
        self.space, self.task = space, task
        filters, depth, third = space.filters, space.depth, space.depth // 3
        self.stem = stem(task.channels, filters, space.stem_strides(task))
        self.operations = nn.ModuleList(
            nn.ModuleDict({name: operation(name, filters) for name in space.operations}) for _ in range(depth)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(filters) for _ in range(depth - 1))
        self.reductions = nn.ModuleDict(
            {f"{after}_{each}": Reduction(filters) for after in (third, 2 * third) for each in range(after + 1)}
        )
        self.dropout = nn.Dropout(space.dropout)
        self.classifier = nn.Linear(filters, task.classes)
        self.apply(initialise)
        self.apply(_without_statistics)

    def forward(self, images: Tensor, architecture: Architecture) -> Tensor:
        x = last_output(
            self.stem(images),
            self.space.specs(architecture),
            self._chosen(architecture),
            self.norms,
            self.reductions,
        )
        logits: Tensor = self.classifier(self.dropout(x.mean((2, 3))))
        return logits

    def cut(self, architecture: Architecture) -> Network:
        with torch.random.fork_rng(devices=[]):  # what is drawn here is overwritten
            network = self.space.build(architecture, self.task)
        pairs: list[tuple[nn.Module, nn.Module]] = [
            (network.stem, self.stem),
            *zip(network.operations, self._chosen(architecture), strict=True),
            (network.norms, self.norms),
            *((reduction, self.reductions[name]) for name, reduction in network.reductions.items()),
            (network.classifier, self.classifier),
        ]
        with torch.no_grad():
            for own, shared in pairs:
                for parameter, value in zip(own.parameters(), shared.parameters(), strict=True):
                    parameter.copy_(value)
        return network.to(self.classifier.weight.device)

    def _chosen(self, architecture: Architecture) -> list[nn.Module]:
        """The operation of each layer."""
        return [
            candidates[str(architecture[f"layer{layer}.op"])]  # type: ignore[index]  # an nn.ModuleDict
            for layer, candidates in enumerate(self.operations, 1)
        ]


def _without_statistics(module: nn.Module) -> None:
    """Makes a batch norm normalise by the batch in evaluation too, and keep no running average."""
    if isinstance(module, nn.BatchNorm2d):
        module.track_running_stats = False
        module.running_mean = module.running_var = module.num_batches_tracked = None
