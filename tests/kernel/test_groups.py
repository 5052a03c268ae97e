"""Cgroups with limits of their own below one unit or container, on the running kernel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
from gotax.linux.cgroups.hierarchies import find_hierarchies

from tests.kernel.load import Group, Load, check_json, wait_until
from tests.toolchains import VERSIONS

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]


class Part(Group):
    """A cgroup below a ``Group``, with its parents."""

    def __init__(self, top: Group, path: str) -> None:
        super().__init__("part")
        self._between = [
            folder.joinpath(*path.split("/")[:depth])
            for depth in range(1, path.count("/") + 1)
            for folder in top.folders
        ]
        self.path = f"{top.path}/{path}"
        self.folders = [folder / path for folder in top.folders]

    def __enter__(self) -> Self:
        for folder in self._between:
            if self._is_v2:
                (folder.parent / "cgroup.subtree_control").write_text("+cpu")
            folder.mkdir(exist_ok=True)
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        self.remove()
        for folder in reversed(self._between):
            wait_until(lambda folder=folder: _is_removed(folder), f"{folder} to be empty")

    def unlimit(self) -> None:
        for folder in self.folders:
            for name, text in (("cpu.max", "max"), ("cpu.cfs_quota_us", "-1")):
                if (folder / name).exists():
                    (folder / name).write_text(text)


def _is_removed(folder: Path) -> bool:
    """Or of another part, which removes it later."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return any(child.is_dir() for child in folder.iterdir())
    return True


@pytest.fixture
def part(group: Callable[[str], Group]) -> Iterator[Callable[[Group, str], Part]]:
    """part(top, "a/b") is a new cgroup below another; removed after the test."""
    del group
    with ExitStack() as stack:
        yield lambda top, path: stack.enter_context(Part(top, path))


def by_gomaxprocs(document: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {row["gomaxprocs"]["value"]: row for row in document["containers"]}


@pytest.mark.parametrize(
    ("whole", "first", "second", "name"),
    [
        ("slurmstepd.scope", "job_1/step_0", "job_2/step_0", "slurmstepd.scope/job_1/step_0"),
        (
            f"docker/{'a' * 64}",
            f"docker/{'b' * 64}",
            f"docker/{'c' * 64}",
            "aaaaaaaaaaaa \u203a docker/bbbbbbbbbbbb",
        ),
    ],
    ids=["Slurm's steps", "Docker in a container"],
)
def test_each_part_is_judged_by_its_own_limit(
    go_binary: Callable[..., Path],
    group: Callable[[str], Group],
    part: Callable[[Group, str], Part],
    load: Callable[..., Load],
    whole: str,
    first: str,
    second: str,
    name: str,
) -> None:
    """8 Ps at 0.5 CPU do not fit, although 2 Ps at 2 CPU beside them do. Without the limits the two
    are one row. A part can be selected by its cgroup."""
    top = group("parts")
    small, large = part(top, f"{whole}/{first}"), part(top, f"{whole}/{second}")
    small.limit(0.5)
    large.limit(2.0)
    path = go_binary("knownwork", VERSIONS[-1])
    tight = load(path, "-busy", "0.1", group=small, env={"GOMAXPROCS": "8"})
    fitting = load(path, "-busy", "0.4", group=large, env={"GOMAXPROCS": "2"})
    for program in (tight, fitting):
        program.report()
    both = "--pid", str(tight.pid), "--pid", str(fitting.pid)
    document = check_json("-d", "1.5", *both)
    rows = by_gomaxprocs(document)
    assert [rows[8]["pids"], rows[2]["pids"]] == [[tight.pid], [fitting.pid]]
    assert [rows[8]["cpu_limit_cores"], rows[2]["cpu_limit_cores"]] == [0.5, 2.0]
    assert rows[8]["name"] == name
    assert [rows[8]["nested_cgroup"], rows[2]["nested_cgroup"]] == [first, second]
    assert rows[2]["verdict"] == "fits"
    assert rows[8]["verdict"] not in ("fits", "unlimited", "unreadable")
    assert not any(f["code"] == "GT012" for row in rows.values() for f in row["findings"])
    (row,) = check_json("-d", "1", "--cgroup", small.path)["containers"]
    assert row["pids"] == [tight.pid]
    for each in (small, large):
        each.unlimit()
    (row,) = check_json("-d", "1.5", *both)["containers"]
    assert sorted(row["pids"]) == sorted([tight.pid, fitting.pid])
    assert (row["cpu_limit_cores"], row["nested_cgroup"]) == (None, None)


@pytest.mark.parametrize("limit", [None, 0.5], ids=["without a limit", "with a limit"])
def test_a_container_cannot_claim_the_id_of_another(
    go_binary: Callable[..., Path],
    group: Callable[[str], Group],
    part: Callable[[Group, str], Part],
    load: Callable[..., Load],
    limit: float | None,
) -> None:
    """It makes a pod's cgroup below its own, with the id of the other container."""
    own, victim = "a" * 64, "b" * 64
    pod = "kubepods/pod0f3c1a52-3333-4222-8333-944455556666"
    top = group("claims")
    honest = part(top, f"{pod}/{victim}")
    hostile = part(top, f"docker/{own}/{pod}/{victim}")
    if limit is not None:
        hostile.limit(limit)
    path = go_binary("knownwork", VERSIONS[-1])
    first = load(path, "-busy", "0.2", group=honest, env={"GOMAXPROCS": "2"})
    second = load(path, "-busy", "0.2", group=hostile, env={"GOMAXPROCS": "3"})
    for program in (first, second):
        program.report()
    document = check_json("-d", "1.5", "--pid", str(first.pid), "--pid", str(second.pid))
    rows = by_gomaxprocs(document)
    assert [rows[2]["pids"], rows[3]["pids"]] == [[first.pid], [second.pid]]
    assert [rows[2]["container_id"], rows[3]["container_id"]] == [victim, own]
    assert rows[3]["pod_uid"] is None
    assert rows[3]["nested_cgroup"] == (None if limit is None else f"{pod}/{victim}")


def test_a_cgroup_of_only_the_cpuset_tree_is_a_target(
    go_binary: Callable[..., Path], load: Callable[..., Load]
) -> None:
    """Slurm with v1 has its jobs only there: --cgroup finds them, with their CPUs."""
    tree = find_hierarchies("/proc", "/sys/fs/cgroup").of("cpuset")
    if tree is None or not tree.controllers:
        pytest.skip("cpuset is in the one tree of cgroup v2")
    folder = Path(tree.mount) / f"gotax-test-{os.getpid()}-set"
    folder.mkdir()
    try:
        for name in ("cpuset.cpus", "cpuset.mems"):
            (folder / name).write_text("0")
        path = go_binary("knownwork", VERSIONS[-1])
        program = load(path, "-busy", "0.2", group=SimpleNamespace(folders=[folder]))
        program.report()
        (row,) = check_json("-d", "1", "--cgroup", f"/{folder.name}")["containers"]
        assert row["pids"] == [program.pid]
        assert row["cpuset_cpus"] == row["gomaxprocs"]["recommended"] == 1
        program.kill()
    finally:
        wait_until(lambda: _is_removed(folder), f"{folder} to be empty")
