"""Words for values of answers that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FIELD_NAMES = {
    "gomaxprocs": "GOMAXPROCS",
    "go": "Go",
    "image": "image",
    "limit_cores": "CPU limit",
}


def variant_text(value: object, field: str) -> str:
    if field == "limit_cores" and isinstance(value, float | int):
        return f"{value:g}" if value else "none"
    return str(value)


def why_not(row: Mapping[str, Any]) -> str:
    before, after = (_numbers(counts) for counts in row["cpu_counts"])
    if row["reason"] == "other-nodes":
        return f"it ran on nodes with {before} CPUs before, and with {after} CPUs after"
    return f"too few samples in an hour, on nodes with {before} CPUs"


def _numbers(counts: Sequence[int]) -> str:
    texts = [str(count) for count in counts]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def covered_of(seconds: float, whole: float) -> str:
    """How much time there is data of, and of how much where that is less."""
    if seconds > 0.98 * whole:
        return covered(seconds)
    return f"{covered(seconds)} of that time reported"


def covered(seconds: float) -> str:
    """``3 min``, ``23 h 50 min``, ``6 days 4 h``: how much time there is data of."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{round(seconds)} s"
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} {'day' if days == 1 else 'days'}" + (f" {hours} h" if hours else "")
    if hours:
        return f"{hours} h" + (f" {rest} min" if rest else "")
    return f"{rest} min"
