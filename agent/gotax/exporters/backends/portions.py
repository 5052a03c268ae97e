"""A window in portions, one per Go container: what other people's backends take.

Their formats have one profile per container where a window has one for the host. As in a report,
a portion holds the Go processes of its container and nothing else; containers without a hit have
none.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from gotax.process import Container, Process
from gotax.profile import Int64Array, Profile
from gotax.window import ContainerReport, HitCount, Window


@dataclass(frozen=True, slots=True)
class Portion:
    """``rows`` are of ``window.profile``, at least one; ``processes`` are those that had a hit.

    Of two portions of one container and window ``part`` differs.
    """

    report: ContainerReport
    processes: tuple[Process, ...]
    rows: Int64Array
    part: int = 0

    @property
    def container(self) -> Container:
        return self.report.container

    def halves(self) -> tuple[Portion, Portion]:
        """The same hits as two portions; of at least two rows."""
        middle = len(self.rows) // 2
        return (
            replace(self, rows=self.rows[:middle], part=2 * self.part + 1),
            replace(self, rows=self.rows[middle:], part=2 * self.part + 2),
        )

    def id(self, window: Window) -> bytes:
        """16 bytes that are the same whenever this is sent, and no other portion has."""
        text = f"{window.host}\0{window.start_unix_ns}\0{self.container.key}\0{self.part}"
        return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message ready to be sent, and how many portions it holds."""

    body: bytes
    portions: int


def portions(window: Window) -> tuple[Portion, ...]:
    """In the order of the reports: most hits first."""
    found = []
    for report, rows in zip(window.reports, window.report_rows(), strict=True):
        if len(rows):
            seen = np.unique(window.profile.process[rows]).tolist()
            found.append(Portion(report, tuple(window.processes[i] for i in seen), rows))
    return tuple(found)


def window_of(portion: Portion, window: Window) -> Window:
    """A window that saw nothing but this portion."""
    columns = window.profile
    stacks, stack = np.unique(columns.stack[portion.rows], return_inverse=True)
    processes, process = np.unique(columns.process[portion.rows], return_inverse=True)
    hits = columns.hits[portion.rows]
    total = int(hits.sum())
    return replace(
        window,
        hits=HitCount(total, total, {}),
        processes=tuple(window.processes[i] for i in processes.tolist()),
        profile=Profile(
            process=process.astype(np.int32),
            stack=stack.astype(np.int32),
            category=columns.category[portion.rows],
            hits=hits,
            stacks=tuple(columns.stacks[i] for i in stacks.tolist()),
        ),
        reports=(portion.report,),
        other_hits=0,
        changes=(),
    )
