"""What processes that train keep: memory, compiled kernels."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KERNELS = 16384


def keep_memory() -> None:
    """Has this process keep the memory that it frees, for its next allocations; for good.

    A training step allocates what the one before has freed. glibc would hand it to the system in between, which fills
    every page with zeros again: a fifth of the time of such steps. Other C libraries are left as they are.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
            library.mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that glibc takes


def keep_kernels() -> None:
    """Has oneDNN keep what it compiles for each shape of tensors, for as many shapes as the paths of a supernet have.

    The 1,024 that it keeps otherwise are enough for any one network; a supernet of the mnas space has some thousands,
    and would compile for up to a fifth of its time. Too late in a process that has convolved already; what the
    environment says already stays.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", f"{_KERNELS}")
