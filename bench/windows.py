"""What an agent's /metrics say of its windows; pure. A scrape per window sees each of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_LINE = re.compile(r"^(gotax_\w+)(?:\{(.*)\})? ([^ \n]+)$", re.M)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Scrape:
    """Sums since the agent's start. ``work_s``: CPU time of the sampling thread for the windows.

    ``judged``: containers with a GOMAXPROCS that was read and a verdict.
    """

    windows: int
    profiled_s: float
    work_s: float
    samples: int
    lost: dict[str, int]
    judged: int


def parse_scrape(text: str) -> Scrape:
    single: dict[str, float] = {}
    lost: dict[str, int] = {}
    readable: set[str] = set()
    judged: set[str] = set()
    for name, labels, value in _LINE.findall(text):
        if not labels:
            single[name] = float(value)
        elif name == "gotax_lost_samples_total" and float(value):
            lost[dict(_LABEL.findall(labels))["reason"]] = int(float(value))
        elif name == "gotax_gomaxprocs":
            readable.add(dict(_LABEL.findall(labels))["id"])
        elif name == "gotax_verdict" and float(value) == 1:
            found = dict(_LABEL.findall(labels))
            if found["verdict"] != _UNREADABLE:
                judged.add(found["id"])
    return Scrape(
        int(single.get("gotax_processing_seconds_count", 0)),
        single.get("gotax_profiled_seconds_total", 0.0),
        single.get("gotax_processing_seconds_sum", 0.0) + single.get("gotax_drain_seconds_sum", 0),
        int(single.get("gotax_samples_total", 0)),
        lost,
        len(judged & readable),
    )


def longest_work_s(scrapes: Sequence[Scrape]) -> float:
    """Of one window; where a scrape missed one, the mean of two."""
    longest, before = 0.0, Scrape(0, 0.0, 0.0, 0, {}, 0)
    for scrape in scrapes:
        if scrape.windows > before.windows:
            spent = (scrape.work_s - before.work_s) / (scrape.windows - before.windows)
            longest = max(longest, spent)
            before = scrape
    return longest


def lateness_s(scrapes: Sequence[Scrape], window_s: float) -> float:
    """How much later than planned a window ended at most."""
    return max((s.profiled_s - s.windows * window_s for s in scrapes if s.windows), default=0.0)


def windows_until_judged(scrapes: Sequence[Scrape], containers: int) -> int | None:
    """The window after which all of these have a verdict; None if that did not happen."""
    return next((s.windows for s in scrapes if s.judged >= containers), None)
