"""The process behind `ForkServer`: imports what workers need, and becomes one by a fork whenever it is asked to."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from archfit.study.worker import die_with_the_parent, serve

INTEGER = struct.Struct("i")
"""What a status pipe tells: a process's number, then its exit code."""
REQUEST_BYTES = 4096
"""The longest request: names of modules."""
_DESCRIPTORS = 4
_FOR_ALL = ("cloudpickle", "torch")


@dataclass(frozen=True)
class Settings:
    """Of the driver when it asks for a worker: those that a fork does not inherit.

    Attributes:
        environment: Its variables.
        folder: The current one.
        path: Where modules are looked for.
    """

    environment: dict[str, str]
    folder: str
    path: list[str]

    def to_bytes(self) -> bytes:
        return json.dumps(astuple(self)).encode()

    @classmethod
    def from_bytes(cls, text: bytes) -> Settings:
        return cls(*json.loads(text))

    def apply(self) -> None:
        """To this process."""
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.folder)
        sys.path[:] = self.path
        importlib.invalidate_caches()


class _Server:
    """Serves requests until the driver closes the connection or dies."""

    def __init__(self, control_fd: int) -> None:
        self._control = socket.socket(fileno=control_fd)
        self._woken, self._wake = socket.socketpair()
        self._statuses: dict[int, int] = {}
        for each in (self._woken, self._wake):
            each.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        _preload(_FOR_ALL)
        while True:
            ready = select.select([self._control, self._woken], [], [])[0]
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    self._woken.recv(REQUEST_BYTES)
                self._reap()
            if self._control in ready:
                request, descriptors, _, _ = socket.recv_fds(self._control, REQUEST_BYTES, _DESCRIPTORS)
                if not request:
                    return
                if modules := json.loads(request):
                    _preload(modules)
                if descriptors:
                    self._fork(*descriptors)

    def _reap(self) -> None:
        """Tells the exit codes of forks that have ended."""
        for pid, status in list(self._statuses.items()):
            ended, how = os.waitpid(pid, os.WNOHANG)
            if ended:
                _tell(status, os.waitstatus_to_exitcode(how))
                os.close(self._statuses.pop(pid))

    def _fork(self, connection: int, lifeline: int, log: int, status: int) -> None:
        try:
            pid = os.fork()
        except OSError:
            traceback.print_exc()
            _tell(status, 0, 1)
            os.close(status)
        else:
            if pid == 0:
                self._become_a_worker(connection, lifeline, log, status)
            with contextlib.suppress(OSError):  # the fork does the same: it may be paused as soon as it is known
                os.setpgid(pid, pid)
            _tell(status, pid)
            self._statuses[pid] = status
        for descriptor in (connection, lifeline, log):
            os.close(descriptor)

    def _become_a_worker(self, connection: int, lifeline: int, log: int, status: int) -> None:
        """Does not return: nothing of the server's may run in a fork."""
        code = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (self._control, self._woken, self._wake):
                each.close()
            for descriptor in (*self._statuses.values(), status):
                os.close(descriptor)
            for output in (1, 2):
                os.dup2(log, output)
            os.close(log)
            _fresh_random_numbers()
            serve(connection, lifeline, lambda settings: Settings.from_bytes(settings).apply())
            code = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the fork ends
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)


def _preload(modules: Sequence[str]) -> None:
    for module in modules:
        # What cannot be imported here cannot be by a worker, who says so.
        with contextlib.suppress(Exception):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # or the first collection of a fork would copy the pages of all that was imported


def _fresh_random_numbers() -> None:
    """NumPy's global ones would be the same in all forks; those of Python and torch are as in any new process."""
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def _tell(status: int, *numbers: int) -> None:
    with contextlib.suppress(OSError):  # nobody asks any more
        os.write(status, b"".join(map(INTEGER.pack, numbers)))


if __name__ == "__main__":
    die_with_the_parent()
    _Server(int(sys.argv[1])).run()
