"""The outputs of a Window. Each imports only the model (and its wire format)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gotax.window import Window


class Exporter(Protocol):
    """The interface of an output for the daemon. Exporters that write one file are plain
    functions."""

    def publish(self, window: Window) -> None:
        """Takes a finished window. Called once per window; must not block on the network."""

    def close(self) -> None:
        """Releases all resources; ``publish`` is not called after it. Idempotent."""
