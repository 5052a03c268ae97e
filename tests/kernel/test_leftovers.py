"""However gotax ends, it leaves nothing in the kernel: no program, no map, no timer."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gotax.sampling import kernel
from gotax.sampling.cpus import online_cpus
from gotax.sampling.loader import MAP_NAMES

from tests.kernel.load import GUARD_S, gotax, gotax_compiling, gotax_stopped, wait_until
from tests.patience import promised

pytestmark = pytest.mark.kernel

ENDS_WITHIN_S = 2.0
STOPPED = "gotax: stopped before anything was measured\n"
FD_BY_ID = {"prog": 13, "map": 14}  # BPF_PROG_GET_FD_BY_ID, BPF_MAP_GET_FD_BY_ID
COMMANDS = {
    "check": ["check", "-d", "600"],
    "check --json": ["check", "-d", "600", "--json", "--pid", str(os.getpid())],
    "top": ["top", "-i", "1", "--json"],
    "agent": ["agent", "--listen", "127.0.0.1:0", "-i", "0.5"],
}
ONCE = {
    "check": ["check", "-d", "1"],
    "record": ["record", "-d", "1", "-o", "/dev/null"],
    "top": ["top", "--once", "-i", "1"],
}


@dataclass(frozen=True)
class Held:
    """The objects of a process in the kernel."""

    ids: frozenset[tuple[str, int]]  # ("prog" or "map", id)
    timers: int

    @property
    def is_complete(self) -> bool:
        kinds = [kind for kind, _ in self.ids]
        return (
            kinds.count("prog") == 1
            and kinds.count("map") >= len(MAP_NAMES)
            and self.timers == len(online_cpus())
        )


def held(pid: int) -> Held:
    ids, timers = set(), 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(fd)
            if target == "anon_inode:[perf_event]":
                timers += 1
            elif kind := re.fullmatch(r"anon_inode:bpf-(prog|map)", target):
                information = Path(f"/proc/{pid}/fdinfo/{fd.name}").read_text()
                found = re.search(rf"^{kind[1]}_id:\s*(\d+)$", information, re.M)
                if found:  # else it is another file by now
                    ids.add((kind[1], int(found[1])))
        except FileNotFoundError:
            continue  # closed in the meantime
    return Held(frozenset(ids), timers)


def exists(kind: str, number: int) -> bool:
    """Whether the kernel still has the object. A timer keeps its program: without a program there
    is no timer."""
    attributes = ctypes.create_string_buffer(struct.pack("=III", number, 0, 0), 12)
    command = ctypes.c_int(FD_BY_ID[kind])
    try:
        fd = kernel._syscall(kernel._BPF, command, attributes, ctypes.c_uint(12))
    except FileNotFoundError:
        return False
    os.close(fd)
    return True


def children(pid: int) -> list[int]:
    """PIDs of the processes it has started."""
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def check_nothing_is_left(before: Held) -> None:
    """Everything existed, and is gone now."""
    assert before.is_complete
    wait_until(lambda: not [i for i in before.ids if exists(*i)], "programs and maps to be freed")


@pytest.fixture(params=COMMANDS)
def running(request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], Held]]:
    """A command that samples, and its kernel objects."""
    with gotax(*COMMANDS[request.param]) as process:
        wait_until(lambda: held(process.pid).is_complete, "the timers to run")
        before = held(process.pid)
        assert all(exists(*i) for i in before.ids)
        yield process, before


@promised(ENDS_WITHIN_S)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_ends_it(
    running: tuple[subprocess.Popen[str], Held], number: signal.Signals, within_s: float
) -> None:
    """Ctrl-C and SIGTERM: it ends in time, without a traceback, and leaves nothing."""
    process, before = running
    started = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=GUARD_S)
    took_s = time.monotonic() - started
    if process.returncode == 2:
        assert errors == STOPPED
    else:  # a verdict from the samples so far
        assert "Traceback" not in errors
        assert process.returncode in (0, 1)
    check_nothing_is_left(before)
    assert took_s <= within_s


def test_a_killed_command_leaves_nothing(running: tuple[subprocess.Popen[str], Held]) -> None:
    """SIGKILL: the kernel frees everything with the descriptors."""
    process, before = running
    process.kill()
    process.communicate(timeout=GUARD_S)
    check_nothing_is_left(before)


@pytest.mark.parametrize("command", ONCE)
def test_a_normal_end_leaves_nothing(command: str) -> None:
    """A command that ends by itself."""
    with gotax_stopped(*ONCE[command]) as process:
        before = held(process.pid)
        process.send_signal(signal.SIGCONT)
        _, errors = process.communicate(timeout=GUARD_S)
    assert process.returncode in (0, 1)
    assert "Traceback" not in errors
    check_nothing_is_left(before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_compiling(number: signal.Signals) -> None:
    """The compiler is a child in its own session: it ends too, with its children."""
    with gotax_compiling("check", "-d", "600") as process:
        (child,) = wait_until(lambda: compilers(process.pid), "the compiler to start")
        process.send_signal(number)
        output, errors = process.communicate(timeout=GUARD_S)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the compiler to end")
    if number == signal.SIGKILL:
        return
    if process.returncode == 2:
        assert output == ""
        assert errors == STOPPED
    else:  # it has compiled by now: a verdict from the samples so far
        assert "Traceback" not in errors
        assert process.returncode in (0, 1)


def compilers(pid: int) -> list[int]:
    """Of its children; another one forks readers."""
    return [c for c in children(pid) if b"gotax.sampling.compiler" in command_line(c)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_no_descriptor_is_inherited() -> None:
    """A child that a library might start gets none of the descriptors: all are close-on-exec."""
    with gotax("check", "-d", "600") as process:
        wait_until(lambda: held(process.pid).is_complete, "the timers to run")
        inherited = [
            os.readlink(f"/proc/{process.pid}/fd/{number}")
            for number, flags in flags_by_descriptor(process.pid).items()
            if number > 2 and not flags & os.O_CLOEXEC
        ]
    assert inherited == []


def flags_by_descriptor(pid: int) -> dict[int, int]:
    found = {}
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            line = re.search(r"^flags:\s*(\d+)$", path.read_text(), re.M)
        except FileNotFoundError:
            continue  # closed in the meantime
        assert line
        found[int(path.name)] = int(line[1], 8)
    return found
