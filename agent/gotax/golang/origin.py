"""Where the GOMAXPROCS of a process came from.

``origin`` says it of a value that was read. ``judge`` puts together what is known of a process.
"""

from __future__ import annotations

from dataclasses import replace

from gotax.errors import Refusal
from gotax.golang.alternatives import otherwise
from gotax.golang.automaxprocs import find_automaxprocs, is_of_automaxprocs
from gotax.golang.crio import is_injected
from gotax.golang.live import LiveGomaxprocs
from gotax.golang.prediction import (
    bindings,
    follows_limit,
    ignored,
    is_limit_missing,
    predict,
    predict_default,
    recommend,
)
from gotax.golang.startup import (
    NEWEST_MINOR,
    Facts,
    capped,
    environment_value,
    godebug_value,
    minor_version,
)
from gotax.process import Gomaxprocs, Origin, Otherwise


def origin(live: LiveGomaxprocs, facts: Facts) -> Origin:
    """Where the value read came from.

    Go 1.25 and later have a flag that separates a choice (variable or call) from the runtime's own
    default. Otherwise the value is compared with what each source would give, and a value
    that none of them gives was set by a call: CALL also covers automaxprocs under a limit that
    has changed since.
    """
    # An unknown version is taken for the newest: its flag and variable mean the same.
    minor = minor_version(facts)
    newest = NEWEST_MINOR if minor is None else minor
    no_limit = is_limit_missing(facts, newest)
    if live.custom is False:
        return Origin.UNKNOWN if no_limit else _default_origin(live, facts, newest)
    if not facts.environment_read:
        return Origin.UNKNOWN
    # A variable that is set keeps automaxprocs quiet, so another value was set by a call.
    chosen = environment_value(facts.environment, newest)
    if chosen is not None:
        if live.value != chosen:
            return Origin.CALL
        return Origin.CRIO if is_injected(chosen, facts) else Origin.ENVIRONMENT
    if no_limit:
        return Origin.UNKNOWN
    if is_of_automaxprocs(live.value, facts, newest):
        return Origin.AUTOMAXPROCS
    if live.custom:
        return Origin.CALL
    if facts.code is not None and not facts.code.can_be_called:
        return _default_origin(live, facts, newest)
    # Go before 1.25 does not look again: the CPUs it had when it started are what counts.
    if newest >= 5 and live.start_cpus is not None:
        by_default = live.value == capped(live.start_cpus, newest)
    else:
        default = predict_default(facts, newest)
        if live.value == default.value:
            return default.origin
        by_default = live.value == facts.online_cpus
    if by_default:
        return Origin.CPU_COUNT
    return Origin.CALL if minor is not None else Origin.UNKNOWN


def _default_origin(live: LiveGomaxprocs, facts: Facts, minor: int) -> Origin:
    """The runtime itself chose, now or when the CPUs or the limit were others."""
    default = predict_default(facts, minor)
    if live.value == default.value or minor < 5:
        return default.origin
    cpus = (facts.allowed_cpus, live.start_cpus)
    if live.value in cpus or not follows_limit(facts, minor):
        return Origin.CPU_COUNT
    # An idle process looks again only once it runs. With a limit it was the limit of before;
    # without one it may have been either.
    return Origin.CONTAINER if default.origin is Origin.CONTAINER else Origin.UNKNOWN


def _lasting_origin(now: Origin, value: int, before: Gomaxprocs | None) -> Origin:
    """A value that stays while the limit and the CPUs change still comes from where it came from.

    automaxprocs looks once, and so does a runtime that does not update itself.
    """
    if before is None or before.value != value:
        return now
    if (now, before.origin) == (Origin.CALL, Origin.AUTOMAXPROCS) or now is Origin.UNKNOWN:
        return before.origin
    return now


def judge(
    live: LiveGomaxprocs | Refusal,
    facts: Facts,
    limit_cores: float | None,
    before: Gomaxprocs | None = None,
) -> Gomaxprocs:
    """All there is to say of one process.

    ``limit_cores`` is the tightest limit of the cgroup and its ancestors: what the kernel
    enforces, not what the runtime looks at. Pass the refusal if the value could not be read.
    ``before`` is the judgement of an earlier window.
    """
    prediction = predict(facts)
    minor = minor_version(facts)
    newest = NEWEST_MINOR if minor is None else minor
    is_read = facts.environment_read
    known = Gomaxprocs(
        value=None,
        origin=Origin.UNKNOWN,
        recommended=recommend(limit_cores, facts.allowed_cpus) if facts.limit_read else None,
        expected=prediction.value,
        rule=prediction.rule,
        ignored=None if minor is None or not is_read else ignored(facts, minor),
        automaxprocs=find_automaxprocs(facts)[0],
        bound_by=bindings(limit_cores, facts) if facts.limit_read else (),
        updates=newest >= 25 and is_read and godebug_value(facts, "updatemaxprocs", 1) > 0,
        variable=environment_value(facts.environment, newest),
        variable_is_set=(facts.environment is not None) if is_read else None,
        otherwise=Otherwise()
        if minor is None or not is_read
        else otherwise(facts, minor, limit_cores),
    )
    if isinstance(live, Refusal):
        return replace(known, reason=live.reason)
    source = _lasting_origin(origin(live, facts), live.value, before)
    return replace(known, value=live.value, origin=source)
