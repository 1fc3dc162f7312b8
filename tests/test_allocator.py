"""Memory that a process keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import ctypes, resource, sys
if sys.argv[1] == "keep":
    from archfit._allocator import keep_memory
    keep_memory()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
size = 16 * 2**20

def step():
    both = [library.malloc(size) for _ in range(2)]
    for memory in both:
        ctypes.memset(memory, 1, size)
    for memory in reversed(both):
        library.free(memory)

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_a_process_keeps_the_memory_that_it_frees() -> None:
    def faults(word: str) -> int:
        return int(subprocess.run([sys.executable, "-c", _FAULTS, word], capture_output=True, check=True).stdout)

    assert faults("keep") < 100
    assert faults("not") > 10_000
