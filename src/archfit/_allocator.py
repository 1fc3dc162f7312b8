"""Memory of processes that train."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


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
