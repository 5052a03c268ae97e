"""How much one agent may send, and how much the collector holds at a time."""

from __future__ import annotations

from dataclasses import dataclass

from gotax_collector.refusal import Reason, RefusedError

MESSAGE_BYTES_MAX = 4 << 20
"""Of the wire (proto/gotax/wire/v1/ingest.proto); not an option, because agents rely on it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``streams``: of all agents. ``reports_per_s`` and ``bytes_per_s``: of one agent, on average;
    ``burst_s``: how many seconds' worth it may send at once, so that a spool can be emptied.

    ``reports_in_flight``: of one stream, without their acknowledgement. ``waiting_bytes``: of all
    reports that wait for the store, as they are in memory; beyond it nothing is read.
    ``dictionary_bytes``: of the dictionaries of all streams; beyond it some begin anew.
    ``batch_s``: how long a report waits for others to be stored with, at most.
    """

    streams: int = 5000
    reports_per_s: float = 5.0
    bytes_per_s: float = 1 << 20
    burst_s: float = 120.0
    reports_in_flight: int = 32
    waiting_bytes: int = 128 << 20
    dictionary_bytes: int = 256 << 20
    batch_s: float = 2.0


class RateLimiter:
    """A bucket of tokens for reports and one for bytes, of one agent."""

    def __init__(self, limits: Limits, now_s: float) -> None:
        self._rates = (limits.reports_per_s, limits.bytes_per_s)
        # One message of full length is always possible.
        self._full = (
            max(1.0, limits.reports_per_s * limits.burst_s),
            max(float(MESSAGE_BYTES_MAX), limits.bytes_per_s * limits.burst_s),
        )
        self._left = self._full
        self._at_s = now_s

    def take(self, size: int, now_s: float) -> None:
        """One report of ``size`` bytes. RefusedError: RATE."""
        passed = max(0.0, now_s - self._at_s)
        self._at_s = now_s
        reports, bytes_ = (
            min(full, left + rate * passed)
            for full, left, rate in zip(self._full, self._left, self._rates, strict=True)
        )
        if reports < 1 or bytes_ < size:
            self._left = (reports, bytes_)
            raise RefusedError(Reason.RATE, "more than one agent may send")
        self._left = (reports - 1, bytes_ - size)
