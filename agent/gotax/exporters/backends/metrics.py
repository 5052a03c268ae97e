"""The metrics of the delivery to a backend."""

from __future__ import annotations

from collections.abc import Iterator

from gotax.exporters.backends.account import Account
from gotax.exporters.metrics.family import Family, Metric

BACKEND_SENT = Metric(
    "gotax_backend_sent_profiles",
    "counter",
    "Profiles accepted by a backend: one for each container and window.",
    ("backend",),
)
BACKEND_BYTES = Metric(
    "gotax_backend_sent_bytes",
    "counter",
    "Bytes of the messages accepted by a backend.",
    ("backend",),
)
BACKEND_DROPPED = Metric(
    "gotax_backend_dropped_profiles",
    "counter",
    "Profiles not delivered to a backend, by reason.",
    ("backend", "reason"),
)
BACKEND_FAILURES = Metric(
    "gotax_backend_failed_calls",
    "counter",
    "Failed calls to a backend, by reason.",
    ("backend", "reason"),
)
BACKEND_WAITING = Metric(
    "gotax_backend_waiting_profiles",
    "gauge",
    "Profiles that wait for delivery to a backend.",
    ("backend",),
)

METRICS = (
    BACKEND_SENT,
    BACKEND_BYTES,
    BACKEND_DROPPED,
    BACKEND_FAILURES,
    BACKEND_WAITING,
)
"""In the order in which they are exposed."""


def families(backend: str, now: Account) -> Iterator[Family]:
    yield Family(BACKEND_SENT, [((backend,), now.sent)])
    yield Family(BACKEND_BYTES, [((backend,), now.sent_bytes)])
    for metric, counts in ((BACKEND_DROPPED, now.dropped), (BACKEND_FAILURES, now.failures)):
        yield Family(metric, [((backend, reason), n) for reason, n in sorted(counts.items())])
    yield Family(BACKEND_WAITING, [((backend,), now.waiting)])
