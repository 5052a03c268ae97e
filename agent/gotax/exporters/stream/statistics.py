"""How the stream to a collector is doing: plain numbers, without what makes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Statistics:
    """Since the start; but how the spool and the connection are now.

    ``failures`` are connections that ended badly, ``dropped`` windows that no collector will get;
    both by reason. ``sent_bytes`` are of reports, compressed.
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
