"""Counters of the profiles sent to a backend."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Account:
    """Profiles by what happened to them. ``failures`` counts failed calls, by reason."""

    taken: int = 0
    sent: int = 0
    sent_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    backlog_bytes: int = 0

    @property
    def waiting(self) -> int:
        return self.taken - self.sent - self.dropped.total()
