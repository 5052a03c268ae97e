"""Sends to Parca: parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw over gRPC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gotax.exporters.backends.containerprofile import Batch
from gotax.exporters.backends.grpccall import GrpcCall
from gotax.exporters.backends.series import Series, series_groups
from gotax.exporters.endpoint import Endpoint
from gotax.window import Window

METHOD = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw"
PORT = 7070
MAX_BYTES = 2 * 1024 * 1024


class ParcaBackend:
    name = "parca"
    max_bytes = MAX_BYTES

    def __init__(self, endpoint: Endpoint) -> None:
        self._call = GrpcCall(endpoint, METHOD)

    def batches(self, window: Window) -> Iterator[Batch]:
        for group in series_groups(window, self.max_bytes):
            yield Batch(write_request(group), len(group))

    def send(self, batch: Batch, timeout_s: float) -> int:
        self._call(batch.body, timeout_s)
        return 0

    def abort(self) -> None:
        self._call.abort()


def write_request(group: Iterable[Series]) -> bytes:
    """A WriteRawRequest."""
    from gotax.wire.parca import profilestore_pb2

    request = profilestore_pb2.WriteRawRequest(normalized=True)
    for series in group:
        added = request.series.add()
        for name, value in series.labels:
            added.labels.labels.add(name=name, value=value)
        added.samples.add(raw_profile=series.profile)
    body: bytes = request.SerializeToString(deterministic=True)
    return body
