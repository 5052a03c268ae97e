"""Sends to Pyroscope: push.v1.PusherService/Push, in the Connect protocol over HTTP.

The protocol is https://connectrpc.com/docs/protocol, unary calls: a POST of the message, and an
error as JSON with a code. Pyroscope's own clients use it, and it passes any HTTP proxy.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

from gotax.exporters.backends.containerprofile import Batch
from gotax.exporters.backends.httpcall import HttpCall
from gotax.exporters.backends.series import Series, series_groups
from gotax.exporters.endpoint import Endpoint
from gotax.window import Window

PATH = "/push.v1.PusherService/Push"
PORT = 4040
MAX_BYTES = 1024 * 1024
"""Limit of the gzipped size: half of what a tenant may send at once by default (ingestion burst
size, 2 MiB). Pyroscope's rate limit counts the unpacked size."""


class PyroscopeBackend:
    name = "pyroscope"
    max_bytes = MAX_BYTES

    def __init__(self, endpoint: Endpoint) -> None:
        headers = (("connect-protocol-version", "1"),)
        self._call = HttpCall(endpoint, PATH, "application/proto", headers)

    def batches(self, window: Window) -> Iterator[Batch]:
        for group in series_groups(window, self.max_bytes):
            yield Batch(push_request(group), len(group))

    def send(self, batch: Batch, timeout_s: float) -> int:
        self._call(batch.body, timeout_s)
        return 0

    def abort(self) -> None:
        self._call.abort()


def push_request(group: Iterable[Series]) -> bytes:
    """A PushRequest."""
    from gotax.wire.pyroscope import push_pb2

    request = push_pb2.PushRequest()
    for series in group:
        added = request.series.add()
        for name, value in series.labels:
            added.labels.add(name=name, value=value)
        added.samples.add(raw_profile=series.profile, ID=str(uuid.UUID(bytes=series.id)))
    body: bytes = request.SerializeToString(deterministic=True)
    return body
