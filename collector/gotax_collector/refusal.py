"""Why something that an agent sent is not taken."""

from __future__ import annotations

from enum import Enum

from gotax_collector.errors import CollectorError


class Reason(Enum):
    """One counter each, and what an agent is told in ``gotax-refused-reason``."""

    SYNTAX = "syntax"  # not a message of the wire
    PROTOCOL = "protocol"  # not what comes next: a report before the hello, a second hello
    SIZE = "size"  # of a message, as sent or inflated
    DICTIONARY = "dictionary"  # too many entries
    COUNT = "count"  # a number that cannot be, or too many of something
    REFERENCE = "reference"  # an id that nobody introduced
    TEXT = "text"  # too long, or characters that cannot be there
    CONSERVATION = "conservation"  # hits that do not add up
    SEQUENCE = "sequence"
    RATE = "rate"  # too many reports or bytes
    UNAUTHENTICATED = "unauthenticated"
    EXPIRED = "expired"  # the token
    FORBIDDEN = "forbidden"  # the token is of another agent
    STREAMS = "streams"  # as many as the collector takes
    HELLO_TIMEOUT = "hello-timeout"


class RefusedError(CollectorError):
    """``reason`` is for counters. The text says what was found, and holds nothing of the sender."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
