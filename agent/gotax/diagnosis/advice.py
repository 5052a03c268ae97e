"""The remedy for a GOMAXPROCS that does not fit.

``golang.alternatives`` computes what each change would give for this process (``Otherwise``). The
remedy offers only changes that lead to a value that fits, and names that value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gotax.diagnosis.context import Context
from gotax.diagnosis.patches import Patch, Setting, go_line, kubernetes_patch, variable_patch
from gotax.findings import Cause, Remedy
from gotax.process import Automaxprocs, Binding, Gomaxprocs, Origin

_RESTARTED = frozenset({Cause.RESIZE, Cause.FEWER_CPUS})
_LINE = "`go 1.25.0` or later in go.mod"


def fits_well(context: Context, value: int | None) -> bool:
    """Whether a remedy may lead to this value: at most what fits (or 2, Go's choice for a limit
    of 1), and at least the limit rounded down."""
    found, recommended = context.gomaxprocs, context.recommended
    if value is None or found is None or recommended is None:
        return False
    limit = context.report.limit.limit_cores
    least = recommended
    if limit is not None and Binding.QUOTA in context.bound_by:
        least = max(1, min(recommended, math.floor(limit)))
    return least <= value <= max(2, recommended)


def target_of(context: Context, cause: Cause) -> int:
    """The value after the remedy: Go itself may choose 2 for a limit, the variable gives what
    fits."""
    found, recommended = context.gomaxprocs, context.recommended
    assert found is not None
    assert recommended is not None
    if cause is Cause.GO_MOD and fits_well(context, found.otherwise.go_line):
        return found.otherwise.go_line or recommended
    return recommended


def advise(context: Context, cause: Cause) -> Remedy:
    """For a GOMAXPROCS above what fits."""
    found = context.gomaxprocs
    assert found is not None
    target = target_of(context, cause)
    patch = _patch(context, cause, target)
    sentences = [*_ways(context, cause, target, found), patch.note]
    if cause is Cause.RESIZE and patch.from_limit:
        sentences.append(
            "With the resizePolicy RestartContainer, a resize restarts the container, which then"
            " reads the new limit."
        )
    text = " ".join(s for s in sentences if s)
    others = tuple(_other_patches(context, target, patch)) if patch.text else ()
    return Remedy(text + _rounding(context, target), patch.text, target, others)


def _other_patches(context: Context, target: int, patch: Patch) -> Iterator[str]:
    """The other ways of the same remedy that can be applied as they are."""
    found = context.gomaxprocs
    assert found is not None
    yield set_variable(context, target).text
    if patch.from_limit:
        pod = context.report.container.pod
        number = Setting("GOMAXPROCS", str(target))
        yield kubernetes_patch(number, found.variable_is_set is not False, pod)
    is_variables = found.variable_is_set is not False or found.origin is Origin.CALL
    if not is_variables and fits_well(context, found.otherwise.go_line):
        yield go_line()


def _patch(context: Context, cause: Cause, target: int) -> Patch:
    found = context.gomaxprocs
    assert found is not None
    if found.origin is Origin.CALL and found.variable is not None:
        return Patch("")
    if cause is Cause.GO_MOD and fits_well(context, found.otherwise.go_line):
        return Patch(go_line())
    return set_variable(context, target)


def set_variable(context: Context, value: int) -> Patch:
    found, report = context.gomaxprocs, context.report
    may_be_set = found is None or found.variable_is_set is not False
    return variable_patch(report.container, report.limit, value, may_be_set)


def _ways(context: Context, cause: Cause, target: int, found: Gomaxprocs) -> Iterator[str]:
    """Sentences, the best way first."""
    other = found.otherwise
    if found.origin is Origin.CALL:
        yield from _about_a_call(context, target, found)
        return
    if cause is Cause.GO_MOD and fits_well(context, other.go_line):
        yield (
            f"Write {_LINE} and rebuild: GOMAXPROCS will follow the limit, {target} here. This line"
            " also changes other old defaults (DefaultGODEBUG of `go version -m` lists them). To"
            " change only this one, add the line //go:debug containermaxprocs=1 to the main"
            " package. Remove any such line with containermaxprocs=0: it would override go.mod."
        )
        if fits_well(context, other.godebug):
            yield _through_godebug(other.godebug)
        return
    if cause in _RESTARTED and found.updates and found.origin is not Origin.AUTOMAXPROCS:
        yield (
            "Wait: its Go runtime checks limit and CPUs by itself, about once a second while it has"
            " work."
        )
    elif cause in _RESTARTED and fits_well(context, found.expected):
        yield f"Restart the process: it will then start with {found.expected}."
        yield f"Or set GOMAXPROCS to {target} in the environment."
        if found.automaxprocs is Automaxprocs.NONE:
            yield f"With Go 1.25 or newer and {_LINE} it would follow such changes by itself."
        return
    yield _through_the_variable(cause, target, found)
    yield from _other_ways(context, cause, found)


def _through_the_variable(cause: Cause, target: int, found: Gomaxprocs) -> str:
    if found.origin in (Origin.ENVIRONMENT, Origin.CRIO):
        return f"Set the variable GOMAXPROCS to {target}."
    text = f"Set GOMAXPROCS to {target} in the environment"
    if cause is Cause.RESIZE:
        text += ", and restart the process"
    if found.automaxprocs is Automaxprocs.FORK:
        return f"{text}, and check again: how a fork of automaxprocs uses it is not known."
    if cause is Cause.AUTOMAXPROCS:
        return f"{text}; automaxprocs respects it."
    if cause is Cause.UNKNOWN:
        return f"{text}, and check again: a call of runtime.GOMAXPROCS would override it."
    return f"{text}."


def _other_ways(context: Context, cause: Cause, found: Gomaxprocs) -> Iterator[str]:
    other = found.otherwise
    if found.variable_is_set and fits_well(context, other.unset):
        yield f"Or remove the variable: without it this process would get {other.unset} here."
    if cause is Cause.GODEBUG and fits_well(context, other.no_godebug):
        yield (
            "Or remove containermaxprocs=0 from the variable GODEBUG: this gives"
            f" {other.no_godebug}."
        )
    if cause is Cause.DEBUG_LINE and fits_well(context, other.go_line):
        yield (
            "Or remove containermaxprocs=0 from the //go:debug or godebug line and rebuild:"
            f" this gives {other.go_line}."
        )
    elif fits_well(context, other.go_line):
        yield f"Or write {_LINE} and rebuild: this gives {other.go_line}."
    if not fits_well(context, other.no_godebug) and fits_well(context, other.godebug):
        yield _through_godebug(other.godebug)
    newer = [(25, other.go_1_25), (26, other.go_1_26)]
    version, value = next(((v, n) for v, n in newer if fits_well(context, n)), (0, None))
    if version:
        yield (
            f"Or build with Go 1.{version} or newer and {_LINE}: this Go reads the limit itself,"
            f" which gives {value} here."
        )
    if cause is Cause.ANCESTOR and fits_well(context, other.own_limit):
        yield (
            "Or set the limit on its own cgroup, where this program reads it: this gives"
            f" {other.own_limit}."
        )


def _through_godebug(value: int | None) -> str:
    return (
        "Without a rebuild: GODEBUG=containermaxprocs=1,updatemaxprocs=1 in the environment gives"
        f" {value} (if GODEBUG is already set, append this after a comma)."
    )


def _about_a_call(context: Context, target: int, found: Gomaxprocs) -> Iterator[str]:
    is_enough = fits_well(context, found.expected)
    without = f" (then it has {found.expected} here)" if is_enough else ""
    if found.variable is not None:
        if is_enough:
            yield f"Remove the call of runtime.GOMAXPROCS from the program{without}."
            yield f"Or let the call set {target}."
        else:
            yield f"Let the call of runtime.GOMAXPROCS set {target}, or remove the call and set the"
            yield f"variable to {target}."
        yield (
            f"The variable alone does not help: it is {found.variable}, and the call overrides it."
        )
        return
    yield (
        f"Set GOMAXPROCS to {target} in the environment, and check again: many programs call"
        " runtime.GOMAXPROCS only if the variable is not set."
    )
    yield (
        "If the value does not change, the call overrides the variable: remove it from the program"
        f"{without}, or let it set {target}."
    )


def _rounding(context: Context, target: int) -> str:
    limit = context.report.limit.limit_cores
    if limit is None or not limit % 1 or limit < 1 or target != math.ceil(limit):
        return ""
    if Binding.QUOTA not in context.bound_by:
        return ""
    return (
        f" {target} is the limit of {limit:g} rounded up, as Go and the downward API do."
        f" {math.floor(limit)} (rounded down, as automaxprocs does) is throttled less, but Go code"
        f" cannot use {limit % 1:g} of a CPU."
    )
