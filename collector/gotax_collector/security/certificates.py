"""The collector's TLS: certificates are read anew when their files change, without a restart."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import grpc

from gotax_collector.errors import CollectorError

log = logging.getLogger(__name__)


class CertificateError(CollectorError):
    """The text is one sentence that names the file."""


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM. ``client_authority`` "": agents need no certificate."""

    certificate: str
    key: str
    client_authority: str = ""


class Certificates:
    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._stamp: tuple[tuple[int, int, int], ...] = ()
        self.handshakes = 0
        """Begun. An agent that comes in opens one stream; the others were refused by TLS."""
        self.reloads = 0
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Asked anew at every handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._changed,  # type: ignore[arg-type]  # None is allowed, grpc/__init__.py says
            bool(self._files.client_authority),
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """None: what grpc has is still good. Runs on grpc's own threads, at every handshake."""
        self.handshakes += 1
        try:
            if self._stamps() == self._stamp:
                return None
            configuration = self._read()
        except CertificateError as error:
            log.warning("the certificates stay as they were: %s", error)
            return None
        self.reloads += 1
        log.info("certificates read anew")
        return configuration

    def _paths(self) -> list[Path]:
        files = self._files
        names = (files.key, files.certificate, files.client_authority)
        return [Path(name) for name in names if name]

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for path in self._paths():
            try:
                status = path.stat()
            except OSError as error:
                raise CertificateError(f"cannot read {path}: {error.strerror}") from error
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        stamp = self._stamps()
        contents = []
        for path in self._paths():
            try:
                contents.append(path.read_bytes())
            except OSError as error:
                raise CertificateError(f"cannot read {path}: {error.strerror}") from error
            if b"-----BEGIN " not in contents[-1]:
                raise CertificateError(f"{path} is not PEM")
        key, certificate, *authority = contents
        self._stamp = stamp
        return grpc.ssl_server_certificate_configuration(
            [(key, certificate)], authority[0] if authority else None
        )
