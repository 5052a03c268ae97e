from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.attacks.contained import AGENT_BYTES, CORES, Agent, Box
from tests.kernel.conftest import _patient, group, load, samples
from tests.kernel.load import Group, Load
from tests.toolchains import VERSIONS

__all__ = ["_patient", "group", "load", "samples"]

HERE = Path(__file__).parent


@pytest.fixture
def neighbour(
    group: Callable[[str], Group], load: Callable[..., Load], go_binary: Callable[..., Path]
) -> Group:
    """The cgroup of an honest service, limited to one CPU and with a GOMAXPROCS of 64."""
    honest = group("honest")
    honest.limit(1.0)
    honest.favour()
    program = go_binary("changing", VERSIONS[2])
    load(program, "-rate", "40000", group=honest, env={"GOMAXPROCS": "64"})
    return honest


@pytest.fixture
def agent(neighbour: Group) -> Iterator[Agent]:
    """It samples, and knows the neighbour, before the attack begins."""
    if shutil.which("setpriv") is None or shutil.which("unshare") is None:
        pytest.skip("needs setpriv and unshare")
    with Box("agent", AGENT_BYTES, CORES) as box, Agent(box) as running:
        running.wait_until_it_samples()
        del neighbour
        with running.watch:
            yield running


@pytest.fixture
def hostile(agent: Agent) -> Iterator[Group]:
    """The attacker's cgroup, limited to half of a CPU."""
    del agent  # ends after the attack does: it may be waiting for it
    with Group("hostile") as group:
        group.limit(0.5)
        yield group


@pytest.fixture
def attack(hostile: Group) -> Iterator[Callable[..., Load]]:
    """attack("attacker.py", ..., says="mapped") runs a script of this folder in the attacker's
    cgroup, with a mount namespace of its own; attack(PATH) runs a program."""
    enter = ("unshare", "--mount", "--propagation", "private")

    def start(
        program: str | Path,
        *arguments: str | Path,
        says: str = "",
        group: Group = hostile,
        env: dict[str, str] | None = None,
    ) -> Load:
        command = [program] if isinstance(program, Path) else [sys.executable, HERE / program]
        found = stack.enter_context(Load(*enter, *command, *arguments, group=group, env=env))
        if says:
            assert found.line() == says
        return found

    with ExitStack() as stack:
        yield start
