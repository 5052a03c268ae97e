"""What GOMAXPROCS a process should have by the rules, and where the one it has came from.

``predict`` says what the runtime and automaxprocs choose by themselves, ``recommend`` what would
fit the limit, ``origin`` where the value read from the process came from; ``judge`` puts it
together.

The rules depend on the Go version, because that is what they are: the history of the runtime's
``schedinit``.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, replace
from enum import Enum

from gotax.errors import AccessError, ProcessGoneError, Refusal
from gotax.golang.gomaxprocs import GomaxprocsAddresses, LiveGomaxprocs
from gotax.linux.cgroup import CgroupMount, parse_mountinfo
from gotax.linux.procfs import CgroupEntry, TaskPath, read_cgroups
from gotax.process import (
    Automaxprocs,
    Binding,
    GoBuild,
    Gomaxprocs,
    Ignored,
    Module,
    Origin,
    Otherwise,
)

_MAX_MOUNTINFO_BYTES = 1 << 20


class CgroupLayout(Enum):
    """How a process sees the cgroup that limits its CPU time."""

    HOST = "host"  # the whole tree is mounted
    NAMESPACE = "namespace"  # a cgroup namespace: its own cgroup seems to be the root
    BIND = "bind"  # its own cgroup is mounted, but /proc/self/cgroup shows the host's path
    HIDDEN = "hidden"  # no cgroup file system, or none that shows its cgroup


@dataclass(frozen=True, slots=True)
class CgroupView:
    """``version`` is that of the tree with the cpu controller, None for a process in none.

    ``usual_mount``: for version 2, whether it is mounted at /sys/fs/cgroup.
    """

    version: int | None = 2
    layout: CgroupLayout = CgroupLayout.HOST
    usual_mount: bool = True


def view_cgroup(
    entries: tuple[CgroupEntry, ...], mounts: tuple[CgroupMount, ...], private: bool
) -> CgroupView:
    """From the process's /proc/PID/cgroup and mountinfo, both as the reader sees them.

    ``private``: the process has another cgroup namespace than the host's first process. Paths and
    roots are relative to the reader's namespace, so they compare from anywhere, and the host's
    root is "/" or, from inside a namespace, nothing but "..".
    """
    limiting = next((e for e in entries if "cpu" in e.controllers), None)
    if limiting is None:
        limiting = next((e for e in entries if e.hierarchy == 0), None)
    if limiting is None:
        return CgroupView(None, CgroupLayout.HIDDEN, False)
    version = 1 if limiting.controllers else 2
    shown = [m for m in mounts if ("cpu" in m.controllers if version == 1 else not m.controllers)]
    layouts = [_layout(limiting.path, mount.root, private) for mount in shown]
    return CgroupView(
        version,
        next(
            (layout for layout in layouts if layout is not CgroupLayout.HIDDEN), CgroupLayout.HIDDEN
        ),
        any(mount.mount == "/sys/fs/cgroup" for mount in shown),
    )


def _layout(path: str, root: str, private: bool) -> CgroupLayout:
    is_whole_tree = not root.replace("..", "").strip("/")
    if is_whole_tree:
        # Seen from inside a namespace that lies deeper, it is "/../..": neither Go nor
        # automaxprocs finds the way.
        return CgroupLayout.HIDDEN if private else CgroupLayout.HOST
    if path != root and not path.startswith(root + "/"):
        return CgroupLayout.HIDDEN
    return CgroupLayout.NAMESPACE if private else CgroupLayout.BIND


def read_cgroup_view(proc_root: str, place: TaskPath) -> CgroupView:
    """Raises ProcessGoneError, and ParseError where files cannot be read or understood.

    The namespace of the host's first process needs CAP_SYS_PTRACE to be seen; without it the
    reader is taken to be in the host's.
    """
    entries = read_cgroups(proc_root, place)
    try:
        with open(f"{proc_root}/{place}/mountinfo", "rb") as file:
            mounts = parse_mountinfo(file.read(_MAX_MOUNTINFO_BYTES))
        own = _cgroup_namespace(proc_root, str(place))
        try:
            first = _cgroup_namespace(proc_root, "1")
        except PermissionError:
            first = _cgroup_namespace(proc_root, "self")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessGoneError(f"{proc_root}/{place}") from error
    except OSError as error:
        raise AccessError("gomaxprocs-cgroup", str(error)) from error
    return view_cgroup(entries, mounts, private=own != first)


def _cgroup_namespace(proc_root: str, pid: str) -> int:
    return os.stat(f"{proc_root}/{pid}/ns/cgroup").st_ino


@dataclass(frozen=True, slots=True)
class Facts:
    """What the choice of GOMAXPROCS depends on, as it is now.

    ``environment`` and ``godebug`` are the process's variables GOMAXPROCS and GODEBUG, None if not
    set (which is not the same as ""); ``environment_read``: False if nothing is known of them.
    ``leaf_limit_cores`` is the limit of the process's own
    cgroup, ancestors left out. ``follows_limit``: whether a limit file is among its open files
    (procfs.read_cgroup_fds), None if not looked. ``online_cpus``: CPUs of the host.
    ``cpuset_cpus``: those of its cgroup's cpuset, None if that is not to be seen.
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
    cpuset_cpus: int | None = None
    code: GomaxprocsAddresses | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a process started now would get without calling runtime.GOMAXPROCS on its own.

    ``rule`` is a sentence for people. ``value`` is None where the Go version is unknown.
    """

    value: int | None
    origin: Origin
    rule: str


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
    minor = _minor(facts)
    if minor is None:
        return Prediction(None, Origin.UNKNOWN, "the Go version is unknown")
    if not facts.environment_read:
        return Prediction(None, Origin.UNKNOWN, "its environment could not be read")
    chosen = environment_value(facts.environment, minor)
    if chosen is not None:
        return Prediction(chosen, Origin.ENVIRONMENT, "GOMAXPROCS is set in the environment")
    return _predict_automaxprocs(facts, minor) or _predict_default(facts, minor)


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
    return _capped(value, minor)


_NEWEST = 27  # the last minor version these rules were checked with


def _capped(value: int, minor: int) -> int:
    # _MaxGomaxprocs in runtime2.go: 1<<8 up to 1.8, 1<<10 in 1.9, then gone.
    return min(value, 256 if minor <= 8 else 1024) if minor <= 9 else value


def _minor(facts: Facts) -> int | None:
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


def _predict_default(facts: Facts, minor: int) -> Prediction:
    """Without a variable and without calls."""
    if minor < 5:
        return Prediction(1, Origin.FIXED, "Go before 1.5 starts with 1")
    cpus = _capped(facts.allowed_cpus, minor)
    count = Prediction(
        cpus, Origin.CPU_COUNT, f"the {_counted(cpus, 'CPU')} the process may run on"
    )
    limit = facts.leaf_limit_cores
    if limit is None or not _follows_limit(facts, minor):
        return count
    # runtime/cgroup_linux.go adjustCgroupGOMAXPROCS
    value = max(2, math.ceil(limit))
    limited = f"{_counted(limit, 'core')} rounded up, at least 2"
    if value >= cpus:
        return replace(count, rule=f"{count.rule}: no more than its limit, {limited}")
    rule = f"Go's container default: {limited}"
    return Prediction(value, Origin.CONTAINER, rule)


def _counted(number: float, thing: str) -> str:
    return f"{number:g} {thing}{'' if number == 1 else 's'}"


def _follows_limit(facts: Facts, minor: int) -> bool:
    """Whether the runtime looks at the limit of its cgroup (since 1.25), and finds it."""
    return _ignored(facts, minor) is None


def _ignored(facts: Facts, minor: int) -> Ignored | None:
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
    if built_in > 0 or _says(facts.godebug, "containermaxprocs"):
        return Ignored.GODEBUG
    default = facts.build.setting("DefaultGODEBUG").split(",")
    return Ignored.GO_MOD if "updatemaxprocs=0" in default else Ignored.DEBUG_LINE


def _says(godebug: str | None, key: str) -> bool:
    """Whether it has a setting of this key that counts."""
    return any(_setting(text)[0] == key for text in (godebug or "").split(","))


def _setting(text: str) -> tuple[str, int | None]:
    """("containermaxprocs", 0); ("", None) for what the runtime passes over."""
    name, _, number = text.partition("=")
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", number, re.ASCII):
        return "", None
    return name, int(number)


def godebug_value(facts: Facts, key: str, default: int) -> int:
    """A GODEBUG setting of the runtime: the binary's own (DefaultGODEBUG, from the go line of
    go.mod and //go:debug lines), overridden by the environment.

    runtime.parsegodebug: the last setting of a key counts, one that is no integer does not.
    """
    value = default
    for text in (facts.build.setting("DefaultGODEBUG"), facts.godebug or ""):
        for setting in text.split(","):
            name, number = _setting(setting)
            if name == key and number is not None:
                value = number
    return value


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


def _predict_automaxprocs(facts: Facts, minor: int) -> Prediction | None:
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
    rule = f"automaxprocs: {_counted(limit, 'core')} rounded {way}, at least {least}"
    return Prediction(_capped(value, minor), Origin.AUTOMAXPROCS, rule)


def _rounding(version: tuple[int, ...]) -> tuple[int, bool]:
    # CHANGELOG: 1.1.0 lowered the least value from 2 to 1, 1.2.0 rounds down instead of up.
    return 1 if version >= (1, 1, 0) else 2, version >= (1, 2, 0)


def _rounded(limit: float, least: int, down: bool) -> int:
    return max(least, math.floor(limit) if down else math.ceil(limit))


def _is_of_automaxprocs(value: int, facts: Facts, minor: int) -> bool:
    """Whether automaxprocs gives this value here; of a version that is not known, any may."""
    prediction = _predict_automaxprocs(facts, minor)
    if prediction is None:
        return False
    if prediction.value is not None:
        return prediction.value == value
    limit = facts.leaf_limit_cores or 0.0
    ways = ((1, True), (1, False), (2, False))
    return value in {_capped(_rounded(limit, *way), minor) for way in ways}


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


def origin(live: LiveGomaxprocs, facts: Facts) -> Origin:
    """Where the value read came from.

    Go 1.25 and later have a flag that separates a choice (variable or call) from the runtime's own
    default. Otherwise the value is compared with what each source would give, and a value
    that none of them gives was set by a call: CALL also covers automaxprocs under a limit that
    has changed since.
    """
    # An unknown version is taken for the newest: its flag and variable mean the same.
    minor = _minor(facts)
    newest = _NEWEST if minor is None else minor
    if live.custom is False:
        return _default_origin(live, facts, newest)
    if not facts.environment_read:
        return Origin.UNKNOWN
    # A variable that is set keeps automaxprocs quiet, so another value was set by a call.
    chosen = environment_value(facts.environment, newest)
    if chosen is not None:
        return Origin.ENVIRONMENT if live.value == chosen else Origin.CALL
    if _is_of_automaxprocs(live.value, facts, newest):
        return Origin.AUTOMAXPROCS
    if live.custom:
        return Origin.CALL
    if facts.code is not None and not facts.code.can_be_called:
        return _default_origin(live, facts, newest)
    # Go before 1.25 does not look again: the CPUs it had when it started are what counts.
    if newest >= 5 and live.start_cpus is not None:
        by_default = live.value == _capped(live.start_cpus, newest)
    else:
        default = _predict_default(facts, newest)
        if live.value == default.value:
            return default.origin
        by_default = live.value == facts.online_cpus
    if by_default:
        return Origin.CPU_COUNT
    return Origin.CALL if minor is not None else Origin.UNKNOWN


def _default_origin(live: LiveGomaxprocs, facts: Facts, minor: int) -> Origin:
    """The runtime itself chose, now or when the CPUs or the limit were others."""
    default = _predict_default(facts, minor)
    if live.value == default.value or minor < 5:
        return default.origin
    cpus = (facts.allowed_cpus, live.start_cpus)
    if live.value in cpus or not _follows_limit(facts, minor):
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
    minor = _minor(facts)
    newest = _NEWEST if minor is None else minor
    is_read = facts.environment_read
    known = Gomaxprocs(
        value=None,
        origin=Origin.UNKNOWN,
        recommended=recommend(limit_cores, facts.allowed_cpus),
        expected=prediction.value,
        rule=prediction.rule,
        ignored=None if minor is None or not is_read else _ignored(facts, minor),
        automaxprocs=find_automaxprocs(facts)[0],
        bound_by=bindings(limit_cores, facts),
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


def otherwise(facts: Facts, minor: int, limit_cores: float | None) -> Otherwise:
    """What each change would give, by the rules: a remedy offers nothing that they deny."""
    looks = replace(facts, follows_limit=None)  # what it has open says nothing of another build
    by_view = _ignored(replace(looks, build=_with_go_line(facts, minor), godebug=None), minor)
    if minor >= 25 and facts.follows_limit is False and by_view is None and _is_asked(facts):
        # It looked where the rules say that the limit is, and did not find it: so will others.
        looks = replace(facts, leaf_limit_cores=None)
    by_setting = minor >= 25 and not _is_asked(facts)
    built_in = facts.build.setting("DefaultGODEBUG")
    keeps = ",".join(t for t in (facts.godebug or "").split(",") if _setting(t)[0] not in _MAXPROCS)
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
    prediction, minor = predict(facts), _minor(facts)
    if facts.leaf_limit_cores is None or minor is None:
        return None
    if prediction.origin is Origin.AUTOMAXPROCS:
        return prediction.value
    is_default = prediction.origin in (Origin.CONTAINER, Origin.CPU_COUNT)
    return prediction.value if is_default and _follows_limit(facts, minor) else None


_MAXPROCS = ("containermaxprocs", "updatemaxprocs")


def _is_asked(facts: Facts) -> bool:
    """Whether its settings have the runtime look for a limit at all."""
    return godebug_value(facts, "containermaxprocs", 1) > 0


def _with_go_line(facts: Facts, minor: int) -> GoBuild:
    """Built by Go 1.``minor`` with a go line of 1.25 or later, and no //go:debug line."""
    settings = tuple(s for s in facts.build.settings if s[0] != "DefaultGODEBUG")
    return replace(facts.build, version=f"go1.{minor}", settings=settings)
