"""Encodes windows into the spool, and sends its contents while a collector is connected.

It connects again after a failure, each time later, and at last once a minute.
"""

from __future__ import annotations

import logging
import random
import time
import zlib
from collections import Counter, deque
from dataclasses import dataclass
from queue import SimpleQueue

from gotax.errors import UserError
from gotax.exporters.backoff import BackOff
from gotax.exporters.credentials import Stamp, stamp
from gotax.exporters.endpoint import Endpoint
from gotax.exporters.stream import encoding
from gotax.exporters.stream.connection import (
    Ack,
    Arrival,
    Connection,
    Ended,
    Goodbye,
    Welcome,
    hello,
)
from gotax.exporters.stream.interning import SentDictionary
from gotax.exporters.stream.segments import Record
from gotax.exporters.stream.spool import DAMAGED, Spool
from gotax.window import Window
from gotax.wire.parsing import parsed
from gotax.wire.v1 import ingest_pb2, report_pb2

log = logging.getLogger("gotax")

TOO_LARGE, REFUSED = "too-large", "refused"

MESSAGE_BYTES_MAX = 4 << 20
REPORT_BYTES_MAX = 16 << 20
IN_FLIGHT_MAX = 16
"""Reports without an acknowledgement, unless the collector allows fewer."""
_WELCOME_TIMEOUT_S = 15.0
_ANSWER_TIMEOUT_S = 300.0
_RETRY_FIRST_S, _RETRY_MAX_S = 0.5, 60.0
_END_TIMEOUT_S = 60.0
_CONNECTION_AGE_S = 1800.0
_FILES_EVERY_S = 30.0
_IDLE_S = 5.0
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """``agent`` is unique in the fleet and stable; ``node`` is where it runs."""

    agent: str
    node: str


class Sender:
    """The work and the state of the exporter's thread. Record numbers are the spool's."""

    def __init__(
        self,
        endpoint: Endpoint,
        identity: AgentIdentity,
        spool: Spool,
        arrivals: SimpleQueue[Arrival | None],
    ) -> None:
        self._endpoint = endpoint
        self._epoch = random.SystemRandom().getrandbits(64)
        self._hello = hello(identity.agent, identity.node, self._epoch)
        self._spool = spool
        self._arrivals = arrivals
        self._sequence = 0
        self._connection: Connection | None = None
        self._back_off = BackOff(_RETRY_FIRST_S, _RETRY_MAX_S)
        self._retry_at_s = 0.0
        self._stamp: Stamp = ()
        self._stamp_at_s = 0.0
        self._begin()
        self.sent = self.sent_bytes = self.acknowledged = self.connections = 0
        self.failures: Counter[str] = Counter()

    def _begin(self) -> None:
        """Resets the state of the stream."""
        self._dictionary = SentDictionary()
        self._under_way: deque[int] = deque()  # sent and not acknowledged
        self._acknowledged = 0  # reports of this stream
        self._last_sent = 0
        self._allowed = 0  # under way; 0 until welcome
        self._finished_s = 0.0  # when sending was finished
        self._began_s = self._answered_s = time.monotonic()
        self._age_s = _CONNECTION_AGE_S * random.uniform(0.8, 1.2)

    @property
    def in_flight(self) -> int:
        return len(self._under_way)

    @property
    def is_connected(self) -> bool:
        return self._allowed > 0

    @property
    def is_delivering(self) -> bool:
        """Whether an open connection may still deliver something."""
        return self._connection is not None and self._allowed > 0 and self._spool.records > 0

    def keep(self, window: Window) -> None:
        """Appends the window to the spool."""
        self._sequence += 1
        data = self._encoded(window)
        if data is None:
            self._spool.discard(TOO_LARGE)
        else:
            self._spool.append(Record(self._epoch, self._sequence, data))

    def _encoded(self, window: Window) -> bytes | None:
        """None if it is too large even without stacks."""
        for most in (encoding.STACK_COUNTS_MAX, encoding.STACK_COUNTS_MAX // 10, 0):
            report = encoding.encode(window, most)
            report.epoch, report.sequence = self._epoch, self._sequence
            encoding.add_dropped(report, self._spool.dropped)
            plain = report.SerializeToString()
            if len(plain) < REPORT_BYTES_MAX:
                data = zlib.compress(plain, _LEVEL)
                if len(data) < MESSAGE_BYTES_MAX:
                    return data
        return None

    def step(self) -> float:
        """Does what is possible now, and returns how long to wait for the next step."""
        self._spool.expire()
        self._spool.retry()
        now = time.monotonic()
        if self._connection is None:
            if now < self._retry_at_s:
                return min(self._retry_at_s - now, _IDLE_S)
            self._connect()
            return _IDLE_S
        if not self._allowed:
            if now - self._began_s > _WELCOME_TIMEOUT_S:
                self._lose("welcome-timeout", "no welcome came")
            return 1.0
        if not self._finished_s:
            self._send()
            if now - self._began_s > self._age_s or self._have_files_changed(now):
                self._finish()
        if self._under_way and now - self._answered_s > _ANSWER_TIMEOUT_S:
            self._lose("answer-timeout", "no acknowledgement came")
        elif self._finished_s and now - self._finished_s > _END_TIMEOUT_S:
            self._lose("end-timeout", "the collector does not end the stream")
        return _IDLE_S

    def receive(self, arrival: Arrival) -> None:
        if self._connection is None or arrival.stream != self.connections:
            return  # of an earlier stream
        answer = arrival.answer
        if isinstance(answer, Welcome):
            self._allowed = min(answer.reports_in_flight or IN_FLIGHT_MAX, IN_FLIGHT_MAX)
            self._answered_s = time.monotonic()
            log.info("streaming to the collector %s", ascii(answer.collector)[:80])
        elif isinstance(answer, Ack):
            self._receive_ack(answer)
        elif isinstance(answer, Goodbye):
            self._finish()
        else:
            self._receive_end(answer)

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _connect(self) -> None:
        self._begin()
        self.connections += 1
        self._stamp, self._stamp_at_s = stamp(self._endpoint.credentials.files), time.monotonic()
        try:
            self._connection = Connection(
                self.connections, self._endpoint, self._hello, self._arrivals
            )
        except UserError as error:
            self._lose("files", str(error))

    def _send(self) -> None:
        assert self._connection is not None
        while len(self._under_way) < self._allowed:
            number = self._spool.after(self._last_sent)
            if number is None:
                return
            self._last_sent = number
            record = self._spool.read(number)
            if record is None:
                continue
            request = self._request(record)
            if request is None:
                self._spool.drop(number, DAMAGED)
                continue
            if not self._under_way:
                self._answered_s = time.monotonic()
            self._under_way.append(number)
            self.sent += 1
            self.sent_bytes += request.ByteSize()
            self._connection.send(request)

    def _request(self, record: Record) -> ingest_pb2.StreamRequest | None:
        """Omits what this stream already knows. None if the record is not a report."""
        try:
            plain = zlib.decompressobj().decompress(record.report, REPORT_BYTES_MAX)
        except zlib.error:
            return None
        whole = parsed(report_pb2.Report, plain)
        if whole is None:
            return None
        short = self._dictionary.intern(whole)
        data = zlib.compress(short.SerializeToString(), _LEVEL)
        return ingest_pb2.StreamRequest(zlib_report=data)

    def _receive_ack(self, ack: Ack) -> None:
        count = min(ack.reports - self._acknowledged, len(self._under_way))
        for _ in range(count):
            self._spool.settle(self._under_way.popleft())
        if count > 0:
            self._acknowledged += count
            self.acknowledged += count
            self._answered_s = time.monotonic()
            self._back_off.succeed()

    def _receive_end(self, ended: Ended) -> None:
        if ended.refused_report is not None:
            index = ended.refused_report - self._acknowledged - 1
            if 0 <= index < len(self._under_way):
                self._spool.drop(self._under_way[index], REFUSED)
        if ended.status == "ok" and self._finished_s:
            self._disconnect()
            self._retry_at_s = time.monotonic() + random.uniform(0, 1)
        else:
            reason = f"{ended.status}: {ended.refused_reason}" if ended.refused_reason else ""
            self._lose(ended.status, ended.text or reason)

    def _finish(self) -> None:
        """Ends this stream properly; another one follows."""
        assert self._connection is not None
        if not self._finished_s:
            self._finished_s = time.monotonic()
            self._connection.finish()

    def _lose(self, reason: str, text: str) -> None:
        self.failures[reason] += 1
        self._back_off.fail()
        wait_s = self._back_off.delay_s()
        self._retry_at_s = time.monotonic() + wait_s
        self._disconnect()
        log.warning(
            "no stream to the collector %s (%s: %s); next try in %.1f s; %d windows wait",
            self._endpoint.authority,
            reason,
            ascii(text)[1:-1][:200],
            wait_s,
            self._spool.records,
        )

    def _disconnect(self) -> None:
        self.close()
        self._allowed = 0
        self._under_way.clear()

    def _have_files_changed(self, now: float) -> bool:
        if now - self._stamp_at_s < _FILES_EVERY_S:
            return False
        self._stamp_at_s = now
        return stamp(self._endpoint.credentials.files) != self._stamp
