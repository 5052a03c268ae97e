"""Whether a container waits for CPU or memory, and because of whom, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from gotax.exporters.style import cores
from gotax.findings import WaitCause
from gotax.waiting import Pressure
from gotax.window import ContainerReport, Window

_NOTABLE = 0.01


def waiting_text(report: ContainerReport, window: Window) -> str:
    """ "" if nothing is known of it."""
    return "; ".join(_sentences(report, window))


def _sentences(report: ContainerReport, window: Window) -> Iterator[str]:
    waiting = report.waiting
    if waiting is None:
        return
    if waiting.run_ns + waiting.wait_ns:
        since = "since they began" if waiting.is_since_start else "in the last minutes"
        yield (
            f"its threads waited for a CPU {waiting.share:.0%} of the time in which they had work"
            f" ({waiting.threads} threads, {since})"
        )
        yield from _because(report, window)
    for what, pressure in (("CPU", waiting.cpu), ("memory", waiting.memory)):
        if pressure is not None and pressure.some >= _NOTABLE:
            yield f"in the last minute {_pressure(pressure)} waited for {what}"


def _because(report: ContainerReport, window: Window) -> Iterator[str]:
    if report.waits_for is WaitCause.OWN_LIMIT:
        yield "the kernel throttles it: its own CPU limit is the reason"
    elif report.waits_for is WaitCause.OWN_THREADS:
        yield "the node is not busy: more of its own threads have work at once than there are CPUs"
    elif report.waits_for is WaitCause.NODE:
        others = sum(window.cores_of(each) for each in window.reports) - window.cores_of(report)
        native = window.cpu_cores(window.other_samples)
        text = f"the {window.cpu_count} CPUs of the node are busy"
        if others + native:  # else only this container was sampled
            text += f": other Go containers use {cores(others)} cores, other programs"
            text += f" {cores(native)}"
        yield text
        pod = report.container.pod
        request = pod.current.request_cores if pod is not None else None
        if request is not None:
            used = window.cores_of(report)
            yield (
                f"it uses {cores(used)} cores, its request is {cores(request)}: a busy node shares"
                " its CPUs in proportion to the requests"
            )
        elif pod is not None:
            yield "it has no CPU request, so it gets what the others leave"


def _pressure(found: Pressure) -> str:
    text = f"some of its tasks {found.some:.0%} of the time"
    return text + (f" (all of them {found.full:.0%})" if found.full >= _NOTABLE else "")
