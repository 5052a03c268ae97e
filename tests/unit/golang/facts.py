"""Facts for several tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gotax.golang.cgroupview import CgroupLayout, CgroupView
from gotax.golang.startup import Facts
from gotax.process import GoBuild, Module

AUTOMAXPROCS = "go.uber.org/automaxprocs"
PLAIN = Facts(GoBuild("go1.26.8"), allowed_cpus=8, leaf_limit_cores=4.0)


def automatic(version: str, **changes: Any) -> Facts:
    build = GoBuild("go1.22.12", dependencies=(Module(AUTOMAXPROCS, version),))
    return replace(PLAIN, build=build, **changes)


def v1_automatic(version: str, limit: float, view: CgroupView | None = None) -> Facts:
    """Go 1.22 with automaxprocs, or a replacement of it, on 8 CPUs with cgroup v1."""
    name = "go.uber.org/automaxprocs"
    fork = Module("example.com/fork", "v1.0.0") if version == "fork" else None
    module = Module(name, "v1.6.0" if fork else version, fork)
    build = GoBuild("go1.22", dependencies=(module,))
    cgroup = view or CgroupView(1, CgroupLayout.HOST, False)
    return Facts(build, allowed_cpus=8, leaf_limit_cores=limit, cgroup=cgroup)


OLD = replace(PLAIN, build=GoBuild("go1.22.12"), online_cpus=16)


def built_with(defaults: str, version: str = "go1.26.8") -> Facts:
    settings = (("DefaultGODEBUG", defaults),) if defaults else ()
    return replace(PLAIN, build=GoBuild(version, settings=settings))


OLD_GO_LINE = "containermaxprocs=0,decoratemappings=0,updatemaxprocs=0"


def debugging(built_in: str, variable: str | None) -> Facts:
    build = GoBuild("go1.26", settings=(("DefaultGODEBUG", built_in),))
    return replace(PLAIN, build=build, godebug=variable)


def old_default(godebug: str | None = None, **changed: str) -> Facts:
    facts = debugging("containermaxprocs=0,updatemaxprocs=0", godebug)
    version = changed.get("version", "go1.26")
    return replace(facts, build=replace(facts.build, version=version))
