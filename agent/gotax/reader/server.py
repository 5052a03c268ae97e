"""A process that forks readers: it is forked before the agent has threads, and reads nothing.

A reader that broke its bounds is replaced by a fork. The agent itself cannot fork once it has
threads (gRPC, HTTP). The daemon forks the server before it loads numpy and most of itself: what is
shared at the fork does not stay so. A reader loads numpy when it is asked about a binary.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from gotax.errors import TransientError
from gotax.linux.pidnamespace import READER
from gotax.reader import confinement
from gotax.reader.worker import serve

_PID = struct.Struct("<i")
_READY = b"r"
_ANSWER_S = 0.5  # a fork takes some milliseconds


@dataclass(slots=True)
class Child:
    """A reader: the connection to it, and a descriptor that stands for the process itself."""

    connection: socket.socket
    pid: int
    pidfd: int


class ForkServer:
    """A context manager; in the end there is neither the server nor a reader."""

    def __init__(self) -> None:
        """Forks. Raises TransientError. There must be no other thread yet."""
        gc.freeze()  # what is shared stays so: the collector would write to every object
        ours, theirs = socket.socketpair()
        try:
            parent = os.getpid()
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            raise TransientError(f"no process to read with: {error.strerror}") from error
        if not pid:
            _run_server(theirs, ours, parent)
        theirs.close()
        self._connection = ours
        self._pid = pid
        self._asked: socket.socket | None = None  # our end to a reader that is not there yet
        if ours.recv(1) != _READY:
            self.close()
            raise TransientError("no process to read with: it has ended at once")
        ours.settimeout(_ANSWER_S)

    @property
    def pid(self) -> int:
        return self._pid

    def fork(self) -> Child | None:
        """A new reader; None: there is no room for one now. Raises TransientError."""
        try:
            if self._asked is None:
                self._asked = self._ask()
            data, fds = _receive(self._connection, _PID.size)
        except TimeoutError:
            return None  # the host is busy: it will be there later
        except OSError as error:
            raise TransientError(f"no process to read with: {error.strerror}") from error
        ours, self._asked = self._asked, None
        if data == _PID.pack(0):
            ours.close()
            return None
        if len(data) != _PID.size or len(fds) != 1:
            ours.close()
            raise TransientError("no process to read with: the one that forks them has ended")
        ours.setblocking(False)
        return Child(ours, _PID.unpack(data)[0], fds[0])

    def _ask(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._connection, [b"f"], [theirs.fileno()])
        return ours

    def close(self) -> None:
        """Kills the server; its readers die with it."""
        if self._pid:
            self._connection.close()
            if self._asked is not None:
                self._asked.close()
            with suppress(ProcessLookupError, ChildProcessError):  # where SIGCHLD is ignored
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            self._pid = 0

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _receive(connection: socket.socket, length: int) -> tuple[bytes, list[int]]:
    """Bytes and at most one descriptor, which no other program inherits."""
    data, fds, _, _ = socket.recv_fds(connection, length, 1)
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, fds


def _run_server(connection: socket.socket, other: socket.socket, parent: int) -> NoReturn:
    """In the child."""
    try:
        other.close()
        confinement.die_with_parent(parent)
        confinement.name_process(READER)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the agent's to handle
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        gc.disable()
        _close_files(connection.fileno())
        confinement.confine()
        connection.sendall(_READY)
        _serve_forks(connection)
    finally:
        os._exit(0)


def _close_files(kept: int) -> None:
    """All but standard error and one more."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def _serve_forks(connection: socket.socket) -> None:
    server = os.getpid()
    while True:
        data, fds = _receive(connection, 1)
        if not data:
            return
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if not pid:
            connection.close()
            confinement.die_with_parent(server)
            serve(socket.socket(fileno=fds[0]))
        for fd in fds:
            os.close(fd)
        if pid < 0:
            connection.sendall(_PID.pack(0))
            continue
        pidfd = os.pidfd_open(pid)
        socket.send_fds(connection, [_PID.pack(pid)], [pidfd])
        os.close(pidfd)
