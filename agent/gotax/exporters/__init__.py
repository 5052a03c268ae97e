"""Ways a Window leaves gotax. Each knows only the model (and the wire format it speaks)."""

from __future__ import annotations

from typing import Protocol

from gotax.window import Window


class Exporter(Protocol):
    """What the daemon asks of a way out. Exporters that make one file are plain functions."""

    def publish(self, window: Window) -> None:
        """Take over a finished window. Called once per window; must not block on the network."""

    def close(self) -> None:
        """Let go of everything held; ``publish`` is not called after it. Idempotent."""
