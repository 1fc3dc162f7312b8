"""Search spaces: what can be built, and how."""

from archfit.spaces.cells import CellSpace
from archfit.spaces.cells_layers import CellGraph
from archfit.spaces.known import KNOWN_SPACES, space_at, space_from
from archfit.spaces.macro import MacroSpace
from archfit.spaces.mnas import BlockChoices, MnasSpace
from archfit.spaces.mnas_layers import LayerRow
from archfit.spaces.skeleton import MNAS_SKELETON, Skeleton
from archfit.spaces.supernet import SharedSpace, Supernet
from archfit.spaces.warm_start import Trained, WarmMnasSpace, inheritable_layers, read_trained

__all__ = [
    "KNOWN_SPACES",
    "MNAS_SKELETON",
    "BlockChoices",
    "CellGraph",
    "CellSpace",
    "LayerRow",
    "MacroSpace",
    "MnasSpace",
    "SharedSpace",
    "Skeleton",
    "Supernet",
    "Trained",
    "WarmMnasSpace",
    "inheritable_layers",
    "read_trained",
    "space_at",
    "space_from",
]
