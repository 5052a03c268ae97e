"""Windows between the sampling thread and the thread of an exporter that sends them."""

from __future__ import annotations

from collections import deque

from gotax.window import Window


class WindowQueue:
    """At most ``most`` windows. One thread puts, another takes; neither waits for the other."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._windows: deque[Window] = deque()

    def __len__(self) -> int:
        return len(self._windows)

    def put(self, window: Window) -> Window | None:
        """The oldest window if it had to make room, to be counted as lost; else None."""
        displaced = self.take() if len(self._windows) >= self._most else None
        self._windows.append(window)
        return displaced

    def take(self) -> Window | None:
        """The oldest window; None for an empty queue."""
        try:
            return self._windows.popleft()
        except IndexError:  # the other thread may have been faster than a look at the length
            return None

    def clear(self) -> None:
        self._windows.clear()
