"""One timer per online CPU: CPUs come and go (hot-plug, suspend, live migration)."""

from __future__ import annotations

import errno
import os
import time

from gotax.errors import UserError
from gotax.profile import Int64Array
from gotax.sampling import kernel, preflight

_LEEWAY = 2
"""Interrupts that may be missing between two looks before gotax checks whether the timer runs."""
_LOOK_EVERY = 8
"""Interrupts: drains may come faster than a timer fires."""


class Timers:
    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._events: dict[int, int] = {}  # CPU -> event
        self._seen: dict[int, int] = {}  # CPU -> interrupts at the last look
        self._looked_ns = 0

    def __len__(self) -> int:
        return len(self._events)

    def follow(self, online: set[int], program_fd: int, interrupts: Int64Array) -> tuple[int, int]:
        """Run the program on every online CPU; ``interrupts``: of each CPU so far.

        A CPU that goes offline takes its timer along, and does not bring it back. Returns how many
        timers had stopped of CPUs that are online, and how many interrupts did not come at most,
        from those CPUs and from new ones. Raises UserError.
        """
        now_ns = time.monotonic_ns()
        due = (now_ns - self._looked_ns) // self._period_ns if self._looked_ns else 0
        if self._looked_ns and due < _LOOK_EVERY and online == self._events.keys():
            return 0, 0
        for cpu in self._events.keys() - online:
            os.close(self._events.pop(cpu))
        stopped = 0
        for cpu, event in list(self._events.items()):
            came = int(interrupts[cpu]) - self._seen[cpu]
            # Interrupts also come late where another guest had the CPU, so check the timer.
            if came < due - _LEEWAY and kernel.is_stopped(event):
                os.close(self._events.pop(cpu))
                stopped += 1
        missed = 0
        for cpu in sorted(online - self._events.keys()):
            if self._start(cpu, program_fd):
                missed += max(0, due - int(interrupts[cpu]) + self._seen.get(cpu, 0))
        self._seen = dict(enumerate(interrupts.tolist()))
        self._looked_ns = now_ns
        return stopped, missed

    def _start(self, cpu: int, program_fd: int) -> bool:
        """False: it went offline since it was listed."""
        try:
            event = kernel.open_cpu_clock(cpu, self._period_ns)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise UserError(preflight.explain_perf_refusal(error)) from error
        self._events[cpu] = event
        try:
            kernel.attach(event, program_fd)
        except OSError as error:
            raise UserError(preflight.explain_perf_refusal(error)) from error
        return True

    def close(self) -> None:
        for event in self._events.values():
            os.close(event)
        self._events.clear()
