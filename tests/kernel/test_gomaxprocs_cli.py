"""GOMAXPROCS of running processes through the whole command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.load import Group, Load, check_json
from tests.toolchains import VERSIONS

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

VALUES = (1, 2, 7, 192)
BUILDS = {"plain": (), "stripped": ("stripped",)}


def test_value_of_every_release_and_build(
    go_binary: Callable[..., Path], load: Callable[..., Load], group: Callable[[str], Group]
) -> None:
    """One `gotax check` over all of them, each in a cgroup of its own: the value, where it came
    from and the version are what each process says, stripped or not."""
    expected, flags = {}, []
    for version in VERSIONS:
        for build, variants in BUILDS.items():
            for value in VALUES:
                own = group(f"{version}-{build}-{value}")
                path = go_binary("gomaxprocs", version, *variants)
                program = load(path, group=own, env={"GOMAXPROCS": str(value)})
                assert int(program.line()) == value
                expected[own.path] = (f"go{version}", value, "environment", [program.pid])
                flags += ["--pid", str(program.pid)]
    document = check_json("-d", "0.5", *flags)
    found = {
        container["cgroup"]: (
            container["go_version"],
            container["gomaxprocs"]["value"],
            container["gomaxprocs"]["origin"],
            container["pids"],
        )
        for container in document["containers"]
    }
    assert found == expected


@pytest.mark.parametrize("variants", [(), ("pie", "stripped")], ids=["plain", "pie-stripped"])
def test_value_that_the_program_changes(
    go_binary: Callable[..., Path], load: Callable[..., Load], variants: tuple[str, ...]
) -> None:
    """After runtime.GOMAXPROCS(n) in the program the new value is told, as set by a call."""
    program = load(go_binary("gomaxprocs", VERSIONS[-1], *variants))
    program.line()
    program.tell("set 7")
    assert int(program.line()) == 7
    (container,) = check_json("-d", "0.2", "--pid", str(program.pid))["containers"]
    assert container["gomaxprocs"]["value"] == 7
    assert container["gomaxprocs"]["origin"] == "call"
