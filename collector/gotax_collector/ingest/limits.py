"""Limits for one agent, and for what the collector keeps in memory."""

from __future__ import annotations

from dataclasses import dataclass

from gotax_collector.ingest.expansion import EXPANDED_BYTES_MAX
from gotax_collector.refusal import Reason, RefusedError

MESSAGE_BYTES_MAX = 4 << 20
"""Part of the protocol (proto/gotax/wire/v1/ingest.proto). Not an option: agents rely on it."""

_EXPANDED_PER_BYTE = 16
"""How many bytes of rows one byte of a report may become, on average over many reports."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``streams`` is the maximum of agents at a time. ``reports_per_s`` and ``bytes_per_s`` are the
    average rates of one agent. ``burst_s`` is how many seconds' worth an agent may send at once, so
    that it can empty its spool.

    ``reports_in_flight`` is how many reports of one stream may wait for an acknowledgement.
    ``waiting_bytes`` is the memory of all reports that wait for the store. Above it the collector
    reads nothing. ``dictionary_bytes`` is the memory of the dictionaries of all streams. Above it
    the collector asks some agents to start a new stream. ``batch_s`` is how long a report waits at
    most for other reports of its batch. ``unread_bytes`` is the memory of all messages that are not
    complete. Above it the connection with most of them is closed.
    """

    streams: int = 5000
    reports_per_s: float = 5.0
    bytes_per_s: float = 1 << 20
    burst_s: float = 120.0
    reports_in_flight: int = 32
    waiting_bytes: int = 128 << 20
    dictionary_bytes: int = 256 << 20
    batch_s: float = 2.0
    unread_bytes: int = 64 << 20


class RateLimiter:
    """Limits one agent: token buckets for reports, for bytes, and for what the bytes become."""

    def __init__(self, limits: Limits, now_s: float) -> None:
        expanded_per_s = _EXPANDED_PER_BYTE * limits.bytes_per_s
        self._rates = (limits.reports_per_s, limits.bytes_per_s, expanded_per_s)
        # A full bucket always allows one message of maximum length.
        self._full = (
            max(1.0, limits.reports_per_s * limits.burst_s),
            max(float(MESSAGE_BYTES_MAX), limits.bytes_per_s * limits.burst_s),
            max(float(EXPANDED_BYTES_MAX), expanded_per_s * limits.burst_s / 4),
        )
        self._left: tuple[float, ...] = self._full
        self._at_s = now_s

    def take(self, size: int, now_s: float) -> None:
        """Count one report of ``size`` bytes. RefusedError: RATE."""
        self._take((1, size, 0), now_s)

    def take_expanded(self, size: int, now_s: float) -> None:
        """Count the rows of a report. RefusedError: RATE."""
        self._take((0, 0, size), now_s)

    def _take(self, amounts: tuple[int, int, int], now_s: float) -> None:
        passed = max(0.0, now_s - self._at_s)
        self._at_s = now_s
        self._left = tuple(
            min(full, left + rate * passed)
            for full, left, rate in zip(self._full, self._left, self._rates, strict=True)
        )
        if any(left < amount for left, amount in zip(self._left, amounts, strict=True)):
            raise RefusedError(Reason.RATE, "more than one agent may send")
        self._left = tuple(left - amount for left, amount in zip(self._left, amounts, strict=True))
