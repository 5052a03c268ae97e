"""The metrics of the agent's own HTTP server."""

from __future__ import annotations

from collections.abc import Iterator

from gotax.exporters.metrics.family import Family, Metric

HTTP_REQUESTS = Metric("gotax_http_requests", "counter", "Answered HTTP requests.", ("code",))
HTTP_DROPPED = Metric(
    "gotax_http_dropped_connections",
    "counter",
    "Connections closed without a whole answer, by reason.",
    ("reason",),
)
METRICS = (HTTP_REQUESTS, HTTP_DROPPED)
"""In the order in which they are exposed."""

CODES = (200, 400, 404, 405, 431, 503)
REASONS = ("limit", "peer-limit", "request-timeout", "response-timeout")


class HttpCounts:
    """Counts of answered and dropped requests. All keys exist from the start: one thread counts
    while another reads."""

    def __init__(self) -> None:
        self.requests = dict.fromkeys(CODES, 0)
        self.dropped = dict.fromkeys(REASONS, 0)

    def families(self) -> Iterator[Family]:
        yield Family(HTTP_REQUESTS, [((str(code),), n) for code, n in self.requests.items()])
        yield Family(HTTP_DROPPED, [((reason,), n) for reason, n in self.dropped.items()])
