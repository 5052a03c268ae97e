"""When to retry a remote service that failed."""

from __future__ import annotations

import random


class BackOff:
    """Delays that double from ``first_s`` to ``last_s`` with each failure in a row.

    Half of a delay is random, so that agents do not all reconnect at the same time.
    """

    def __init__(self, first_s: float, last_s: float) -> None:
        self._first_s = first_s
        self._last_s = last_s
        self.failures = 0
        """Failures in a row."""

    def fail(self) -> None:
        self.failures += 1

    def succeed(self) -> None:
        self.failures = 0

    def delay_s(self) -> float:
        """The time from the last failure to the next attempt."""
        doubled_s = self._first_s * 2.0 ** min(max(self.failures - 1, 0), 30)
        longest_s = min(doubled_s, self._last_s)
        return random.uniform(longest_s / 2, longest_s)
