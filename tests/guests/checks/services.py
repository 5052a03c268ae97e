"""Go programs in containers whose GOMAXPROCS they say themselves, all the time."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.kernel.load import GUARD_S, Group, Load, gotax, wait_until
from tests.toolchains import go_binary

OLD, NEW = "1.24.13", "1.27.3"
"""The default of the old one is the number of CPUs, that of the new one follows the limit."""

_BURST = 100


class Service:
    """tests/programs/gomaxprocs or container, which answers questions until its end.

    ``cpus``: pinned to these. The environment of the test has no part in it.
    """

    def __init__(
        self, program: str, version: str, *, group: Group, cpus: str = "", stripped: bool = False
    ) -> None:
        pin = ("taskset", "-c", cpus) if cpus else ()
        path = go_binary(program, version, *(("stripped",) if stripped else ()))
        clean = ("env", "-u", "GOMAXPROCS", "-u", "GODEBUG")
        self.group = group
        self.load = Load(*clean, *pin, path, group=group)
        self.at_start = int(self.load.line())
        self.value = self.at_start
        self._ended = threading.Event()
        self._asking = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._asking.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._asking.join(GUARD_S)
        self.load.kill()

    def _ask(self) -> None:
        while not self._ended.wait(0.25):
            self.load.tell("\n" * (_BURST - 1))
            for _ in range(_BURST):
                self.value = int(self.load.line())


def check(*arguments: str, groups: Iterable[Group] = ()) -> dict[str, Any]:
    """The output of `gotax check --json`.

    The groups stand still while it compiles its BPF program: in a guest that takes a minute, and
    much longer beside other work.
    """
    freezers = [group.unified / "cgroup.freeze" for group in groups if group.unified]
    with gotax("check", "--json", *arguments) as process:
        for freezer in freezers:
            freezer.write_text("1")
        wait_until(lambda: process.poll() is not None or samples(process.pid), "its first timer")
        for freezer in freezers:
            freezer.write_text("0")
        output, errors = process.communicate(timeout=GUARD_S)
    others = [line for line in errors.splitlines() if "compiling the BPF program" not in line]
    assert not others, others
    assert process.returncode in (0, 1)
    found: dict[str, Any] = json.loads(output)
    return found


def samples(pid: int) -> bool:
    """Whether it has a perf event."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(descriptor) == "anon_inode:[perf_event]":
                return True
        except FileNotFoundError:
            continue  # closed meanwhile
    return False


class Cpuset(Group):
    """A container that may use only some CPUs."""

    def __init__(self, name: str, cpus: str) -> None:
        super().__init__(name)
        self._cpus = cpus

    def __enter__(self) -> Self:
        super().__enter__()
        assert self.unified
        (self.unified.parent / "cgroup.subtree_control").write_text("+cpuset")
        (self.unified / "cpuset.cpus").write_text(self._cpus)
        return self


def online() -> int:
    """By Go's own rule: the CPUs that the scheduler may use for a process."""
    return len(os.sched_getaffinity(0))


def switch(cpu: int, *, on: bool) -> None:
    Path(f"/sys/devices/system/cpu/cpu{cpu}/online").write_text(str(int(on)))
    folder = Path(f"/sys/devices/system/cpu/cpu{cpu}/online")
    wait_until(lambda: folder.read_text().strip() == str(int(on)), f"CPU {cpu} to be {on}")
