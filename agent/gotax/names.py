"""Who can tell which pod a container belongs to. Optional: without, containers go by their ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gotax.process import PodContainer


class Names(Protocol):
    """Kubernetes' (kubernetes/watch.py), or nobody's. Asked by the thread that samples, once per
    window and container: ``find`` must not wait for anything."""

    def find(self, container_id: str) -> PodContainer | None:
        """What is known of a container by now."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What went wrong since the start, by kind."""

    def __len__(self) -> int:
        """Containers known."""


class NoNames:
    """Knows no names."""

    counts: Mapping[str, int] = {}

    def find(self, container_id: str) -> PodContainer | None:  # noqa: ARG002
        return None

    def __len__(self) -> int:
        return 0


NO_NAMES = NoNames()
