"""The collector's TLS certificates. Changed files are reloaded without a restart."""

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
        """Handshakes started. Those that do not lead to a stream were refused by TLS."""
        self.reloads = 0
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that check for changed files at every handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._changed,  # type: ignore[arg-type]  # None is allowed, grpc/__init__.py says
            bool(self._files.client_authority),
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """None: unchanged. gRPC calls this on its own threads, at every handshake."""
        self.handshakes += 1
        try:
            if self._stamps() == self._stamp:
                return None
            configuration = self._read()
        except CertificateError as error:
            log.warning("keeping the old certificates: %s", error)
            return None
        self.reloads += 1
        log.info("certificates reloaded")
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
