"""The password of a ClickHouse server: from a file or the environment, never from an argument."""

from __future__ import annotations

import os

from gotax_collector.errors import CollectorError
from gotax_collector.storage.clickhouse import PASSWORD_VARIABLE

_BYTES_MAX = 64 << 10


class CredentialsError(CollectorError):
    """The text is one sentence that names the file, and never what is in it."""


def store_password(file: str | None) -> str:
    """The first line of the file, else the variable, else "". CredentialsError."""
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE, "")
    try:
        with open(file, "rb") as opened:
            lines = opened.read(_BYTES_MAX).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise CredentialsError(f"cannot read {file}: {reason}") from error
    if not lines or not lines[0]:
        raise CredentialsError(f"{file} has no password in its first line")
    return lines[0]
