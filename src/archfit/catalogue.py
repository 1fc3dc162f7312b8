"""Named networks: published architectures as points of our spaces, with their published figures."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from archfit.architecture import Architecture, SearchSpace, Task
from archfit.errors import unknown_name
from archfit.spaces import BlockChoices, MnasSpace, Skeleton


@dataclass(frozen=True)
class Reference:
    """A published architecture that is a named point of a space.

    Attributes:
        name: In the catalogue.
        space: It is a point of.
        architecture: As published; `space.canonical` gives the one it shares with equal networks.
        published_params: With 1000 classes.
        published_madds: At 224 pixels, 1000 classes; None where none were published.
        source: Where the figures and the architecture come from.
    """

    name: str
    space: SearchSpace
    architecture: Architecture
    published_params: int
    published_madds: int | None
    source: str

    def build(self, task: Task) -> nn.Module:
        """A new module with random weights; for images of 64 pixels or less with the space's smaller strides."""
        return self.space.build(self.architecture, task)


def _reference(
    name: str, space: MnasSpace, blocks: list[BlockChoices], params: int, madds: int | None, source: str
) -> Reference:
    return Reference(name, space, space.architecture(blocks), params, madds, source)


_SMALL = MnasSpace(
    skeleton=Skeleton(
        stem=8,
        filters=(8, 16, 16, 32, 32, 88, 144),
        layers=(1, 1, 2, 4, 3, 3, 1),
        strides=(1, 2, 2, 2, 1, 2, 1),
    )
)
_PAPER = "arXiv:1807.11626"

_REFERENCES = (
    _reference(
        "mnasnet-a1",
        MnasSpace(),
        [
            BlockChoices("dconv", 3, 0.0, "none", 1.0, 0),
            BlockChoices("mbconv6", 3, 0.0, "identity", 1.0, 0),
            BlockChoices("mbconv3", 5, 0.25, "identity", 1.25, 0),
            BlockChoices("mbconv6", 3, 0.0, "identity", 1.25, 0),
            BlockChoices("mbconv6", 3, 0.25, "identity", 1.25, -1),
            BlockChoices("mbconv6", 5, 0.25, "identity", 1.0, 0),
            BlockChoices("mbconv6", 3, 0.0, "none", 1.0, 0),
        ],
        params=3_900_000,
        madds=312_000_000,
        source=f"{_PAPER}, figure 7 and table 1",
    ),
    _reference(
        "mnasnet-b1",
        MnasSpace(),
        [
            BlockChoices("dconv", 3, 0.0, "none", 1.0, 0),
            BlockChoices("mbconv3", 3, 0.0, "identity", 1.0, 1),
            BlockChoices("mbconv3", 5, 0.0, "identity", 1.25, 0),
            BlockChoices("mbconv6", 5, 0.0, "identity", 1.25, -1),
            BlockChoices("mbconv6", 3, 0.0, "identity", 1.0, -1),
            BlockChoices("mbconv6", 5, 0.0, "identity", 1.25, 1),
            BlockChoices("mbconv6", 3, 0.0, "none", 1.0, 0),
        ],
        params=4_400_000,
        madds=315_000_000,
        source=f"{_PAPER}, the model without squeeze-and-excitation; as in tensorflow/tpu",
    ),
    _reference(
        "mnasnet-small",
        _SMALL,
        [
            BlockChoices("dconv", 3, 0.0, "identity", 1.0, 0),
            BlockChoices("mbconv3", 3, 0.0, "none", 1.0, 0),
            BlockChoices("mbconv6", 3, 0.0, "identity", 1.0, 0),
            BlockChoices("mbconv6", 5, 0.25, "identity", 1.0, 0),
            BlockChoices("mbconv6", 3, 0.25, "identity", 1.0, 0),
            BlockChoices("mbconv6", 5, 0.25, "identity", 1.0, 0),
            BlockChoices("mbconv6", 3, 0.0, "none", 1.0, 0),
        ],
        params=2_000_000,
        madds=None,
        source="tensorflow/tpu, models/official/mnasnet",
    ),
)

REFERENCES: dict[str, Reference] = {reference.name: reference for reference in _REFERENCES}


def get_reference(name: str) -> Reference:
    """The reference of that name. Raises `InputError` with the nearest name."""
    if name not in REFERENCES:
        raise unknown_name("reference", name, REFERENCES)
    return REFERENCES[name]
