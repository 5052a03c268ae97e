"""Bearer tokens from a file with one per line. A changed file is reloaded.

A line is a token and, optionally, when it expires and which agents may use it::

    3f9c...  expires=2027-01-31T00:00:00Z  agent=node-*

Empty lines and lines that start with # are ignored. If a changed file is unreadable or invalid, the
old tokens stay valid. At the start it is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

from gotax_collector.errors import CollectorError
from gotax_collector.refusal import Reason, RefusedError

log = logging.getLogger(__name__)

LENGTH_MIN = 16
FILE_BYTES_MAX = 1 << 20


class TokenFileError(CollectorError):
    """The text is one sentence that names the file, and never a token."""


@dataclass(frozen=True, slots=True)
class Token:
    """``digest`` is SHA-256 of it: all digests have one length, and memory does not show tokens.

    ``expires_unix_s`` None: never. ``agents`` is a glob for names of agents.
    """

    digest: bytes
    expires_unix_s: float | None = None
    agents: str = "*"


def parse_tokens(text: str, name: str) -> tuple[Token, ...]:
    """TokenFileError: with the number of the line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            found.append(_parse_line(words))
        except ValueError as error:
            raise TokenFileError(f"{name}, line {number}: {error}") from error
    if not found:
        raise TokenFileError(f"{name} has no token in it")
    return tuple(found)


def _parse_line(words: list[str]) -> Token:
    if len(words[0]) < LENGTH_MIN:
        raise ValueError(f"a token has at least {LENGTH_MIN} characters")
    expires, agents = None, "*"
    for word in words[1:]:
        key, _, value = word.partition("=")
        if key == "expires":
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                raise ValueError("expires= takes a time such as 2027-01-31T00:00:00Z") from None
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            expires = moment.timestamp()
        elif key == "agent" and value:
            agents = value
        else:
            raise ValueError("only expires= and agent= can follow a token")
    return Token(sha256(words[0].encode()).digest(), expires, agents)


@dataclass(frozen=True, slots=True)
class Grant:
    """A token that was accepted, and for which agent. "" stands for a reader of the web page."""

    digest: bytes
    agent: str


class Tokens:
    """The current tokens of a file."""

    def __init__(self, path: str, unix_s: Callable[[], float]) -> None:
        self._path = Path(path)
        self._unix_s = unix_s
        self._stamp: tuple[int, ...] = ()
        self._tokens: dict[bytes, list[Token]] = {}
        self._read()

    def admit(self, authorization: str) -> None:
        """Whether it is the token of some agent: before the agent has said which one it is.

        RefusedError: UNAUTHENTICATED, EXPIRED.
        """
        self.refresh()
        self._valid(_digest(authorization))

    def check(self, authorization: str, agent: str) -> Grant:
        """RefusedError: UNAUTHENTICATED, EXPIRED, FORBIDDEN."""
        self.refresh()
        grant = Grant(_digest(authorization), agent)
        self.hold(grant)
        return grant

    def hold(self, grant: Grant) -> None:
        """Whether a grant is still valid, with the tokens of the last ``refresh``.

        RefusedError: UNAUTHENTICATED (the token was removed), EXPIRED, FORBIDDEN.
        """
        if not any(fnmatchcase(grant.agent, token.agents) for token in self._valid(grant.digest)):
            raise RefusedError(Reason.FORBIDDEN, "a token that is for other agents")

    def refresh(self) -> None:
        """Read a changed file."""
        try:
            self._read()
        except TokenFileError as error:
            log.warning("keeping the old tokens: %s", error)

    def _valid(self, digest: bytes) -> list[Token]:
        # Digests are compared, not tokens: the time of the look-up says nothing about a token.
        matching = self._tokens.get(digest)
        if not matching:
            raise RefusedError(Reason.UNAUTHENTICATED, "a token that is not known")
        now = self._unix_s()
        good = [t for t in matching if t.expires_unix_s is None or now < t.expires_unix_s]
        if not good:
            raise RefusedError(Reason.EXPIRED, "a token that has expired")
        return good

    def _read(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp == self._stamp:
                return
            with self._path.open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise TokenFileError(f"cannot read {self._path}: {error.strerror}") from error
        if len(data) > FILE_BYTES_MAX:
            raise TokenFileError(f"{self._path} is larger than {FILE_BYTES_MAX >> 20} MB")
        try:
            tokens = parse_tokens(data.decode(), str(self._path))
        except UnicodeDecodeError as error:
            raise TokenFileError(f"{self._path} is not text") from error
        self._tokens = {}
        for token in tokens:
            self._tokens.setdefault(token.digest, []).append(token)
        self._stamp = stamp


def _digest(authorization: str) -> bytes:
    """RefusedError: UNAUTHENTICATED, if it is no bearer token."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not given:
        raise RefusedError(Reason.UNAUTHENTICATED, "no bearer token")
    return sha256(given.strip().encode(errors="replace")).digest()
