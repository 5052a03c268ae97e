"""Parsers of flag values: each function is the ``type`` of an argument."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from gotax.config import Suppression
from gotax.errors import ParseError, UserError
from gotax.usage import did_you_mean
from gotax.wire.addresses import (
    AddressError,
    Form,
    parse_destination,
    parse_listen,
    parse_url,
)

PID_MAX = 1 << 22  # include/linux/threads.h
KUBELET = Form("https://NODE:10250", {"https": 10250, "http": 10255})


def number(text: str, kind: type, low: float, high: float, what: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {low:.10g} to {high:.10g}")
    return value


def seconds(text: str) -> float:
    return float(number(text, float, 0.1, 86400, "a number of seconds"))


def hz(text: str) -> int:
    return int(number(text, int, 1, 999, "a whole number"))


def pid(text: str) -> int:
    return int(number(text, int, 1, PID_MAX, "a whole number"))


def suppression(text: str) -> Suppression:
    from gotax.diagnosis.suppression import parse_suppression

    try:
        return parse_suppression(text)
    except ParseError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("suppression: ")) from error


def codes(text: str) -> list[str]:
    """Codes of findings, from codes or their beginnings with commas between them."""
    from gotax.diagnosis.rules import CODES

    return codes_among(text, CODES)


def codes_among(text: str, known: Sequence[str]) -> list[str]:
    found = []
    for word in (part.strip().upper() for part in text.split(",")):
        meant = [code for code in known if word and code.startswith(word)]
        if not meant:
            near = did_you_mean(word, known)
            raise argparse.ArgumentTypeError(f"{word!r} is not the code of a finding{near}")
        found += meant
    return found


def share(text: str) -> float:
    return float(number(text, float, 0, 1, "a share"))


def ratio(text: str) -> float:
    return float(number(text, float, 1, 1e6, "a ratio"))


def cores(text: str) -> float:
    return float(number(text, float, 0, 1e4, "a number of cores"))


def series(text: str) -> int:
    return int(number(text, int, 100, 10_000_000, "a whole number"))


def work(text: str) -> float:
    return float(number(text, float, 1e-9, 1e15, "an amount of work"))


def byte_count(text: str) -> int:
    return int(number(text, int, 1 << 20, 1 << 40, "a number of bytes"))


def age(text: str) -> float:
    return float(number(text, float, 60, 30 * 86400, "a number of seconds"))


def node_name(text: str) -> str:
    if not text.isprintable() or not 0 < len(text.encode()) <= 256:
        raise argparse.ArgumentTypeError("a name must have 1 to 256 printable bytes")
    return text


def destination(text: str) -> tuple[str, int]:
    try:
        return parse_destination(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def address(text: str) -> tuple[str, int]:
    try:
        return parse_listen(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def kubelet(text: str) -> str:
    try:
        return str(parse_url(text, KUBELET))
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def header(text: str) -> tuple[str, str]:
    from gotax.exporters.credentials import parse_header

    try:
        return parse_header(text)
    except UserError as error:
        # Do not repeat the text: any part of a malformed header may be the secret.
        raise argparse.ArgumentTypeError(
            "a header must be NAME=VALUE in printable ASCII"
        ) from error


def is_pid(text: str) -> bool:
    """Longer digits are the beginning of a container ID."""
    return text.isascii() and text.isdigit() and len(text) < 8 and 1 <= int(text) <= PID_MAX
