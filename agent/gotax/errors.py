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


@dataclass(frozen=True, slots=True)
class Refusal:
    """The part of a ParseError that can be stored: its reason. A stored error that is raised again
    grows by a traceback each time, and keeps the objects of its frames alive."""

    reason: str

    @property
    def error(self) -> ParseError:
        return ParseError(self.reason)


class ParseError(GotaxError):
    """Data from outside does not have the expected format.

    ``reason`` is a short stable identifier (``elf-truncated``), used as a metric label. The text
    says what was found where.
    """

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(f"{reason}: {text}" if text else reason)
        self.reason = reason

    @property
    def refusal(self) -> Refusal:
        return Refusal(self.reason)


class ProcessGoneError(GotaxError):
    """The process ended, or its PID was reused, while gotax read it."""
