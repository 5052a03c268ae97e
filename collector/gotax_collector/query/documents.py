"""Answers as JSON has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def document(value: Any) -> Any:
    """As JSON has it: fields, and what follows from them (``runtime_share``, ``is_sure``)."""
    if hasattr(value, "__dataclass_fields__"):
        shown = (f.name for f in fields(value) if f.metadata.get("json", True))
        names = [*shown, *_derived(type(value))]
        return {name: document(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): document(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [document(item) for item in value]
    return value


def _derived(kind: type) -> list[str]:
    return [name for name, member in vars(kind).items() if isinstance(member, property)]
