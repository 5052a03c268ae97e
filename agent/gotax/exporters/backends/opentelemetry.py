"""To an OpenTelemetry Collector, or what else takes OTLP: ProfilesService/Export over gRPC.

opentelemetry-proto is an extra: pip install 'gotax[otlp]'.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceResponse,
)

from gotax.exporters.backends.endpoint import Endpoint
from gotax.exporters.backends.grpccall import GZIP, GrpcCall
from gotax.exporters.backends.otlp import MAX_BYTES, export_parcels
from gotax.exporters.backends.portions import Parcel
from gotax.window import Window

METHOD = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"

log = logging.getLogger("gotax")


class OtlpBackend:
    name = "otlp"
    max_bytes = MAX_BYTES

    def __init__(self, endpoint: Endpoint) -> None:
        self._call = GrpcCall(endpoint, METHOD, GZIP)

    def parcels(self, window: Window) -> Iterator[Parcel]:
        return export_parcels(window, max_bytes=self.max_bytes)

    def send(self, parcel: Parcel, timeout_s: float) -> int:
        answer = ExportProfilesServiceResponse.FromString(self._call(parcel.body, timeout_s))
        partial = answer.partial_success
        if partial.error_message:
            log.warning("otlp: the receiver says: %s", partial.error_message[:500])
        return min(max(0, int(partial.rejected_profiles)), parcel.portions)

    def abort(self) -> None:
        self._call.abort()
