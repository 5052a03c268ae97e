"""Profiling backends, by the name that their flags begin with.

The module of a backend is imported only if its flag is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from gotax.exporters.credentials import require_readable
from gotax.exporters.endpoint import Endpoint
from gotax.extras import needed_by

if TYPE_CHECKING:
    from gotax.exporters.backends.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Kind:
    """``extra`` is the extra of gotax that has to be installed for it, "" for none."""

    name: str
    title: str
    port: int
    backend: str
    extra: str = ""


KINDS = (
    Kind(
        "otlp",
        "OTLP profiles over gRPC, to an OpenTelemetry Collector",
        4317,
        "opentelemetry.OtlpBackend",
        "otlp",
    ),
    Kind("pyroscope", "pprof to Pyroscope", 4040, "pyroscope.PyroscopeBackend"),
    Kind("parca", "pprof to Parca", 7070, "parca.ParcaBackend"),
)


def open_delivery(kind: Kind, endpoint: Endpoint) -> Delivery:
    """Raises UserError if a package is missing or a file cannot be read.

    Connects only when there is something to send: a backend that is down is no error.
    """
    from gotax.exporters.backends.delivery import Delivery

    require_readable(endpoint.credentials)
    module, _, name = kind.backend.partition(".")
    with needed_by(f"--{kind.name}-endpoint", kind.extra):
        backend = getattr(import_module(f"gotax.exporters.backends.{module}"), name)
    return Delivery(backend(endpoint))
