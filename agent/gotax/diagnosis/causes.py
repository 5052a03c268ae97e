"""Why GOMAXPROCS is above what fits, told from where it came from and what Go could see."""

from __future__ import annotations

import math

from gotax.diagnosis.case import Case, whole
from gotax.model import Cause, CpuLimit, Gomaxprocs, Ignored, Origin

_IGNORED = {
    Ignored.OLD_GO: Cause.OLD_GO,
    Ignored.GO_MOD: Cause.GO_MOD,
    Ignored.GODEBUG: Cause.GODEBUG,
    Ignored.HIDDEN: Cause.HIDDEN,
}

SENTENCES = {
    Cause.OLD_GO: "Go before 1.25 takes the number of CPUs and does not look at CPU limits",
    Cause.GO_MOD: "its go.mod says a Go version below 1.25, and for such modules newer toolchains"
    " keep the old default (DefaultGODEBUG has containermaxprocs=0)",
    Cause.GODEBUG: "GODEBUG has containermaxprocs=0, which switches Go's reading of the limit off",
    Cause.ENVIRONMENT: "the environment variable GOMAXPROCS says so",
    Cause.CALL: "the program calls runtime.GOMAXPROCS",
    Cause.AUTOMAXPROCS: "automaxprocs is linked in, but could not see the limit (a GOMAXPROCS"
    " variable that is set, even if empty, keeps it quiet; it needs the usual cgroup mount; it"
    " never looks at the number of CPUs)",
    Cause.ANCESTOR: "the tightest limit is that of an ancestor cgroup, and neither Go nor"
    " automaxprocs looks above its own cgroup",
    Cause.RESIZE: "it fitted the CPU limit there was before, and was not changed with the limit",
    Cause.HIDDEN: "this Go version follows CPU limits, but does not find the files of its cgroup",
    Cause.UNKNOWN: "where it came from is not known",
}


def find_cause(case: Case) -> Cause:
    """Of a GOMAXPROCS that was read and is above what fits."""
    found, limit = case.gomaxprocs, case.report.limit
    if found is None or found.value is None:
        return Cause.UNKNOWN
    if _fitted_before(found.value, case.earlier_limit):
        return Cause.RESIZE
    if found.origin is Origin.ENVIRONMENT:
        return Cause.ENVIRONMENT
    if found.origin is Origin.CALL:
        return Cause.CALL
    if _is_out_of_sight(limit, found):
        return Cause.ANCESTOR
    if found.origin is Origin.CONTAINER:
        return Cause.RESIZE  # Go's own reading, of a limit that is not there any more
    if found.automaxprocs:
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
    return leaf is None or whole(leaf) > max(2, found.recommended)
