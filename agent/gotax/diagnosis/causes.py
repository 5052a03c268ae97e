"""Why GOMAXPROCS is above what fits, told from where it came from and what Go could see."""

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
    Cause.OLD_GO: "Go before 1.25 takes the number of CPUs and does not look at CPU limits",
    Cause.GO_MOD: "it was built for the defaults of a Go version below 1.25, by the go line of its"
    " go.mod or go.work or by a default= setting, and so newer toolchains keep the old default"
    " (DefaultGODEBUG has containermaxprocs=0)",
    Cause.GODEBUG: "GODEBUG in its environment has containermaxprocs=0, which switches Go's reading"
    " of the limit off",
    Cause.DEBUG_LINE: "a //go:debug line, or a godebug line of its go.mod, has containermaxprocs=0,"
    " which switches Go's reading of the limit off",
    Cause.ENVIRONMENT: "the environment variable GOMAXPROCS says so",
    Cause.CALL: "the program calls runtime.GOMAXPROCS",
    Cause.AUTOMAXPROCS: "automaxprocs is linked in, and did not set what fits",
    Cause.ANCESTOR: "the tightest limit is that of an ancestor cgroup, and neither Go nor"
    " automaxprocs looks above its own cgroup",
    Cause.RESIZE: "it fitted the CPU limit there was before, and was not changed with the limit",
    Cause.FEWER_CPUS: "it is from a time when the process had more CPUs, and has not followed",
    Cause.HIDDEN: "this Go version follows CPU limits, but did not find or could not open the files"
    " of its cgroup",
    Cause.UNKNOWN: "where it came from is not known",
}


def cause_sentence(context: Context, cause: Cause) -> str:
    """What is always true of the cause, and what is known of this container."""
    return SENTENCES[cause] + _detail(context, cause)


def _detail(context: Context, cause: Cause) -> str:
    found = context.gomaxprocs
    if found is None:
        return ""
    if cause is Cause.CALL:
        if found.variable is not None:
            return (
                f", which wins over the variable GOMAXPROCS: that is set to {found.variable} and"
                " does not help"
            )
        if found.automaxprocs is not Automaxprocs.NONE:
            return "; that may be automaxprocs, for another limit"
    if cause is Cause.AUTOMAXPROCS:
        return _why_automaxprocs_failed(found)
    return ""


def _why_automaxprocs_failed(found: Gomaxprocs) -> str:
    if found.variable_is_set:
        return (
            ": the variable GOMAXPROCS is set, to something that Go ignores, and where the variable"
            " exists automaxprocs does nothing"
        )
    if found.automaxprocs is Automaxprocs.FORK:
        return ": a fork of it, whose rules are not known"
    if found.origin is Origin.AUTOMAXPROCS and Binding.QUOTA not in found.bound_by:
        return ": it takes the CPU limit, and does not look at the number of CPUs"
    if found.origin is Origin.AUTOMAXPROCS:
        return ""
    return (
        ": it did not see the limit (its older versions know cgroup v1 only, and all of them need"
        " the usual mount), or the program does not call it"
    )


def find_cause(context: Context) -> Cause:
    """Of a GOMAXPROCS that was read and is above what fits."""
    found, limit = context.gomaxprocs, context.report.limit
    if found is None or found.value is None:
        return Cause.UNKNOWN
    by_limit = Binding.QUOTA in context.bound_by
    if by_limit and _fitted_before(found.value, context.earlier_limit):
        return Cause.RESIZE
    if found.origin is Origin.ENVIRONMENT:
        return Cause.ENVIRONMENT
    if found.origin is Origin.CALL:
        return Cause.CALL
    if found.origin is Origin.CPU_COUNT and context.bound_by != (Binding.QUOTA,):
        return Cause.FEWER_CPUS  # as many as it may use now would not be above what fits
    if by_limit and _is_out_of_sight(limit, found):
        return Cause.ANCESTOR
    if found.origin is Origin.CONTAINER:
        return Cause.RESIZE if by_limit else Cause.FEWER_CPUS  # it has not looked again yet
    if found.automaxprocs is not Automaxprocs.NONE:
        return Cause.AUTOMAXPROCS
    if found.ignored is not None and found.origin is not Origin.UNKNOWN:
        return _IGNORED[found.ignored]
    return Cause.UNKNOWN


def _fitted_before(value: int, earlier_limit: float | None) -> bool:
    """What Go, automaxprocs or the downward API would have made of that limit."""
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
