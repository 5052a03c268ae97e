"""The errors that gotax raises on purpose."""

from __future__ import annotations

from dataclasses import dataclass


class GotaxError(Exception):
    """Base of all errors raised on purpose. The text is one sentence."""


class UserError(GotaxError):
    """The user can fix this. The text names the remedy; the command exits with ``exit_code``."""

    exit_code = 2


class TransientError(UserError):
    """It may work later: the daemon retries."""


class ReadError(GotaxError):
    """Something outside of gotax could not be read: a ParseError or an AccessError.

    ``reason`` is a short stable identifier (``elf-truncated``), used as a metric label. The text
    says what was found where.
    """

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(f"{reason}: {text}" if text else reason)
        self.reason = reason

    @property
    def refusal(self) -> Refusal:
        return Refusal(self.reason, type(self))


class ParseError(ReadError):
    """Bytes from outside do not have the format that they should have."""


class AccessError(ReadError):
    """The bytes could not be had: permission, a missing file, memory that is not mapped."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The part of a ReadError that may be kept: its reason.

    An error that is raised again and again grows by a traceback each time, and keeps alive what its
    frames knew.
    """

    reason: str
    kind: type[ReadError] = ReadError

    @property
    def error(self) -> ReadError:
        return self.kind(self.reason)


class ProcessGoneError(GotaxError):
    """The process ended, or its PID was reused, while gotax read it."""
