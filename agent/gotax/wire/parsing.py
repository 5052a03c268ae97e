"""Protobuf's errors, for those who must not know protobuf."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

Kind = TypeVar("Kind", bound=Message)


def parsed(kind: type[Kind], data: bytes) -> Kind | None:
    """None: not a message of that kind."""
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    return message
