"""Every error gotax raises on purpose."""

from __future__ import annotations

from dataclasses import dataclass


class GotaxError(Exception):
    """Base of all errors raised on purpose. The text is one sentence."""


class UserError(GotaxError):
    """The user can mend this. The text names the remedy; the command exits with ``exit_code``."""

    exit_code = 2


class TransientError(UserError):
    """The same may work a little later: the daemon tries again."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What may be kept of a ParseError: its reason. An error that is raised again and again grows
    by a traceback each time, and keeps alive what its frames knew."""

    reason: str

    @property
    def error(self) -> ParseError:
        return ParseError(self.reason)


class ParseError(GotaxError):
    """Bytes from outside are not what their format promises.

    ``reason`` is a short stable identifier (``elf-truncated``) used as a metric label;
    the text says what was found where.
    """

    def __init__(self, reason: str, text: str = "") -> None:
        super().__init__(f"{reason}: {text}" if text else reason)
        self.reason = reason

    @property
    def refusal(self) -> Refusal:
        return Refusal(self.reason)


class ProcessGoneError(GotaxError):
    """The process ended (or its PID was reused) while it was read."""
