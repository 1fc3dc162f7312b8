"""Conformance suites: what every space, sampler, dataset and device must pass. Run them on your own.

Each raises `AssertionError` with what is wrong; they need no test framework.
"""

from archfit.testing.datasets import check_dataset, check_split
from archfit.testing.devices import check_device
from archfit.testing.samplers import check_sampler
from archfit.testing.spaces import check_space
from archfit.testing.supernets import check_supernet

__all__ = ["check_dataset", "check_device", "check_sampler", "check_space", "check_split", "check_supernet"]
