"""A gRPC channel to a remote service, with TLS or without.

grpcio takes about 20 MB of memory: import this module only if a flag needs it.
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from gotax.exporters.credentials import Credentials, read_file

Options = Sequence[tuple[str, str | int]]


def open_channel(
    authority: str,
    credentials: Credentials | None,
    options: Options,
    compression: grpc.Compression | None = None,
) -> grpc.Channel:
    """Without TLS if ``credentials`` is None. Raises UserError if a file cannot be read."""
    if credentials is None:
        return grpc.insecure_channel(authority, options, compression)
    names = (credentials.ca, credentials.key, credentials.certificate)
    contents = [read_file(name) if name else None for name in names]
    secured = grpc.ssl_channel_credentials(*contents)
    return grpc.secure_channel(authority, secured, options, compression)
