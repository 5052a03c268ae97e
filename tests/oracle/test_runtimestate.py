"""The state of a runtime besides GOMAXPROCS, compared with the runtime's own values."""

from __future__ import annotations

import functools
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from gotax.golang.bias import program_bias
from gotax.golang.live import StateAddresses, read_state
from gotax.golang.pclntab import parse_pclntab
from gotax.golang.runtimestate import find_state
from gotax.linux.elf import FileReader, parse_elf
from gotax.linux.procfs import read_auxv
from gotax.process import RuntimeState

from tests.patience import PATIENCE_S
from tests.toolchains import VERSIONS, minor

pytestmark = pytest.mark.toolchain

GoBinary = Callable[..., Path]
OLDER = ("1.16.15", "1.18.10", "1.20.14")
NO_LIMIT = 2**63 - 1
VARIABLES = ("runtime.sched", "runtime.gcController", "runtime.memstats")
builds = pytest.mark.parametrize(
    ("version", "variants"),
    [(version, variants) for version in VERSIONS for variants in ((), ("pie", "stripped"))]
    + [(version, ()) for version in OLDER],
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "plain",
)


@functools.cache
def look_at(path: Path, version: str) -> tuple[StateAddresses, dict[str, range]]:
    """Addresses, and the symbols of the variables that contain them."""
    with FileReader(path) as reader:
        elf = parse_elf(reader)
        symbols = {name: elf.symbol(name) for name in VARIABLES}
        extents = {n: range(s[0], s[0] + s[1]) for n, s in symbols.items() if s is not None}
        return find_state(elf, parse_pclntab(elf, f"go{version}")), extents


@dataclass
class Running:
    process: subprocess.Popen[str]
    addresses: StateAddresses
    bias: int

    def ask(self, line: str) -> tuple[int, RuntimeState]:
        """GOMAXPROCS, and the rest, as printed by the program."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.said()

    def said(self) -> tuple[int, RuntimeState]:
        assert self.process.stdout is not None
        said = map(int, self.process.stdout.readline().split())
        value, gogc, cycles, limit, live, goal, roots = said
        state = RuntimeState(None, gogc, limit or None, cycles, goal, live or None)
        return value, replace(state, root_bytes=roots or None)

    def read(self) -> RuntimeState:
        return read_state("/proc", self.process.pid, self.addresses, self.bias)

    def wait_for_idle(self, wanted: int) -> None:
        """Once no thread searches for work any more."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := self.read().idle_ps) != wanted:
            assert time.monotonic() < deadline, f"{found} idle Ps, not {wanted}"
            time.sleep(0.01)


@contextmanager
def running(path: Path, version: str, **variables: str) -> Iterator[Running]:
    addresses, _ = look_at(path, version)
    with subprocess.Popen(
        [str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables
    ) as process:
        try:
            program = Running(process, addresses, 0)
            program.said()
            with FileReader(path) as reader:
                bias = program_bias(parse_elf(reader), read_auxv("/proc", process.pid))
            assert bias is not None
            program.bias = bias
            yield program
        finally:
            process.kill()


def without_idle(state: RuntimeState) -> tuple[int | None, int | None, int | None]:
    return state.gogc, state.memory_limit_bytes, state.gc_cycles


@builds
def test_gc_settings_and_cycles_match_the_runtime(
    go_binary: GoBinary, version: str, variants: tuple[str, ...]
) -> None:
    """From the environment, and after every change; GOGC since 1.18, the limit since 1.19."""
    path = go_binary("runtimestate", version, *variants)
    lines = ("", "gc", "percent 37", "limit 123456789", "gc", "percent -1", f"limit {NO_LIMIT}")
    for variables in ({}, {"GOGC": "250", "GOMEMLIMIT": "1GiB"}, {"GOGC": "off"}):
        with running(path, version, **variables) as program:
            for line in lines:
                _, said = program.ask(line)
                gogc = said.gogc if minor(version) >= 18 else None
                limit = said.memory_limit_bytes if minor(version) >= 19 else None
                assert without_idle(program.read()) == (gogc, limit, said.gc_cycles), line
            assert said.gc_cycles


@builds
def test_the_heap_matches_the_runtime(
    go_binary: GoBinary, version: str, variants: tuple[str, ...]
) -> None:
    """What the last cycle found live, its goal, and all that was allocated; since Go 1.20."""
    path = go_binary("runtimestate", version, *variants)
    with running(path, version) as program:
        assert program.read().live_heap_bytes is None  # there was no cycle yet
        program.ask("gc")
        before = program.read().allocated_bytes
        program.ask("keep 33554432")
        _, said = program.ask("gc")
        _, last = program.ask("gc")
        found = program.read()
    if minor(version) < 20:
        assert found.live_heap_bytes is found.heap_goal_bytes is found.allocated_bytes is None
        return
    assert found.live_heap_bytes is not None
    assert found.live_heap_bytes > 32 << 20
    if minor(version) > 20:
        assert found.live_heap_bytes == last.live_heap_bytes
        assert found.root_bytes == last.root_bytes
    # The goal that held until the last cycle is the one that was set by the cycle before.
    assert found.heap_goal_bytes == said.heap_goal_bytes
    assert found.allocated_bytes is not None
    assert before is not None
    assert found.allocated_bytes - before > 32 << 20
    assert found.non_heap_bytes is not None
    assert 1 << 20 < found.non_heap_bytes < 32 << 20


@builds
def test_idle_ps_are_those_without_work(
    go_binary: GoBinary, version: str, variants: tuple[str, ...]
) -> None:
    """All while the program waits for input; five of eight Ps with three busy goroutines."""
    path = go_binary("runtimestate", version, *variants)
    with running(path, version, GOMAXPROCS="8", GOGC="off") as program:
        program.wait_for_idle(8)
        program.ask("spin 3")
        program.wait_for_idle(5)


@pytest.mark.parametrize("version", VERSIONS + OLDER)
@pytest.mark.parametrize("machine", ["amd64", "arm64"])
def test_addresses_are_within_their_variables_also_without_sections(
    go_binary: GoBinary, version: str, machine: str
) -> None:
    """By the symbols if there are any; both files must give the same addresses."""
    variants = ("arm64",) if machine == "arm64" else ()
    found, extents = look_at(go_binary("gomaxprocs", version, *variants), version)
    wiped, none = look_at(go_binary("gomaxprocs", version, *variants, "nosections"), version)
    assert (wiped, none) == (found, {})
    assert found.idle_ps in extents["runtime.sched"]
    assert found.gc_cycles in extents["runtime.memstats"]
    controller = extents["runtime.gcController"].start
    assert found.gogc == (controller if minor(version) >= 18 else None)
    assert found.memory_limit == (controller + 8 if minor(version) >= 19 else None)
    distance = {20: 72}.get(minor(version), 96)
    assert found.heap_goal == (controller + distance if minor(version) >= 20 else None)
