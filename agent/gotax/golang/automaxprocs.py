"""What go.uber.org/automaxprocs makes of the limit, by its version."""

from __future__ import annotations

import math
import re

from gotax.golang.cgroupview import CgroupLayout, CgroupView
from gotax.golang.startup import Facts, Prediction, capped, counted
from gotax.process import Automaxprocs, Module, Origin

_AUTOMAXPROCS = "go.uber.org/automaxprocs"
DEPENDENCIES = frozenset({_AUTOMAXPROCS})
"""Of a binary, that the rules ask for."""


def find_automaxprocs(facts: Facts) -> tuple[Automaxprocs, tuple[int, ...]]:
    """Whether it is linked in, and the version whose rules hold; () where none is known."""
    module = facts.build.dependency(_AUTOMAXPROCS)
    if module is None:
        is_linked = facts.code is not None and facts.code.automaxprocs
        return (Automaxprocs.UNVERSIONED if is_linked else Automaxprocs.NONE), ()
    used: Module = module.replaced_by or module
    if used.path != _AUTOMAXPROCS:
        return Automaxprocs.FORK, ()
    version = _module_version(used.version)
    return (Automaxprocs.KNOWN if version else Automaxprocs.UNVERSIONED), version


def predict_automaxprocs(facts: Facts, minor: int) -> Prediction | None:
    """go.uber.org/automaxprocs at the program's start; None: it does nothing, or is not there.

    It does not look at the number of CPUs at all. Assumed is the import for its side effect: a
    program that calls maxprocs.Set with options may round otherwise. What a fork does is not known,
    nor what a version does that the build does not name.
    """
    kind, version = find_automaxprocs(facts)
    # maxprocs.Set leaves everything alone if the variable exists, even empty.
    if kind is Automaxprocs.NONE or facts.environment is not None:
        return None
    limit = facts.leaf_limit_cores
    if limit is None:
        return None
    if kind is not Automaxprocs.KNOWN:
        what = "a fork of automaxprocs" if kind is Automaxprocs.FORK else "automaxprocs"
        return Prediction(None, Origin.AUTOMAXPROCS, f"{what}: of which version is not known")
    if not _automaxprocs_sees_limit(facts.cgroup, version):
        return None
    least, down = _rounding(version)
    value = _rounded(limit, least, down)
    way = "down" if down else "up"
    rule = f"automaxprocs: {counted(limit, 'core')} rounded {way}, at least {least}"
    return Prediction(capped(value, minor), Origin.AUTOMAXPROCS, rule)


def _rounding(version: tuple[int, ...]) -> tuple[int, bool]:
    # CHANGELOG: 1.1.0 lowered the least value from 2 to 1, 1.2.0 rounds down instead of up.
    return 1 if version >= (1, 1, 0) else 2, version >= (1, 2, 0)


def _rounded(limit: float, least: int, down: bool) -> int:
    return max(least, math.floor(limit) if down else math.ceil(limit))


def is_of_automaxprocs(value: int, facts: Facts, minor: int) -> bool:
    """Whether automaxprocs gives this value here; of a version that is not known, any may."""
    prediction = predict_automaxprocs(facts, minor)
    if prediction is None:
        return False
    if prediction.value is not None:
        return prediction.value == value
    limit = facts.leaf_limit_cores or 0.0
    ways = ((1, True), (1, False), (2, False))
    return value in {capped(_rounded(limit, *way), minor) for way in ways}


def _automaxprocs_sees_limit(view: CgroupView, version: tuple[int, ...]) -> bool:
    if view.version is None or view.layout is CgroupLayout.HIDDEN:
        return False
    if (
        view.version == 1
    ):  # translates the path by the mount's root (internal/cgroups/mountpoint.go)
        return True
    # 1.5.0 knows cgroup v2 but takes the last mount's word for it, 1.5.1 mended that.
    if version < (1, 5, 1) or not view.usual_mount:
        return False
    # 1.5.1 reads /sys/fs/cgroup/cpu.max, which the host's root cgroup does not have; 1.5.2 puts
    # the path of /proc/self/cgroup in between, which a bind mount does not have.
    seen_from = CgroupLayout.BIND if version < (1, 5, 2) else CgroupLayout.HOST
    return view.layout in (CgroupLayout.NAMESPACE, seen_from)


def _module_version(version: str) -> tuple[int, ...]:
    """(1, 5, 1) for v1.5.1; () for anything else, as "(devel)"."""
    match = re.match(r"v([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})", version)
    return tuple(int(part) for part in match.groups()) if match is not None else ()
