"""A target counts the selected processes, and no others, in the kernel."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gotax.sampling.sampler import Counter, Drain, Target

from tests.kernel.load import SPIN, Group, Load, Walk, check_json, wait_for_work, wait_until
from tests.toolchains import VERSIONS

pytestmark = pytest.mark.kernel

PYTHON = (sys.executable, "-c", SPIN)  # python3 may be a script that starts others
FORK = """
import os
parent = os.getpid()
if child := os.fork():
    print(child, flush=True)
    while True: pass
while os.getppid() == parent: pass  # ends with it
"""


def tgids(drain: Drain) -> set[int]:
    return set(drain.stack_counts["tgid"].tolist())


def test_pids_are_a_target(load: Callable[..., Load]) -> None:
    """Only the selected processes; others are counted as filtered, and can be added later."""
    first, second = load(*PYTHON), load(*PYTHON)
    target = Target(tgids=frozenset({first.pid}))
    with Walk(499, target=target) as walk:
        for _ in range(3):
            walk.drain_for(0.3, first, second)
        assert set().union(*map(tgids, walk.drains)) == {first.pid}
        assert walk.counted(Counter.FILTERED) > 0
        walk.sampler.follow({second.pid, 4_000_000})
        walk.drain()  # has earlier samples
        second.wait_for_work(0.1)
        assert tgids(walk.drain()) == {second.pid}
        walk.sampler.follow(set())
        walk.drain()
        time.sleep(0.2)
        assert tgids(walk.drain()) == set()


def test_children_do_not_belong_to_a_pid(load: Callable[..., Load]) -> None:
    """A PID is a process with its threads; its children have their own PIDs."""
    parent = load(sys.executable, "-c", FORK)
    child = int(parent.line())
    with Walk(499, target=Target(tgids=frozenset({parent.pid}))) as walk:
        walk.drain_for(0.4, parent)
        assert tgids(walk.drains[0]) == {parent.pid}
        walk.sampler.follow({child})
        walk.drain()
        wait_for_work(child, 0.1)
        assert tgids(walk.drain()) == {child}


def test_cgroup_is_a_target_in_the_kernel(
    load: Callable[..., Load], group: Callable[[str], Group]
) -> None:
    """A v2 cgroup and its descendants, checked by the kernel itself: not its siblings."""
    inside, beside = group("inside"), group("inside-not")
    if inside.unified is None:
        pytest.skip("no cgroup v2 tree here")
    below = inside.unified / "below"
    below.mkdir()
    try:
        first = load(*PYTHON, group=inside)
        deep = load(
            "/bin/sh", "-c", f"echo 0 > {below}/cgroup.procs; exec {sys.executable} -c '{SPIN}'"
        )
        outside = [load(*PYTHON, group=beside), load(*PYTHON)]
        for program in (first, deep, *outside):
            program.wait_for_work(0.05)  # without the shell that starts one of them
        target = Target(cgroup_id=inside.unified.stat().st_ino, cgroup_level=1)
        with Walk(499, target=target) as walk:
            wait_until(lambda: tgids(_later(walk)) == {first.pid, deep.pid}, "samples of both")
            seen = set().union(*map(tgids, walk.drains))
            assert seen == {first.pid, deep.pid}
            assert walk.counted(Counter.FILTERED) > 0
        for program in (first, deep, *outside):
            program.kill()
    finally:
        wait_until(lambda: _removed(below), "the cgroup to be empty")


def _later(walk: Walk) -> Drain:
    time.sleep(0.3)
    return walk.drain()


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


@pytest.mark.toolchain
def test_flags_of_the_command_line(
    go_binary: Callable[..., Path], load: Callable[..., Load], group: Callable[[str], Group]
) -> None:
    """--cgroup and --pid report the selected Go processes, with samples, and no siblings."""
    own, other = group("own"), group("other")
    for each in (own, other):
        each.favour()
    path = go_binary("knownwork", VERSIONS[-1])
    inside = [load(path, "-busy", "0.4", group=own) for _ in range(2)]
    outside = load(path, "-busy", "0.4", group=other)
    for program in (*inside, outside):
        program.report()
    (container,) = check_json("-d", "1.5", "--cgroup", own.path)["containers"]
    assert container["cgroup"] == own.path
    assert sorted(container["pids"]) == sorted(program.pid for program in inside)
    assert container["cpu_cores"] > 0
    document = check_json("-d", "1.5", "--pid", str(outside.pid))
    (container,) = document["containers"]
    assert container["pids"] == [outside.pid]
    assert container["functions"][0]["function"].startswith(("main.", "runtime."))
    assert document["other_cpu_cores"] == 0
