"""The process behind `WorkerPool`: takes a context, then jobs, and answers with events."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from archfit._process import keep_memory


def serve(connection_fd: int, lifeline_fd: int, prepare: Callable[[bytes], None] | None = None) -> None:
    """Serves jobs until the driver closes the connection or dies.

    Args:
        connection_fd: Of the pipe to the driver. Only the driver that started this process can write to it.
        lifeline_fd: Read end of a pipe whose write end the driver holds; its end is the driver's end.
        prepare: Gets what the driver sends first; None where that is the context.
    """
    die_with_the_parent()
    _end_at_the_end_of(lifeline_fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(connection_fd)
    try:
        if prepare is not None:
            prepare(connection.recv_bytes())
        _serve(connection)
    except (EOFError, BrokenPipeError):  # the driver wants no more
        return


def _serve(connection: Connection) -> None:
    import cloudpickle
    import torch

    keep_memory()
    torch.set_num_threads(1)
    send = _Sender(connection)
    try:
        context = cloudpickle.loads(connection.recv_bytes())()
    except Exception as error:  # noqa: BLE001 - the driver raises it
        traceback.print_exc()
        send("unusable", f"{type(error).__name__}: {error}")
        return
    send("ready", None)
    while True:
        try:
            received = connection.recv_bytes()
        except EOFError:
            return
        try:
            # A job that cannot be loaded here, or a result that cannot be sent, fails like one that raises.
            send("done", cloudpickle.loads(received)(context, lambda value: send("progress", value)))
        except Exception as error:  # noqa: BLE001 - whatever a candidate does is told to the driver
            traceback.print_exc()
            send("failed", f"{type(error).__name__}: {error}")


class _Sender:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, kind: str, value: Any) -> None:
        import cloudpickle

        self._connection.send_bytes(cloudpickle.dumps((kind, value)))


def die_with_the_parent() -> None:
    """By a signal of Linux's kernel, which also ends a process that is stopped for a measurement when that happens."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _end_at_the_end_of(lifeline_fd: int) -> None:
    def watch() -> None:
        os.read(lifeline_fd, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
