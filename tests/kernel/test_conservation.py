"""No sample is lost between the timer interrupt and the window, with more stacks than any cache."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gotax.sampling import kernel, sampler, timers
from gotax.sampling.cpus import online_cpus
from gotax.sampling.sampler import FLAG_STACK_LOST, Counter, Drain, Sampler

from tests.kernel.load import SPIN, Load, Walk, samples_by_process, wait_until
from tests.toolchains import VERSIONS

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

SECONDS = 10.0
DISTINCT_PER_CPU_S = 24
DRAIN_S = 2.0
"""A ``Walk``'s, by which its maps are sized."""
PERF_EVENT_IOC_DISABLE = 0x2401


def close_the_books(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the timers as if every CPU went offline, then drains both buffers until they are
    empty.

    The first drain reads one buffer and stops the timers; later samples are in the other.
    """
    monkeypatch.setattr(sampler, "online_cpus", set)
    for _ in range(3):
        last = walk.drain()
    assert not len(last.stack_counts)
    assert last.counters[Counter.INTERRUPTS] == 0


def check_every_stack_is_there(drain: Drain) -> None:
    """Each hash of a sample is in the drain's table, unless the sample has the mark of a lost
    stack."""
    kept = drain.stack_counts["flags"] & FLAG_STACK_LOST == 0
    for hashes, stacks in (
        (drain.stack_counts["user_stack"], drain.user_stacks),
        (drain.stack_counts["kernel_stack"], drain.kernel_stacks),
    ):
        # 1: in the kernel, whose stack could not be read there
        wanted = hashes[kept & (hashes > 1)]
        assert (stacks.find(wanted) >= 0).all()
    depths = drain.user_stacks.offsets[1:] - drain.user_stacks.offsets[:-1]
    assert (depths > 0).all()


@pytest.mark.parametrize("hz", [99, 999])
def test_every_interrupt_is_accounted_for(
    hz: int,
    go_binary: Callable[..., Path],
    load: Callable[..., Load],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over the life of a sampler drained at irregular times: interrupts = idle + filtered + lost
    for lack of room + samples drained, exactly; each stack is found; samples drained = attributed +
    lost; none of the load's are lost, and it has many distinct stacks."""
    program = load(go_binary("stacks", VERSIONS[-1]), "-goroutines", "2", "-busy", "0.7")
    program.report()
    seconds = SECONDS * (0.5 if hz == 999 else 1)
    pauses = random.Random(hz)
    with Walk(hz) as walk:
        walk.pipeline.scan()
        ends, cpu_ns = time.monotonic() + seconds, -program.cpu_ns()
        while time.monotonic() < ends:
            walk.drain_for(pauses.choice([0.0, 0.003, 0.05, 0.3, 1.1]))
        cpu_ns += program.cpu_ns()
        close_the_books(walk, monkeypatch)
        window = walk.window()
    interrupts = walk.counted(Counter.INTERRUPTS)
    elsewhere = [Counter.IDLE, Counter.FILTERED, Counter.STACK_COUNTS_FULL]
    assert interrupts == sum(map(walk.counted, elsewhere)) + walk.samples()
    assert window.samples.drained == walk.samples() + walk.counted(Counter.STACK_COUNTS_FULL)
    seen, own_samples, was_late = set(), 0, False
    for drain in walk.drains:
        check_every_stack_is_there(drain)
        own = drain.stack_counts["tgid"] == program.pid
        seen.update(drain.stack_counts["user_stack"][own].tolist())
        own_samples += int(drain.samples[own].sum())
        if drain.counters[Counter.INTERRUPTS] <= walk.drains[0].cpus * hz * DRAIN_S:
            # The maps have room for twice as many.
            assert drain.counters[Counter.STACK_COUNTS_FULL] == 0
            assert drain.counters[Counter.STACKS_FULL] == 0
        else:
            was_late = True
    # How many others end before they are read depends on what else this host does.
    assert was_late or set(window.samples.lost) <= {"process-gone", "process-exec", "pid-reused"}
    assert samples_by_process(window)[program.pid, program.start_ticks()] == own_samples
    assert len(seen) > DISTINCT_PER_CPU_S * cpu_ns / 1e9


def test_small_maps_lose_samples_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, go_binary: Callable[..., Path], load: Callable[..., Load]
) -> None:
    """With room for 16 samples and stacks the sums are still exact, and the losses have reasons."""
    program = load(go_binary("stacks", VERSIONS[-1]), "-goroutines", "2")
    program.report()
    monkeypatch.setattr(sampler, "_STACK_COUNTS_MIN", 16)
    monkeypatch.setattr(sampler, "_STACK_COUNTS_MAX", 16)
    with Walk(999) as walk:
        walk.drain_for(1.0)
        close_the_books(walk, monkeypatch)
        window = walk.window()
    full = walk.counted(Counter.STACK_COUNTS_FULL)
    assert full > 0
    assert window.samples.lost["stack-counts-full"] == full
    interrupts = walk.counted(Counter.INTERRUPTS)
    idle = walk.counted(Counter.IDLE)
    assert interrupts == idle + full + walk.samples()
    for drain in walk.drains:
        check_every_stack_is_there(drain)


def test_cpus_come_and_go(monkeypatch: pytest.MonkeyPatch, load: Callable[..., Load]) -> None:
    """An offline CPU is not sampled, and is sampled again when it is back. The test changes the
    list of CPUs instead of a real CPU (other processes run on it)."""
    everyone = online_cpus()
    if len(everyone) < 2:
        pytest.skip("this host has one CPU")
    kept = min(everyone)
    spinning = {cpu: load("taskset", "-c", str(cpu), "python3", "-c", SPIN) for cpu in everyone}
    for cpu, program in spinning.items():
        wait_until(lambda p=program, c=cpu: os.sched_getaffinity(p.pid) == {c}, "taskset")
    here, elsewhere = {spinning.pop(kept).pid}, {program.pid for program in spinning.values()}
    with Sampler(499, 2.0) as only:

        def cpus(listed: set[int]) -> int:
            monkeypatch.setattr(sampler, "online_cpus", lambda: listed)
            only.drain()  # follows the list
            return only.drain().cpus

        assert only.drain().cpus == len(everyone)
        assert cpus({kept}) == 1
        seen = seen_until(only, here)
        assert not seen & elsewhere
        with monkeypatch.context() as gone:  # listed, and offline before its timer was created
            gone.setattr(kernel, "open_cpu_clock", refuse)
            assert cpus(everyone) == 1
        assert cpus(everyone) == len(everyone)
        seen_until(only, here | elsewhere)


def test_a_timer_that_stopped_with_its_cpu_is_replaced() -> None:
    """A CPU that goes offline and comes back between two drains has a timer that never fires again;
    here a timer is switched off. It is replaced, and the missed interrupts are counted, also if
    drains come faster than the timer should have fired."""
    with Sampler(99, 2.0) as sampling:
        everyone = sampling.drain().cpus
        assert drained(sampling, 0.3) == (0, 0)
        (event, *others) = sampling._timers._events.values()
        fcntl.ioctl(event, PERF_EVENT_IOC_DISABLE, 0)
        assert kernel.is_stopped(event)
        assert not any(map(kernel.is_stopped, others))
        restarted = missed = 0
        while not restarted:
            more, lost = drained(sampling, 0.02)
            restarted, missed = restarted + more, missed + lost
        assert restarted == 1
        # Interrupts may have come between the last look and the switch.
        assert missed > timers._LEEWAY
        assert drained(sampling, 0.3) == (0, 0)
        assert sampling.drain().cpus == everyone
        assert not any(map(kernel.is_stopped, sampling._timers._events.values()))


def test_a_new_cpu_has_missed_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most for the time since the last drain."""
    everyone = online_cpus()
    if len(everyone) < 2:
        pytest.skip("this host has one CPU")
    with Sampler(99, 2.0) as sampling:
        with monkeypatch.context() as less:
            less.setattr(sampler, "online_cpus", lambda: {min(everyone)})
            assert drained(sampling, 0.1) == (0, 0)
            assert drained(sampling, 0.2) == (0, 0)
        restarted, missed = drained(sampling, 0.1)
        assert restarted == 0
        assert missed >= 5 * (len(everyone) - 1)


def drained(sampling: Sampler, seconds: float) -> tuple[int, int]:
    """Timers that had stopped, and missed interrupts."""
    time.sleep(seconds)
    drain = sampling.drain()
    return drain.restarted, drain.missed


def refuse(cpu: int, period_ns: int) -> int:
    raise OSError(errno.ENODEV, f"CPU {cpu} went offline before {period_ns} ns were over")


def seen_until(running: Sampler, wanted: set[int]) -> set[int]:
    """The processes that are sampled from now on, once these are among them."""
    running.drain()
    seen = set()

    def all_seen() -> bool:
        seen.update(running.drain().stack_counts["tgid"].tolist())
        return wanted <= seen

    wait_until(all_seen, f"samples of {wanted}")
    return seen


def test_a_drain_without_work_is_almost_empty() -> None:
    """Two drains one after the other: the second has almost nothing, and its tables are valid."""
    with Sampler(1, 1.0) as slow:
        drain = wait_until(lambda: _empty(slow), "a drain without samples")
    assert len(drain.user_stacks.hashes) == 0
    assert drain.user_stacks.offsets.tolist() == [0]


def _empty(running: Sampler) -> Drain | None:
    drain = running.drain()
    return drain if not len(drain.stack_counts) else None
