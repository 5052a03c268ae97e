"""The table of categories compared with the sources and binaries of real Go releases.

The oracle is independent of the table: the purpose of a function follows from the file of Go's
runtime that defines it, and the list of functions comes from the sources and the linker.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from gotax.category import Category
from gotax.golang.categories import (
    CUT_ENTRY,
    CUT_GOEXIT,
    CUT_MCALL,
    CUT_MORESTACK,
    CUT_MSTART,
    GC_MARK,
    HELPER,
    TRANSPARENT,
    UNLISTED,
    function_code,
)

from tests.toolchains import OLD_VERSIONS, VERSIONS, go_binary, minor, toolchain

C = Category
pytestmark = pytest.mark.toolchain

MARKING = {GC_MARK, C.GC_MARK_DEDICATED, C.GC_MARK_FRACTIONAL, C.GC_MARK_IDLE}
SCHEDULER = {
    C.SCHED_FIND_WORK,
    C.SCHED_WAKE,
    C.SCHED_PARK,
    C.SCHED_SWITCH,
    C.SCHED_PREEMPT,
    C.SCHED_SYSMON,
}
# Other categories that functions of a file may have, besides transparent. The comments name these
# functions.
EXPECTED: dict[str, set[int]] = {
    "chan.go": {C.CHAN},
    "select.go": {C.CHAN},
    "sema.go": {C.LOCKS},
    "netpoll.go": {C.NETPOLL},
    "netpoll_epoll.go": {C.NETPOLL},
    "time.go": {C.TIMERS, C.SCHED_SYSMON},
    "malloc.go": {
        C.ALLOC,
        C.GC_ASSIST,  # deductAssistCredit
        C.GC_SCAVENGE,  # enableMetadataHugePages
        C.GC_FINALIZERS,  # in one file until 1.4
        C.GC_STW,  # GC, likewise
        C.RUNTIME_OTHER,  # mallocinit
    },
    "malloc_generated.go": {C.ALLOC},
    "mcache.go": {C.ALLOC, C.GC_SWEEP},
    "mcentral.go": {C.ALLOC, C.GC_SWEEP},
    "mgcmark.go": MARKING | {C.GC_ASSIST, C.GC_WRITE_BARRIER, C.GC_STW, C.ALLOC},
    "mgcmark_greenteagc.go": MARKING | {C.GC_SWEEP},
    "mgcstack.go": MARKING,
    "mgcwork.go": MARKING | {C.GC_STW, C.GC_SWEEP},
    "mgc.go": MARKING
    | {
        C.GC_MARK_BACKGROUND,
        C.GC_STW,
        C.GC_SWEEP,
        C.SCHED_FIND_WORK,
        C.RUNTIME_OTHER,  # gcinit
    },
    "mgcpacer.go": MARKING
    | {
        C.GC_STW,
        C.SCHED_FIND_WORK,
        C.GC_SCAVENGE,  # piController in 1.18
    },
    "mgclimit.go": {C.GC_STW},
    "mgcscavenge.go": {C.GC_SCAVENGE},
    "mgcsweep.go": {C.GC_SWEEP},
    "mgcsweepbuf.go": {C.GC_SWEEP},
    "mwbbuf.go": {C.GC_WRITE_BARRIER},
    "mbarrier.go": {C.GC_WRITE_BARRIER, HELPER},
    "mfinal.go": {C.GC_FINALIZERS, HELPER},  # KeepAlive
    "mcleanup.go": {C.GC_FINALIZERS, HELPER},  # the race detector's hooks
    "stack.go": {
        C.STACK_GROWTH,
        CUT_MORESTACK,
        C.GC_STW,  # freeStackSpans
        C.SCHED_SWITCH,  # gostartcallfn
        C.RUNTIME_OTHER,  # stackinit
        HELPER,
    },
    "cgocall.go": {C.CGO},
    "cgocheck.go": {C.CGO},
    "map.go": {HELPER},
    "slice.go": {HELPER, C.ALLOC},  # makeslice
    "iface.go": {HELPER, C.RUNTIME_OTHER},  # itabsinit
    "symtabinl.go": {HELPER},
    "lock_futex.go": {C.SCHED_WAKE, C.SCHED_PARK},
    "lock_spinbit.go": set(),
    "lfstack.go": set(),
    "mpallocbits.go": set(),
    "mranges.go": set(),
    "mspanset.go": set(),
    "preempt.go": {C.SCHED_PREEMPT, GC_MARK},  # suspendG
    "proc.go": SCHEDULER
    | {
        C.GC_STW,  # stopTheWorld
        C.SYSCALL,
        C.CGO,  # needm
        C.TIMERS,  # checkTimers
        C.RUNTIME_OTHER,  # main, sigprof
        C.LOCKS,  # sync.runtime_doSpin
        GC_MARK,  # pollWork
        HELPER,  # stacks for profiles
        CUT_MSTART,
    },
}
# The most frequent functions of every release since 1.21. A release that renames one fails here.
HOT = {
    "runtime.findRunnable": C.SCHED_FIND_WORK,
    "runtime.stealWork": C.SCHED_FIND_WORK,
    "runtime.runqgrab": C.SCHED_FIND_WORK,
    "runtime.schedule": C.SCHED_SWITCH,
    "runtime.execute": C.SCHED_SWITCH,
    "runtime.gopark": C.SCHED_SWITCH,
    "runtime.newproc1": C.SCHED_SWITCH,
    "runtime.wakep": C.SCHED_WAKE,
    "runtime.startm": C.SCHED_WAKE,
    "runtime.ready": C.SCHED_WAKE,
    "runtime.stopm": C.SCHED_PARK,
    "runtime.sysmon": C.SCHED_SYSMON,
    "runtime.retake": C.SCHED_SYSMON,
    "runtime.netpoll": C.NETPOLL,
    "runtime.asyncPreempt": C.SCHED_PREEMPT,
    "runtime.gcBgMarkWorker": C.GC_MARK_BACKGROUND,
    "runtime.gcDrain": GC_MARK,
    "runtime.greyobject": GC_MARK,
    "runtime.scanblock": GC_MARK,
    "runtime.gcAssistAlloc": C.GC_ASSIST,
    "runtime.gcDrainN": C.GC_ASSIST,
    "runtime.wbBufFlush": C.GC_WRITE_BARRIER,
    "runtime.sweepone": C.GC_SWEEP,
    "runtime.bgsweep": C.GC_SWEEP,
    "runtime.bgscavenge": C.GC_SCAVENGE,
    "runtime.stopTheWorldWithSema": C.GC_STW,
    "runtime.gcStart": C.GC_STW,
    "runtime.mallocgc": C.ALLOC,
    "runtime.newobject": C.ALLOC,
    "runtime.makeslice": C.ALLOC,
    "runtime.growslice": HELPER,
    "runtime.memmove": TRANSPARENT,
    "runtime.futex": TRANSPARENT,
    "runtime.lock2": TRANSPARENT,
    "runtime.systemstack": TRANSPARENT,
    "runtime.newstack": C.STACK_GROWTH,
    "runtime.copystack": TRANSPARENT,
    "runtime.chansend": C.CHAN,
    "runtime.selectgo": C.CHAN,
    "runtime.semacquire1": C.LOCKS,
    "runtime.entersyscall": C.SYSCALL,
    "runtime.exitsyscall": C.SYSCALL,
    "runtime.cgocall": C.CGO,
    "runtime.mcall": CUT_MCALL,
    "runtime.morestack": CUT_MORESTACK,
    "runtime.mstart": CUT_MSTART,
    "runtime.mstart1": CUT_MSTART,
    "runtime.goexit": CUT_GOEXIT,
    "runtime.rt0_go": CUT_ENTRY,
}
OTHER_SYSTEMS = re.compile(
    r"_(?:windows|darwin|freebsd|netbsd|openbsd|dragonfly|solaris|illumos|aix|plan9|js|wasip1|wasm|"
    r"android|ios|nacl|386|arm|mips\w*|ppc64\w*|riscv64|s390x|loong64|test)(?:_\w+)?\.go$"
)
# gofmt puts every function's first line at the margin; one without a body is defined elsewhere.
FUNCTION = re.compile(
    r"^func (?:\((?:\w+ )?(\*?)(\w+)(?:\[[^]]*\])?\) )?(\w+)[\[(].*\{", re.MULTILINE
)
SYMBOL = re.compile(r"^ *[0-9a-f]+ +[tT] ((?:internal/)?runtime[./]\S+|\w+)$", re.MULTILINE)
LINKNAME = re.compile(r"^//go:linkname (\w+) (\S+\.\S+)$", re.MULTILINE)


def functions(file: Path) -> list[str]:
    """The symbols of the functions that a source file of package runtime defines."""
    text = file.read_text()
    elsewhere = dict(LINKNAME.findall(text))
    names = []
    for pointer, receiver, name in FUNCTION.findall(text):
        if name in ("init", "_"):
            continue
        of = f"(*{receiver})." if pointer else f"{receiver}." if receiver else ""
        names.append(f"runtime.{of}{name}" if of else elsewhere.get(name, f"runtime.{name}"))
    return names


def sources(version: str) -> list[Path]:
    folder = toolchain(version) / "src" / "runtime"
    return [f for f in sorted(folder.glob("*.go")) if not OTHER_SYSTEMS.search(f.name)]


@pytest.mark.parametrize("version", [*OLD_VERSIONS, *VERSIONS])
def test_functions_have_the_category_of_their_source_file(version: str) -> None:
    """Go's own division into files matches the table, function by function."""
    wrong, checked = [], 0
    for file in sources(version):
        if file.name not in EXPECTED:
            continue
        allowed = EXPECTED[file.name] | {TRANSPARENT}
        for name in functions(file):
            checked += 1
            # Functions that the runtime implements for other packages may belong to these:
            # maps.clone.
            theirs = set() if name.startswith("runtime.") else {C.USER, HELPER}
            if function_code(name) not in allowed | theirs:
                wrong.append(f"{file.name}: {name} is {function_code(name)}")
    assert not wrong
    assert checked > 250


@pytest.mark.parametrize("version", [*OLD_VERSIONS, *VERSIONS])
def test_source_functions_are_listed(version: str) -> None:
    """Every function that the runtime's sources define for Linux has an entry in the table."""
    names = [
        name
        for file in sources(version)
        if "//go:build ignore" not in (text := file.read_text()) and "+build ignore" not in text
        for name in functions(file)
    ]
    assert len(names) > 700
    assert not {name for name in names if function_code(name) == UNLISTED}


@pytest.mark.parametrize("version", [*OLD_VERSIONS, *VERSIONS])
def test_linked_functions_are_listed(version: str) -> None:
    """Also every function in a built binary: closures, wrappers and assembly included."""
    listing = subprocess.run(
        ["go", "tool", "nm", go_binary("symbols", version)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = re.findall(
        r"^ *[0-9a-f]+ +[tT] ((?:internal/)?runtime[./]\S+|\w+)$", listing, re.MULTILINE
    )
    unlisted = {name for name in names if function_code(name) == UNLISTED}
    assert len(names) > 500
    assert unlisted <= {"runtime.text", "runtime.etext"}  # the linker's marks, not functions
    if minor(version) >= 21:
        linked = {name.removesuffix(".abi0") for name in names}
        assert HOT.keys() - linked <= {"runtime.selectgo"}  # the program has no select


@pytest.mark.parametrize("name", sorted(HOT))
def test_hot_function(name: str) -> None:
    """The most frequent functions of profiles have their category."""
    assert function_code(name) == HOT[name]
