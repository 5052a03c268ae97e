"""Two readers, and what the agent does when they do not answer.

The thread that samples waits half a second for an answer, and a second and a half in one round
(less if windows are short), half of that for one group (a container). What takes longer goes on
beside it: the subject is *pending*. One reader may be busy so. The other one is for what is quick:
a second slow question is stopped after two seconds, if there is another one to ask, and waits until
the first is done. A subject that takes more than its CPU time or its time, or that ends its reader
twice, is *hostile*, and is not read again while this agent runs.

A killed reader that does not die, since a file system does not answer it, is abandoned: nothing
waits for it. With twelve of them there are no more readers. So nothing more is read of a group (a
container) in which two questions were never answered.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from gotax.errors import AccessError, ParseError, ReadError
from gotax.lru import LruCache
from gotax.reader.asking import HOSTILE, MALFORMED, PENDING, STUCK, Subject
from gotax.reader.message import MAX_BYTES
from gotax.reader.server import Child, ForkServer
from gotax.reader.work import OF_BINARIES
from gotax.reader.worker import CPU_S, SIZE, parse_answer, question_bytes

WAIT_S = 0.5
DISPLACED_S = 2.0
ROUND_WAIT_S = 1.5
WALL_S = 20.0
_READERS = 2
_ABANDONED_MAX = 12
_SILENT_MAX = 2
_SILENT_CPU_S = 1.0  # a question that took so little, and no end
_DEATHS = 2
_REST = 10  # times the CPU time that a hostile subject took
_REMEMBERED = 4096
_IDLE_ROUNDS = 4
_IDLE_S = 60.0  # a reader without a question about a binary, which has loaded what that takes
_KEPT_MAX, _KEPT_BYTES = 4, 4 << 20
_RECEIVED_AT_ONCE = 1 << 20
_SLICE_S = 0.1  # of a wait


@dataclass(slots=True)
class _Job:
    subject: Subject
    question: str
    since_s: float
    cpu_s: float  # of its reader, when it began


class _BusyError(Exception):
    """The answer is not there yet."""


class _EndedError(Exception):
    """The reader has ended."""


class _Connection:
    """One reader and what it is doing."""

    def __init__(self, child: Child, is_stopping: Callable[[], bool]) -> None:
        self._child = child
        self._is_stopping = is_stopping
        self._received = bytearray()
        self._cpu_s = 0.0
        self.job: _Job | None = None
        self.loaded_s = math.inf  # the last question about a binary

    @property
    def pid(self) -> int:
        return self._child.pid

    def cpu_s(self) -> float:
        """So far; what was last seen, once it has ended."""
        # The kernel's clock of a process: include/linux/posix-timers.h, CPUCLOCK_SCHED.
        with contextlib.suppress(OSError):
            if self.is_alive():
                self._cpu_s = max(self._cpu_s, time.clock_gettime(~self.pid << 3 | 2))
        return self._cpu_s

    def is_alive(self) -> bool:
        return not _is_ready(self._child.pidfd, select.POLLIN, 0.0)

    def start(self, job: _Job, data: bytes, until_s: float) -> None:
        """Raises _BusyError if it does not take the question in time, _EndedError."""
        self.job = job
        if job.question in OF_BINARIES:
            self.loaded_s = job.since_s
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._child.connection.send(rest) :]
            except BlockingIOError:
                self._wait(until_s, select.POLLOUT)
            except OSError as error:
                raise _EndedError from error

    def answer(self, until_s: float) -> bytes:
        """Raises _BusyError, _EndedError, ParseError."""
        received = self._received
        while True:
            if len(received) >= SIZE.size:
                (size,) = SIZE.unpack_from(received)
                if not 0 < size <= MAX_BYTES or len(received) > SIZE.size + size:
                    raise ParseError(MALFORMED, f"an answer of {size} bytes")
                if len(received) == SIZE.size + size:
                    self._received = bytearray()
                    self.job = None
                    return bytes(received[SIZE.size :])
            try:
                part = self._child.connection.recv(_RECEIVED_AT_ONCE)
            except BlockingIOError:
                self._wait(until_s, select.POLLIN)
                continue
            except OSError as error:
                raise _EndedError from error
            if not part:
                raise _EndedError
            received += part

    def _wait(self, until_s: float, event: int) -> None:
        fd = self._child.connection.fileno()
        while not _is_ready(fd, event, 0.0):
            left_s = until_s - time.monotonic()
            if left_s <= 0 or self._is_stopping():
                raise _BusyError
            _is_ready(fd, event, min(left_s, _SLICE_S))

    def kill(self) -> None:
        """Does not wait for its end."""
        self.cpu_s()
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._child.pidfd, signal.SIGKILL)
        self._child.connection.close()

    def forget(self) -> None:
        os.close(self._child.pidfd)


def _is_ready(fd: int, event: int, wait_s: float) -> bool:
    """poll, since select knows no descriptors above 1023."""
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(math.ceil(1000 * wait_s)))


class Pool:
    """A ``Reader``. ``restarts`` counts readers that were replaced, by reason: ``cpu`` and ``time``
    (a question took too much), ``memory``, ``ended`` (by itself), ``malformed``, and ``displaced``
    (a slow question, while there was another one)."""

    def __init__(self, server: ForkServer, round_wait_s: float = ROUND_WAIT_S) -> None:
        """``round_wait_s``: the longest that a round may wait."""
        self._server = server
        self.round_wait_s = round_wait_s
        self._readers: list[_Connection] = []
        self._killed: list[_Connection] = []  # that have not ended yet
        self._hostile: LruCache[Hashable, bool] = LruCache(_REMEMBERED)
        self._slow: LruCache[Hashable, bool] = LruCache(_REMEMBERED)
        self._deaths: LruCache[Hashable, int] = LruCache(_REMEMBERED)
        self._silent: LruCache[str, int] = LruCache(_REMEMBERED)  # by group
        self._left_s = self.round_wait_s
        self._kept: dict[tuple[Hashable, str], bytes] = {}
        self._waited_s: defaultdict[str, float] = defaultdict(float)  # in this round, by group
        self._rested_s = 0.0
        self._idle_rounds = 0
        self._ended_cpu_s = 0.0
        self.restarts: Counter[str] = Counter()
        self.is_stopping: Callable[[], bool] = lambda: False
        """The agent is to end: then nothing waits long."""

    # What it costs.

    def cpu_s(self) -> float:
        """CPU time of all readers so far."""
        every = [*self._readers, *self._killed]
        return self._ended_cpu_s + sum(reader.cpu_s() for reader in every)

    def pids(self) -> list[int]:
        """Of the server and the readers that live."""
        return [self._server.pid, *(reader.pid for reader in self._readers)]

    @property
    def abandoned(self) -> int:
        """Readers that were killed and do not die."""
        return len(self._killed)

    @property
    def hostile(self) -> int:
        return len(self._hostile)

    # To ask.

    def begin_round(self) -> None:
        self._left_s = self.round_wait_s
        self._waited_s.clear()
        self.tend()
        self._retire()

    def ask(self, subject: Subject, question: str, *arguments: Any) -> Any:
        self.tend()
        kept = self._kept.pop((subject.key, question), None)
        if kept is not None:
            return parse_answer(question, kept)
        reader = self._free_reader(subject, question)
        began_s = time.monotonic()
        until_s = began_s + min(WAIT_S, self._left(subject.group))
        try:
            reader.start(
                _Job(subject, question, began_s, reader.cpu_s()),
                question_bytes(question, arguments),
                until_s,
            )
            found = parse_answer(question, reader.answer(until_s))
            self._slow.remove(subject.key)
            return found
        except _BusyError:
            self._is_late(reader)
            raise AccessError(PENDING, question) from None
        except (_EndedError, MemoryError) as error:
            self._has_died(reader, subject, "ended" if isinstance(error, _EndedError) else "memory")
            raise AccessError(HOSTILE if self._hostile.get(subject.key) else PENDING) from None
        except ReadError as error:
            if error.reason == MALFORMED:
                self._replace(reader, "malformed")
                self._hostile.put(subject.key, True)
                raise AccessError(HOSTILE, question) from None
            raise
        finally:
            waited_s = time.monotonic() - began_s
            self._left_s -= waited_s
            self._waited_s[subject.group] += waited_s

    def _left(self, group: str) -> float:
        """Of the time to wait in this round."""
        return min(self._left_s, self.round_wait_s / 2 - self._waited_s[group])

    def _free_reader(self, subject: Subject, question: str) -> _Connection:
        """Raises AccessError: it is not to be asked now."""
        if self._is_hostile(subject):
            raise AccessError(HOSTILE)
        busy = [reader for reader in self._readers if reader.job is not None]
        if len(busy) >= _READERS and self._displace(busy):
            busy = busy[:-1]
        if (
            len(busy) >= _READERS
            or self._left(subject.group) <= 0
            or any(reader.job and reader.job.subject.key == subject.key for reader in busy)
            or (self._slow.get(subject.key) and (busy or time.monotonic() < self._rested_s))
        ):
            raise AccessError(PENDING)
        free = [reader for reader in self._readers if reader.job is None]
        if free:  # one that has loaded what the question takes, and no more
            is_about_binary = question in OF_BINARIES
            return min(free, key=lambda reader: math.isinf(reader.loaded_s) is is_about_binary)
        if len(self._killed) >= _ABANDONED_MAX:
            raise AccessError(STUCK)
        child = self._server.fork()
        if child is None:
            raise AccessError(PENDING)
        reader = _Connection(child, lambda: self.is_stopping())
        self._readers.append(reader)
        return reader

    def _is_hostile(self, subject: Subject) -> bool:
        return bool(
            self._hostile.get(subject.key) or (self._silent.get(subject.group) or 0) >= _SILENT_MAX
        )

    def _displace(self, busy: list[_Connection]) -> bool:
        """Stop the younger of two slow questions, if it has had its time: one reader is for what is
        quick. Whether that was done; the list is sorted by age then."""
        busy.sort(key=lambda reader: reader.job.since_s if reader.job else math.inf)
        job = busy[-1].job
        if job is None or time.monotonic() - job.since_s < DISPLACED_S:
            return False
        self._replace(busy[-1], "displaced")
        return True

    def _is_late(self, reader: _Connection) -> None:
        """It goes on."""
        job = reader.job
        assert job is not None
        self._slow.put(job.subject.key, True)

    def _retire(self) -> None:
        """Do without the second reader, once it has had nothing to do for some rounds, and without
        one that has more loaded than it was asked for lately."""
        oldest_s = time.monotonic() - _IDLE_S
        for reader in [each for each in self._readers if each.job is None]:
            if reader.loaded_s < oldest_s:
                self._end(reader)
        if len(self._readers) < _READERS or any(reader.job for reader in self._readers):
            self._idle_rounds = 0
            return
        self._idle_rounds += 1
        if self._idle_rounds > _IDLE_ROUNDS:
            self._end(self._readers[-1])

    # What goes wrong.

    def tend(self) -> None:
        """Take late answers, stop what takes too long, forget the dead."""
        for reader in [reader for reader in self._readers if reader.job is not None]:
            self._tend(reader)
        for reader in [reader for reader in self._killed if not reader.is_alive()]:
            self._killed.remove(reader)
            self._ended_cpu_s += reader.cpu_s()
            reader.forget()

    def _tend(self, reader: _Connection) -> None:
        job = reader.job
        assert job is not None
        try:
            self._keep(job, reader.answer(0.0))
            return
        except _BusyError:
            pass
        except _EndedError:
            self._has_died(reader, job.subject, "ended")
            return
        except ReadError:
            self._replace(reader, "malformed")
            self._hostile.put(job.subject.key, True)
            return
        spent_s = reader.cpu_s() - job.cpu_s
        if spent_s > CPU_S or time.monotonic() - job.since_s > WALL_S:
            self._hostile.put(job.subject.key, True)
            self._rested_s = time.monotonic() + _REST * spent_s
            if spent_s < _SILENT_CPU_S:
                group = job.subject.group
                self._silent.put(group, (self._silent.get(group) or 0) + 1)
            self._replace(reader, "cpu" if spent_s > CPU_S else "time")

    def _keep(self, job: _Job, answer: bytes) -> None:
        """For the next time that it is asked: what took long should not be done again."""
        # A late answer is good for the next question, if that is about more.
        if job.question in OF_BINARIES and len(answer) <= _KEPT_BYTES:
            self._kept[job.subject.key, job.question] = answer
            if len(self._kept) > _KEPT_MAX:
                del self._kept[next(iter(self._kept))]

    def _has_died(self, reader: _Connection, subject: Subject, reason: str) -> None:
        spent_s = reader.cpu_s() - (reader.job.cpu_s if reader.job is not None else 0.0)
        self._replace(reader, reason)
        deaths = (self._deaths.get(subject.key) or 0) + 1
        self._deaths.put(subject.key, deaths)
        self._slow.put(subject.key, True)
        if deaths >= _DEATHS or spent_s > CPU_S:
            self._hostile.put(subject.key, True)

    def _replace(self, reader: _Connection, reason: str) -> None:
        """The next question finds another one."""
        self.restarts[reason] += 1
        self._end(reader)

    def _end(self, reader: _Connection) -> None:
        reader.kill()
        self._readers.remove(reader)
        self._killed.append(reader)

    def close(self) -> None:
        """Kills all readers, and waits for none."""
        for reader in self._readers:
            reader.kill()
        for reader in [*self._readers, *self._killed]:
            reader.forget()
        self._readers, self._killed = [], []
