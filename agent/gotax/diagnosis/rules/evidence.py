"""Evidence texts that several rules share."""

from __future__ import annotations

from gotax.diagnosis.bounds import long_bound
from gotax.diagnosis.context import Context
from gotax.findings import Evidence, Saving
from gotax.process import Automaxprocs, Origin

_ORIGINS = {
    Origin.ENVIRONMENT: "set by the GOMAXPROCS environment variable",
    Origin.CRIO: "set by CRI-O: twice the CPU request, for a container without a limit",
    Origin.AUTOMAXPROCS: "set by automaxprocs",
    Origin.CALL: "set by a call of runtime.GOMAXPROCS",
    Origin.CONTAINER: "computed by Go from the cgroup limit",
    Origin.CPU_COUNT: "the number of CPUs, Go's default",
    Origin.FIXED: "the default of Go before 1.5",
    Origin.UNKNOWN: "of unknown origin",
}


def value_evidence(context: Context) -> Evidence:
    found = context.gomaxprocs
    assert found is not None
    text = f"GOMAXPROCS is {found.value}, {origin_text(context)}; {long_bound(context)}"
    return Evidence(text, found.value, "count")


def origin_text(context: Context) -> str:
    found = context.gomaxprocs
    assert found is not None
    if found.origin is Origin.AUTOMAXPROCS and found.automaxprocs is Automaxprocs.FORK:
        return "set by a fork of automaxprocs"
    return _ORIGINS[found.origin]


def saving_evidence(context: Context, saving: Saving, target: int) -> Evidence:
    cores = context.cores or 0.0
    share = f", {saving.mid / cores:.0%} of its CPU" if cores > 0 else ""
    text = (
        f"GOMAXPROCS={target} is predicted to save {saving.mid:.2f} cores{share}"
        f" ({saving.low:.2f} to {saving.high:.2f})"
    )
    return Evidence(text, saving.mid, "cores", (saving.low, saving.high), context.duration_s)


def power_evidence(context: Context) -> Evidence:
    samples, needed = context.report.samples, context.thresholds.min_samples
    text = f"{samples} samples in {context.duration_s:.0f} s; a verdict needs at least {needed}"
    if samples >= needed:
        text = (
            f"{samples} samples in {context.duration_s:.0f} s are not enough to determine the cost"
        )
    return Evidence(text, float(samples), "count", None, context.duration_s)


def hidden_evidence(context: Context) -> Evidence:
    return context.share_evidence(
        "could not be read, and may be the runtime:", context.hidden_samples
    )


def if_called(context: Context, text: str) -> str:
    """``text`` if a call in the program set the value: then the variable may not help."""
    found = context.gomaxprocs
    return text if found is not None and found.origin is Origin.CALL else ""


def ease(context: Context) -> float:
    """The part of a threshold that a finding made earlier still has to reach."""
    return context.thresholds.release if context.lenient else 1.0
