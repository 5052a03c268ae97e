"""Two readers, and what the agent does when they do not answer.

The thread that samples waits half a second for an answer, and a second and a half in one round
(less if windows are short), half of that for one group (a pod; see ``groups.py``). What takes
longer goes on beside it: the subject is *pending*. One reader may be busy so. The other one is for
what is quick: a second slow question is stopped after two seconds, if there is another one to ask,
and waits until the first is done. A subject that takes more than its CPU time or its time, or that
ends its reader twice, is *hostile*, and is not read again while this agent runs. All questions
about a group with a hostile subject, or with two that were stopped, count as slow, and wait for
those of others.

A killed reader that does not die, since a file system does not answer it, is abandoned: nothing
waits for it. With sixteen of them there are no more readers. So nothing more is read of a group in
which two questions were never answered, or one where there are six such readers already.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from gotax.errors import AccessError, ReadError
from gotax.lru import LruCache
from gotax.reader import groups
from gotax.reader.asking import HOSTILE, MALFORMED, PENDING, STUCK, Subject
from gotax.reader.connection import BusyError, Connection, EndedError, Job
from gotax.reader.server import ForkServer
from gotax.reader.work import OF_BINARIES
from gotax.reader.worker import CPU_S, parse_answer, question_bytes

WAIT_S = 0.5
DISPLACED_S = 2.0
ROUND_WAIT_S = 1.5
WALL_S = 20.0
_READERS = 2
_ABANDONED_MAX = 16
_SILENT_CPU_S = 1.0  # a question that took so little, and no end
_DEATHS = 2
_REST = 10  # times the CPU time that a hostile subject took
_REMEMBERED = 4096
_IDLE_ROUNDS = 4
_IDLE_S = 20.0  # a reader without a question about a binary, which has loaded what that takes
_KEPT_MAX, _KEPT_BYTES = 4, 4 << 20


class Pool:
    """A ``Reader``. ``restarts`` counts readers that were replaced, by reason: ``cpu`` and ``time``
    (a question took too much), ``memory``, ``ended`` (by itself), ``malformed``, and ``displaced``
    (a slow question, while there was another one)."""

    def __init__(self, server: ForkServer, round_wait_s: float = ROUND_WAIT_S) -> None:
        """``round_wait_s``: the longest that a round may wait."""
        self._server = server
        self.round_wait_s = round_wait_s
        self._readers: list[Connection] = []
        self._killed: list[Connection] = []  # that have not ended yet
        self._hostile: LruCache[Hashable, bool] = LruCache(_REMEMBERED)
        self._slow: LruCache[Hashable, bool] = LruCache(_REMEMBERED)
        self._deaths: LruCache[Hashable, int] = LruCache(_REMEMBERED)
        self._groups = groups.Groups()
        self._left_s = self.round_wait_s
        self._kept: dict[tuple[Hashable, str], bytes] = {}
        self._rested_s = 0.0
        self.waits_per_s: float | None = None
        """A round regains this share of the time since the last one, so that many rounds in a row
        do not wait longer than one; None: each has its full time."""
        self._round_began_s = time.monotonic()
        self._round = 0
        self._others_waited = -2  # the round in which a slow question of no suspect had to wait
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
        now_s = time.monotonic()
        if self.waits_per_s is None:
            self._left_s = self.round_wait_s
        else:
            regained_s = self.waits_per_s * (now_s - self._round_began_s)
            self._left_s = min(self.round_wait_s, max(0.0, self._left_s) + regained_s)
        self._round_began_s = now_s
        self._round += 1
        self._groups.begin_round()
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
                Job(subject, question, began_s, reader.cpu_s()),
                question_bytes(question, arguments),
                until_s,
            )
            found = parse_answer(question, reader.answer(until_s))
            self._slow.remove(subject.key)
            return found
        except BusyError:
            self._is_late(reader)
            raise AccessError(PENDING, question) from None
        except (EndedError, MemoryError) as error:
            self._has_died(reader, subject, "ended" if isinstance(error, EndedError) else "memory")
            raise AccessError(HOSTILE if self._hostile.get(subject.key) else PENDING) from None
        except ReadError as error:
            if error.reason == MALFORMED:
                self._replace(reader, "malformed")
                self._condemn(subject)
                raise AccessError(HOSTILE, question) from None
            raise
        finally:
            waited_s = time.monotonic() - began_s
            self._left_s -= waited_s
            self._groups.add_wait(subject.group, waited_s)

    def _left(self, group: str) -> float:
        """Of the time to wait in this round."""
        return self._groups.left_s(group, self._left_s, self.round_wait_s)

    def _free_reader(self, subject: Subject, question: str) -> Connection:
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
            or not self._may_be_slow(subject, is_busy=bool(busy))
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
        reader = Connection(child, lambda: self.is_stopping())
        self._readers.append(reader)
        return reader

    def _is_hostile(self, subject: Subject) -> bool:
        return bool(
            self._hostile.get(subject.key)
            or self._groups.is_barred(subject.group, len(self._killed))
        )

    def _may_be_slow(self, subject: Subject, is_busy: bool) -> bool:
        """One slow question at a time; those of suspects rest, and let the others go first."""
        if self._groups.is_suspect(subject.group):
            is_others_turn = self._round - self._others_waited <= 1
            return not (is_busy or is_others_turn or time.monotonic() < self._rested_s)
        if not self._slow.get(subject.key) or not is_busy:
            return True
        self._others_waited = self._round
        self._stop_suspects()  # for the next round
        return False

    def _stop_suspects(self) -> None:
        """They have had their time, and a slow question of another group waits."""
        for reader in [reader for reader in self._readers if reader.job is not None]:
            job = reader.job
            assert job is not None
            if (
                self._groups.is_suspect(job.subject.group)
                and time.monotonic() - job.since_s >= DISPLACED_S
            ):
                self._replace(reader, "displaced")

    def _displace(self, busy: list[Connection]) -> bool:
        """Stop the younger of two slow questions, if it has had its time: one reader is for what is
        quick. Whether that was done; the list is sorted by age then."""
        busy.sort(key=lambda reader: reader.job.since_s if reader.job else math.inf)
        job = busy[-1].job
        if job is None or time.monotonic() - job.since_s < DISPLACED_S:
            return False
        self._groups.blame(job.subject.group, groups.DISPLACED)
        self._replace(busy[-1], "displaced")
        return True

    def _is_late(self, reader: Connection) -> None:
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
        for reader in list(self._killed):
            if not reader.is_alive():
                self._killed.remove(reader)
                self._ended_cpu_s += reader.cpu_s()
                reader.forget()
            elif reader.job is not None and not reader.is_blamed and reader.is_held():
                # Whatever it was killed for: what it asked is never answered.
                reader.is_blamed = True
                self._condemn(reader.job.subject)
                self._groups.add_silent(reader.job.subject.group)

    def _tend(self, reader: Connection) -> None:
        job = reader.job
        assert job is not None
        try:
            self._keep(job, reader.answer(0.0))
            return
        except BusyError:
            pass
        except EndedError:
            self._has_died(reader, job.subject, "ended")
            return
        except ReadError:
            self._replace(reader, "malformed")
            self._condemn(job.subject)
            return
        spent_s = reader.cpu_s() - job.cpu_s
        if spent_s > CPU_S or time.monotonic() - job.since_s > WALL_S:
            self._condemn(job.subject)
            self._rested_s = time.monotonic() + _REST * spent_s
            if spent_s < _SILENT_CPU_S:
                self._groups.add_silent(job.subject.group)
                reader.is_blamed = True
            self._replace(reader, "cpu" if spent_s > CPU_S else "time")

    def _keep(self, job: Job, answer: bytes) -> None:
        """For the next time that it is asked: what took long should not be done again."""
        # A late answer is good for the next question, if that is about more.
        if job.question in OF_BINARIES and len(answer) <= _KEPT_BYTES:
            self._kept[job.subject.key, job.question] = answer
            if len(self._kept) > _KEPT_MAX:
                del self._kept[next(iter(self._kept))]

    def _has_died(self, reader: Connection, subject: Subject, reason: str) -> None:
        spent_s = reader.cpu_s() - (reader.job.cpu_s if reader.job is not None else 0.0)
        self._replace(reader, reason)
        deaths = (self._deaths.get(subject.key) or 0) + 1
        self._deaths.put(subject.key, deaths)
        self._slow.put(subject.key, True)
        self._groups.blame(subject.group, groups.DIED)
        if deaths >= _DEATHS or spent_s > CPU_S:
            self._condemn(subject)

    def _condemn(self, subject: Subject) -> None:
        """It is not read again."""
        self._hostile.put(subject.key, True)
        self._groups.blame(subject.group, groups.HOSTILE)

    def _replace(self, reader: Connection, reason: str) -> None:
        """The next question finds another one."""
        self.restarts[reason] += 1
        self._end(reader)

    def _end(self, reader: Connection) -> None:
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
