"""Sends to an OpenTelemetry Collector, or another OTLP receiver: ProfilesService/Export over gRPC.

opentelemetry-proto is an extra: pip install 'gotax[otlp]'.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)

from gotax.exporters.backends.containerprofile import Batch
from gotax.exporters.backends.grpccall import GZIP, GrpcCall
from gotax.exporters.backends.otlp import MAX_BYTES, export_batches
from gotax.exporters.endpoint import Endpoint
from gotax.window import Window

METHOD = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"

log = logging.getLogger("gotax")


class OtlpBackend:
    name = "otlp"
    max_bytes = MAX_BYTES

    def __init__(self, endpoint: Endpoint) -> None:
        self._call = GrpcCall(endpoint, METHOD, GZIP)

    def batches(self, window: Window) -> Iterator[Batch]:
        return export_batches(window, max_bytes=self.max_bytes)

    def send(self, batch: Batch, timeout_s: float) -> int:
        answer = ExportProfilesServiceResponse.FromString(self._call(batch.body, timeout_s))
        partial = answer.partial_success
        if partial.error_message:
            log.warning("otlp: the receiver says: %s", partial.error_message[:500])
        return min(max(0, int(partial.rejected_profiles)), batch.profiles)

    def abort(self) -> None:
        self._call.abort()
