"""Trained weights from a file, and how they find their places in a network."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from archfit.errors import WeightsError, first_line

_WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "module")
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Mapped:
    """How a file's tensors went into a network.

    Attributes:
        pairs: (name in the network, name in the file), in the network's order.
        adapted: What was changed on the way, as "stem.0.weight: 3 image channels to 1".
        fresh: Names in the network that keep their random weights.
    """

    pairs: tuple[tuple[str, str], ...]
    adapted: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        same = all(ours == theirs for ours, theirs in self.pairs)
        how = "by name" if same else "by order and shape"
        parts = [f"{len(self.pairs)} tensors {how}", *self.adapted]
        if self.fresh:
            parts.append(f"new: {', '.join(self.fresh)}")
        return "; ".join(parts)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors`, `.pth` or `.pt` file, on the CPU; nothing in the file is executed.

    Raises:
        WeightsError: There is no such file, it is cut off, or it holds anything but tensors.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weights file {path}; give a .safetensors or .pth file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} is not a whole .safetensors file ({error}); fetch it again") from None
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of old pickles, which may hold tensors
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        if _looks_cut_off(path):
            raise WeightsError(f"{path} is not a whole weights file; fetch it again") from None
        raise WeightsError(
            f"{path} holds more than tensors, which could run code, and was not opened; "
            "save its state_dict() as .safetensors, and give that"
        ) from None
    except Exception as error:  # noqa: BLE001 - torch raises what it likes on a file of something else
        raise WeightsError(f"{path} is not a whole weights file ({first_line(error)}); fetch it again") from None
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise WeightsError(f"{path} holds no state_dict; give a file of named tensors")
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _looks_cut_off(path: Path) -> bool:
    """A pickle that ends early says so no better than one that is none."""
    head = path.read_bytes()[:4]
    return not zipfile.is_zipfile(path) and (head[:2] == b"PK" or head[:1] != b"\x80")


def load_into(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> Mapped:
    """Copies a file's tensors into a network of the same architecture, in place.

    Names that fit are used; else the n-th tensor of the file belongs to the n-th of the network and all shapes must
    agree. The first convolution adapts to other image channels (RGB filters are summed for grey images, which then
    answer as to a grey picture in RGB; grey ones are spread over RGB), and a classifier of another number of
    classes keeps its random weights.

    Args:
        network: Its `state_dict` is filled; counters of batch norms are left alone.
        weights: Name -> tensor, in the file's order.
        source: What the tensors come from, for messages.

    Raises:
        WeightsError: The file is of another architecture; names the first layer that differs. Nothing is copied.
    """
    ours = {name: value for name, value in network.state_dict().items() if not name.endswith(_COUNTER)}
    theirs = {name: value for name, value in weights.items() if value.dim() > 0 or value.is_floating_point()}
    names = list(ours)
    by_name = set(ours) == set(theirs)
    matched = list(zip(names, names if by_name else theirs, strict=False))
    classifier = _classifier(network)
    first = next((name for name, value in ours.items() if value.dim() == 4), None)
    copies: list[tuple[str, str, Tensor]] = []
    adapted, fresh = [], []
    for mine, other in matched:
        value, wanted = theirs[other], ours[mine].shape
        if value.shape == wanted:
            copies.append((mine, other, value))
        elif (
            mine == first
            and value.dim() == 4
            and (value.shape[0], *value.shape[2:]) == (wanted[0], *wanted[2:])
            and (changed := other_channels(value, wanted[1])) is not None
        ):
            copies.append((mine, other, changed))
            adapted.append(f"{mine}: {value.shape[1]} image channels to {wanted[1]}")
        elif mine in classifier and value.dim() == len(wanted) and value.shape[1:] == wanted[1:]:
            fresh.append(mine)
        else:
            raise WeightsError(
                f"{source} is of another architecture: the network's layer {mine} is {_shape(wanted)}, the file's "
                f"{other} is {_shape(value.shape)}; give the weights of this network, or the network of these weights"
            )
    if len(ours) != len(theirs):
        longer, what = (names, "network") if len(ours) > len(theirs) else (list(theirs), "file")
        raise WeightsError(
            f"{source} is of another architecture: it has {len(theirs)} tensors, the network {len(ours)}; the first "
            f"that only the {what} has is {longer[len(matched)]}"
        )
    network.load_state_dict({mine: value for mine, _, value in copies}, strict=False)
    return Mapped(tuple((mine, other) for mine, other, _ in copies), tuple(adapted), tuple(fresh))


def _classifier(network: nn.Module) -> set[str]:
    """Names of the tensors of the last linear layer, or of the last convolution where there is none."""
    for kind in (nn.Linear, nn.Conv2d):
        found = [name for name, module in network.named_modules() if isinstance(module, kind)]
        if found:
            return {f"{found[-1]}.{part}" for part in ("weight", "bias")}
    return set()


def other_channels(filters: Tensor, channels: int) -> Tensor | None:
    """A first convolution's filters `(outputs, inputs, k, k)` for another number of image channels.

    RGB filters are summed for grey images, grey ones spread over RGB; other numbers have no such answer: None.
    """
    given = filters.shape[1]
    if given == channels:
        return filters
    if (given, channels) == (3, 1):
        return filters.sum(dim=1, keepdim=True)
    if (given, channels) == (1, 3):
        return filters.expand(-1, 3, -1, -1) / 3
    return None


def _shape(shape: torch.Size) -> str:
    return " x ".join(map(str, shape)) or "a number"
