"""Why the collector refuses something that an agent sent."""

from __future__ import annotations

from enum import Enum

from gotax_collector.errors import CollectorError


class Reason(Enum):
    """Each has a counter. The agent gets it as ``gotax-refused-reason``."""

    SYNTAX = "syntax"  # not a message of the wire
    PROTOCOL = "protocol"  # a message out of order: a report before the hello, a second hello
    SIZE = "size"  # of a message, as sent or after decompression
    EXPANSION = "expansion"  # too large as rows of the store
    DICTIONARY = "dictionary"  # too many entries
    COUNT = "count"  # a number out of range, or too many of something
    REFERENCE = "reference"  # an id that is not in the dictionary
    TEXT = "text"  # too long, or with characters that are not allowed
    CONSERVATION = "conservation"  # samples that do not add up
    SEQUENCE = "sequence"
    RATE = "rate"  # too many reports or bytes
    UNAUTHENTICATED = "unauthenticated"
    EXPIRED = "expired"  # the token
    FORBIDDEN = "forbidden"  # the token belongs to another agent
    STREAMS = "streams"  # the collector has its maximum number of streams
    HELLO_TIMEOUT = "hello-timeout"


class RefusedError(CollectorError):
    """``reason`` is for counters. The text describes the error. It quotes no text of the sender."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason
