"""The state of the stream to a collector, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters since the start, and the current state of the spool and the connection.

    ``failures`` are connections that ended with an error, ``dropped`` windows that no collector
    will get; both by reason. ``sent_bytes``: of compressed reports.
    """

    sent: int
    sent_bytes: int
    acknowledged: int
    connections: int
    failures: dict[str, int]
    dropped: dict[str, int]
    spool_records: int
    spool_bytes: int
    spool_errors: int
    in_flight: int
    is_connected: bool
