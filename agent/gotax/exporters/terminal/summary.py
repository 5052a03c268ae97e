"""The title above a table and the totals below it."""

from __future__ import annotations

from gotax.exporters.style import (
    BOLD,
    Style,
    cores,
    dot,
    ellipsis,
    labelled,
    painted,
    paragraph,
    plural,
    shortened,
    word,
)
from gotax.exporters.text import elided
from gotax.window import Window


def title_line(command: str, window: Window, style: Style) -> str:
    facts = (
        shortened(window.host, 30, style),
        f"{window.duration_s:.1f} s at {window.hz:.0f} Hz",
        plural(window.cpu_count, "CPU"),
        plural(window.samples.drained, "sample"),
    )
    rest = dot(style) + dot(style).join(fact for fact in facts if fact)
    return painted(command, BOLD, style) + elided(rest, style.room - len(command), ellipsis(style))


def totals(window: Window, style: Style) -> list[str]:
    go_cores = sum(window.cores_of(report) for report in window.reports)
    containers = plural(len(window.reports), "container")
    cpu = (
        f"Go {cores(go_cores)} cores in {containers}",
        f"other programs {cores(window.cpu_cores(window.native_samples))} cores",
        f"of {plural(window.cpu_count, 'CPU')}",
    )
    samples = window.samples
    lost = sum(samples.lost.values())
    counts = [f"{samples.drained:,} drained", f"{samples.attributed:,} attributed"]
    if lost:
        reasons = ", ".join(
            f"{word(reason, style)} {number:,}"
            for reason, number in sorted(samples.lost.items(), key=lambda item: -item[1])
            if number
        )
        counts.append(f"{lost:,} lost ({100 * lost / max(samples.drained, 1):.2f}%): {reasons}")
    else:
        counts.append("none lost")
    width = len("Samples  ")
    room = style.room - width
    return [
        *labelled("CPU", paragraph(dot(style).join(cpu), room, style), width, style),
        *labelled("Samples", paragraph(dot(style).join(counts), room, style), width, style),
        *(line for text in unjudged(window) for line in paragraph(text, style.room, style)),
    ]


_WHY = {
    "procfs-denied": "a security module or a sandbox protects them, or gotax is not root and lacks"
    " CAP_SYS_PTRACE",
    "procfs-hidden": "/proc is mounted with hidepid, and gotax lacks CAP_SYS_PTRACE",
    "process-gone": "they ended before gotax could read them",
    "elf-packed": "packed by UPX",
    "binary-hostile": "their files or memory held up the process that reads them",
    "binary-pending": "there was no time to read them yet",
    "reader-stuck": "file systems or memory of other programs do not answer, and hold all readers",
}


def unjudged(window: Window) -> list[str]:
    """A sentence for each reason why programs could not be read.

    On every host some programs end before they are read: these are shown only from 1 % of the
    samples.
    """
    texts = []
    for found in window.unjudged:
        if found.reason == "process-gone" and found.samples * 100 < window.samples.drained:
            continue
        are = "it is Go is" if found.processes == 1 else "they are Go is"
        why = f"{found.reason}: {_WHY[found.reason]}" if found.reason in _WHY else found.reason
        texts.append(
            f"{plural(found.processes, 'program')} ({cores(window.cpu_cores(found.samples))} cores)"
            f" could not be read ({why}): whether {are} not known."
        )
    return texts
