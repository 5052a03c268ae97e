"""TLS for the web page. Changed files are used for new connections, without a restart."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from gotax_collector.errors import CollectorError

log = logging.getLogger(__name__)


class WebCertificateError(CollectorError):
    """The text is one sentence that names the file."""


@dataclass(frozen=True, slots=True)
class WebCertificate:
    """PEM files: a chain and its key."""

    certificate: str
    key: str


class WebTls:
    """WebCertificateError: the files cannot be used."""

    def __init__(self, files: WebCertificate) -> None:
        self._files = files
        self._stamp = self._read_stamp()
        self.context = self._loaded()

    def refresh(self) -> None:
        """Use changed files. Unusable ones are ignored until they change again."""
        try:
            stamp = self._read_stamp()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._loaded()  # a chain without its key must not replace the old pair
            self.context.load_cert_chain(self._files.certificate, self._files.key)
        except (WebCertificateError, OSError) as error:
            log.warning("keeping the old certificate of the web page: %s", error)
        else:
            log.info("certificate of the web page reloaded")

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._files.certificate, self._files.key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise WebCertificateError(
                f"cannot use {self._files.certificate} with {self._files.key}: {reason}"
            ) from error
        return context

    def _read_stamp(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for name in (self._files.certificate, self._files.key):
            try:
                status = Path(name).stat()
            except OSError as error:
                raise WebCertificateError(f"cannot read {name}: {error.strerror}") from error
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)
