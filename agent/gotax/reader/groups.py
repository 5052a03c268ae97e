"""What each group has cost the readers. A group is a pod, a container or a unit.

So that a container does not use up what all have: the readers, and the time to wait for them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass

from gotax.lru import LruCache

_REMEMBERED = 4096
_SILENT_MAX = 2
_FEW_STUCK = 6
"""Readers. From so many on, a group may have one question that is never answered, and not two."""
_SUSPECT = 2  # offences
_QUICK_S = 0.005
_DEBT_S = 0.5
_DEBT_SHARE = 0.02  # of the time that passes, is forgiven

DISPLACED, DIED, HOSTILE = 1, 1, 2
"""Offences: it held up other questions for two seconds, ended a reader, broke a bound."""


@dataclass(slots=True)
class _Record:
    silent: int = 0
    offences: int = 0
    debt_s: float = 0.0  # what it took to wait for answers that were not quick
    at_s: float = 0.0


class Groups:
    """The group "" is of processes whose container is not known yet. It is never blamed."""

    def __init__(self) -> None:
        self._records: LruCache[str, _Record] = LruCache(_REMEMBERED)
        self._waited_s: defaultdict[str, float] = defaultdict(float)  # in this round

    def begin_round(self) -> None:
        self._waited_s.clear()

    def blame(self, group: str, offence: int) -> None:
        self._record(group).offences += offence

    def add_silent(self, group: str) -> None:
        """A question about it was not answered, and held a reader."""
        record = self._record(group)
        record.silent += 1
        record.offences += HOSTILE

    def is_barred(self, group: str, stuck: int) -> bool:
        """Nothing of it is read any more. ``stuck``: readers that do not die."""
        record = self._records.get(group) if group else None
        most = _SILENT_MAX if stuck < _FEW_STUCK else 1
        return record is not None and record.silent >= most

    def is_suspect(self, group: str) -> bool:
        """All its questions count as slow ones."""
        record = self._records.get(group) if group else None
        return record is not None and record.offences >= _SUSPECT

    def add_wait(self, group: str, waited_s: float) -> None:
        self._waited_s[group] += waited_s
        if waited_s > _QUICK_S:
            record = self._record(group)
            record.debt_s = self._debt_s(record) + waited_s
            record.at_s = time.monotonic()

    def left_s(self, group: str, left_s: float, round_s: float) -> float:
        """Of the time to wait in this round, of which ``left_s`` are left of ``round_s``: a group
        has half of it, and one that took much lately only what is left of the first half."""
        half_s = round_s / 2
        found = min(left_s, half_s - self._waited_s[group])
        record = self._records.get(group) if group else None
        if record is not None and self._debt_s(record) > _DEBT_S:
            return min(found, left_s - half_s)
        return found

    def _debt_s(self, record: _Record) -> float:
        return max(0.0, record.debt_s - _DEBT_SHARE * (time.monotonic() - record.at_s))

    def _record(self, group: str) -> _Record:
        record = self._records.get(group)
        if record is None:
            record = _Record()
            self._records.put(group, record)
        return record
