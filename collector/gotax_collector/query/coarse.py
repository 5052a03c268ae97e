"""Since when the coarse sums of a store have all that was inserted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gotax_collector.storage.schema import COARSE_VERSION

DAY_S = 86_400

Ask = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]


def complete_since(ask: Ask) -> int | None:
    """Unix seconds; None: never. An upgrade does not fill them, so it is the day after that."""
    found = ask(
        "SELECT min(version) AS oldest, countIf(version >= {coarse:UInt32}) AS has,"
        " toUnixTimestamp(minIf(applied, version >= {coarse:UInt32})) AS at FROM schema_versions",
        {"coarse": COARSE_VERSION},
    )[0]
    if not found["has"]:
        return None
    if found["oldest"] >= COARSE_VERSION:
        return 0
    return (int(found["at"]) // DAY_S + 1) * DAY_S
