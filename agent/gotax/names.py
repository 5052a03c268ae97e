"""An optional source of the names of containers. Without it, containers are named by their ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gotax.process import PodContainer


class Names(Protocol):
    """The names from Kubernetes (kubernetes/watch.py), or none. The sampling thread calls ``find``
    once per window and container, so it must not block."""

    def find(self, container_id: str) -> PodContainer | None:
        """What is known about a container so far."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Errors since the start, by kind."""

    def __len__(self) -> int:
        """The number of known containers."""


class NoNames:
    """The source without names."""

    counts: Mapping[str, int] = {}

    def find(self, container_id: str) -> PodContainer | None:  # noqa: ARG002
        return None

    def __len__(self) -> int:
        return 0


NO_NAMES = NoNames()
