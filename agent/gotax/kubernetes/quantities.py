"""Kubernetes quantities: ``250m``, ``1.5``, ``2``, ``1e3``, ``100u``."""

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
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
}


def parse_cores(text: str) -> float | None:
    """Cores of a CPU quantity; None for an invalid one, or one that is not above 0."""
    match = _QUANTITY.match(text)
    if match is None:
        return None
    number, suffix = match.groups()
    if suffix[:1] in ("e", "E") and suffix[1:]:
        value = Decimal(number + suffix)
    elif suffix in _SUFFIXES:
        value = Decimal(number) * _SUFFIXES[suffix]
    else:
        return None
    return float(value) if value > 0 else None
