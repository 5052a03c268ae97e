"""From drains to windows on a host made of files, with a real Go binary."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from gotax.category import Category
from gotax.config import Detail, Thresholds
from gotax.errors import ParseError, ProcessGoneError
from gotax.exporters.prometheus import Exposition, PrometheusExporter
from gotax.findings import Verdict
from gotax.golang import pclntab
from gotax.golang.classmap import ClassMapReader
from gotax.golang.gomaxprocs import find_gomaxprocs
from gotax.golang.pclntab import Chains, Pclntab, parse_pclntab
from gotax.linux import procfs
from gotax.linux.elf import PF_X, FileReader, parse_elf
from gotax.pipeline import Pipeline, Span
from gotax.process import PodContainer, Workload
from gotax.processes.resolver import Resolver
from gotax.processes.tracked_process import TrackedProcess
from gotax.sampling.sampler import STACK_COUNT, Drain, NewProcess, Stacks
from gotax.sampling.sampler import Counter as KernelCounter
from gotax.symbols import symbolizer
from gotax.window import Window
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.toolchains import VERSIONS
from tests.unit.host import Host, Program, set_memory

pytestmark = pytest.mark.toolchain

SPAN = Span(0, 1.0, 10_000_000)
EVERYTHING = Detail(functions=5, native_frames=True, kernel_frames=False)
GARBAGE_IP = 0x7F0000001000


@dataclass(frozen=True)
class Known:
    """A Go binary, with the addresses that tests use."""

    program: Program
    main: int
    schedule: int
    gomaxprocs: int
    custom: int


@pytest.fixture(scope="module")
def known(go_binary: Callable[..., Path]) -> Known:
    path = go_binary("gomaxprocs", VERSIONS[-1])
    with FileReader(path) as reader:
        elf = parse_elf(reader)
        table = parse_pclntab(elf, f"go{VERSIONS[-1]}")
        ranges = table.function_ranges(frozenset({"main.main", "runtime.schedule"}))
        text = next(load for load in elf.loads if load.flags & PF_X)
        line = (
            f"{text.address:08x}-{(text.address + text.file_size + 4095) & ~4095:08x} r-xp"
            f" {text.offset:08x} 00:00 {{inode}} {path}\n"
        )
        addresses = find_gomaxprocs(elf, table)
        assert addresses.custom_address is not None
        return Known(
            Program(path, line),
            main=ranges["main.main"][0] + 4,
            schedule=ranges["runtime.schedule"][0] + 4,
            gomaxprocs=addresses.value_address,
            custom=addresses.custom_address,
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def native(tmp_path: Path) -> Program:
    path = tmp_path / "native"
    path.write_text("#!/bin/sh\n")
    return Program(path, "00400000-00401000 r-xp 00000000 00:00 {inode} /native\n")


def pipeline(host: Host, detail: Detail = EVERYTHING) -> Pipeline:
    return Pipeline(Resolver(host.roots), "host", Thresholds(), detail)


@dataclass(frozen=True)
class StackCount:
    """One stack with its count. ``stack`` names an entry of the stacks given to ``drain``; 0 is
    none."""

    tgid: int
    samples: int = 1
    stack: int = 0
    kernel: int = 0
    cgroup_id: int = 0


def drain(
    stack_counts: Sequence[StackCount], stacks: dict[int, list[int]] | None = None, full: int = 0
) -> Drain:
    keys = np.zeros(len(stack_counts), STACK_COUNT)
    for key, each in zip(keys, stack_counts, strict=True):
        key["cgroup_id"] = each.cgroup_id
        key["tgid"] = each.tgid
        key["user_stack"] = each.stack
        key["kernel_stack"] = each.kernel
    table = sorted((stacks or {}).items())
    lengths = [len(ips) for _, ips in table]
    user = Stacks(
        hashes=np.array([h for h, _ in table], np.uint64),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        callers=np.zeros(len(table), np.uint64),
        ips=np.array([ip for _, ips in table for ip in ips], np.uint64),
    )
    nothing = Stacks(
        np.zeros(0, np.uint64), np.zeros(1, np.int64), np.zeros(0, np.uint64), np.zeros(0, "u8")
    )
    samples = np.array([each.samples for each in stack_counts], np.int64)
    return Drain(keys, samples, user, nothing, {KernelCounter.STACK_COUNTS_FULL: full}, cpus=4)


def check_books(window: Window, drained: int) -> None:
    """Checks that every sample is in exactly one place."""
    assert window.samples.drained == drained
    assert window.samples.attributed + sum(window.samples.lost.values()) == drained
    assert all(samples > 0 for samples in window.samples.lost.values())
    assert int(window.profile.samples.sum()) == window.samples.attributed
    assert np.all(window.profile.samples > 0)
    assert sum(report.samples for report in window.reports) + window.other_samples == drained - sum(
        window.samples.lost.values()
    )
    per_container = Counter[str]()
    others = 0
    for index, samples in zip(
        window.profile.process.tolist(), window.profile.samples.tolist(), strict=True
    ):
        process = window.processes[index]
        if process.is_go:
            per_container[process.container.key] += samples
        else:
            others += samples
    assert window.other_samples == others
    assert {r.container.key: r.samples for r in window.reports if r.samples} == per_container
    rows = list(
        zip(
            window.profile.process.tolist(),
            window.profile.stack.tolist(),
            window.profile.category.tolist(),
            strict=True,
        )
    )
    assert len(set(rows)) == len(rows)  # a sample is a distinct one
    assert all(0 <= stack < len(window.profile.stacks) for _, stack, _ in rows)


def samples_by_process(window: Window) -> Counter[tuple[int, int]]:
    """Samples per (PID, start time)."""
    counted = Counter[tuple[int, int]]()
    profile = window.profile
    for index, samples in zip(profile.process.tolist(), profile.samples.tolist(), strict=True):
        process = window.processes[index]
        counted[process.pid, process.start_ticks] += samples
    return counted


# ---------------------------------------------------------------------------------------------
# Conservation, whatever happens
# ---------------------------------------------------------------------------------------------

PIDS = (2, 30, 400)
FILES = ("stat", "status", "cgroup", "mountinfo", "environ", "maps", "mem", "exe", "fd")
EVENTS = st.tuples(
    st.sampled_from(PIDS),
    st.sampled_from(["go", "native", "kernel", "end", "end", "exec"])
    | st.tuples(st.sampled_from(["spoil", "hide"]), st.sampled_from(FILES))
    | st.tuples(st.just("limit"), st.sampled_from(["50000 100000", "max 100000"])),
)
NESTED = "/kubepods/pod1/" + "c" * 64 + "/docker/" + "d" * 64
CGROUPS = ("/", "/a", "/kubepods/pod1/" + "c" * 64, NESTED)
SAMPLES = st.builds(
    StackCount,
    tgid=st.sampled_from([*PIDS, 999]),
    samples=st.integers(1, 1000),
    stack=st.integers(0, 6),
    kernel=st.sampled_from([0, 0, 5]),
    cgroup_id=st.integers(0, 5),
)
ROUNDS = st.lists(
    st.tuples(
        st.lists(EVENTS, max_size=4),
        st.lists(SAMPLES, max_size=8, unique_by=lambda h: (h.tgid, h.stack, h.kernel, h.cgroup_id)),
        st.sampled_from([0, 0, 0, 7]),
        st.booleans(),
    ),
    max_size=6,
)


@dataclass
class Play:
    """Carries out the steps that hypothesis draws, and records the expected result."""

    host: Host
    programs: dict[str, Program | None]
    serial: int = 0
    alive: dict[int, int] = field(default_factory=dict)  # start time by PID
    past: list[dict[int, int]] = field(default_factory=list)

    def happen(self, pid: int, event: str | tuple[str, str]) -> None:
        self.serial += 1
        cgroup = CGROUPS[(pid + self.serial) % len(CGROUPS)]
        if isinstance(event, tuple):
            verb, name = event
            if verb == "limit":  # of a part of a container: its processes change their group
                self.host.cgroup(NESTED, name)
                return
            (self.host.spoil if verb == "spoil" else self.host.hide)(pid, name)
        elif event == "end":
            self.host.end(pid)
            self.alive.pop(pid, None)
        elif event == "exec":
            if pid in self.alive:
                start, other = self.alive[pid], ("go", "native")[self.serial % 2]
                self.host.start(pid, start, self.programs[other], cgroup, stack=self.serial)
        else:
            self.alive[pid] = 1000 + self.serial
            self.host.start(pid, self.alive[pid], self.programs[event], cgroup)


@given(rounds=ROUNDS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_sample_is_lost_or_given_to_another_process(known: Known, rounds: list[Any]) -> None:
    """Processes start, exec, end, reuse PIDs and have garbage in any file; stacks are missing.

    drained = attributed + lost, per window and per container. A process that ended long ago, or
    that had not started yet, never gets a sample.
    """
    with tempfile.TemporaryDirectory() as folder:
        host = Host(Path(folder))
        ids = {0: 0, 5: 1 << 40, **{i + 1: host.cgroup(path) for i, path in enumerate(CGROUPS)}}
        shell = Path(folder, "native")
        shell.write_text("#!/bin/sh\n")
        programs = {
            "go": known.program,
            "native": Program(shell, "00400000-00401000 r-xp 00000000 00:00 {inode} /x\n"),
            "kernel": None,
        }
        play, walk, drained = Play(host, programs), pipeline(host), 0
        stacks = {
            1: [known.main],
            2: [known.schedule, known.main],
            3: [GARBAGE_IP, known.main, 0, 5],
            4: [2**64 - 1],
            5: [known.main] * 127,
        }  # 6 is missing
        for events, drawn, full, closes in rounds:
            for pid, event in events[:2]:
                play.happen(pid, event)
            play.past.append(dict(play.alive))
            admitted = walk.read_new([NewProcess(ids[h.cgroup_id], h.tgid) for h in drawn])
            for pid, event in events[2:]:
                play.happen(pid, event)
            counts = [
                StackCount(h.tgid, h.samples, h.stack, h.kernel, ids[h.cgroup_id]) for h in drawn
            ]
            play.past.append(dict(play.alive))
            walk.read_again(admitted)
            walk.absorb(drain(counts, stacks, full), 0.0)
            drained += sum(h.samples for h in drawn) + full
            if closes:
                window = walk.window(SPAN)
                check_books(window, drained)
                check_strangers(window, play)
                play.past, drained = play.past[-8:], 0
        check_books(walk.window(SPAN), drained)


def check_strangers(window: Window, play: Play) -> None:
    """Samples went only to processes that existed at one of this window's drains or of the four
    before, or when new processes were read before one of them."""
    seen = {(pid, start) for alive in play.past for pid, start in alive.items()}
    for pid, start in samples_by_process(window):
        assert pid == 0 or (pid, start) in seen


# ---------------------------------------------------------------------------------------------
# Attribution of samples to processes
# ---------------------------------------------------------------------------------------------


def test_ended_processes_of_two_cgroups_are_separate(host: Host) -> None:
    """Processes that were never read while running are identified by their cgroup: each cgroup gets
    its own samples."""
    first, second = host.cgroup("/first"), host.cgroup("/second")
    walk = pipeline(host)
    walk.absorb(
        drain([StackCount(71, 3, cgroup_id=first), StackCount(72, 5, cgroup_id=second)]), 0.0
    )
    window = walk.window(SPAN)
    check_books(window, 8)
    by_cgroup = Counter[str]()
    for index, samples in zip(window.profile.process, window.profile.samples, strict=True):
        by_cgroup[window.processes[index].container.cgroup] += int(samples)
    assert by_cgroup == {"/first": 3, "/second": 5}


def test_an_ended_process_gets_its_last_samples(host: Host, native: Program) -> None:
    """They were counted before its end and drained after it."""
    host.start(7, 100, native)
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 2)]), 0.0)
    host.end(7)
    walk.absorb(drain([StackCount(7, 3)]), 0.0)
    window = walk.window(SPAN)
    assert samples_by_process(window) == {(7, 100): 5}


def test_a_process_that_ended_long_ago_gets_no_samples_of_a_successor(
    host: Host, native: Program
) -> None:
    """If a short-lived process reused the PID between two drains, the samples are lost, with a
    reason."""
    host.start(7, 100, native)
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 2)]), 0.0)
    host.end(7)
    for _ in range(4):
        walk.absorb(drain([]), 0.0)
    walk.absorb(drain([StackCount(7, 3)]), 0.0)
    window = walk.window(SPAN)
    check_books(window, 5)
    assert samples_by_process(window) == {(7, 100): 2}
    assert window.samples.lost == {"process-gone": 3}


def test_little_is_kept_of_ended_processes(host: Host, known: Known) -> None:
    """Binaries and mappings of thousands of ended processes are freed; the window still reports
    them."""
    host.start(7, 100, known.program)
    processes = Resolver(host.roots)
    walk = Pipeline(processes, "host", Thresholds(), EVERYTHING)
    walk.absorb(drain([StackCount(7, 2, 1)], {1: [known.main]}), 0.0)
    tracked = processes.resolve(7)
    assert isinstance(tracked, TrackedProcess)
    assert tracked.space.program
    assert tracked.space.holds_mappings
    host.end(7)
    walk.absorb(drain([StackCount(7, 3, 1)], {1: [known.main]}), 0.0)
    for _ in range(5):
        walk.absorb(drain([]), 0.0)
    assert tracked.space.program is None
    assert not tracked.space.holds_mappings
    assert tracked.program.runtimes == ()
    window = walk.window(SPAN)
    check_books(window, 5)
    (report,) = window.reports
    assert report.main_process.is_go
    assert int(report.category_samples.sum()) == 5


@pytest.mark.parametrize("look", ["scan", "resolve"])
def test_a_process_that_ends_during_a_second_look(
    host: Host, known: Known, native: Program, look: str
) -> None:
    """It could not be read at first, turns out to be Go, and ends before its environment is read:
    this ends the process, not the agent."""
    host.start(7, 100, native)
    processes = Resolver(host.roots)
    processes.begin_round()
    processes.scan()
    assert processes.unjudged()["elf-magic"] == 1
    if look == "resolve":
        processes.resolve(7)  # of the first samples; the next that is looked at are the second
    (host.proc / "7/exe").unlink()
    (host.proc / "7/exe").symlink_to(known.program.path)
    host.hide(7, "environ")
    if look == "scan":
        processes.scan()
    else:
        tracked = processes.get(7)
        assert tracked
        tracked.program.link = ""  # else it has called exec
        assert processes.resolve(7) is tracked
    assert processes.get(7) is None
    assert not processes.unjudged()
    host.start(7, 101, known.program)
    processes.scan()
    (tracked,) = processes.go_processes()
    assert tracked.process.start_ticks == 101


@pytest.mark.parametrize("seen_ending", [True, False])
def test_a_reused_pid_loses_samples_once(host: Host, native: Program, seen_ending: bool) -> None:
    """In the drain that finds another start time, the samples may belong to either process."""
    host.start(7, 100, native)
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 2)]), 0.0)
    if seen_ending:
        host.end(7)
        walk.absorb(drain([StackCount(7, 1)]), 0.0)
    host.start(7, 200, native)
    walk.absorb(drain([StackCount(7, 3)]), 0.0)
    walk.absorb(drain([StackCount(7, 4)]), 0.0)
    window = walk.window(SPAN)
    assert window.samples.lost == {"pid-reused": 3}
    assert samples_by_process(window) == {(7, 100): 2 + seen_ending, (7, 200): 4}


def names(window: Window) -> set[str]:
    return {
        frame.function
        for stack in window.profile.stacks
        for location in stack
        for frame in location.frames
    }


def test_exec_does_not_name_addresses_of_the_earlier_program(
    host: Host, known: Known, native: Program
) -> None:
    """Addresses counted before an exec are not looked up in the new program."""
    host.start(7, 100, native)
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 1)]), 0.0)
    host.start(7, 100, known.program)
    walk.absorb(drain([StackCount(7, 2, stack=1)], {1: [known.main]}), 0.0)
    before = walk.window(SPAN)
    check_books(before, 3)
    assert "main.main" not in names(before)
    walk.absorb(drain([StackCount(7, 4, stack=1)], {1: [known.main]}), 0.0)
    after = walk.window(SPAN)
    assert "main.main" in names(after)
    assert after.reports[0].samples == 4


@pytest.mark.parametrize("busy", [True, False])
def test_exec_of_the_same_file_is_detected(host: Host, known: Known, busy: bool) -> None:
    """A program that starts itself again, with another environment: everything is read again."""
    host.start(7, 100, known.program)
    set_memory(host, 7, known.gomaxprocs, b"\x04")
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7)]), 0.0)
    assert walk.window(SPAN).reports[0].main_process.gomaxprocs
    host.start(7, 100, known.program, stack=2)
    host.spoil(7, "environ", b"GOMAXPROCS=2\0")
    set_memory(host, 7, known.gomaxprocs, b"\x02")
    set_memory(host, 7, known.custom, b"\x01")
    if busy:
        walk.absorb(drain([StackCount(7)]), 0.0)
    gomaxprocs = walk.window(SPAN).reports[0].main_process.gomaxprocs
    assert gomaxprocs is not None
    assert (gomaxprocs.value, gomaxprocs.origin.value) == (2, "environment")


# ---------------------------------------------------------------------------------------------
# New processes between two drains
# ---------------------------------------------------------------------------------------------

RUN_ONE, RUN_TWO = (f"/kubepods/pod1/{digit * 64}" for digit in "ab")


def by_container(window: Window) -> Counter[tuple[str | None, bool]]:
    """Samples by container id, and whether they are of a Go program."""
    counted = Counter[tuple[str | None, bool]]()
    for index, samples in zip(
        window.profile.process.tolist(), window.profile.samples.tolist(), strict=True
    ):
        process = window.processes[index]
        counted[process.container.container_id, process.is_go] += samples
    return counted


def remove(host: Host, cgroup: str) -> None:
    shutil.rmtree(host.cgroups / cgroup.strip("/"))


def test_a_new_process_that_was_read_gets_all_its_samples(host: Host, known: Known) -> None:
    """Two runs of a container that crashes, each ended before the drain, with its cgroup removed:
    each has its own samples, as a Go program."""
    walk, samples = pipeline(host), []
    for pid, cgroup, count in ((7, RUN_ONE, 5), (8, RUN_TWO, 3)):
        number = host.cgroup(cgroup)
        host.start(pid, 100 + pid, known.program, cgroup)
        assert walk.read_new([NewProcess(number, pid)]) == [pid]
        host.end(pid)
        remove(host, cgroup)
        samples.append(StackCount(pid, count, cgroup_id=number))
    walk.absorb(drain(samples), 0.0)
    window = walk.window(SPAN)
    check_books(window, 8)
    assert by_container(window) == {("a" * 64, True): 5, ("b" * 64, True): 3}
    assert {r.container.container_id: r.samples for r in window.reports} == {
        "a" * 64: 5,
        "b" * 64: 3,
    }


def test_the_cgroup_of_a_new_process_is_known_after_its_end(host: Host, known: Known) -> None:
    """Samples of a process that was not read go to the container, and are not lost."""
    number = host.cgroup(RUN_ONE)
    host.start(7, 100, known.program, RUN_ONE)
    walk = pipeline(host)
    walk.read_new([NewProcess(number, 7)])
    host.end(7)
    remove(host, RUN_ONE)
    walk.absorb(
        drain([StackCount(7, 2, cgroup_id=number), StackCount(9, 4, cgroup_id=number)]), 0.0
    )
    window = walk.window(SPAN)
    check_books(window, 6)
    assert by_container(window) == {("a" * 64, True): 2, ("a" * 64, False): 4}


def test_the_cgroup_outlives_an_announced_process(host: Host) -> None:
    """The process ended before it was read: its cgroup is looked up while it still exists."""
    number = host.cgroup(RUN_ONE)
    walk = pipeline(host)
    assert walk.read_new([NewProcess(number, 7)]) == []
    remove(host, RUN_ONE)
    walk.absorb(drain([StackCount(7, 2, cgroup_id=number)]), 0.0)
    window = walk.window(SPAN)
    check_books(window, 2)
    assert by_container(window) == {("a" * 64, False): 2}


def test_a_process_that_moved_does_not_name_its_earlier_cgroup(host: Host, native: Program) -> None:
    """It was sampled in one cgroup and is read in another."""
    first, _ = host.cgroup(RUN_ONE), host.cgroup(RUN_TWO)
    host.start(7, 100, native, RUN_TWO)
    walk = pipeline(host)
    walk.read_new([NewProcess(first, 7)])
    remove(host, RUN_ONE)
    walk.absorb(drain([StackCount(9, 2, cgroup_id=first)]), 0.0)
    window = walk.window(SPAN)
    check_books(window, 2)
    assert window.samples.lost == {"process-gone": 2}


@pytest.mark.parametrize("looks", [True, False])
def test_a_process_read_before_its_exec_becomes_its_new_program(
    host: Host, known: Known, native: Program, looks: bool
) -> None:
    """A shell that becomes the program of the container: found at the next look, or at the
    drain."""
    number = host.cgroup(RUN_ONE)
    host.start(7, 100, native, RUN_ONE)
    walk = pipeline(host)
    assert walk.read_new([NewProcess(number, 7)]) == [7]
    host.start(7, 100, known.program, RUN_ONE, stack=2)
    if looks:
        assert walk.read_again([7]) == {7: True}
        host.end(7)
    walk.absorb(drain([StackCount(7, 2, cgroup_id=number)]), 0.0)
    window = walk.window(SPAN)
    check_books(window, 2)
    assert by_container(window) == {("a" * 64, True): 2}


def test_exec_seen_at_a_look_is_still_an_exec_at_the_drain(
    host: Host, known: Known, tmp_path: Path
) -> None:
    """Samples of a process that was drained before may belong to its old or its new program."""
    number = host.cgroup(RUN_ONE)
    shutil.copy(known.program.path, other := tmp_path / "other")
    host.start(7, 100, replace(known.program, path=other), RUN_ONE)
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 2, cgroup_id=number)]), 0.0)
    host.start(7, 100, known.program, RUN_ONE, stack=2)
    assert walk.read_again([7]) == {7: True}
    walk.absorb(drain([StackCount(7, 3, cgroup_id=1 << 40)]), 0.0)
    window = walk.window(SPAN)
    check_books(window, 5)
    assert window.samples.lost == {"process-exec": 3}


def test_a_program_that_starts_itself_again_loses_nothing(host: Host, known: Known) -> None:
    """By exec, or by what looks like one (PR_SET_MM_MAP): it hid all its CPU time."""
    number = host.cgroup(RUN_ONE)
    stack_counts = drain([StackCount(7, 2, 1, cgroup_id=number)], {1: [known.main]})
    walk = pipeline(host)
    for round_ in range(4):
        host.start(7, 100, known.program, RUN_ONE, stack=1 + round_)
        use_cpu(host, 7, 50 * round_)
        for _ in range(2):
            walk.absorb(stack_counts, 0.0)
        window = walk.window(SPAN)
        check_books(window, 4)
        assert not window.samples.lost
        assert by_container(window) == {("a" * 64, True): 4}
        (report,) = window.reports
        assert round_ == 0 or report.cpu_ns == 500_000_000


def test_runc_is_not_taken_for_the_program_of_the_container(host: Host, known: Known) -> None:
    """runc's own process is a Go program too, but a look later it is the container's."""
    number = host.cgroup(RUN_ONE)
    host.start(7, 100, known.program, RUN_ONE)
    stat = (host.proc / "7/stat").read_text()
    host.spoil(7, "stat", re.sub(r"\(.*\)", "(runc:[2:INIT])", stat).encode())
    walk = pipeline(host)
    assert walk.read_new([NewProcess(number, 7)]) == [7]
    assert walk.window(SPAN).reports == ()
    host.start(7, 100, known.program, RUN_ONE, stack=2)
    assert walk.read_again([7]) == {7: True}
    assert walk.window(SPAN).reports[0].container.container_id == "a" * 64


def test_samples_of_a_reused_pid_are_not_given_to_the_new_process(
    host: Host, native: Program
) -> None:
    """Between two drains one process ended and another got its PID: neither gets the samples."""
    number = host.cgroup(RUN_ONE)
    host.start(7, 100, native)
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 2)]), 0.0)
    host.start(7, 200, native, RUN_ONE)
    walk.read_new([NewProcess(number, 7)])
    assert walk.read_again([7]) == {}
    walk.absorb(drain([StackCount(7, 3, cgroup_id=1 << 40)]), 0.0)
    window = walk.window(SPAN)
    check_books(window, 5)
    assert samples_by_process(window) == {(7, 100): 2}
    assert window.samples.lost == {"pid-reused": 3}


def test_new_processes_read_between_two_drains_are_bounded(host: Host, native: Program) -> None:
    """A host that starts containers all the time does not keep the agent busy; after the next drain
    it reads new processes again."""
    flood = []
    for pid in range(100, 300):
        cgroup = f"/kubepods/pod1/{pid:064x}"
        flood.append(NewProcess(host.cgroup(cgroup), pid))
        host.start(pid, 100, native, cgroup)
    walk = pipeline(host)
    admitted = walk.read_new(flood)
    assert 0 < len(admitted) < 100
    assert walk.read_new(flood) == []
    walk.absorb(drain([]), 0.0)
    assert len(walk.read_new(flood)) == len(admitted)


def test_a_container_that_starts_processes_all_the_time_is_read_at_first(
    host: Host, native: Program
) -> None:
    """Its first processes identify it; those of probes and shells wait for the drain."""
    number = host.cgroup(RUN_ONE)
    walk = pipeline(host)
    admitted = []
    for pid in range(100, 140):
        host.start(pid, 100, native, RUN_ONE)
        admitted += walk.read_new([NewProcess(number, pid)])
        walk.absorb(drain([]), 0.0)
    assert admitted == list(range(100, 100 + len(admitted)))
    assert 4 < len(admitted) < 20


def test_processes_of_the_host_wait_for_the_drain(host: Host, native: Program) -> None:
    """Once the path of their cgroup is known, nothing more is read of them."""
    number = host.cgroup("/system.slice/cron.service")
    walk = pipeline(host)
    for pid in (7, 8):
        host.start(pid, 100, native, "/system.slice/cron.service")
        assert walk.read_new([NewProcess(number, pid)]) == []
        host.end(pid)
    walk.absorb(
        drain([StackCount(7, 1, cgroup_id=number), StackCount(8, 2, cgroup_id=number)]), 0.0
    )
    window = walk.window(SPAN)
    check_books(window, 3)
    assert samples_by_process(window) == {(7, 100): 1, (0, 0): 2}


def test_early_drains_do_not_age_processes(host: Host, native: Program) -> None:
    """After them an ended process is still known, and the load does not look uneven."""
    host.start(7, 100, native)
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 2)]), 0.0)
    host.end(7)
    for _ in range(8):
        walk.absorb(drain([]), 0.0, is_early=True)
    walk.absorb(drain([StackCount(7, 3)]), 0.0)
    window = walk.window(SPAN)
    check_books(window, 5)
    assert samples_by_process(window) == {(7, 100): 5}


def use_cpu(host: Host, pid: int, ticks: int) -> None:
    """utime in /proc/PID/stat, in 1/100 s."""
    head, _, tail = (host.proc / f"{pid}/stat").read_text().rpartition(") ")
    fields = tail.split(" ")
    fields[11] = str(ticks)
    host.spoil(pid, "stat", f"{head}) {' '.join(fields)}".encode())


def test_cpu_time_of_an_ended_process_is_completed_from_its_samples(
    host: Host, known: Known
) -> None:
    """Up to the last reading its time is the kernel's; later time comes from the samples."""
    number = host.cgroup(RUN_ONE)
    walk = pipeline(host)
    host.start(7, 1 << 40, known.program, RUN_ONE)  # after the window began
    use_cpu(host, 7, 30)
    walk.read_new([NewProcess(number, 7)])
    use_cpu(host, 7, 200)
    walk.absorb(drain([StackCount(7, 170, cgroup_id=number)]), 0.0, is_early=True)
    host.end(7)
    walk.absorb(drain([StackCount(7, 50, cgroup_id=number)]), 0.0)
    (report,) = walk.window(SPAN).reports
    assert report.samples == 220
    assert report.cpu_ns == 2_000_000_000 + 50 * SPAN.period_ns


def test_cpu_time_of_a_process_never_drained_while_running_is_its_samples(
    host: Host, known: Known
) -> None:
    """Its usage when it was admitted is included in the samples."""
    number = host.cgroup(RUN_ONE)
    walk = pipeline(host)
    host.start(7, 1 << 40, known.program, RUN_ONE)
    use_cpu(host, 7, 30)
    walk.read_new([NewProcess(number, 7)])
    host.end(7)
    walk.absorb(drain([StackCount(7, 50, cgroup_id=number)]), 0.0)
    (report,) = walk.window(SPAN).reports
    assert report.cpu_ns == 50 * SPAN.period_ns


def test_cpu_time_read_at_a_look_between_drains_is_not_counted_twice(
    host: Host, known: Known
) -> None:
    """Samples of the time up to the look are drained after it. They count, the ticks do not."""
    number = host.cgroup(RUN_ONE)
    walk = pipeline(host)
    host.start(7, 1 << 40, known.program, RUN_ONE)  # after the window began
    use_cpu(host, 7, 200)
    walk.absorb(drain([StackCount(7, 200, cgroup_id=number)]), 0.0)
    use_cpu(host, 7, 230)
    assert walk.read_again([7]) == {7: True}
    host.end(7)
    walk.absorb(drain([StackCount(7, 50, cgroup_id=number)]), 0.0)
    (report,) = walk.window(SPAN).reports
    assert report.samples == 250
    assert report.cpu_ns == 2_000_000_000 + 50 * SPAN.period_ns


def test_cpu_time_of_a_new_process_read_at_a_second_look_is_not_counted_twice(
    host: Host, known: Known
) -> None:
    """Also if no sample of the process was drained before the look."""
    number = host.cgroup(RUN_ONE)
    walk = pipeline(host)
    host.start(7, 1 << 40, known.program, RUN_ONE)
    walk.read_new([NewProcess(number, 7)])
    use_cpu(host, 7, 30)
    assert walk.read_again([7]) == {7: True}
    host.end(7)
    walk.absorb(drain([StackCount(7, 50, cgroup_id=number)]), 0.0)
    (report,) = walk.window(SPAN).reports
    assert report.cpu_ns == 50 * SPAN.period_ns


def test_cpu_time_of_a_process_still_running_after_a_look_is_the_kernels(
    host: Host, known: Known
) -> None:
    """The next drain reads all its ticks, including those before the look."""
    number = host.cgroup(RUN_ONE)
    walk = pipeline(host)
    host.start(7, 1 << 40, known.program, RUN_ONE)
    walk.read_new([NewProcess(number, 7)])
    use_cpu(host, 7, 30)
    walk.read_again([7])
    use_cpu(host, 7, 80)
    walk.absorb(drain([StackCount(7, 75, cgroup_id=number)]), 0.0)
    (report,) = walk.window(SPAN).reports
    assert report.cpu_ns == 800_000_000


def test_cpu_time_of_a_process_that_ends_while_its_drain_is_resolved_is_the_kernels(
    host: Host, known: Known
) -> None:
    """Its ticks were read after the drain, so that the drain's samples are in them."""
    number = host.cgroup(RUN_ONE)
    walk = pipeline(host)
    host.start(7, 1 << 40, known.program, RUN_ONE)
    use_cpu(host, 7, 80)
    host.hide(7, "status")
    walk.absorb(drain([StackCount(7, 75, cgroup_id=number)]), 0.0)
    host.end(7)
    walk.absorb(drain([StackCount(7, 5, cgroup_id=number)]), 0.0)
    (report,) = walk.window(SPAN).reports
    assert report.samples == 80
    assert report.cpu_ns == 800_000_000 + 5 * SPAN.period_ns


def test_cpu_time_of_a_process_that_ends_before_its_ticks_are_read_is_its_samples(
    host: Host, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends between two reads of one drain: it was running, and its ticks were never read."""
    read, pids = procfs.read_stat, list[int]()

    def read_once(root: str, pid: int) -> procfs.Stat:
        pids.append(pid)
        if pids != [7]:
            raise ProcessGoneError(f"PID {pid}")
        return read(root, pid)

    number = host.cgroup(RUN_ONE)
    walk = pipeline(host)
    host.start(7, 1 << 40, known.program, RUN_ONE)
    use_cpu(host, 7, 80)
    monkeypatch.setattr(procfs, "read_stat", read_once)
    walk.absorb(drain([StackCount(7, 75, cgroup_id=number)]), 0.0)
    (report,) = walk.window(SPAN).reports
    assert pids == [7, 7]
    assert report.cpu_ns == 75 * SPAN.period_ns


def test_early_drains_are_counted_with_the_next(host: Host, known: Known) -> None:
    """Each of ``drain_samples`` covers about the same time."""
    host.start(7, 100, known.program)
    walk = pipeline(host)
    for samples, is_early in (
        (1, True),
        (2, True),
        (4, False),
        (8, True),
        (16, False),
        (32, False),
    ):
        walk.absorb(drain([StackCount(7, samples)]), 0.0, is_early)
    (report,) = walk.window(SPAN).reports
    assert report.drain_samples == (7, 24)  # and the last, which may be a shorter one


# ---------------------------------------------------------------------------------------------
# Reports
# ---------------------------------------------------------------------------------------------


def test_categories_and_names(host: Host, known: Known, native: Program) -> None:
    """A Go stack is named and classified; a missing one is unknown; that of another program is
    native."""
    host.start(7, 100, known.program)
    host.start(8, 100, native)
    stacks = {1: [known.main], 2: [known.schedule, known.main]}
    walk = pipeline(host)
    walk.absorb(
        drain(
            [
                StackCount(7, 1, 1),
                StackCount(7, 2, 2),
                StackCount(7, 4, 3),
                StackCount(7, 8),
                StackCount(8, 16, 1),
            ],
            stacks,
        ),
        0.0,
    )
    window = walk.window(SPAN)
    check_books(window, 31)
    (report,) = window.reports
    assert report.category_samples[Category.USER] == 1
    assert report.group_share(Category.SCHED_SWITCH.group) == 2 / 15
    assert report.category_samples[Category.UNKNOWN] == 12
    assert window.other_samples == 16
    assert {"main.main", "runtime.schedule"} <= names(window)


def test_idle_go_process_is_reported(host: Host, known: Known) -> None:
    """A Go process found by a scan has a report with no samples, a GOMAXPROCS and a verdict."""
    host.cgroup("/a", "100000 100000")
    host.start(7, 100, known.program, "/a")
    set_memory(host, 7, known.gomaxprocs, b"\xc0")
    walk = pipeline(host)
    walk.scan()
    window = walk.window(SPAN)
    check_books(window, 0)
    (report,) = window.reports
    assert report.limit.limit_cores == 1.0
    assert report.main_process.gomaxprocs is not None
    assert report.main_process.gomaxprocs.value == 192
    assert report.main_process.gomaxprocs.recommended == 1
    assert report.verdict is Verdict.TOO_FEW_SAMPLES


def test_a_scan_of_some_processes_reports_no_others(host: Host, known: Known) -> None:
    """With a target only its processes are reported."""
    host.start(7, 100, known.program)
    host.start(8, 100, known.program)
    walk = pipeline(host)
    walk.scan({7, 99})
    (report,) = walk.window(SPAN).reports
    assert [process.pid for process in report.processes] == [7]


def test_a_process_that_moves_has_the_limit_of_its_new_cgroup(host: Host, known: Known) -> None:
    """The cgroup is read for each window: a removed one is forgotten."""
    host.cgroup("/a", "100000 100000")
    host.cgroup("/b", "300000 100000")
    host.start(7, 100, known.program, "/a")
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7)]), 0.0)
    assert walk.window(SPAN).reports[0].limit.limit_cores == 1.0
    host.spoil(7, "cgroup", b"0::/b\n")
    for name in ("cpu.max", "cpu.stat"):
        (host.cgroups / "a" / name).unlink()
    (host.cgroups / "a").rmdir()
    walk.absorb(drain([StackCount(7)]), 0.0)
    (report,) = walk.window(SPAN).reports
    assert (report.limit.limit_cores, report.container.cgroup) == (3.0, "/b")


SLURM = "/system.slice/slurmstepd.scope"


def test_parts_with_limits_of_their_own_are_separate(host: Host, known: Known) -> None:
    """8 Ps at 0.5 CPU are too many, although a busier step of 2 CPU is below the same unit: two
    rows, each with its own samples, and no finding that they share one limit."""
    for job, limit in ((1, "50000 100000"), (2, "200000 100000")):
        host.cgroup(f"{SLURM}/job_{job}/step_0", limit)
    host.start(7, 100, known.program, f"{SLURM}/job_1/step_0")
    host.start(8, 100, known.program, f"{SLURM}/job_2/step_0")
    for pid, value in ((7, 8), (8, 2)):
        set_memory(host, pid, known.gomaxprocs, value.to_bytes(4, "little"))
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 300), StackCount(8, 900)]), 0.0)
    window = walk.window(SPAN)
    check_books(window, 1200)
    busy, small = window.reports
    assert (busy.container.name, busy.samples) == ("slurmstepd.scope/job_2/step_0", 900)
    assert (small.container.name, small.samples) == ("slurmstepd.scope/job_1/step_0", 300)
    assert (busy.limit.limit_cores, small.limit.limit_cores) == (2.0, 0.5)
    assert busy.verdict is Verdict.FITS
    assert small.verdict not in (Verdict.FITS, Verdict.UNLIMITED)
    assert "GT012" not in {f.code for r in window.reports for f in r.findings}


def test_processes_that_share_a_limit_are_still_found(host: Host, known: Known) -> None:
    """Two in one step, in cgroups without a limit: one row, and GT012."""
    host.cgroup(f"{SLURM}/job_1", "200000 100000")
    for pid in (7, 8):
        host.cgroup(f"{SLURM}/job_1/task_{pid}")
        host.start(pid, 100, known.program, f"{SLURM}/job_1/task_{pid}")
        set_memory(host, pid, known.gomaxprocs, (4).to_bytes(4, "little"))
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 300), StackCount(8, 300)]), 0.0)
    (report,) = walk.window(SPAN).reports
    assert report.container.nested == "job_1"
    assert "GT012" in {finding.code for finding in report.findings}


def test_the_group_follows_a_limit_that_appears_and_disappears(host: Host, known: Known) -> None:
    """systemctl set-property on a unit in a container: two rows while there is a limit, otherwise
    one. No sample is lost, and an ended process keeps its last group."""
    top = "/system.slice/docker-" + "a" * 64 + ".scope"
    host.cgroup(top, "400000 100000")
    host.cgroup(f"{top}/x.service")
    host.start(7, 100, known.program, f"{top}/x.service")
    host.start(8, 100, known.program, top)
    walk = pipeline(host)
    rows = []
    for limit in ("max 100000", "50000 100000", "max 100000"):
        host.cgroup(f"{top}/x.service", limit)
        walk.absorb(drain([StackCount(7, 3), StackCount(8, 5)]), 0.0)
        window = walk.window(SPAN)
        check_books(window, 8)
        rows.append({r.container.nested: (r.samples, r.limit.limit_cores) for r in window.reports})
    assert rows == [{"": (8, 4.0)}, {"": (5, 4.0), "x.service": (3, 0.5)}, {"": (8, 4.0)}]
    host.cgroup(f"{top}/x.service", "50000 100000")
    walk.absorb(drain([StackCount(7, 1)]), 0.0)
    assert len(walk.window(SPAN).reports) == 2
    host.end(7)
    walk.absorb(drain([StackCount(7, 2), StackCount(8, 1)]), 0.0)
    window = walk.window(SPAN)
    check_books(window, 3)
    assert {r.container.nested: r.samples for r in window.reports} == {"": 1, "x.service": 2}


def test_counters_do_not_jump_when_another_process_is_the_busiest(host: Host, known: Known) -> None:
    """The counters of a container are those of its cgroup, not of its busiest process's."""
    top = "/system.slice/docker-" + "a" * 64 + ".scope"
    stat = "usage_usec {}\nnr_periods {}\nnr_throttled 0\nthrottled_usec 0\n"
    for path, used in ((top, 1000), (f"{top}/a", 900), (f"{top}/b", 100)):
        host.cgroup(path)
        (host.cgroups / path.strip("/") / "cpu.stat").write_text(stat.format(used, used))
    for pid, part in ((7, "a"), (8, "b")):
        host.start(pid, 100, known.program, f"{top}/{part}")
    walk = pipeline(host)
    growth = []
    for samples in (3, 5, 3, 5):
        walk.absorb(drain([StackCount(7, samples), StackCount(8, 4)]), 0.0)
        (report,) = walk.window(SPAN).reports
        growth.append((report.usage.usage_ns, report.usage.periods))
    assert growth == [(None, None), (0, 0), (0, 0), (0, 0)]


@pytest.mark.parametrize("limit", ["50000 100000", "max 100000"])
@pytest.mark.parametrize("path", [NESTED, f"{SLURM}/job_1/step_0", "/a/b"])
def test_a_process_known_only_by_its_cgroup_has_the_group_of_running_ones(
    host: Host, known: Known, path: str, limit: str
) -> None:
    """It has the key of the processes that were read in this cgroup."""
    cgroup_id = host.cgroup(path, limit)
    host.start(7, 100, known.program, path)
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 3), StackCount(71, 2, cgroup_id=cgroup_id)]), 0.0)
    living, ended = walk.window(SPAN).processes
    assert (living.pid, ended.pid) == (7, 0)
    assert replace(ended.container, name="") == replace(living.container, name="")
    assert ended.container.name == living.container.name


@pytest.mark.parametrize("dropped", [frozenset[str](), frozenset({"id"})])
def test_equal_programs_in_the_root_cgroup_have_a_series_each(
    host: Host, known: Known, dropped: frozenset[str]
) -> None:
    """Two processes of one program in no cgroup shared one series. The name stays with its process,
    and is free again when that has ended."""
    walk, exporter = pipeline(host), PrometheusExporter(Exposition(dropped))

    def names(*pids: int) -> dict[int, str]:
        walk.absorb(drain([StackCount(pid, 3) for pid in pids]), 0.0)
        window = walk.window(SPAN)
        exporter.publish(window)
        return {report.main_process.pid: report.container.name for report in window.reports}

    for pid in (7, 8):
        host.start(pid, 100, known.program, "/")
    name = known.program.path.name
    first = {7: name, 8: f"{name} (PID 8)"}
    assert names(7, 8) == names(8, 7) == first
    text = exporter.expose().decode()
    shown = re.findall(r'^gotax_runtime_share{.*container="([^"]*)"', text, re.MULTILINE)
    assert sorted(shown) == sorted(first.values())
    host.end(7)
    for _ in range(2):
        names(8)
    host.start(9, 200, known.program, "/")
    assert names(8, 9) == {8: f"{name} (PID 8)", 9: name}


def test_the_pod_of_a_part_is_that_of_its_container(host: Host, known: Known) -> None:
    """Docker in a pod has the pod's name, followed by the part."""
    pod = PodContainer("ns", "web", "app", "u", "n", "i", "container", Workload("Pod", "web"))

    class PodCache:
        counts: ClassVar[dict[str, int]] = {}

        def find(self, container_id: str) -> PodContainer | None:
            return pod if container_id == "c" * 64 else None

        def __len__(self) -> int:
            return 1

    host.cgroup(NESTED, "50000 100000")
    host.start(7, 100, known.program, NESTED)
    host.start(8, 100, known.program, NESTED.partition("/docker")[0])
    walk = Pipeline(Resolver(host.roots), "host", Thresholds(), EVERYTHING, PodCache())
    for _ in range(2):
        walk.absorb(drain([StackCount(7, 3), StackCount(8, 2)]), 0.0)
        reports = walk.window(SPAN).reports
        names = [report.container.name for report in reports]
        assert names == ["ns/web/app \u203a docker/dddddddddddd", "ns/web/app"]
        assert [report.container.pod for report in reports] == [pod, pod]


def test_a_cgroup_removed_during_a_window(host: Host, known: Known) -> None:
    """The process still names the removed cgroup: it is reported once more, without a limit, and
    keeps its samples."""
    host.cgroup("/a", "100000 100000")
    host.start(7, 100, known.program, "/a")
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 3)]), 0.0)
    for name in ("cpu.max", "cpu.stat"):
        (host.cgroups / "a" / name).unlink()
    (host.cgroups / "a").rmdir()
    window = walk.window(SPAN)
    check_books(window, 3)
    assert [report.samples for report in window.reports] == [3]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("verb", ["spoil", "hide"])
@pytest.mark.parametrize("late", [False, True])
def test_unreadable_entries_of_proc_are_survived(
    host: Host, known: Known, name: str, verb: str, late: bool
) -> None:
    """Garbage in one file, or its removal: no sample is lost, and the next window is correct."""
    host.start(7, 100, known.program)
    walk = pipeline(host)
    if late:
        walk.absorb(drain([StackCount(7)], {}), 0.0)
    (host.spoil if verb == "spoil" else host.hide)(7, name)
    walk.absorb(drain([StackCount(7, 2, stack=1)], {1: [known.main]}), 0.0)
    check_books(walk.window(SPAN), 2 + late)
    host.start(9, 100, known.program)
    walk.absorb(drain([StackCount(9, 4, stack=1)], {1: [known.main]}), 0.0)
    window = walk.window(SPAN)
    check_books(window, 4)
    assert "main.main" in names(window)


@pytest.mark.parametrize(
    "lines",
    [
        # The second mapping is below the first one, which fixes the bias: negative addresses.
        (
            "00010000-00011000 r-xp 10000000 00:00 {inode} /x\n"
            "7f0000000000-7f0000400000 r-xp 00000000 00:00 {inode} /x\n"
        ),
        "00010000-00011000 r-xp 7ffffffffffff000 00:00 {inode} /x\n",
        "00010000-00011000 r-xp ffffffffffffffff 00:00 {inode} /x\n",
    ],
)
def test_inconsistent_mappings_give_no_names(host: Host, known: Known, lines: str) -> None:
    """A file is not mapped where its headers put it: unknown code, and no overflow."""
    host.start(7, 100, Program(known.program.path, lines))
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 3, stack=1)], {1: [0x10010, 0x10020]}), 0.0)
    window = walk.window(SPAN)
    check_books(window, 3)
    assert names(window) == {"[unreadable module]", "[truncated]"}
    assert window.reports[0].category_samples[Category.UNKNOWN] == 3


def test_categories_do_not_need_names(
    host: Host, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without names every sample has the same category as with them, from the first drain, when
    functions are looked up one by one, to the last, when the whole binary has been read."""
    host.start(7, 100, known.program)
    named, nameless = pipeline(host), pipeline(host, Detail(names=False))
    random = np.random.default_rng(1)
    with FileReader(known.program.path) as reader:
        table = parse_pclntab(parse_elf(reader), f"go{VERSIONS[-1]}")
        text = table.text_start, table.text_end
        root = table.function_ranges(frozenset({"runtime.goexit"}))["runtime.goexit"][0] + 1
    for turn in range(5):
        stacks = {
            number + 1: [*random.integers(*text, random.integers(1, 6)).tolist(), root]
            for number in range(turn * 100, turn * 100 + 100)
        }
        seen = drain([StackCount(7, samples=1, stack=number) for number in stacks], stacks)
        windows = []
        for each in (named, nameless):
            each.absorb(seen, 0.0)
            windows.append(each.window(SPAN))
        with_names, without = windows
        check_books(without, 100)
        (a,), (b,) = with_names.reports, without.reports
        assert a.category_samples.tolist() == b.category_samples.tolist()
        assert np.count_nonzero(a.category_samples) > 5
        assert set(without.profile.stacks) == {()}
    monkeypatch.delattr(Pclntab, "_rounds")  # lookups are impossible now
    nameless.absorb(drain([StackCount(7, 9, 1)], {1: [text[1] - 1, root]}), 0.0)
    check_books(nameless.window(SPAN), 9)


def test_a_damaged_binary_is_read_completely_once(
    host: Host, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a table cannot be read completely, gotax does not try that again in every drain, and
    continues to look up functions one by one."""
    reads = []

    def refuse(_: Pclntab) -> Iterator[Chains]:
        reads.append(1)
        raise ParseError("pctab-malformed", "somewhere")
        yield

    monkeypatch.setattr(Pclntab, "all_chains", refuse)
    monkeypatch.setattr(symbolizer, "_QUESTION", 1000)
    host.start(7, 100, known.program)
    walk = pipeline(host, Detail(names=False))
    for number in range(8):
        stack = [known.schedule + number * 4096, known.main]
        walk.absorb(drain([StackCount(7, 1, number + 1)], {number + 1: stack}), 0.0)
    window = walk.window(SPAN)
    check_books(window, 8)
    assert len(reads) == 1
    assert window.health.cache_entries["ranges"] > 8


def test_a_large_binary_is_read_in_steps(
    host: Host, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No drain reads more than its part, no lookup uses a partial map, and at the end all is
    read."""
    monkeypatch.setattr(symbolizer, "_WHOLE_PAIRS", 8_000)
    monkeypatch.setattr(symbolizer, "_QUESTION", 1000)
    monkeypatch.setattr(pclntab, "_FUNCTIONS_PER_PART", 512)
    read: list[int] = []
    go_on = ClassMapReader.go_on

    def counted(reader: ClassMapReader, pairs: int) -> int:
        read.append(go_on(reader, pairs))
        return read[-1]

    monkeypatch.setattr(ClassMapReader, "go_on", counted)
    host.start(7, 100, known.program)
    named, nameless = pipeline(host), pipeline(host, Detail(names=False))
    with FileReader(known.program.path) as reader:
        table = parse_pclntab(parse_elf(reader), f"go{VERSIONS[-1]}")
        whole = sum(part.pairs for part in table.all_chains())
    addresses = iter(range(table.text_start, table.text_end, 4099))
    assert whole > 20_000
    for _ in range(4 + whole // 8_000):
        stack = [next(addresses), known.main]
        seen = drain([StackCount(7, 1, stack[0])], {stack[0]: stack})
        windows = []
        for each in (named, nameless):
            each.absorb(seen, 0.0)
            windows.append(each.window(SPAN))
        (a,), (b,) = windows[0].reports, windows[1].reports
        assert a.category_samples.tolist() == b.category_samples.tolist()
    assert max(read) < whole // 2
    assert sum(read) == whole


def test_a_stack_is_symbolized_once(host: Host, known: Known) -> None:
    """The second drain finds the same stack in the cache, also with another category."""
    host.start(7, 100, known.program)
    walk = pipeline(host)
    for kernel in (0, 5):
        walk.absorb(drain([StackCount(7, 1, 1, kernel)], {1: [known.main]}), 0.0)
    window = walk.window(SPAN)
    assert window.health.cache_entries["stacks"] == 1
    assert len(window.profile.stacks) == 1
    assert int(window.profile.samples.sum()) == 2


def test_windows_are_independent(host: Host, known: Known) -> None:
    """The next window does not repeat the samples of the last."""
    host.start(7, 100, known.program)
    walk = pipeline(host)
    walk.absorb(drain([StackCount(7, 5)], full=2), 0.0)
    first, second = walk.window(SPAN), walk.window(SPAN)
    assert first.samples.lost == {"stack-counts-full": 2}
    assert (first.samples.drained, second.samples.drained) == (7, 0)
    check_books(second, 0)
    assert [report.samples for report in second.reports] == [0]
