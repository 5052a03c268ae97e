"""A gRPC channel to a remote service, with TLS or without.

grpcio takes about 20 MB of memory: import this module only if a flag needs it.
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from gotax.exporters.credentials import read_file
from gotax.exporters.endpoint import Endpoint

Options = Sequence[tuple[str, str | int]]


def open_channel(
    endpoint: Endpoint,
    options: Options,
    compression: grpc.Compression | None = None,
) -> grpc.Channel:
    """Raises UserError if a TLS file cannot be read."""
    if not endpoint.is_secure:
        return grpc.insecure_channel(endpoint.authority, options, compression)
    credentials = endpoint.credentials
    names = (credentials.ca, credentials.key, credentials.certificate)
    contents = [read_file(name) if name else None for name in names]
    secured = grpc.ssl_channel_credentials(*contents)
    return grpc.secure_channel(endpoint.authority, secured, options, compression)
