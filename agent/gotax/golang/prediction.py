"""Which GOMAXPROCS a process gets if it does not set one itself, and which one fits its limit.

The rules depend on the Go version, because that is what they are: the history of the runtime's
``schedinit``.
"""

from __future__ import annotations

import math
from dataclasses import replace

from gotax.golang.automaxprocs import find_automaxprocs, predict_automaxprocs
from gotax.golang.cgroupview import CgroupLayout
from gotax.golang.crio import RULE, is_injected
from gotax.golang.startup import (
    Facts,
    Prediction,
    capped,
    counted,
    environment_value,
    godebug_value,
    minor_version,
    sets,
)
from gotax.process import Automaxprocs, Binding, Ignored, Origin


def recommend(limit_cores: float | None, allowed_cpus: int) -> int:
    """What fits the container: the limit rounded up, at least 1, at most the CPUs allowed."""
    if limit_cores is None:
        return max(1, allowed_cpus)
    return max(1, min(math.ceil(limit_cores), allowed_cpus))


def bindings(limit_cores: float | None, facts: Facts) -> tuple[Binding, ...]:
    """What gives the number that ``recommend`` says: one of them, or two that give the same."""
    cpus = max(1, facts.allowed_cpus)
    fits = recommend(limit_cores, cpus)
    found = []
    if limit_cores is not None and max(1, math.ceil(limit_cores)) == fits:
        found.append(Binding.QUOTA)
    if cpus == fits:
        if facts.online_cpus is None or cpus >= facts.online_cpus:
            found.append(Binding.HOST)
        elif facts.cpuset_cpus is not None and cpus >= facts.cpuset_cpus:
            found.append(Binding.CPUSET)
        else:
            found.append(Binding.AFFINITY)
    return tuple(found)


def predict(facts: Facts) -> Prediction:
    """The rules of runtime.schedinit (runtime/proc.go), then those of automaxprocs' init."""
    minor = minor_version(facts)
    if minor is None:
        return Prediction(None, Origin.UNKNOWN, "the Go version is unknown")
    if not facts.environment_read:
        return Prediction(None, Origin.UNKNOWN, "its environment could not be read")
    chosen = environment_value(facts.environment, minor)
    if chosen is not None and is_injected(chosen, facts):
        return Prediction(chosen, Origin.CRIO, RULE)
    if chosen is not None:
        return Prediction(chosen, Origin.ENVIRONMENT, "GOMAXPROCS is set in the environment")
    if is_limit_missing(facts, minor):
        return Prediction(None, Origin.UNKNOWN, "its CPU limit could not be read")
    return predict_automaxprocs(facts, minor) or predict_default(facts, minor)


def is_limit_missing(facts: Facts, minor: int) -> bool:
    """Whether the value depends on a limit that could not be read."""
    if facts.limit_read:
        return False
    return follows_limit(facts, minor) or find_automaxprocs(facts)[0] is not Automaxprocs.NONE


def predict_default(facts: Facts, minor: int) -> Prediction:
    """Without a variable and without calls."""
    if minor < 5:
        return Prediction(1, Origin.FIXED, "Go before 1.5 starts with 1")
    cpus = capped(facts.allowed_cpus, minor)
    count = Prediction(cpus, Origin.CPU_COUNT, f"the {counted(cpus, 'CPU')} the process may run on")
    limit = facts.leaf_limit_cores
    if limit is None or not follows_limit(facts, minor):
        return count
    # runtime/cgroup_linux.go adjustCgroupGOMAXPROCS
    value = max(2, math.ceil(limit))
    limited = f"{counted(limit, 'core')} rounded up, at least 2"
    if value >= cpus:
        return replace(count, rule=f"{count.rule}: no more than its limit, {limited}")
    rule = f"Go's container default: {limited}"
    return Prediction(value, Origin.CONTAINER, rule)


def follows_limit(facts: Facts, minor: int) -> bool:
    """Whether the runtime looks at the limit of its cgroup (since 1.25), and finds it."""
    return ignored(facts, minor) is None


def ignored(facts: Facts, minor: int) -> Ignored | None:
    """Why the runtime does not follow the limit of its cgroup; None: it does."""
    if minor < 25:
        return Ignored.OLD_GO
    if facts.follows_limit:
        return None
    if godebug_value(facts, "containermaxprocs", 1) <= 0:
        return _switched_off(facts)
    if facts.follows_limit is not None:
        return Ignored.HIDDEN
    view = facts.cgroup
    if view.version is None or view.layout is CgroupLayout.HIDDEN:
        return Ignored.HIDDEN
    # 1.25 joins the mount point and the whole path of /proc/self/cgroup, whatever the mount's
    # root (internal/runtime/cgroup FindCPU); 1.26 cuts the root off (parseCPUMount).
    is_seen = view.layout is not CgroupLayout.BIND or minor >= 26
    return None if is_seen else Ignored.HIDDEN


def _switched_off(facts: Facts) -> Ignored:
    """What set containermaxprocs=0.

    The go command writes every setting that the go line of go.mod implies into DefaultGODEBUG
    (cmd/go/internal/load/godebug.go), so for that one updatemaxprocs=0 stands beside it; a
    //go:debug line stands alone.
    """
    built_in = godebug_value(replace(facts, godebug=None), "containermaxprocs", 1)
    if built_in > 0 or sets(facts.godebug, "containermaxprocs"):
        return Ignored.GODEBUG
    default = facts.build.setting("DefaultGODEBUG").split(",")
    return Ignored.GO_MOD if "updatemaxprocs=0" in default else Ignored.DEBUG_LINE
