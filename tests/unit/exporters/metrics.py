"""Every metric that /metrics may show, in its order."""

from __future__ import annotations

from gotax.exporters.backends import metrics as backends
from gotax.exporters.events import metrics as events
from gotax.exporters.metrics import containers, host, http, others, own
from gotax.exporters.stream import metrics as stream

METRICS = (
    *containers.METRICS,
    *others.METRICS,
    *host.METRICS,
    *stream.METRICS,
    *backends.METRICS,
    *events.METRICS,
    *http.METRICS,
    *own.METRICS,
)
