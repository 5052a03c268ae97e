"""What a list of workloads can be narrowed down to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facets:
    """``findings`` and ``causes`` of what holds now, with the number of workloads; ``sizes``: CPUs
    with the number of nodes."""

    namespaces: tuple[str, ...]
    go: tuple[str, ...]
    findings: tuple[tuple[str, int], ...]
    causes: tuple[tuple[str, int], ...]
    sizes: tuple[tuple[int, int], ...]
