"""GOMAXPROCS of a process from outside: where it lies, what it is, where it came from.

Three parts, in the order they are used:

1. Once per binary, ``find_gomaxprocs`` finds the address of the runtime's variable in the machine
   code, since a stripped binary has no symbol for it.
2. Once per process and tick, ``read_gomaxprocs`` reads it.
3. The rules say what would fit (``recommend``), what the runtime would choose by itself
   (``predict``) and where the value read came from (``origin``); ``judge`` puts it together.

Rules depend on the Go version, because that is what they are: the history of the runtime's
``schedinit``. Finding the variable does not: the code tells.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from gotax.errors import ParseError, ProcessGoneError
from gotax.linux.cgroup import CgroupMount, parse_mountinfo
from gotax.linux.elf import EM_AARCH64, EM_X86_64, PF_X, Elf
from gotax.linux.procfs import CgroupEntry, Mapping, read_cgroups, read_memory
from gotax.model import GoBuild, Gomaxprocs, Ignored, Origin

MAX_GOMAXPROCS = 65536
"""No host has more CPUs (the runtime's own arrays for affinity masks end here as well)."""

# ---------------------------------------------------------------------------------------------
# 1. The address, from machine code
# ---------------------------------------------------------------------------------------------

# runtime.procresize was C code called procresize up to Go 1.4.
_PROCRESIZE = ("runtime.procresize", "procresize")
_GOMAXPROCS = "runtime.GOMAXPROCS"
_AUTOMAXPROCS = "go.uber.org/automaxprocs/maxprocs.Set"
FUNCTIONS = frozenset({*_PROCRESIZE, _GOMAXPROCS, _AUTOMAXPROCS})

_MAX_CODE_BYTES = 64 * 1024  # procresize has 2 to 4 KiB, twice that with -race or -N
_MAX_MOUNTINFO_BYTES = 1 << 20


class FunctionRanges(Protocol):
    """What is needed of a pclntab."""

    def function_ranges(self, names: frozenset[str]) -> dict[str, tuple[int, int]]:
        """Link-time [low, high) of those of the functions that exist."""


@dataclass(frozen=True, slots=True)
class Code:
    """The machine code of one function; ``address`` is the link-time address of its first byte."""

    address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class GomaxprocsAddresses:
    """Link-time addresses of the runtime's variables.

    ``value_address``: runtime.gomaxprocs, an int32. ``custom_address``: sched.customGOMAXPROCS, a
    byte, 1 once the program or its environment chose the value; None before Go 1.25.
    ``how``: the instruction that gave it away, ``exchange``, ``release-store`` or ``call``.
    ``can_be_called``: runtime.GOMAXPROCS is linked in; without it nothing in the program can
    change the value. ``automaxprocs``: go.uber.org/automaxprocs is linked in.
    """

    value_address: int
    custom_address: int | None
    how: str
    can_be_called: bool = True
    automaxprocs: bool = False


def find_gomaxprocs(elf: Elf, functions: FunctionRanges) -> GomaxprocsAddresses:
    """Of a Go binary for amd64 or arm64, stripped or not.

    ParseError: ``gomaxprocs-machine`` (another architecture), ``gomaxprocs-procresize`` (not in
    the pclntab), ``gomaxprocs-code`` (of an impossible size), ``gomaxprocs-none`` and
    ``gomaxprocs-ambiguous`` (no or several variables look like it), ``gomaxprocs-custom``
    (several look like customGOMAXPROCS), or what reading the file raises.
    """
    ranges = functions.function_ranges(FUNCTIONS)
    procresize = next((ranges[name] for name in _PROCRESIZE if name in ranges), None)
    if procresize is None:
        raise ParseError("gomaxprocs-procresize", "no function of that name")
    writable = [
        range(load.address, load.address + load.memory_size) for load in elf.loads if load.writable
    ]

    def is_variable(address: int) -> bool:
        return any(address in segment for segment in writable)

    value, how = find_value(elf.machine, _read_code(elf, procresize), is_variable)
    setter = ranges.get(_GOMAXPROCS)
    custom = None
    if setter is not None:
        custom = find_custom(elf.machine, _read_code(elf, setter), is_variable)
    return GomaxprocsAddresses(value, custom, how, setter is not None, _AUTOMAXPROCS in ranges)


def _read_code(elf: Elf, extent: tuple[int, int]) -> Code:
    low, high = extent
    if not 0 < high - low <= _MAX_CODE_BYTES:
        raise ParseError("gomaxprocs-code", f"{high - low} bytes at {low:#x}")
    return Code(low, elf.read_va(low, high - low))


def find_value(
    machine: int, procresize: Code, is_variable: Callable[[int], bool]
) -> tuple[int, str]:
    """(address, how) of runtime.gomaxprocs: see ``GomaxprocsAddresses``.

    procresize begins with ``old := gomaxprocs`` and ends with ``atomic.Store(&gomaxprocs, n)``
    (runtime/proc.go; proc.c up to Go 1.4). It is the only 32-bit variable there that is both
    read plainly and stored atomically.
    """
    references = _references(machine, procresize)
    found = {
        address: how
        for address, how in references.stored.items()
        if address in references.loaded and address % 4 == 0 and is_variable(address)
    }
    if len(found) != 1:
        reason = "gomaxprocs-ambiguous" if found else "gomaxprocs-none"
        raise ParseError(reason, f"{len(found)} candidates at {procresize.address:#x}")
    return next(iter(found.items()))


def find_custom(machine: int, gomaxprocs: Code, is_variable: Callable[[int], bool]) -> int | None:
    """Address of sched.customGOMAXPROCS, None where the runtime has none (before Go 1.25).

    runtime.GOMAXPROCS sets it, ``sched.customGOMAXPROCS = true``, and no other byte.
    """
    flags = {a for a in _references(machine, gomaxprocs).flagged if is_variable(a)}
    if len(flags) > 1:
        raise ParseError("gomaxprocs-custom", f"{len(flags)} flags at {gomaxprocs.address:#x}")
    return next(iter(flags), None)


@dataclass(frozen=True, slots=True)
class _References:
    """Addresses a function seems to refer to; those that are no variables are chance finds.

    ``loaded``: read as 32 bits. ``stored``: stored atomically as 32 bits, and how. ``flagged``:
    bytes set to 1 (arm64: to anything).
    """

    loaded: set[int] = field(default_factory=set)
    stored: dict[int, str] = field(default_factory=dict)
    flagged: set[int] = field(default_factory=set)


def _references(machine: int, code: Code) -> _References:
    if machine == EM_X86_64:
        return _amd64_references(code)
    if machine == EM_AARCH64:
        return _arm64_references(code)
    raise ParseError("gomaxprocs-machine", f"ELF machine {machine}")


# amd64. Instructions have no fixed length, so patterns are tried at every byte. One that starts
# inside another instruction would have to end in the address of a variable by chance, in both
# roles.

_RIP_OPERAND = rb"[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](.{4})"  # ModRM mod 00 rm 101: rip+disp32
_NO_REX_W = rb"(?<![\x48-\x4f])"  # with REX.W the operation is on 64 bits

# mov r32, [rip+d] and movsxd r64, [rip+d]
_AMD64_LOAD = re.compile(rb"(?s)(?=(?:" + _NO_REX_W + rb"\x8b|\x63)" + _RIP_OPERAND + rb")")
# mov r32, [abs32]: Go 1.2
_AMD64_LOAD_ABSOLUTE = re.compile(
    rb"(?s)(?=" + _NO_REX_W + rb"\x8b[\x04\x0c\x14\x1c\x24\x2c\x34\x3c]\x25(.{4}))"
)
# lea r64, [rip+d]
_AMD64_ADDRESS = re.compile(rb"(?s)(?=([\x48\x4c])\x8d([\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(.{4}))")
# mov r32, imm32: how Go 1.2 takes an address
_AMD64_ADDRESS_ABSOLUTE = re.compile(rb"(?s)(?=([\xb8-\xbf])(.{4}))")
# mov byte [rip+d], 1
_AMD64_FLAG = re.compile(rb"(?s)(?=\xc6\x05(.{4})\x01)")
_AMD64_STORE_WINDOW = 24


def _amd64_exchange(register: int) -> re.Pattern[bytes]:
    """xchg [register], r32: since Go 1.8 the compiler's own atomic.Store."""
    low = register & 7
    mode = 0x40 if low == 5 else 0  # [rbp] and [r13] exist only with a displacement
    operand = b"".join(b"\\x%02x" % (mode | value << 3 | low) for value in range(8))
    tail = {4: rb"\x24", 5: rb"\x00"}.get(low, b"")  # [rsp] and [r12] need a SIB byte
    prefix = rb"[\x41\x45]" if register > 7 else rb"(?<![\x41\x43\x45\x47-\x4f])"
    return re.compile(rb"(?s)" + prefix + rb"\x87[" + operand + rb"]" + tail)


def _amd64_call(register: int) -> re.Pattern[bytes]:
    """mov [rsp], register; ...; mov [rsp+8], r32; call: up to Go 1.7 a call of atomicstore.

    Its second argument has 32 bits, which tells it from atomicstorep.
    """
    first = bytes([0x48 | register >> 3 << 2, 0x89, (register & 7) << 3 | 4, 0x24])
    second = _NO_REX_W + rb"\x89[\x44\x4c\x54\x5c\x64\x6c\x74\x7c]\x24\x08"
    return re.compile(rb"(?s)" + re.escape(first) + rb".{0,12}?" + second + rb"\xe8")


_AMD64_STORES = tuple(
    (("exchange", _amd64_exchange(register)), ("call", _amd64_call(register)))
    for register in range(16)
)


def _amd64_references(code: Code) -> _References:
    data = code.data
    found = _References()

    def target(displacement: bytes, end: int) -> int:
        return code.address + end + int(struct.unpack("<i", displacement)[0])

    for match in _AMD64_LOAD.finditer(data):
        found.loaded.add(target(match[1], match.end(1)))
    for match in _AMD64_LOAD_ABSOLUTE.finditer(data):
        found.loaded.add(int.from_bytes(match[1], "little"))
    for match in _AMD64_FLAG.finditer(data):
        found.flagged.add(target(match[1], match.end(1) + 1))
    for match in _AMD64_ADDRESS.finditer(data):
        register = match[2][0] >> 3 & 7 | (match[1][0] & 4) << 1
        _amd64_store(found, data, target(match[3], match.end(3)), register, match.end(3))
    for match in _AMD64_ADDRESS_ABSOLUTE.finditer(data):
        address = int.from_bytes(match[2], "little")
        _amd64_store(found, data, address, match[1][0] & 7, match.end(2))
    return found


def _amd64_store(found: _References, data: bytes, address: int, register: int, at: int) -> None:
    for how, pattern in _AMD64_STORES[register]:
        if pattern.search(data, at, at + _AMD64_STORE_WINDOW):
            found.stored.setdefault(address, how)


# arm64. Every instruction is one word; an address takes two of them, adrp for the page and the
# offset in the page in an add or in the load itself. (lld relaxes adrp+add to nop+adr.)

_ARM64_WINDOW = 12  # instructions between taking an address and using it; a few in practice
_ARM64_BRANCHES = (0x05, 0x25)  # b, bl: behind them registers mean something else


def _arm64_references(code: Code) -> _References:
    words = struct.unpack(f"<{len(code.data) // 4}I", code.data[: len(code.data) & ~3])
    found = _References()
    for index, word in enumerate(words):
        kind = word & 0x9F000000
        if kind not in (0x10000000, 0x90000000):  # adr, adrp
            continue
        here = code.address + 4 * index
        immediate = (word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3
        immediate -= (immediate & 1 << 20) << 1
        uses = words[index + 1 : index + 1 + _ARM64_WINDOW]
        if kind == 0x10000000:
            _arm64_uses(found, here + immediate, word & 31, uses)
        else:
            _arm64_page_uses(found, (here & ~0xFFF) + (immediate << 12), word & 31, uses)
    return found


def _arm64_page_uses(found: _References, page: int, register: int, uses: tuple[int, ...]) -> None:
    """The first use of ``register``, which holds the page's address."""
    for index, use in enumerate(uses):
        if use >> 26 in _ARM64_BRANCHES:
            return
        if use >> 5 & 31 == register:
            offset = use >> 10 & 0xFFF
            kind = use & 0xFFC00000
            if kind == 0x91000000:  # add x, register, #offset
                _arm64_uses(found, page + offset, use & 31, uses[index + 1 :])
            elif kind in (0xB9400000, 0xB9800000):  # ldr w, ldrsw x, [register, #offset]
                found.loaded.add(page + offset * 4)
            elif kind == 0x39000000:  # strb w, [register, #offset]
                found.flagged.add(page + offset)
            return


def _arm64_uses(found: _References, address: int, register: int, uses: tuple[int, ...]) -> None:
    """What is done to the variable while ``register`` holds its address."""
    base = register << 5
    arguments = 0
    for use in uses:
        operation = use & 0xFFFFFFE0  # without the other register
        if operation in (0xB9400000 | base, 0xB9800000 | base):  # ldr w, ldrsw x, [register]
            found.loaded.add(address)
        elif operation == 0x889FFC00 | base:  # stlr w, [register]: since Go 1.8
            found.stored.setdefault(address, "release-store")
        elif operation == 0x39000000 | base:  # strb w, [register]
            found.flagged.add(address)
        # Up to Go 1.7 a call: str register, [sp, #8]; str w, [sp, #16]; bl atomicstore
        elif use == 0xF90007E0 | register:
            arguments = 1
        elif arguments == 1 and operation == 0xB90013E0:
            arguments = 2
        if use >> 26 in _ARM64_BRANCHES:
            if arguments == 2:
                found.stored.setdefault(address, "call")
            return


# ---------------------------------------------------------------------------------------------
# 2. The value, from the process
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LiveGomaxprocs:
    """``custom``: the program or its environment chose the value; None: Go does not say (<1.25)."""

    value: int
    custom: bool | None


def load_bias(elf: Elf, mappings: Iterable[Mapping], inode: int) -> int | None:
    """Runtime minus link-time address of the file with this inode; None: it is not mapped.

    Only the inode is compared: overlayfs and btrfs show other device numbers in maps than in stat.
    """
    for mapping in mappings:
        if mapping.inode != inode or not inode:
            continue
        for load in elf.loads:
            end = mapping.offset + mapping.end - mapping.start
            if load.flags & PF_X and mapping.offset < load.offset + load.file_size <= end:
                return mapping.start - mapping.offset - (load.address - load.offset)
    return None


def read_gomaxprocs(
    proc_root: str, pid: int, addresses: GomaxprocsAddresses, bias: int
) -> LiveGomaxprocs:
    """What the process runs with now.

    ParseError: ``gomaxprocs-range`` (no value a runtime can have: the process is not yet past its
    start, or another binary than the one looked at), and what ``read_memory`` raises.
    """
    data = read_memory(proc_root, pid, addresses.value_address + bias, 4)
    value = int.from_bytes(data, "little", signed=True)
    custom = None
    if addresses.custom_address is not None:
        flag = read_memory(proc_root, pid, addresses.custom_address + bias, 1)[0]
        if flag > 1:
            raise ParseError("gomaxprocs-range", f"customGOMAXPROCS is {flag} in process {pid}")
        custom = bool(flag)
    if not 1 <= value <= MAX_GOMAXPROCS:
        raise ParseError("gomaxprocs-range", f"GOMAXPROCS is {value} in process {pid}")
    return LiveGomaxprocs(value, custom)


# ---------------------------------------------------------------------------------------------
# 3. The rules
# ---------------------------------------------------------------------------------------------


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


def read_cgroup_view(proc_root: str, pid: int) -> CgroupView:
    """Raises ProcessGoneError, and ParseError where files cannot be read or understood.

    The namespace of the host's first process needs CAP_SYS_PTRACE to be seen; without it the
    reader is taken to be in the host's.
    """
    entries = read_cgroups(proc_root, pid)
    try:
        with open(f"{proc_root}/{pid}/mountinfo", "rb") as file:
            mounts = parse_mountinfo(file.read(_MAX_MOUNTINFO_BYTES))
        own = _cgroup_namespace(proc_root, str(pid))
        try:
            first = _cgroup_namespace(proc_root, "1")
        except PermissionError:
            first = _cgroup_namespace(proc_root, "self")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessGoneError(f"{proc_root}/{pid}") from error
    except OSError as error:
        raise ParseError("gomaxprocs-cgroup", str(error)) from error
    return view_cgroup(entries, mounts, private=own != first)


def _cgroup_namespace(proc_root: str, who: str) -> int:
    return os.stat(f"{proc_root}/{who}/ns/cgroup").st_ino


@dataclass(frozen=True, slots=True)
class Facts:
    """What the choice of GOMAXPROCS depends on, as it is now.

    ``environment`` and ``godebug`` are the process's variables GOMAXPROCS and GODEBUG, None if not
    set (which is not the same as ""). ``leaf_limit_cores`` is the limit of the process's own
    cgroup, ancestors left out. ``follows_limit``: whether a limit file is among its open files
    (procfs.read_cgroup_fds), None if not looked. ``online_cpus``: CPUs of the host.
    """

    build: GoBuild
    allowed_cpus: int
    environment: str | None = None
    godebug: str | None = None
    leaf_limit_cores: float | None = None
    cgroup: CgroupView = CgroupView()
    follows_limit: bool | None = None
    online_cpus: int | None = None
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


def predict(facts: Facts) -> Prediction:
    """The rules of runtime.schedinit (runtime/proc.go), then those of automaxprocs' init."""
    minor = _minor(facts)
    if minor is None:
        return Prediction(None, Origin.UNKNOWN, "the Go version is unknown")
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
    """26 for go1.26.8, go1.26rc1 and "devel go1.26-abcdef"; None if nothing tells.

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
    count = Prediction(cpus, Origin.CPU_COUNT, f"the {cpus} CPUs the process may run on")
    limit = facts.leaf_limit_cores
    if limit is None or not _follows_limit(facts, minor):
        return count
    # runtime/cgroup_linux.go adjustCgroupGOMAXPROCS
    value = max(2, math.ceil(limit))
    if value >= cpus:
        return count
    rule = f"Go's container default: {limit:g} cores rounded up, at least 2"
    return Prediction(value, Origin.CONTAINER, rule)


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
    """Who said containermaxprocs=0.

    The go command writes every setting that the go line of go.mod implies into DefaultGODEBUG
    (cmd/go/internal/load/godebug.go), so for that one updatemaxprocs=0 stands beside it; a
    //go:debug line stands alone.
    """
    default = facts.build.setting("DefaultGODEBUG").split(",")
    by_environment = "containermaxprocs=" in (facts.godebug or "")
    if by_environment or "updatemaxprocs=0" not in default:
        return Ignored.GODEBUG
    return Ignored.GO_MOD


def godebug_value(facts: Facts, key: str, default: int) -> int:
    """A GODEBUG setting of the runtime: the binary's own (DefaultGODEBUG, from the go line of
    go.mod and //go:debug lines), overridden by the environment.

    runtime.parsegodebug: the last setting of a key counts, one that is no integer does not.
    """
    value = default
    for text in (facts.build.setting("DefaultGODEBUG"), facts.godebug or ""):
        for setting in text.split(","):
            name, _, number = setting.partition("=")
            if name == key and re.fullmatch(r"[+-]?[0-9]{1,9}", number, re.ASCII):
                value = int(number)
    return value


def _predict_automaxprocs(facts: Facts, minor: int) -> Prediction | None:
    """go.uber.org/automaxprocs at the program's start; None: it does nothing, or is not there.

    It does not look at the number of CPUs at all. Assumed is the import for its side effect: a
    program that calls maxprocs.Set with options may round otherwise.
    """
    module = facts.build.dependency("go.uber.org/automaxprocs")
    if module is None and (facts.code is None or not facts.code.automaxprocs):
        return None
    # maxprocs.Set leaves everything alone if the variable exists, even empty.
    if facts.environment is not None or facts.leaf_limit_cores is None:
        return None
    version = _module_version(module.version if module is not None else "")
    if not _automaxprocs_sees_limit(facts.cgroup, version):
        return None
    limit = facts.leaf_limit_cores
    # CHANGELOG: 1.1.0 lowered the least value from 2 to 1, 1.2.0 rounds down instead of up.
    least = 1 if version >= (1, 1, 0) else 2
    down = version >= (1, 2, 0)
    value = max(least, math.floor(limit) if down else math.ceil(limit))
    way = "down" if down else "up"
    rule = f"automaxprocs: {limit:g} cores rounded {way}, at least {least}"
    return Prediction(_capped(value, minor), Origin.AUTOMAXPROCS, rule)


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
    """(1, 5, 1) for v1.5.1; anything else, as "(devel)", counts as the newest."""
    match = re.match(r"v([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})", version)
    return tuple(int(part) for part in match.groups()) if match is not None else (999, 0, 0)


def origin(live: LiveGomaxprocs, facts: Facts) -> Origin:
    """Where the value read came from.

    The flag of Go 1.25 and later tells a choice (variable or call) from the runtime's own default
    for certain. Otherwise the value is compared with what each source would give, and a value
    that none of them gives was set by a call: CALL also covers automaxprocs under a limit that
    has changed since.
    """
    # An unknown version is taken for the newest: its flag and variable mean the same.
    minor = _minor(facts)
    newest = _NEWEST if minor is None else minor
    if live.custom is False:
        return _default_origin(live, facts, newest)
    # A variable that is set keeps automaxprocs quiet, so another value was set by a call.
    chosen = environment_value(facts.environment, newest)
    if chosen is not None:
        return Origin.ENVIRONMENT if live.value == chosen else Origin.CALL
    automatic = _predict_automaxprocs(facts, newest)
    if automatic is not None and live.value == automatic.value:
        return Origin.AUTOMAXPROCS
    if live.custom:
        return Origin.CALL
    if facts.code is not None and not facts.code.can_be_called:
        return _default_origin(live, facts, newest)
    if live.value == _predict_default(facts, newest).value:
        return _predict_default(facts, newest).origin
    # The CPUs allowed may have changed since the start; Go before 1.25 does not look again.
    if live.value == facts.online_cpus:
        return Origin.CPU_COUNT
    return Origin.CALL if minor is not None else Origin.UNKNOWN


def _default_origin(live: LiveGomaxprocs, facts: Facts, minor: int) -> Origin:
    """The runtime itself chose, now or when the CPUs or the limit were others."""
    default = _predict_default(facts, minor)
    if live.value == default.value or minor < 5:
        return default.origin
    if live.value == facts.allowed_cpus or not _follows_limit(facts, minor):
        return Origin.CPU_COUNT
    # An idle process looks again only once it runs. With a limit it was the limit of before;
    # without one it may have been either.
    return Origin.CONTAINER if default.origin is Origin.CONTAINER else Origin.UNKNOWN


def judge(live: LiveGomaxprocs | ParseError, facts: Facts, limit_cores: float | None) -> Gomaxprocs:
    """All there is to say of one process.

    ``limit_cores`` is the tightest limit of the cgroup and its ancestors: what the kernel
    enforces, not what the runtime looks at. Pass the error if the value could not be read.
    """
    prediction = predict(facts)
    minor = _minor(facts)
    known = Gomaxprocs(
        value=None,
        origin=Origin.UNKNOWN,
        recommended=recommend(limit_cores, facts.allowed_cpus),
        expected=prediction.value,
        rule=prediction.rule,
        ignored=None if minor is None else _ignored(facts, minor),
        automaxprocs=_has_automaxprocs(facts),
    )
    if isinstance(live, ParseError):
        return replace(known, reason=live.reason)
    return replace(known, value=live.value, origin=origin(live, facts))


def _has_automaxprocs(facts: Facts) -> bool:
    linked = facts.code is not None and facts.code.automaxprocs
    return linked or facts.build.dependency("go.uber.org/automaxprocs") is not None
