"""Files and memory of a container that ask the agent for more than it has, or never answer."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.attacks import inputs
from tests.attacks.contained import HOSTILE, TOO_HIGH, Agent, check_it_ends, check_it_is_well
from tests.kernel.load import Group, Load, wait_until
from tests.toolchains import VERSIONS

pytestmark = [pytest.mark.kernel, pytest.mark.timing, pytest.mark.toolchain]

Attack = Callable[..., Load]
GO = VERSIONS[2]
HOLE_BYTES = (16 << 40) - inputs.PAGE
"""The longest file of ext4 with blocks of 4 KiB."""

needs_fuse = pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="needs /dev/fuse")


def survives(
    agent: Agent, neighbour: Group, hostile: Group, *, holds_a_reader: bool = False
) -> None:
    """The agent names the attacker, is as well as before, and ends without leaving anything."""

    def named() -> bool:
        return agent.verdict_of(hostile) == "unreadable" or bool(
            agent.metrics().reasons() & HOSTILE
        )

    wait_until(named, "the agent to name the attacker")
    check_it_is_well(agent, neighbour)
    assert named()
    check_it_ends(agent, holds_a_reader=holds_a_reader)


def test_a_hole_of_terabytes(
    agent: Agent, neighbour: Group, hostile: Group, attack: Attack, tmp_path: Path
) -> None:
    """4 kB on disk, which claim to be a Go program of 16 TiB."""
    attack(inputs.hole(tmp_path / "hole", HOLE_BYTES)).wait_for_work(0.1)
    survives(agent, neighbour, hostile)


def test_four_million_relocations(
    agent: Agent, neighbour: Group, hostile: Group, attack: Attack, tmp_path: Path
) -> None:
    """8 kB on disk, five times over."""
    files = [inputs.relocations(tmp_path / str(n), 4_000_000) for n in range(5)]
    attack("attacker.py", inputs.task(*files), says="mapped").wait_for_work(0.1)
    survives(agent, neighbour, hostile)


def test_build_information_of_megabytes(
    agent: Agent, neighbour: Group, hostile: Group, attack: Attack, tmp_path: Path
) -> None:
    """8 MB of modules in each of three binaries."""
    for number in range(3):
        path = inputs.build_information(tmp_path / str(number), 8 << 20)
        task = inputs.task(path, entry=inputs.PAGE)
        attack("attacker.py", task, says="mapped").wait_for_work(0.1)
    survives(agent, neighbour, hostile)


@pytest.mark.parametrize(("count", "length"), [(33, 55_000)], ids=["all"])
def test_names_of_functions_without_end(
    agent: Agent,
    neighbour: Group,
    hostile: Group,
    attack: Attack,
    tmp_path: Path,
    count: int,
    length: int,
) -> None:
    """Each name is a closure of a closure of a closure; all the functions run."""
    path = inputs.names(tmp_path / "names", count, length)
    task = inputs.task(path, entry=inputs.PAGE)
    attack("attacker.py", task, says="mapped").wait_for_work(1.0)
    survives(agent, neighbour, hostile)


def touch(path: Path, number: int) -> Path:
    os.utime(path, ns=(number, number))
    return path


def rename(path: Path, number: int) -> Path:
    return path.rename(path.with_name(f"own{number % 7}"))


@contextmanager
def changing(path: Path, change: Callable[[Path, int], Path]) -> Iterator[None]:
    """``change`` is applied to the file all the time."""
    enough = threading.Event()

    def run() -> None:
        now = path
        for number in itertools.count():
            now = change(now, number)
            if enough.wait(0.05):
                return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@pytest.mark.parametrize("change", [touch, rename])
def test_a_program_that_touches_its_own_file(
    agent: Agent,
    neighbour: Group,
    hostile: Group,
    attack: Attack,
    tmp_path: Path,
    go_binary: Callable[..., Path],
    change: Callable[[Path, int], Path],
) -> None:
    """It stays a Go program, with its verdict and its CPU time."""
    own = tmp_path / "own"
    shutil.copy(go_binary("changing", GO), own)
    attack(own, "-rate", "20000", env={"GOMAXPROCS": "64"}).wait_for_work(0.1)  # it is executed
    with changing(own, change):
        wait_until(lambda: agent.verdict_of(hostile) in TOO_HIGH, "the verdict of the changed")
        before = agent.cpu_s(hostile)
        check_it_is_well(agent, neighbour)
        wait_until(lambda: agent.cpu_s(hostile) > before, "its CPU time")
        assert agent.verdict_of(hostile) in TOO_HIGH
    check_it_ends(agent)


@pytest.mark.slow
def test_mappings_without_end(
    agent: Agent, neighbour: Group, attack: Attack, tmp_path: Path
) -> None:
    """As many as the kernel allows, of one hostile file."""
    path = inputs.hole(tmp_path / "hole", 1 << 30)
    attack("mappings.py", path, "60000", says="mapped").wait_for_work(0.1)
    check_it_is_well(agent, neighbour)
    check_it_ends(agent)


@pytest.mark.slow
def test_hostile_files_one_after_the_other(
    agent: Agent, neighbour: Group, hostile: Group, attack: Attack, tmp_path: Path
) -> None:
    """Each has an identity of its own, so that remembering the last one is no help."""
    for number in range(25):
        path = inputs.hole(tmp_path / str(number), HOLE_BYTES - number * inputs.PAGE)
        attack(path).wait_for_work(0.02)
    survives(agent, neighbour, hostile)


@needs_fuse
def test_a_file_that_never_answers(
    agent: Agent, neighbour: Group, hostile: Group, attack: Attack, tmp_path: Path
) -> None:
    """The program runs from a file system of its own, which stops answering once it runs."""
    (tmp_path / "mount").mkdir()
    content = inputs.hole(tmp_path / "content", 1 << 20)
    own = tmp_path / "mount" / "file"
    attack("fuse.py", tmp_path / "mount", content, own, says="silent")
    survives(agent, neighbour, hostile, holds_a_reader=True)


@needs_fuse
@pytest.mark.slow
def test_many_files_that_never_answer(
    agent: Agent,
    neighbour: Group,
    hostile: Group,
    group: Callable[[str], Group],
    load: Callable[..., Load],
    attack: Attack,
    tmp_path: Path,
    go_binary: Callable[..., Path],
) -> None:
    """Fourteen file systems of one container: it took all readers of the node, so that no new
    program was read any more."""
    content = inputs.hole(tmp_path / "content", 1 << 20)
    for number in range(14):
        (mount := tmp_path / f"mount{number}").mkdir()
        attack("fuse.py", mount, content, mount / "file", says="silent")
    wait_until(lambda: agent.metrics().total("gotax_stuck_readers") >= 2, "the stuck readers")
    later = group("later")
    later.limit(1.0)
    later.favour()
    shutil.copy(go_binary("changing", GO), own := tmp_path / "own")
    load(own, "-rate", "40000", group=later, env={"GOMAXPROCS": "64"})
    wait_until(lambda: agent.verdict_of(later) in TOO_HIGH, "the verdict of a new neighbour")
    assert agent.metrics().total("gotax_stuck_readers") <= 3
    survives(agent, neighbour, hostile, holds_a_reader=True)


@needs_fuse
@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(True, id="environ", marks=pytest.mark.slow),
        pytest.param(False, id="gomaxprocs"),
    ],
)
def test_memory_that_never_answers(
    agent: Agent,
    neighbour: Group,
    hostile: Group,
    attack: Attack,
    tmp_path: Path,
    go_binary: Callable[..., Path],
    environment: bool,
) -> None:
    """A sound Go binary, mapped by a process whose pages are those of such a file system: its
    environment, or the data where GOMAXPROCS is."""
    (tmp_path / "mount").mkdir()
    content = inputs.hole(tmp_path / "content", 8 << 20)
    silent = str(tmp_path / "mount" / "file")
    program = go_binary("knownwork", VERSIONS[-1], "pie")
    task = inputs.disguise(program, tmp_path / "copy", "" if environment else silent, silent)
    command = (inputs.PYTHON, str(inputs.HERE / "attacker.py"), task)
    large = {f"PAD{n}": "x" * 100_000 for n in range(4)}
    attack("fuse.py", tmp_path / "mount", content, *command, says="silent", env=large)
    survives(agent, neighbour, hostile, holds_a_reader=True)
