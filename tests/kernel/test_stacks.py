"""Stacks of running programs: complete where Go's ABI breaks a frame-pointer walk, or marked."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from gotax.category import Category
from gotax.profile import FrameKind
from gotax.window import Window

from tests.corpus.inventory import Variants
from tests.kernel.load import Load, Walk, wait_until
from tests.toolchains import VERSIONS, go_binary, minor

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

Stacks = Counter[tuple[tuple[str, ...], Category]]
"""Samples by the functions of the user's part of a stack, innermost first, and its category."""

ON_ARM64 = platform.machine() == "aarch64"
"""The kernel's walker ends at a switch of stacks there (golang/stacks.py), and signal handlers
return through the vDSO."""
SWITCHES = ("runtime.systemstack", "runtime.morestack")
SIGRETURNS = ("runtime.sigreturn", "libc.so", "__restore_rt", *(("[vdso]",) if ON_ARM64 else ()))

SAMPLES, SAMPLES_MAX = 1200, 24_000
FEW, ENOUGH = 5, 15
EVERYWHERE = (
    "main.goDeep",
    "main.copyAll",
    "[vdso]",
    "main.spin",
    "runtime.systemstack",
    "runtime.gcBgMarkWorker",
    "runtime.mcall",
    "runtime.morestack",
)
WITH_C = ("spin_in_c", "main.workForC")
CATEGORIES = tuple(Category)
HANDLERS = {Category.SCHED_PREEMPT, Category.SYSCALL, Category.SCHED_WAKE, Category.RUNTIME_OTHER}
QUICK = (("1.22.12", ()), ("1.27.3", ("cgo",)))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            (version, variants),
            marks=[] if (version, variants) in QUICK else [pytest.mark.slow],
            id="-".join((version, *variants)),
        )
        for version in VERSIONS
        for variants in ((), ("cgo",))
    ],
)
def build(request: pytest.FixtureRequest) -> tuple[str, Variants]:
    chosen: tuple[str, Variants] = request.param
    return chosen


@pytest.fixture(scope="module")
def stacks(build: tuple[str, Variants]) -> Stacks:
    """Program actions whose stacks are hard to walk, about twenty samples of each."""
    version, variants = build
    found: Stacks = Counter()
    with Load(go_binary("unwinding", version, *variants)) as program, Walk(997) as walk:

        def enough() -> bool:
            walk.drain_for(0.5)
            window = walk.window()
            found.update(dict(stacks_of(window, program.pid)))
            if found.total() < SAMPLES:
                return False
            # Each needs more than a few; how soon it has them depends on the host. The tests say
            # what is missing at the end.
            if not is_complete(found, build) and found.total() < SAMPLES_MAX:
                return False
            # Truncated samples are counted, including those of other processes on this host.
            cut = sum(samples for (frames, _), samples in found.items() if is_cut(frames))
            assert walk.processes.errors["stack-truncated"] >= cut
            return True

        wait_until(enough, f"{SAMPLES} samples")
    return found


def is_complete(stacks: Stacks, build: tuple[str, Variants]) -> bool:
    wanted = EVERYWHERE + (WITH_C if "cgo" in build[1] else ())
    found = Counter[str]()
    for (frames, _), samples in stacks.items():
        found.update(dict.fromkeys(set(frames), samples))
    return all(found[name] > ENOUGH for name in wanted)


@pytest.fixture
def with_c(build: tuple[str, Variants]) -> None:
    if "cgo" not in build[1]:
        pytest.skip("has no C code")


def stacks_of(window: Window, pid: int) -> Iterator[tuple[tuple[tuple[str, ...], Category], int]]:
    merged: Stacks = Counter()
    columns = window.profile
    for process, number, category, samples in zip(
        columns.process.tolist(),
        columns.stack.tolist(),
        columns.category.tolist(),
        columns.samples.tolist(),
        strict=True,
    ):
        if window.processes[process].pid == pid:
            frames = [f for place in columns.stacks[number] for f in place.frames]
            names = tuple(f.function for f in frames if f.kind is not FrameKind.KERNEL)
            merged[names, CATEGORIES[category]] += samples
    return iter(merged.items())


def is_cut(frames: tuple[str, ...]) -> bool:
    return frames[-1:] == ("[truncated]",)


def is_switched(frames: tuple[str, ...]) -> bool:
    """Ends at a switch to the thread's stack, as on arm64."""
    return ON_ARM64 and is_cut(frames) and frames[-2].startswith(SWITCHES)


def samples_of(stacks: Stacks, wanted: Callable[[tuple[str, ...]], bool]) -> int:
    return sum(samples for (frames, _), samples in stacks.items() if wanted(frames))


def test_nearly_every_walk_is_complete(stacks: Stacks) -> None:
    """All but one in a hundred, except calls from C (whose frames C compilers may omit), and
    recursion deeper than the kernel walks. Nearly every sample has a category."""
    ours = Counter(
        {
            key: samples
            for key, samples in stacks.items()
            if "crosscall2" not in key[0]
            and "main.goDeep" not in key[0]
            and not is_switched(key[0])
        }
    )
    cut = Counter({key: samples for key, samples in ours.items() if is_cut(key[0])})
    assert cut.total() <= FEW + ours.total() // 100, cut.most_common(9)
    unknown = Counter({k: samples for k, samples in stacks.items() if k[1] is Category.UNKNOWN})
    assert unknown.total() <= FEW + stacks.total() // 100, unknown.most_common(9)


def test_recursion_beyond_the_kernels_limit_is_marked(stacks: Stacks) -> None:
    """The innermost frames, then the mark; the category is that of the innermost."""
    deep = Counter({k: samples for k, samples in stacks.items() if "main.goDeep" in k[0]})
    assert deep.total() > FEW
    # Up to Go 1.24 a walk goes on beyond mcall, where a stack ends, into the waiting goroutine.
    # A leaf in morestack is about to switch, which counts as an end.
    running = [
        f for f, _ in deep if "runtime.mcall" not in f and not f[0].startswith("runtime.morestack")
    ]
    whole = [f for f in running if f.count("main.goDeep") > 100 and not is_cut(f)]
    assert not whole, whole
    assert deep.total() - sum(h for (_, c), h in deep.items() if c is Category.USER) <= FEW + (
        deep.total() // 5  # timer interrupts that found it in the kernel, and its clock
    )


def test_the_caller_of_a_leaf_without_a_frame_is_included(stacks: Stacks) -> None:
    """memmove < main.copyBlocks < main.copyAll, where a plain walk has no copyBlocks."""
    leaves = Counter(
        {k: h for k, h in stacks.items() if k[0][:1] == ("runtime.memmove",) and main_of(k[0])}
    )
    good = samples_of(leaves, lambda f: f[1] == "main.copyBlocks")
    assert good > FEW
    # In its prologue a caller with a frame has no caller of its own yet; this one has.
    assert leaves.total() - good <= 2 + leaves.total() // 50, leaves.most_common(9)


def main_of(frames: tuple[str, ...]) -> bool:
    return any(name in ("main.copyAll", "main.workForC") for name in frames)


def test_the_vdso_belongs_to_its_caller(stacks: Stacks) -> None:
    """The kernel's clock in user space is a leaf with its caller, and counts as the caller's
    work."""
    clock = Counter({k: h for k, h in stacks.items() if "main.readClock" in k[0]})
    within = Counter({k: h for k, h in clock.items() if k[0][0] == "[vdso]"})
    assert within.total() > FEW
    assert all(category in (Category.USER, Category.SYSCALL) for _, category in within)


def test_the_stack_below_a_signal_handler_is_included(stacks: Stacks) -> None:
    """The handler of a signal, the kernel's frame, and the interrupted function or its caller."""
    handlers = Counter({k: h for k, h in stacks.items() if "runtime.sigtramp" in k[0]})
    if not handlers:
        pytest.skip("no sample found a signal's handler")
    for frames, category in handlers:
        assert category in HANDLERS, frames
        below = frames[frames.index("runtime.sigtramp") + 1 :]
        # The address in the kernel's frame is Go's own, or the C library's with cgo. While sigtramp
        # itself runs, it still saves registers: its frame is not linked yet, and the walk continues
        # at the caller of the interrupted function, which the first one of a thread does not have.
        if frames[0] != "runtime.sigtramp":
            assert below[0].startswith(SIGRETURNS), frames
            assert below[1:]


def test_preemption_counts_as_scheduler(stacks: Stacks) -> None:
    """asyncPreempt is above the loop that it interrupts, and is not the loop's work."""
    preempted = Counter({k: h for k, h in stacks.items() if "runtime.asyncPreempt" in k[0]})
    for frames, category in preempted:
        assert category is not Category.USER, frames
    spinning = samples_of(stacks, lambda f: "main.spin" in f)
    assert spinning > FEW


@pytest.mark.skipif(ON_ARM64, reason="on arm64 a walk ends at systemstack")
def test_the_goroutine_is_found_beyond_systemstack(stacks: Stacks) -> None:
    """Work of a mark worker and of an allocation on the thread's stack has its goroutine's
    frames."""
    switched = Counter({k: h for k, h in stacks.items() if "runtime.systemstack" in k[0]})
    assert switched.total() > FEW
    workers = {f for f, _ in switched if any(name == "runtime.gcBgMarkWorker" for name in f)}
    assert workers
    assert all(frames[-1].startswith("runtime.goexit") for frames in workers)


def test_the_scheduler_does_not_belong_to_the_parked_goroutine(
    stacks: Stacks, build: tuple[str, Variants]
) -> None:
    """Up to Go 1.24 a walk continues beyond mcall, into a goroutine that no longer runs."""
    behind = Counter({k: h for k, h in stacks.items() if "runtime.mcall" in k[0]})
    assert behind.total() > FEW
    for frames, category in behind:
        before = frames[: frames.index("runtime.mcall")]
        assert category not in (Category.USER, Category.UNKNOWN), frames
        # Releasing the channel that the goroutine waits for is part of the channel's work.
        assert (category is Category.CHAN) == ("runtime.chanparkcommit" in before), frames
        assert "[unknown]" not in frames
    ends = samples_of(behind, lambda f: f[-1] == "runtime.mcall")
    # A leaf in mcall itself has not switched yet.
    assert ends >= behind.total() * 0.9 if minor(build[0]) >= 25 else ends < behind.total()


def test_growing_stacks_have_their_category(stacks: Stacks) -> None:
    """newstack and copystack run on the thread's stack, above morestack."""
    grown = Counter({k: h for k, h in stacks.items() if "runtime.morestack" in k[0]})
    assert grown.total() > FEW
    growth = sum(h for (_, c), h in grown.items() if c is Category.STACK_GROWTH)
    assert growth > grown.total() // 2, grown.most_common(9)


@pytest.mark.usefixtures("with_c")
def test_c_code_is_cgo_with_the_go_frames_that_called_it(stacks: Stacks) -> None:
    """C without frame pointers, called from Go: the C function by its symbol, then cgocall."""
    in_c = Counter({k: h for k, h in stacks.items() if k[0][:1] == ("spin_in_c",)})
    assert in_c.total() > FEW
    assert {category for _, category in in_c} == {Category.CGO}
    called = samples_of(in_c, lambda f: "runtime.cgocall" in f and "main.callC" in f)
    assert called >= in_c.total() * 0.9, in_c.most_common(9)


@pytest.mark.usefixtures("with_c")
def test_go_code_called_from_c_is_complete_down_to_the_call(stacks: Stacks) -> None:
    """An exported function called by C: all Go frames to crosscall2; the category is the code's."""
    called = Counter({k: h for k, h in stacks.items() if "main.workForC" in k[0]})
    assert called.total() > FEW
    assert samples_of(called, lambda f: "crosscall2" in f) >= called.total() * 0.95, called
    own = {Category.USER, Category.SYSCALL, Category.SCHED_PREEMPT}
    # A signal's handler, and a stack that grows, may be above it.
    others = Counter({k: h for k, h in called.items() if k[1] not in own})
    assert others.total() <= 1 + called.total() // 20, others
