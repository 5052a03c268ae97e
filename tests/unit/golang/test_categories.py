from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from gotax.category import Category
from gotax.golang.categories import (
    BARE,
    CUT_ENTRY,
    CUT_GOEXIT,
    CUT_MCALL,
    CUT_MORESTACK,
    CUT_MSTART,
    ELSEWHERE,
    GC_MARK,
    HELPER,
    MEANING,
    NATIVE,
    PACKAGES,
    RUNTIME,
    TRANSPARENT,
    UNLISTED,
    Set,
    classify,
    function_code,
    names_of,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[2] / "fixtures" / "categories"
DOCUMENT = Path(__file__).parents[3] / "docs" / "categories.md"
CUTS = (CUT_MCALL, CUT_MORESTACK, CUT_MSTART, CUT_GOEXIT, CUT_ENTRY)
USER = int(Category.USER)
CODES = (*map(int, Category), TRANSPARENT, HELPER, UNLISTED, GC_MARK, *CUTS)


def category(stack: str, in_kernel: bool = False, native_leaf: bool = False) -> Category:
    """Of a stack written leaf first, "a < b"; package runtime may be left out of plain names."""
    names = [
        name if "." in name or "[" in name else f"runtime.{name}" for name in stack.split(" < ")
    ]
    names = [f"runtime.{name}" if name.startswith("(*") else name for name in names]
    return classify([function_code(name) for name in names], in_kernel, native_leaf)


def stacks(fixture: str) -> list[tuple[str, str]]:
    """(stack, category) of a fixture's lines, "CATEGORY: a < b"."""
    lines = (FIXTURES / fixture).read_text().splitlines()
    split = [line.split(": ", 1) for line in lines if line and not line.startswith("#")]
    return [(stack, label) for label, stack in split]


@pytest.mark.parametrize(("stack", "label"), stacks("user.txt"))
def test_observed_stack(stack: str, label: str) -> None:
    """Stacks seen in real programs have the category that a reader of the runtime would choose."""
    assert category(stack).label == label


@pytest.mark.parametrize(("stack", "label"), stacks("kernel.txt"))
def test_kernel_time_follows_the_user_stack(stack: str, label: str) -> None:
    """Kernel time is a cost of the user frames below."""
    assert category(stack, in_kernel=True).label == label


def test_c_leaf_is_cgo_wherever_it_is() -> None:
    """C code under any Go frames, and in the kernel, is cgo; C that called back into Go is not."""
    codes = [NATIVE, NATIVE, function_code("runtime.asmcgocall"), function_code("main.f")]
    assert classify(codes, False, True) is Category.CGO
    assert classify(codes, True, True) is Category.CGO
    assert classify([], False, True) is Category.CGO
    callback = [function_code("main.goCallback"), function_code("crosscall2"), NATIVE]
    assert classify(callback, False, False) is Category.USER


def test_a_stack_without_a_known_frame_is_unknown() -> None:
    """No frames, only helpers, or only helpers up to goexit."""
    assert classify([], False, False) is Category.UNKNOWN
    assert classify([], True, False) is Category.UNKNOWN
    assert category("memmove") is Category.UNKNOWN
    assert category("memmove < goexit") is Category.UNKNOWN


def test_an_unlisted_function_is_skipped_and_is_not_user_work() -> None:
    """An unknown runtime function of a future release gives the category of a listed caller, never
    user code."""
    assert function_code("runtime.inventedInGo9") == UNLISTED
    assert category("inventedInGo9 < gcDrain < gcDrainMarkWorkerIdle") is Category.GC_MARK_IDLE
    assert category("inventedInGo9 < main.f") is Category.RUNTIME_OTHER
    assert category("inventedInGo9 < mcall < gopark") is Category.SCHED_SWITCH
    assert category("inventedInGo9 < goexit") is Category.RUNTIME_OTHER
    assert category("inventedInGo9") is Category.RUNTIME_OTHER


USER_NAMES = [
    "main.main",
    "main.gcDrain",
    "main.(*runtime).schedule",
    "main.runtime.schedule",
    "foo.com/bar/runtime.gcBgMarkWorker",
    "foo.com/bar/runtime.(*mheap).alloc",
    "runtime.example.com/x.mallocgc",
    "runtime.example.com/runtime.mallocgc",
    "github.com/a/internal/runtime/atomic.Load",
    "runtime/pprof.profileWriter",
    "runtime/debug.SetGCPercent",
    "vendor/golang.org/x/net/runtime.schedule",
    "main.Map[go.shape.string,runtime.schedule]",
    "main.(*list[go.shape.struct { runtime.mutex; a/b.T }]).push.func1",
    "syscall.write",
    "os.(*File).Read",
    "sync.(*Map).Load",
    "sync.(*Pool).Get",
    "time.now",
    "math/bits.Mul64",
    "_.main.func1",
    "sha256block",
]


@pytest.mark.parametrize("name", USER_NAMES)
def test_only_the_runtimes_own_packages_count(name: str) -> None:
    """A user's function is user code, whatever its name."""
    assert function_code(name) == Category.USER


ONE_FUNCTION = [
    ("runtime.gcDrain", "runtime.gcDrain.func1", "runtime.gcDrain.func2.1", "gcDrain"),
    ("runtime.findRunnable", "runtime.findRunnable.abi0", "runtime.findRunnable-fm"),
    ("runtime.findrunnable", "findrunnable"),
    ("runtime.bgsweep", "runtime.bgsweep.gowrap1", "runtime.bgsweep.deferwrap2"),
    ("runtime.(*mheap).alloc", "runtime.(*mheap).alloc.func1", "runtime.(*mheap).alloc.func1.2"),
    ("runtime.goready", "runtime.send.goready.func1", "_.goready.func1"),
    ("runtime.goready", "runtime.recv.goready.func2", "runtime.goready.func1"),
    ("runtime.forEachP", "runtime.gcMarkTermination.forEachP.func6"),
    ("internal/runtime/atomic.Load", "internal/runtime/atomic.(*Pointer[go.shape.int]).Load"),
    ("runtime.gcWriteBarrier", "gcWriteBarrier", "runtime.gcWriteBarrierCX"),
    ("runtime.gcWriteBarrier1", "runtime.gcWriteBarrier8"),
    ("runtime.mallocgc", "runtime.mallocgcTinySC2", "runtime.mallocgcSmallNoScanSC7"),
]


@pytest.mark.parametrize("names", ONE_FUNCTION)
def test_closures_and_wrappers_count_as_their_function(names: tuple[str, ...]) -> None:
    """The suffixes of closures and wrappers, ABIs and releases do not change the role."""
    assert len({function_code(name) for name in names}) == 1
    assert function_code(names[0]) != UNLISTED


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("runtime.mcall", CUT_MCALL),
        ("runtime.morestack_noctxt", CUT_MORESTACK),
        ("runtime.morestack.abi0", CUT_MORESTACK),
        ("runtime.mstart", CUT_MSTART),
        ("runtime.mstart1", CUT_MSTART),
        ("runtime.goexit", CUT_GOEXIT),
        ("runtime.goexit.abi0", CUT_GOEXIT),
        ("runtime.goexit1", Category.SCHED_SWITCH),
        ("runtime.rt0_go", CUT_ENTRY),
        ("_rt0_amd64_linux", CUT_ENTRY),
        ("runtime.lock2", TRANSPARENT),
        ("__vdso_clock_gettime", TRANSPARENT),
        ("runtime.growslice", HELPER),
        ("runtime.greyobject", GC_MARK),
    ],
)
def test_role_by_name(name: str, code: int) -> None:
    """Roles that are not categories have their own codes."""
    assert function_code(name) == code


def _names(sets: tuple[Set, ...]) -> Iterator[tuple[str, int]]:
    for row in sets:
        for name in row.names.split():
            yield name, row.code


@pytest.mark.parametrize("sets", [RUNTIME, ELSEWHERE, BARE], ids=["runtime", "elsewhere", "bare"])
def test_table_names_each_function_once(sets: tuple[Set, ...]) -> None:
    """No name is in two sets, and a prefix ends with its only asterisk."""
    names = [name for name, _ in _names(sets)]
    assert sorted(names) == sorted(set(names))
    for name in names:
        assert "*" not in name[:-1].replace("(*", "("), name


def test_function_code_matches_the_table() -> None:
    """Every whole name of every set gets exactly its set's code."""
    for name, code in _names(RUNTIME):
        if not name.endswith("*"):
            assert function_code(f"runtime.{name}") == code, name
    for sets in (ELSEWHERE, BARE):
        for name, code in _names(sets):
            if not name.endswith("*"):
                assert function_code(name) == code, name
    for package, code in PACKAGES:
        if not package.endswith("/"):
            assert function_code(f"{package}.anything") == code, package


def test_no_name_of_the_table_is_that_of_a_closure() -> None:
    """Neither of a closure nor of an inlined function: such names are looked up in parts."""
    names = {name for name, _ in _names(RUNTIME) if not name.endswith("*")}
    for name in names:
        assert not re.search(r"\.\(|\.(func|gowrap|deferwrap)?\d|\.abi|-", name), name
        assert name.rpartition(".")[0] not in names, name


def test_a_beginning_stands_for_every_name_that_begins_so() -> None:
    """ "name*" of a set, and "path/" of the packages."""
    for name, code in _names(RUNTIME):
        if name.endswith("*"):
            assert function_code(f"runtime.{name[:-1]}Zz") == code, name
    for sets in (ELSEWHERE, BARE):
        for name, code in _names(sets):
            if name.endswith("*"):
                assert function_code(f"{name[:-1]}Zz") == code, name
    for package, code in PACKAGES:
        if package.endswith("/"):
            assert function_code(f"{package}zz.F") == code, package


@pytest.mark.parametrize(
    ("name", "code"),
    [
        # (*mheap).* and (*mheap).scavenge* are both in the table
        ("(*mheap).inventedInGo9", TRANSPARENT),
        ("(*mheap).scavengeInGo9", Category.GC_SCAVENGE),
        ("(*mheap).freeSpan", Category.GC_SWEEP),
        # a method inlined into a function
        ("mallocgc.(*mheap).reclaimChunk.func1", Category.GC_SWEEP),
        ("x.(*mheap).reclaimChunk", Category.GC_SWEEP),
        ("mallocgc.(*inventedInGo9).run.func1", UNLISTED),
        # a function inlined into another; without a known outer one it may be a method
        ("send.goready.func1", Category.SCHED_WAKE),
        ("inventedInGo9.goready", UNLISTED),
        ("(*inventedInGo9).goready", UNLISTED),
        # the wrapper of a value's method
        ("pollInfo.closing", Category.NETPOLL),
        ("(*pollInfo).closing", Category.NETPOLL),
        ("xxgoready", UNLISTED),
        ("(*randomOrder).start", Category.SCHED_FIND_WORK),
    ],
)
def test_the_closest_name_counts(name: str, code: int) -> None:
    """The whole name, then the inner function, then the longest beginning."""
    assert function_code(f"runtime.{name}") == code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("[vdso]", TRANSPARENT),  # its brackets are no type arguments
        ("internal/runtime/new/thing.F", UNLISTED),
        ("internal/runtime/new.F", UNLISTED),
        ("runtime/internal/new.F", UNLISTED),
        ("internal/runtime/gc/internal/new.F", TRANSPARENT),
        ("internal/runtime/syscall/linux.Syscall6", TRANSPARENT),
        ("internal/runtime/.F", UNLISTED),
        ("internal/runtimes.F", Category.USER),
        ("type:.eq.main.T", HELPER),
        ("type:.eq.example.com/x.T", HELPER),
        ("type..hash.[2]main.T", HELPER),
        ("type.eq", Category.USER),
        ("_.goready.func1", Category.SCHED_WAKE),
        ("_.serve.func1", Category.USER),
        ("sync.(*Mutex).Lock", Category.LOCKS),
        ("sync.(*Mutex).lockSlow.func1", Category.LOCKS),
        ("sync.(*Inventedtype).Lock", Category.USER),
    ],
)
def test_role_outside_package_runtime(name: str, code: int) -> None:
    """The runtime's other packages, what the compiler makes, and closures of inlined functions."""
    assert function_code(name) == code


def test_every_category_has_a_meaning_and_functions() -> None:
    """The published table has every category, and each can be reached."""
    assert set(MEANING) == set(Category)
    without = {c for c in Category if not any(names_of(int(c)))}
    assert without == {Category.USER, Category.NATIVE, Category.UNKNOWN}


codes = st.lists(st.sampled_from(CODES), max_size=40)


@given(st.lists(st.integers(-5, 300), max_size=40), st.booleans(), st.booleans())
def test_every_sequence_of_codes_has_one_category(
    codes: list[int], in_kernel: bool, native_leaf: bool
) -> None:
    """classify accepts any sequence, and never returns the category of processes that are not
    Go."""
    answer = classify(codes, in_kernel, native_leaf)
    assert isinstance(answer, Category)
    assert answer is not Category.NATIVE or int(Category.NATIVE) in codes


@given(codes, st.booleans(), st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=9))
def test_transparent_frames_change_nothing(
    stack: list[int], in_kernel: bool, inserted: list[tuple[int, bool]]
) -> None:
    """Inserting transparent and helper frames anywhere leaves the category as it was."""
    padded = list(stack)
    for at, helper in inserted:
        padded.insert(at % (len(padded) + 1), HELPER if helper else TRANSPARENT)
    assert classify(padded, in_kernel, False) is classify(stack, in_kernel, False)


@given(codes, st.sampled_from(CUTS), codes, st.booleans())
def test_frames_beyond_a_cut_do_not_count(
    stack: list[int], cut: int, beyond: list[int], in_kernel: bool
) -> None:
    """Frames beyond mcall, morestack, mstart, goexit and rt0_go are ignored."""
    assert classify([*stack, cut, *beyond], in_kernel, False) is classify(
        [*stack, cut], in_kernel, False
    )


@given(codes)
def test_the_kernel_only_turns_user_work_into_system_calls(stack: list[int]) -> None:
    """in_kernel changes nothing but user to syscall."""
    outside, inside = classify(stack, False, False), classify(stack, True, False)
    assert inside is (Category.SYSCALL if outside is Category.USER else outside)


@given(st.text(max_size=80))
def test_any_text_has_a_code(name: str) -> None:
    """Names come from untrusted files: no name raises."""
    assert function_code(name) in CODES
    assert function_code("runtime." + name) in CODES


MARKER = "<!-- From here on written by the test that checks it. -->\n"


def render() -> str:
    """The generated part of docs/categories.md."""
    lines = [
        "| category | group | what it is | runtime/metrics |",
        "| --- | --- | --- | --- |",
    ]
    for member in Category:
        meaning = MEANING[member]
        lines.append(
            f"| `{member.label}` | {member.group.value} | {meaning.text} | {meaning.metric} |"
        )
    lines += ["", "## The functions"]
    sections = [(f"`{c.label}`", int(c)) for c in Category]
    sections += [
        ("Marking: a frame further out decides", GC_MARK),
        ("Where stacks end: `mcall`", CUT_MCALL),
        ("Where stacks end: `morestack`", CUT_MORESTACK),
        ("Where stacks end: `mstart`", CUT_MSTART),
        ("Where stacks end: `goexit`", CUT_GOEXIT),
        ("Where stacks end: the entry point", CUT_ENTRY),
        ("Helpers: the caller's own work", HELPER),
        ("Transparent: the category of the caller", TRANSPARENT),
        ("Packages whose other functions count as the runtime's", UNLISTED),
    ]
    for title, code in sections:
        rows = list(names_of(code))
        if rows:
            lines += ["", f"### {title}", ""]
        for source, names in rows:
            lines.append(f"- {source}: {', '.join(f'`{name}`' for name in names.split())}")
    return "\n".join(lines) + "\n"


def test_the_document_matches_the_code() -> None:
    """The tables of docs/categories.md are those of the code."""
    prose, marker, tables = DOCUMENT.read_text().partition(MARKER)
    if os.environ.get("GOTAX_UPDATE"):
        DOCUMENT.write_text(prose + MARKER + render())
        tables = render()
    assert marker == MARKER
    assert tables == render()


@pytest.mark.parametrize("depth", range(10))
def test_type_arguments_are_taken_out_to_a_depth(depth: int) -> None:
    """Of eight levels; what is nested deeper matches nothing."""
    name = "runtime.gopark" + "[" * depth + "]" * depth
    assert (function_code(name) == Category.SCHED_SWITCH) is (depth <= 8)


@pytest.mark.parametrize("cut", CUTS)
def test_the_owner_of_marking_is_on_this_side_of_the_cut(cut: int) -> None:
    """A worker beyond it is of another stack: then the mode of this one is not known."""
    idle = int(Category.GC_MARK_IDLE)
    assert classify([GC_MARK, idle, cut], False, False) is Category.GC_MARK_IDLE
    assert classify([GC_MARK, cut, idle], False, False) is Category.GC_MARK_BACKGROUND


OWNERS = [
    {Category.GC_WRITE_BARRIER},
    {Category.GC_MARK_BACKGROUND},
    {Category.GC_ASSIST},
    {Category.GC_MARK_DEDICATED, Category.GC_MARK_FRACTIONAL, Category.GC_MARK_IDLE},
]
"""Of marking, the weakest first."""


@pytest.mark.parametrize("inner", range(len(OWNERS)))
@pytest.mark.parametrize("outer", range(len(OWNERS)))
def test_marking_belongs_to_its_strongest_owner(inner: int, outer: int) -> None:
    """Wherever it stands, and of equal ones to the innermost."""
    for near in OWNERS[inner]:
        for far in OWNERS[outer]:
            owner = far if outer > inner else near
            assert classify([GC_MARK, TRANSPARENT, near, far], False, False) is owner
            assert classify([near, GC_MARK, far, USER], True, False) is owner


@pytest.mark.parametrize(
    ("cut", "alone", "after_unlisted"),
    [
        (CUT_MCALL, Category.SCHED_SWITCH, Category.SCHED_SWITCH),
        (CUT_MORESTACK, Category.STACK_GROWTH, Category.STACK_GROWTH),
        (CUT_MSTART, Category.SCHED_SYSMON, Category.RUNTIME_OTHER),
        (CUT_GOEXIT, Category.UNKNOWN, Category.RUNTIME_OTHER),
        (CUT_ENTRY, Category.RUNTIME_OTHER, Category.RUNTIME_OTHER),
    ],
)
def test_a_stack_that_ends_without_a_category_has_that_of_its_end(
    cut: int, alone: Category, after_unlisted: Category
) -> None:
    """An unlisted function says more than the end of a goroutine or of a thread."""
    for stack in ([cut], [TRANSPARENT, HELPER, cut]):
        assert classify(stack, False, False) is alone
    for stack in ([UNLISTED, cut], [HELPER, UNLISTED, TRANSPARENT, cut]):
        assert classify(stack, False, False) is after_unlisted


@pytest.mark.parametrize("code", [-1, len(Category), TRANSPARENT - 1, GC_MARK + 1, CUT_ENTRY + 1])
def test_a_code_without_a_meaning_is_as_an_unlisted_function(code: int) -> None:
    """Also those beside the ends of the ranges."""
    assert classify([code], False, False) is Category.RUNTIME_OTHER
    assert classify([code, USER], True, False) is Category.RUNTIME_OTHER
    assert classify([code, int(Category.ALLOC)], False, False) is Category.ALLOC
