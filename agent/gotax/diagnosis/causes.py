"""The cause of a GOMAXPROCS above what fits, from its origin and from what Go could read."""

from __future__ import annotations

import math

from gotax.diagnosis.context import Context, whole
from gotax.findings import Cause
from gotax.process import Automaxprocs, Binding, CpuLimit, Gomaxprocs, Ignored, Origin

_IGNORED = {
    Ignored.OLD_GO: Cause.OLD_GO,
    Ignored.GO_MOD: Cause.GO_MOD,
    Ignored.GODEBUG: Cause.GODEBUG,
    Ignored.DEBUG_LINE: Cause.DEBUG_LINE,
    Ignored.HIDDEN: Cause.HIDDEN,
}

SENTENCES = {
    Cause.OLD_GO: "Go before 1.25 uses the number of CPUs and ignores CPU limits",
    Cause.GO_MOD: "it was built with the defaults of a Go version before 1.25, because of the go"
    " line in its go.mod or go.work or a default= setting. These defaults ignore CPU limits"
    " (DefaultGODEBUG has containermaxprocs=0)",
    Cause.GODEBUG: "GODEBUG in its environment has containermaxprocs=0, so Go ignores the CPU"
    " limit",
    Cause.DEBUG_LINE: "a //go:debug line, or a godebug line of its go.mod, has"
    " containermaxprocs=0, so Go ignores the CPU limit",
    Cause.ENVIRONMENT: "the environment variable GOMAXPROCS sets this value",
    Cause.CALL: "the program sets this value by a call of runtime.GOMAXPROCS",
    Cause.AUTOMAXPROCS: "automaxprocs is linked into the program but did not set the value that"
    " fits",
    Cause.ANCESTOR: "the tightest limit is on an ancestor cgroup, but Go and automaxprocs read"
    " only the cgroup of the process itself",
    Cause.RESIZE: "it fitted the previous CPU limit and did not change with the limit",
    Cause.FEWER_CPUS: "it is from a time when the process had more CPUs, and did not change with"
    " them",
    Cause.HIDDEN: "this Go version follows CPU limits, but could not find or open the files of its"
    " cgroup",
    Cause.UNKNOWN: "the origin of the value is unknown",
}


def cause_sentence(context: Context, cause: Cause) -> str:
    """The general sentence of the cause, followed by the details of this context."""
    return SENTENCES[cause] + _detail(context, cause)


def _detail(context: Context, cause: Cause) -> str:
    found = context.gomaxprocs
    if found is None:
        return ""
    if cause is Cause.CALL:
        if found.variable is not None:
            return f", which overrides the variable GOMAXPROCS (set to {found.variable})"
        if found.automaxprocs is not Automaxprocs.NONE:
            return ". The call may be that of automaxprocs, for another limit"
    if cause is Cause.AUTOMAXPROCS:
        return _why_automaxprocs_failed(found)
    return ""


def _why_automaxprocs_failed(found: Gomaxprocs) -> str:
    if found.variable_is_set:
        return (
            ": the variable GOMAXPROCS is set to a value that Go ignores, and automaxprocs does"
            " nothing if the variable exists"
        )
    if found.automaxprocs is Automaxprocs.FORK:
        return ": it is a fork whose rules are unknown"
    if found.origin is Origin.AUTOMAXPROCS and Binding.QUOTA not in found.bound_by:
        return ": it uses the CPU limit and ignores the number of CPUs"
    if found.origin is Origin.AUTOMAXPROCS:
        return ""
    return (
        ": it did not find the limit (old versions support only cgroup v1, and all versions need"
        " the usual mount point), or the program does not call it"
    )


def find_cause(context: Context) -> Cause:
    """The cause of a GOMAXPROCS that was read and is above what fits."""
    found, limit = context.gomaxprocs, context.report.limit
    if found is None or found.value is None:
        return Cause.UNKNOWN
    by_limit = Binding.QUOTA in context.bound_by
    if by_limit and _fitted_before(found.value, context.earlier_limit):
        return Cause.RESIZE
    if found.origin in (Origin.ENVIRONMENT, Origin.CRIO):
        return Cause.ENVIRONMENT
    if found.origin is Origin.CALL:
        return Cause.CALL
    if found.origin is Origin.CPU_COUNT and context.bound_by != (Binding.QUOTA,):
        return Cause.FEWER_CPUS  # the present number of CPUs would not be above what fits
    if by_limit and _is_out_of_sight(limit, found):
        return Cause.ANCESTOR
    if found.origin is Origin.CONTAINER:
        return Cause.RESIZE if by_limit else Cause.FEWER_CPUS  # it has not checked again yet
    if found.automaxprocs is not Automaxprocs.NONE:
        return Cause.AUTOMAXPROCS
    if found.ignored is not None and found.origin is not Origin.UNKNOWN:
        return _IGNORED[found.ignored]
    return Cause.UNKNOWN


def _fitted_before(value: int, earlier_limit: float | None) -> bool:
    """Go, automaxprocs or the downward API would give this value for that limit."""
    if earlier_limit is None:
        return False
    rounded = whole(earlier_limit)
    return value in (rounded, max(2, rounded), max(1, math.floor(earlier_limit)))


def _is_out_of_sight(limit: CpuLimit, found: Gomaxprocs) -> bool:
    """The process's own cgroup allows more than its ancestors do."""
    if limit.limit_cores is None or found.recommended is None:
        return False
    leaf = limit.leaf_limit_cores
    return leaf is None or (leaf > limit.limit_cores and whole(leaf) > max(2, found.recommended))
