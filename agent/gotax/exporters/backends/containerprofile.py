"""A profile of each Go container in a window, for profiling backends.

Their formats have one profile per container; a window has one for the host. As in a report, a
profile contains only the Go processes of its container. Containers without a sample have no
profile.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from gotax.process import Container, Process
from gotax.profile import Int64Array, Profile
from gotax.window import ContainerReport, SampleCount, Window


@dataclass(frozen=True, slots=True)
class ContainerProfile:
    """``rows`` are rows of ``window.profile``, at least one; ``processes`` are those with a sample.

    ``part`` distinguishes several profiles of one container and window.
    """

    report: ContainerReport
    processes: tuple[Process, ...]
    rows: Int64Array
    part: int = 0

    @property
    def container(self) -> Container:
        return self.report.container

    def halves(self) -> tuple[ContainerProfile, ContainerProfile]:
        """The same samples as two profiles; needs at least two rows."""
        middle = len(self.rows) // 2
        return (
            replace(self, rows=self.rows[:middle], part=2 * self.part + 1),
            replace(self, rows=self.rows[middle:], part=2 * self.part + 2),
        )

    def id(self, window: Window) -> bytes:
        """16 bytes: the same each time this profile is sent, and different from every other
        profile."""
        text = f"{window.host}\0{window.start_unix_ns}\0{self.container.key}\0{self.part}"
        return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Batch:
    """A message ready to send, and the number of profiles in it."""

    body: bytes
    profiles: int


def container_profiles(window: Window) -> tuple[ContainerProfile, ...]:
    """In the order of the reports: most samples first."""
    found = []
    for report, rows in zip(window.reports, window.report_rows(), strict=True):
        if len(rows):
            seen = np.unique(window.profile.process[rows]).tolist()
            found.append(ContainerProfile(report, tuple(window.processes[i] for i in seen), rows))
    return tuple(found)


def window_of(source: ContainerProfile, window: Window) -> Window:
    """A window with only this profile."""
    columns = window.profile
    stacks, stack = np.unique(columns.stack[source.rows], return_inverse=True)
    processes, process = np.unique(columns.process[source.rows], return_inverse=True)
    samples = columns.samples[source.rows]
    total = int(samples.sum())
    return replace(
        window,
        samples=SampleCount(total, total, {}),
        processes=tuple(window.processes[i] for i in processes.tolist()),
        profile=Profile(
            process=process.astype(np.int32),
            stack=stack.astype(np.int32),
            category=columns.category[source.rows],
            samples=samples,
            stacks=tuple(columns.stacks[i] for i in stacks.tolist()),
        ),
        reports=(source.report,),
        other_samples=0,
        changes=(),
    )
