"""What a process keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

_FAULTS = """
import ctypes, resource, sys
if sys.argv[1] == "keep":
    from archfit._process import keep_memory
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


_KERNELS = """
import sys, torch
if sys.argv[1] == "keep":
    from archfit._process import keep_kernels
    keep_kernels()
for _ in range(2):
    for channels in range(1, 401):
        torch.conv2d(torch.zeros(2, channels, 8, 8), torch.zeros(8, channels, 3, 3), padding=1)
    print("end of round", flush=True)
"""


def test_a_process_keeps_the_kernels_of_many_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled_again(word: str) -> int:
        monkeypatch.setenv("ONEDNN_VERBOSE", "profile_create")
        monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)  # another test may have kept them
        said = subprocess.run([sys.executable, "-c", _KERNELS, word], capture_output=True, check=True, text=True).stdout
        return said.split("end of round")[1].count("create:cache_miss")

    if not torch.backends.mkldnn.is_available():
        pytest.skip("PyTorch was built without oneDNN")
    assert compiled_again("keep") == 0
    assert compiled_again("not") > 1000
