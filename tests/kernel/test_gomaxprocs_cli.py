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
    """One `gotax check` of all of them, each in a cgroup of its own: value, origin and version
    match the output of each process, stripped or not."""
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
def test_a_value_changed_by_the_program(
    go_binary: Callable[..., Path], load: Callable[..., Load], variants: tuple[str, ...]
) -> None:
    """After runtime.GOMAXPROCS(n) the new value is reported, with origin call."""
    program = load(go_binary("gomaxprocs", VERSIONS[-1], *variants))
    program.line()
    program.tell("set 7")
    assert int(program.line()) == 7
    (container,) = check_json("-d", "0.2", "--pid", str(program.pid))["containers"]
    assert container["gomaxprocs"]["value"] == 7
    assert container["gomaxprocs"]["origin"] == "call"
