"""What the choice of GOMAXPROCS depends on: the Go version, the variables, the limit, the CPUs.

The variables are read as the Go runtime of that version reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from gotax.golang.cgroupview import CgroupView
from gotax.golang.live import GomaxprocsAddresses
from gotax.process import GoBuild, Origin


@dataclass(frozen=True, slots=True)
class Facts:
    """What the choice of GOMAXPROCS depends on, as it is now.

    ``environment`` and ``godebug`` are the process's variables GOMAXPROCS and GODEBUG, None if not
    set (which is not the same as ""); ``environment_read``: False if nothing is known of them.
    ``leaf_limit_cores`` is the limit of the process's own cgroup, ancestors left out;
    ``limit_read``: False if nothing is known of it. ``follows_limit``: whether a limit file is
    among its open files (procfs.read_cgroup_fds), None if not looked. ``online_cpus``: CPUs of the
    host. ``cpuset_cpus``: those of its cgroup's cpuset, None if that is not to be seen.
    ``container_runtime``, ``shares``, ``weight``: of its container and cgroup, None if not known.
    """

    build: GoBuild
    allowed_cpus: int
    environment: str | None = None
    godebug: str | None = None
    leaf_limit_cores: float | None = None
    cgroup: CgroupView = CgroupView()
    follows_limit: bool | None = None
    online_cpus: int | None = None
    environment_read: bool = True
    limit_read: bool = True
    cpuset_cpus: int | None = None
    container_runtime: str | None = None
    shares: int | None = None
    weight: int | None = None
    code: GomaxprocsAddresses | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a process started now would get without calling runtime.GOMAXPROCS on its own.

    ``rule`` is a sentence for people. ``value`` is None where the Go version is unknown.
    """

    value: int | None
    origin: Origin
    rule: str


NEWEST_MINOR = 27  # the last minor version these rules were checked with


def minor_version(facts: Facts) -> int | None:
    """26 for go1.26.8, go1.26rc1 and "devel go1.26-abcdef"; None where it is unknown.

    A binary before Go 1.18 may hide its version, but not that its runtime stores as Go does since
    1.8 and has no flag, as before 1.25. In between the rules are the same (but for a limit of
    256 up to 1.8, of 1024 in 1.9).
    """
    match = re.search(r"go1\.([0-9]{1,3})", facts.build.version)
    if match is not None:
        return int(match[1])
    code = facts.code
    if code is None or code.how == "call" or not code.can_be_called:
        return None
    return 24 if code.custom_address is None else None


def capped(value: int, minor: int) -> int:
    # _MaxGomaxprocs in runtime2.go: 1<<8 up to 1.8, 1<<10 in 1.9, then gone.
    return min(value, 256 if minor <= 8 else 1024) if minor <= 9 else value


def environment_value(text: str | None, minor: int) -> int | None:
    """What Go 1.``minor`` makes of the variable GOMAXPROCS; None: it ignores it.

    The parsers: C's way up to 1.7 (leading digits), runtime.atoi32 up to 1.25,
    strconv.ParseInt(s, 10, 32) since 1.26, which takes a plus sign.
    """
    if text is None:
        return None
    pattern = r"[0-9]*" if minor <= 7 else r"-?[0-9]+\Z" if minor <= 25 else r"[+-]?[0-9]+\Z"
    match = re.match(pattern, text)
    digits = match[0] if match is not None else ""
    if not digits or len(digits) > 4096:
        return None
    value = int(digits)
    if value <= 0 or (minor > 7 and value >= 1 << 31):
        return None
    return capped(value, minor)


def godebug_value(facts: Facts, key: str, default: int) -> int:
    """A GODEBUG setting of the runtime: the binary's own (DefaultGODEBUG, from the go line of
    go.mod and //go:debug lines), overridden by the environment.

    runtime.parsegodebug: the last setting of a key counts, one that is no integer does not.
    """
    built_in = _built_in_settings(facts.build.setting("DefaultGODEBUG")).get(key, default)
    return _settings(facts.godebug or "").get(key, built_in)


def _settings(text: str) -> dict[str, int]:
    """Those that count."""
    found = (parse_setting(setting) for setting in text.split(","))
    return {name: number for name, number in found if number is not None}


_built_in_settings = lru_cache(maxsize=64)(_settings)
"""Of a build: some thirty, and the same for each of its processes."""


def parse_setting(text: str) -> tuple[str, int | None]:
    """("containermaxprocs", 0); ("", None) for what the runtime passes over."""
    name, _, number = text.partition("=")
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", number, re.ASCII):
        return "", None
    return name, int(number)


def sets(godebug: str | None, key: str) -> bool:
    """Whether it has a setting of this key that counts."""
    return any(parse_setting(text)[0] == key for text in (godebug or "").split(","))


def counted(number: float, thing: str) -> str:
    return f"{number:g} {thing}{'' if number == 1 else 's'}"
