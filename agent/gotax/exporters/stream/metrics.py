"""The metrics of the stream to a collector."""

from __future__ import annotations

from collections.abc import Iterator

from gotax.exporters.metrics.family import Family, Metric
from gotax.exporters.stream.statistics import Statistics

STREAM_CONNECTED = Metric(
    "gotax_stream_connected", "gauge", "1 while the agent is connected to a collector, else 0."
)
STREAM_CONNECTIONS = Metric(
    "gotax_stream_connections", "counter", "Attempted connections to a collector."
)
STREAM_FAILURES = Metric(
    "gotax_stream_failures", "counter", "Failed connections to a collector, by reason.", ("reason",)
)
STREAM_SENT = Metric(
    "gotax_stream_sent_reports", "counter", "Reports sent, including repeated ones."
)
STREAM_BYTES = Metric("gotax_stream_sent_bytes", "counter", "Compressed bytes of the reports sent.")
STREAM_ACKNOWLEDGED = Metric(
    "gotax_stream_acknowledged_reports", "counter", "Reports stored by a collector."
)
STREAM_DROPPED = Metric(
    "gotax_stream_dropped_windows",
    "counter",
    "Windows not delivered to a collector, by reason.",
    ("reason",),
)
STREAM_IN_FLIGHT = Metric(
    "gotax_stream_in_flight_reports", "gauge", "Reports sent but not yet acknowledged."
)
SPOOL_RECORDS = Metric(
    "gotax_spool_reports", "gauge", "Reports in the spool that no collector has stored yet."
)
SPOOL_BYTES = Metric(
    "gotax_spool_bytes", "gauge", "Bytes of the reports in the spool, on disk and in memory."
)
SPOOL_ERRORS = Metric("gotax_spool_errors", "counter", "Failed writes to the spool.")

METRICS = (
    STREAM_CONNECTED,
    STREAM_CONNECTIONS,
    STREAM_FAILURES,
    STREAM_SENT,
    STREAM_BYTES,
    STREAM_ACKNOWLEDGED,
    STREAM_DROPPED,
    STREAM_IN_FLIGHT,
    SPOOL_RECORDS,
    SPOOL_BYTES,
    SPOOL_ERRORS,
)
"""In the order in which they are exposed."""


def families(now: Statistics) -> Iterator[Family]:
    yield Family(STREAM_CONNECTED, [((), now.is_connected)])
    yield Family(STREAM_CONNECTIONS, [((), now.connections)])
    yield Family(STREAM_FAILURES, (((why,), n) for why, n in sorted(now.failures.items())))
    yield Family(STREAM_SENT, [((), now.sent)])
    yield Family(STREAM_BYTES, [((), now.sent_bytes)])
    yield Family(STREAM_ACKNOWLEDGED, [((), now.acknowledged)])
    yield Family(STREAM_DROPPED, (((why,), n) for why, n in sorted(now.dropped.items())))
    yield Family(STREAM_IN_FLIGHT, [((), now.in_flight)])
    yield Family(SPOOL_RECORDS, [((), now.spool_records)])
    yield Family(SPOOL_BYTES, [((), now.spool_bytes)])
    yield Family(SPOOL_ERRORS, [((), now.spool_errors)])
