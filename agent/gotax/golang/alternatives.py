"""Which GOMAXPROCS a process would have after a change of its variables, its build or its limit."""

from __future__ import annotations

from dataclasses import replace

from gotax.golang.prediction import follows_limit, ignored, predict
from gotax.golang.startup import Facts, godebug_value, minor_version, parse_setting
from gotax.process import GoBuild, Origin, Otherwise

_MAXPROCS = ("containermaxprocs", "updatemaxprocs")


def otherwise(facts: Facts, minor: int, limit_cores: float | None) -> Otherwise:
    """What each change would give, by the rules: a remedy offers nothing that they deny."""
    looks = replace(facts, follows_limit=None)  # what it has open says nothing of another build
    by_view = ignored(replace(looks, build=_with_go_line(facts, minor), godebug=None), minor)
    if facts.follows_limit is False and by_view is None and _is_asked(facts):
        # It looked where the rules say that the limit is, and did not find it: so will others.
        looks = replace(facts, leaf_limit_cores=None)
    by_setting = minor >= 25 and not _is_asked(facts)
    built_in = facts.build.setting("DefaultGODEBUG")
    keeps = ",".join(
        t for t in (facts.godebug or "").split(",") if parse_setting(t)[0] not in _MAXPROCS
    )
    asked = f"{facts.godebug or ''},containermaxprocs=1,updatemaxprocs=1"

    def built(version: int) -> int | None:
        return _following(replace(looks, build=_with_go_line(facts, version)))

    return Otherwise(
        unset=predict(replace(facts, environment=None)).value
        if facts.environment is not None
        else None,
        no_godebug=_following(replace(looks, godebug=keeps)) if by_setting else None,
        godebug=_following(replace(looks, godebug=asked)) if by_setting else None,
        go_line=built(minor) if by_setting and built_in else None,
        go_1_25=built(25) if minor < 25 else None,
        go_1_26=built(26) if minor < 26 else None,
        own_limit=_following(replace(facts, leaf_limit_cores=limit_cores))
        if limit_cores != facts.leaf_limit_cores
        else None,
    )


def _following(facts: Facts) -> int | None:
    """What it would have because of the limit of its own cgroup; None: it would not look at that,
    or something else decides."""
    prediction, minor = predict(facts), minor_version(facts)
    if facts.leaf_limit_cores is None or minor is None:
        return None
    if prediction.origin is Origin.AUTOMAXPROCS:
        return prediction.value
    is_default = prediction.origin in (Origin.CONTAINER, Origin.CPU_COUNT)
    return prediction.value if is_default and follows_limit(facts, minor) else None


def _is_asked(facts: Facts) -> bool:
    """Whether its settings have the runtime look for a limit at all."""
    return godebug_value(facts, "containermaxprocs", 1) > 0


def _with_go_line(facts: Facts, minor: int) -> GoBuild:
    """Built by Go 1.``minor`` with a go line of 1.25 or later, and no //go:debug line."""
    settings = tuple(s for s in facts.build.settings if s[0] != "DefaultGODEBUG")
    return replace(facts.build, version=f"go1.{minor}", settings=settings)
