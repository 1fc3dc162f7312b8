"""What plugs in as a device: a machine on which the cost of a network is measured."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from archfit.cost import Latency

if TYPE_CHECKING:
    from torch import nn

Quiet = Callable[[], AbstractContextManager[None]]


@runtime_checkable
class Device(Protocol):
    """A machine that times networks. It must pass `archfit.testing.devices.check_device`."""

    @property
    def name(self) -> str:
        """As the user names it, as in "local"."""
        ...

    def describe(self) -> str:
        """For people, as in "local: AMD EPYC, 2 cores"."""
        ...

    def fingerprint(self) -> str:
        """The same text for machines whose measurements may stand for each other; part of the cost cache's key."""
        ...

    def runtime_label(self, runtime: str) -> str:
        """The runtime with the version that this device has. Raises `InputError` for one it does not know."""
        ...

    def measure(
        self,
        model: bytes,
        module: nn.Module | None,
        *,
        runtime: str,
        threads: int = 1,
        quiet: Quiet = nullcontext,
    ) -> Latency:
        """Time of one inference at batch 1.

        Args:
            model: Serialised ONNX.
            module: The same network, for a runtime that runs modules.
            runtime: Name, as in "onnxruntime".
            threads: That one inference may use.
            quiet: Entered around the timed part alone, so that the caller can pause what else it runs there.

        Raises:
            DeviceError: The runtime cannot load or run the network.
            InputError: The runtime is not known, or `threads` is below 1.
        """
        ...
