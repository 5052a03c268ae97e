"""What a list of workloads can be narrowed down to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facets:
    """What a list can be narrowed down to; ``findings``: codes with the number of workloads."""

    namespaces: tuple[str, ...]
    go: tuple[str, ...]
    findings: tuple[tuple[str, int], ...]
