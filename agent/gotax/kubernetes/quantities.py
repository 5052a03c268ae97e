"""Kubernetes quantities: ``250m``, ``1.5``, ``2``, ``1e3``, ``100u``, ``512Mi``."""

from __future__ import annotations

import re
from decimal import Decimal

# k8s.io/apimachinery pkg/api/resource/quantity.go: <signedNumber><suffix>, the suffix SI, binary
# or an exponent.
_QUANTITY = re.compile(
    r"([+-]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20}))([A-Za-z]{0,2}|[eE][+-]?\d{1,2})\Z"
)
_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
}


def parse_cores(text: str) -> float | None:
    """Cores of a CPU quantity; None for an invalid one, or one that is not above 0."""
    value = parse_quantity(text)
    return float(value) if value is not None and value > 0 else None


def parse_quantity(text: str) -> Decimal | None:
    """None for an invalid one."""
    match = _QUANTITY.match(text)
    if match is None:
        return None
    number, suffix = match.groups()
    if suffix[-1:].isdigit():
        return Decimal(number + suffix)
    return Decimal(number) * _SUFFIXES[suffix] if suffix in _SUFFIXES else None
