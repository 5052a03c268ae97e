"""Processes that end, call exec, contain invalid data or are replaced while they are sampled."""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gotax.config import Detail
from gotax.golang.pclntab import has_pclntab
from gotax.linux.elf import FileReader, parse_elf
from gotax.profile import FrameKind
from gotax.sampling.sampler import Target
from gotax.window import Window

from tests.kernel.load import (
    GUARD_S,
    SPIN,
    Group,
    Load,
    Walk,
    functions,
    gotax,
    samples_by_process,
    state,
    wait_for_work,
    wait_until,
)
from tests.kernel.test_leftovers import held
from tests.toolchains import VERSIONS

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

GoBinary = Callable[..., Path]
Loads = Callable[..., Load]
JUMP_TO_ITSELF = {"x86_64": b"\xeb\xfe", "aarch64": b"\x00\x00\x00\x14"}
WORK = {"main.sixty", "main.thirty", "main.ten"}


def named(window: Window, pid: int) -> set[str]:
    return set(functions(window, pid))


def test_a_pid_that_ends_while_it_is_sampled(
    go_binary: GoBinary, load: Loads, group: Callable[[str], Group]
) -> None:
    """`gotax check --pid` of a process that is killed during the window: its samples are reported,
    none is lost without a reason, and standard error is empty."""
    own = group("ends")
    own.favour()
    program = load(go_binary("knownwork", VERSIONS[-1]), group=own)
    program.report()
    with gotax("check", "--json", "-d", "600", "--pid", str(program.pid)) as process:
        wait_until(lambda: held(process.pid).is_complete, "the timers to run")
        program.wait_for_work(0.5)
        program.kill()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=GUARD_S)
    assert errors == ""
    assert process.returncode in (0, 1)
    samples = json.loads(output)["samples"]
    assert samples["drained"] > 0
    assert samples["drained"] == samples["attributed"] + sum(samples["lost"].values())


def test_a_binary_replaced_while_it_runs(go_binary: GoBinary, load: Loads, tmp_path: Path) -> None:
    """The path has another program now (an upgrade): names come from the running one, and a process
    of the new program has its own."""
    path = tmp_path / "server"
    shutil.copy(go_binary("knownwork", VERSIONS[-1]), path)
    old = load(path)
    old.report()
    path.unlink()
    shutil.copy(go_binary("stacks", VERSIONS[0]), path)
    new = load(path)
    new.report()
    with Walk(499) as walk:
        walk.drain_for(1.0, old, new)
        window = walk.window()
    assert named(window, old.pid) >= WORK
    assert "main.arrive" not in named(window, old.pid)
    assert "main.arrive" in named(window, new.pid)
    assert not named(window, new.pid) & WORK


def test_a_file_cut_after_its_segments(go_binary: GoBinary, load: Loads, tmp_path: Path) -> None:
    """Without section headers and symbols at the end of the file, it still runs, and still has all
    its names."""
    path = tmp_path / "cut"
    shutil.copy(go_binary("knownwork", VERSIONS[-1]), path)
    with FileReader(path) as reader:
        end = max(load.offset + load.file_size for load in parse_elf(reader).loads)
    assert end < path.stat().st_size
    os.truncate(path, end)
    program = load(path)
    program.report()
    with Walk(499) as walk:
        walk.drain_for(1.0, program)
        window = walk.window()
    assert named(window, program.pid) >= WORK
    assert window.reports


def spinning(source: Path, target: Path) -> tuple[int, int]:
    """A copy of a Go binary with a jump to itself at its entry, so that it runs whatever else is
    damaged. Returns where its pclntab begins and ends in the file."""
    shutil.copy(source, target)
    with FileReader(target) as reader:
        elf = parse_elf(reader)
        entry = elf.offset_of(elf.entry)
        table = elf.sections[".gopclntab"]
        assert has_pclntab(elf)
    assert entry is not None
    write(target, entry, JUMP_TO_ITSELF[platform.machine()])
    return table.offset, table.offset + table.size


def write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), data, offset)


def hostile(source: Path, folder: Path) -> dict[str, Path]:
    """Binaries that claim to be Go, damaged in many ways, by the kind of damage."""
    draw = random.Random(3)
    made = {}

    def variant(name: str, harm: Callable[[Path, int, int], None]) -> None:
        path = made[name] = folder / name
        harm(path, *spinning(source, path))

    def bytes_in(low: float, high: float) -> Callable[[Path, int, int], None]:
        def harm(path: Path, start: int, end: int) -> None:
            for _ in range(2000):
                at = start + int((end - start) * draw.uniform(low, high))
                write(path, at, draw.randbytes(1))

        return harm

    variant("sound", lambda *_: None)
    variant("magic", lambda path, start, _: write(path, start, b"\0\0\0\0"))
    variant("header", lambda path, start, _: write(path, start + 8, b"\xff" * 64))
    variant("count", lambda path, start, _: write(path, start + 8, b"\xff" * 8))
    variant("zeros", lambda path, start, end: write(path, start + 72, bytes(end - start - 72)))
    variant("ones", lambda path, start, end: write(path, start, b"\xff" * (end - start)))
    variant(
        "noise", lambda path, start, end: write(path, start + 72, draw.randbytes(end - start - 72))
    )
    variant("names", bytes_in(0.0, 0.1))
    variant("everywhere", bytes_in(0.0, 1.0))
    variant("cut", lambda path, start, end: end_segments_at(path, (start + end) // 2))
    return made


def end_segments_at(path: Path, offset: int) -> None:
    """Ends the segment of this offset there. (The kernel does not run a file that really ends
    there, and a running one cannot be cut.)"""
    data = path.read_bytes()
    (table,) = struct.unpack_from("<Q", data, 0x20)  # e_phoff
    size, count = struct.unpack_from("<HH", data, 0x36)
    for at in range(table, table + size * count, size):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", data, at)
        if kind == 1 and start < offset < start + length:
            write(path, at + 0x20, struct.pack("<QQ", offset - start, offset - start))


def executable(program: Load) -> Path:
    return Path(f"/proc/{program.pid}/exe").readlink()


def test_running_hostile_binaries(go_binary: GoBinary, load: Loads, tmp_path: Path) -> None:
    """Each has its samples. The undamaged one has its name; no other has a function that it does
    not contain; the pipeline survives all of them, with every detail requested."""
    made = hostile(go_binary("knownwork", VERSIONS[-1]), tmp_path)
    running = {name: load(path) for name, path in made.items()}
    for name, program in running.items():
        wait_until(lambda p=program, n=name: executable(p) == made[n], "the shell to exec")
    pids = {program.pid: name for name, program in running.items()}
    detail = Detail(functions=20, native_frames=True, kernel_frames=True)
    with Walk(499, target=Target(tgids=frozenset(pids)), detail=detail) as walk:
        walk.drain()  # the shells that start them
        walk.window()
        for _ in range(4):
            walk.drain_for(0.2, *running.values())
        window = walk.window()
    assert window.samples.lost == {}
    counted = {pids[pid] for pid, _ in samples_by_process(window)}
    assert counted == set(made)
    entry = "_rt0_amd64_linux" if platform.machine() == "x86_64" else "_rt0_arm64_linux"
    assert user_names(window, running["sound"].pid) == {entry}
    for name in ("magic", "zeros", "ones"):
        for function in user_names(window, running[name].pid):
            assert function == entry or "+0x" in function  # by the symbol table, or no name


def user_names(window: Window, pid: int) -> set[str]:
    """Names of the leaves outside the kernel."""
    found = set()
    for process, stack in zip(
        window.profile.process.tolist(), window.profile.stack.tolist(), strict=True
    ):
        if window.processes[process].pid == pid:
            frames = [f for location in window.profile.stacks[stack] for f in location.frames]
            user = [f.function for f in frames if f.kind is not FrameKind.KERNEL]
            found.update(user[:1])
    return found


def test_exec_changes_the_program(go_binary: GoBinary, load: Loads) -> None:
    """PID and start time stay the same: stacks are named by the program in which they were counted.
    Those of the drain with the exec may belong to either, and have no names."""
    path = go_binary("knownwork", VERSIONS[-1])
    code = f"""
import os, select, sys
while not select.select([sys.stdin], [], [], 0)[0]: pass
os.execv({str(path)!r}, ["knownwork"])
"""
    program = load(sys.executable, "-c", code)
    identity = (program.pid, program.start_ticks())
    detail = Detail(functions=20, native_frames=True)
    with Walk(499, target=Target(tgids=frozenset({program.pid})), detail=detail) as walk:
        walk.drain_for(0.5, program)
        before = walk.window()
        program.wait_for_work(0.1)
        program.tell("now")
        program.report()
        walk.drain()
        between = walk.window()
        walk.drain_for(0.7, program)
        after = walk.window()
    assert samples_by_process(before).keys() == {identity}
    assert not named(before, program.pid) & WORK
    assert not before.reports
    assert between.samples.drained > 0
    assert not named(between, program.pid)
    assert samples_by_process(after).keys() == {identity}
    assert named(after, program.pid) & WORK
    assert [report.samples for report in after.reports] == [after.samples.attributed]


def test_a_cgroup_that_is_removed_between_two_reads(
    go_binary: GoBinary, load: Loads, group: Callable[[str], Group]
) -> None:
    """The process is moved and its cgroup removed: its samples are complete, and it is reported in
    its new cgroup."""
    own, other = group("vanishing"), group("staying")
    program = load(go_binary("knownwork", VERSIONS[-1]), group=own)
    program.report()
    with Walk(499, target=Target(tgids=frozenset({program.pid}))) as walk:
        walk.drain_for(0.3, program)
        first = walk.window()
        walk.drain_for(0.3, program)
        for folder in other.folders:
            (folder / "cgroup.procs").write_text(str(program.pid))
        own.remove()
        second = walk.window()
        walk.drain_for(0.3, program)
        third = walk.window()
    assert [r.container.cgroup for r in first.reports] == [own.path]
    for window in (second, third):
        assert [r.container.cgroup for r in window.reports] == [other.path]
        assert window.samples.lost == {}
        assert window.reports[0].samples == window.samples.attributed > 0


def with_pid(wanted: int, *command: str) -> subprocess.Popen[bytes] | None:
    """A process with this PID; None if another process got it first (or the kernel refuses)."""
    try:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(wanted - 1))
    except OSError:
        return None
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    if process.pid == wanted:
        return process
    process.kill()
    process.wait()
    return None


@pytest.mark.skipif(
    not Path("/proc/sys/kernel/ns_last_pid").exists(),
    reason="this kernel does not allow choosing a PID (CONFIG_CHECKPOINT_RESTORE)",
)
def test_a_reused_pid_is_another_process(go_binary: GoBinary, load: Loads) -> None:
    """A Go process gets the PID of an ended one: none of its samples or functions go to the earlier
    process, and after a drain it has all its own."""
    path = str(go_binary("knownwork", VERSIONS[-1]))
    first = load("python3", "-c", SPIN)
    old = (first.pid, first.start_ticks())
    second: subprocess.Popen[bytes] | None = None
    try:
        with Walk(499, target=Target(tgids=frozenset({first.pid}))) as walk:
            walk.drain_for(0.3, first)
            before = walk.window()
            first.kill()
            second = wait_until(lambda: with_pid(first.pid, path), "the PID to be given again")
            assert second is not None
            ticks = Path(f"/proc/{second.pid}/stat").read_text().rpartition(") ")[2].split()[19]
            new = (second.pid, int(ticks))
            wait_for_work(second.pid, 0.3)
            walk.drain()
            between = walk.window()
            wait_for_work(second.pid, 0.3)
            walk.drain()
            after = walk.window()
    finally:
        if second is not None:
            second.kill()
            second.wait()
    assert old != new
    assert samples_by_process(before).keys() == {old}
    assert not {old, new} & samples_by_process(between).keys()
    assert not named(between, second.pid)
    assert samples_by_process(after).keys() == {new}
    assert named(after, second.pid) & WORK


def test_names_that_are_not_text(
    go_binary: GoBinary, load: Loads, group: Callable[[str], Group]
) -> None:
    """A cgroup and a program with escapes and invalid UTF-8 in their names: every command prints
    its table and its JSON, and no escape sequence reaches the terminal."""
    own = group(os.fsdecode(b"\xff\x1b[31m\xe2\x80\xae"))
    own.favour()
    program = load(go_binary("knownwork", VERSIONS[-1]), group=own)
    program.report()
    for arguments in (
        ["check", "-d", "0.5", "--pid", str(program.pid)],
        ["check", "-d", "0.5", "--json", "--pid", str(program.pid)],
        ["top", "--once", "-i", "0.5", "--pid", str(program.pid)],
        ["explain", "-d", "0.5", str(program.pid)],
        ["record", "-d", "2", "-f", "folded", "-o", "-", "--pid", str(program.pid)],
    ):
        with gotax(*arguments) as process:
            output, errors = process.communicate(timeout=GUARD_S)
        assert "Traceback" not in errors
        assert process.returncode in (0, 1)
        assert output
        assert "\x1b" not in output
        assert "\u202e" not in output


def test_many_short_processes(load: Loads) -> None:
    """Hundreds of processes that run for milliseconds: each sample is attributed, or lost with a
    reason."""
    program = load("/bin/sh", "-c", "while :; do /bin/true; done")
    with Walk(999, detail=Detail(native_frames=True, kernel_frames=True)) as walk:
        for _ in range(4):
            walk.drain_for(0.3, program)
        window = walk.window()  # checks the sums
    # On a busy host a drain comes late, and each of these processes is a stack count of its own.
    reasons = {"process-gone", "process-exec", "pid-reused", "stack-counts-full"}
    assert set(window.samples.lost) <= reasons
    assert window.samples.drained > 0


def test_a_stopped_process_is_no_problem(go_binary: GoBinary, load: Loads) -> None:
    """It has no samples, and is read as before."""
    program = load(go_binary("knownwork", VERSIONS[-1]))
    program.report()
    program.process.send_signal(signal.SIGSTOP)
    threads = [int(task.name) for task in Path(f"/proc/{program.pid}/task").iterdir()]
    wait_until(lambda: all(state(thread) == "T" for thread in threads), "all threads to stop")
    with Walk(99, target=Target(tgids=frozenset({program.pid}))) as walk:
        walk.pipeline.scan({program.pid})
        walk.drain()
        walk.window()
        walk.drain_for(0.3)
        window = walk.window()
    (report,) = window.reports
    assert report.samples == 0
    assert report.main_process.gomaxprocs is not None
    assert report.main_process.gomaxprocs.value == os.cpu_count()
