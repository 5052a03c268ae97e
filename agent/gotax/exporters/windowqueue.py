"""A queue of windows between the sampling thread and the sending thread of an exporter."""

from __future__ import annotations

from collections import deque

from gotax.window import Window


class WindowQueue:
    """At most ``most`` windows. One thread puts, another takes; neither blocks."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._windows: deque[Window] = deque()

    def __len__(self) -> int:
        return len(self._windows)

    def put(self, window: Window) -> Window | None:
        """Returns the oldest window if the queue was full, to be counted as lost; else None."""
        displaced = self.take() if len(self._windows) >= self._most else None
        self._windows.append(window)
        return displaced

    def take(self) -> Window | None:
        """The oldest window; None for an empty queue."""
        try:
            return self._windows.popleft()
        except IndexError:  # the other thread may have taken the last one
            return None

    def clear(self) -> None:
        self._windows.clear()
