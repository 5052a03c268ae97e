"""One unary gRPC method of a remote service, with TLS, headers and a deadline.

This module imports grpcio, so import it only if a flag needs it.
"""

from __future__ import annotations

import grpc

import gotax
from gotax.errors import UserError
from gotax.exporters.backends.delivery import DeliveryError
from gotax.exporters.credentials import Stamp, read_headers, stamp
from gotax.exporters.endpoint import Endpoint
from gotax.exporters.grpcchannel import open_channel

GZIP = grpc.Compression.Gzip
"""The limit that every gRPC server has by default."""

_TRANSIENT = {
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
"""The codes that OTLP's specification calls retryable (otlp/#failures); all others are final."""

_OPTIONS = (
    ("grpc.primary_user_agent", f"gotax/{gotax.__version__}"),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 64 * 1024),  # answers are a few bytes
    ("grpc.enable_retries", 0),  # the delivery retries, and counts
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 10_000),
)


class GrpcCall:
    """Connects at the first call, and again after a TLS file has changed."""

    def __init__(
        self,
        endpoint: Endpoint,
        method: str,
        compression: grpc.Compression = grpc.Compression.NoCompression,
    ) -> None:
        if endpoint.path:
            raise UserError(f"{endpoint}: gRPC knows no path after the port")
        self._endpoint = endpoint
        self._method = method
        self._compression = compression
        self._channel: grpc.Channel | None = None
        self._stamp: Stamp = ()
        self._is_aborted = False

    def __call__(self, body: bytes, timeout_s: float) -> bytes:
        """Returns the response. Raises DeliveryError."""
        try:
            channel = self._connected()
            metadata = read_headers(self._endpoint.credentials)
        except UserError as error:
            raise DeliveryError("credentials", str(error)) from error
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(self._method)
        try:
            answer: bytes = call(body, timeout=timeout_s, metadata=metadata)
            return answer
        except grpc.RpcError as error:
            raise self._explained(error.code(), error.details() or "") from error
        except ValueError as error:  # ``abort`` has closed the channel
            raise DeliveryError("cancelled", str(error)) from error

    def abort(self) -> None:
        self._is_aborted = True
        if self._channel is not None:
            self._channel.close()

    def _connected(self) -> grpc.Channel:
        now = stamp(self._endpoint.credentials.tls_files)
        if self._channel is None or (now != self._stamp and not self._is_aborted):
            if self._channel is not None:
                self._channel.close()
            self._channel = open_channel(self._endpoint, _OPTIONS, self._compression)
            self._stamp = now
        return self._channel

    def _explained(self, code: grpc.StatusCode, details: str) -> DeliveryError:
        reason = code.name.lower().replace("_", "-")
        text = f"{self._endpoint}: {reason}: {details[:500]}"
        is_final = code not in _TRANSIENT
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
            reason, is_final = "too-large", True  # the wording of grpc-go
        if code is grpc.StatusCode.UNIMPLEMENTED:
            text += " (does it take profiles? a collector does with a pipeline for them, which"
            text += " --feature-gates=service.profilesSupport allows)"
        return DeliveryError(reason, text, is_final=is_final)
