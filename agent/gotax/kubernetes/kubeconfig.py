"""The API server of a kubeconfig, for an agent outside of a pod.

lightkube knows how kubeconfigs name servers, certificates and credentials, some of which come from
other programs. Its own watch is not used: it waits forever on a dead connection, and its memory is
not bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import httpx2
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ConfigError

from gotax.kubernetes.connection import Answer, Request

_CONNECT_S = 10.0
_FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError)


class ConfiguredClient:
    def __init__(self) -> None:
        """Raises OSError, ValueError."""
        # ImportError: the environment's proxy needs another library.
        try:
            found = KubeConfig.from_env().get()
            if found is None or found.user is None:
                raise ConfigError("no current context")
            params = client_adapter.ConnectionParams(timeout=httpx2.Timeout(_CONNECT_S))
            self._http = client_adapter.Client(found, params)
        except (*_FAILURES, ConfigError, KeyError, AttributeError, ImportError) as error:
            raise ValueError(str(error) or type(error).__name__) from error

    @contextmanager
    def ask(self, request: Request, silence_s: float) -> Iterator[Answer]:
        try:
            with self._http.stream(
                request.method,
                request.path,
                params=dict(request.query),
                headers={**request.headers, "Accept-Encoding": "identity"},
                content=request.body,
                timeout=httpx2.Timeout(_CONNECT_S, read=silence_s),
            ) as answer:
                encoding = answer.headers.get("content-encoding", "identity")
                status, reason = answer.status_code, answer.reason_phrase
                yield Answer(status, reason, encoding, answer.iter_raw())
        except httpx2.ReadTimeout as error:
            raise TimeoutError(str(error)) from error
        except (*_FAILURES, ConfigError) as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
