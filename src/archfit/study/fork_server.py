"""Worker processes that are forked from one that has imported what they need: the driver's side.

Importing torch and Lightning costs seconds of a core in every process that does it. A fork costs milliseconds, and the
memory of what was imported is shared.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait
from typing import BinaryIO

from archfit.study.forking import INTEGER, REQUEST_BYTES

_of_thread = threading.local()


def fork_server(command: Sequence[str], environment: Mapping[str, str], log: BinaryIO) -> ForkServer | None:
    """The one of this thread, started where there is none or it has died; None where forks are not safe.

    Args:
        command: The interpreter with its options.
        environment: Of the server; its forks get their own.
        log: Takes what the server prints.
    """
    if sys.platform != "linux":  # what libraries of macOS do after a fork is not defined, and Windows has none
        return None
    server: ForkServer | None = getattr(_of_thread, "server", None)
    if server is None or not server.alive:
        server = _of_thread.server = ForkServer(command, environment, log)
    return server


class ForkServer:
    """A process that forks workers. It ends with the thread that made it, and its forks end with it.

    Args:
        command: As for `fork_server`.
        environment: The same.
        log: The same.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: BinaryIO) -> None:
        self._owner = os.getpid()
        # A packet is a request: descriptors cannot come with the bytes of another one.
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [*command, "-m", "archfit.study.forking", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C is the driver's alone
            )
        self._end = weakref.finalize(self, _end, self._owner, self._control, self.process)

    @property
    def alive(self) -> bool:
        """Whether it serves this process, not one that this one was forked from."""
        return self._owner == os.getpid() and self.process.poll() is None

    def preload(self, modules: Sequence[str]) -> None:
        """Has it import them, without waiting for that; what is forked from then on has them."""
        self._ask(modules, [])

    def fork(self, connection: int, lifeline: int, log: int) -> ForkedProcess:
        """Asks for a worker, without waiting for it; the descriptors are copied.

        Args:
            connection: The worker's end of its pipe to the driver, who must send `Settings` through it first.
            lifeline: Read end of a pipe that the driver holds open.
            log: Takes what the worker prints.
        """
        read, write = os.pipe()
        self._ask([], [connection, lifeline, log, write])
        os.close(write)
        os.set_blocking(read, False)
        return ForkedProcess(read, self)

    def signal(self, number: int) -> None:
        """To the server itself, which may be importing."""
        if self.alive:
            self.process.send_signal(number)

    def close(self) -> None:
        """Ends the server and its forks."""
        self._end()

    def _ask(self, modules: Sequence[str], descriptors: list[int]) -> None:
        request = json.dumps(list(modules)).encode()
        assert len(request) <= REQUEST_BYTES
        with contextlib.suppress(OSError):  # it has just died: whoever waits for a process hears of it
            socket.send_fds(self._control, [request], descriptors)


def _end(owner: int, control: socket.socket, process: subprocess.Popen[bytes]) -> None:
    control.close()
    if owner == os.getpid():
        process.kill()
        process.wait()


class ForkedProcess:
    """A worker that a server was asked for, with the methods of `subprocess.Popen`.

    Args:
        status: Where the server tells the process's number as soon as there is one, and its exit code in the end.
        server: Was asked for it.
    """

    def __init__(self, status: int, server: ForkServer) -> None:
        self._status = status
        self._server = server
        self._told = b""
        self._code: int | None = None

    @property
    def pid(self) -> int | None:
        """None while the server has not forked."""
        self.poll()
        return INTEGER.unpack(self._told[: INTEGER.size])[0] if len(self._told) >= INTEGER.size else None

    def poll(self) -> int | None:
        """The exit code; None while it runs or is not there yet."""
        while self._code is None:
            try:
                told = os.read(self._status, 2 * INTEGER.size - len(self._told))
            except BlockingIOError:
                return None
            self._told += told
            if len(self._told) == 2 * INTEGER.size:
                self._ended(INTEGER.unpack(self._told[INTEGER.size :])[0])
            elif not told:  # the server is gone, and its forks with it
                self._ended(self._server.process.wait() or 1)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; `subprocess.TimeoutExpired` where it has not ended in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not wait([self._status], left):
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
        return code

    def kill(self) -> None:
        """SIGKILL, where the process is there."""
        pid = self.pid
        if pid is not None and self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __del__(self) -> None:
        if self._code is None:
            os.close(self._status)

    def _ended(self, code: int) -> None:
        self._code = code
        os.close(self._status)
