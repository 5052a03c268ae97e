"""Limits, usage and ids of the three layouts, as folders."""

from __future__ import annotations

import pytest
from gotax.errors import AccessError, ProcessGoneError
from gotax.linux.procfs import parse_cgroups
from gotax.process import CpuLimit, CpuUsage

from tests.unit.linux.cgroupfolders import ID, POD, Host, v1, v2


def test_v2_limit_is_the_tightest_of_all_ancestors(host: Host) -> None:
    """The pod's limit counts when it is below the container's; cpuset comes from above."""
    v2(host)
    assert host.find().version == "v2"
    assert host.cgroups().read_limit(f"/{POD}/cri-containerd-{ID}.scope") == CpuLimit(
        limit_cores=1.5,
        limit_cgroup=f"/{POD}",
        leaf_limit_cores=2.0,
        cpuset_cpus=6,
        shares=None,
        weight=39,
        cpuset_cgroup="/kubepods.slice",
    )


def test_v2_usage(host: Host) -> None:
    """Throttling and usage come from cpu.stat; the root has usage only, and no limit."""
    v2(host)
    cgroups = host.cgroups()
    assert cgroups.read_usage(f"/{POD}/cri-containerd-{ID}.scope") == CpuUsage(5000, 4, 3, 2000)
    assert cgroups.read_usage("/") == CpuUsage(99000)
    assert cgroups.read_limit("/") == CpuLimit(cpuset_cpus=8)
    assert cgroups.read_limit("/kubepods.slice").limit_cores is None


def test_v1_limit_and_usage(host: Host) -> None:
    """Quota, shares, usage and throttling of v1; an empty cpuset means the parent's."""
    v1(host)
    cgroups = host.cgroups()
    assert host.find().version == "v1"
    assert cgroups.read_limit("/docker/a") == CpuLimit(
        limit_cores=0.5,
        limit_cgroup="/docker",
        leaf_limit_cores=None,
        cpuset_cpus=8,
        shares=512,
        weight=None,
    )
    assert cgroups.read_usage("/docker/a") == CpuUsage(77, 4, 3, 2)


def test_hybrid_takes_the_limit_from_v1(host: Host) -> None:
    """A unified tree beside v1 controllers has the ids, not the limits."""
    v1(host)
    host.mount("unified", "cgroup2", "rw")
    host.put("unified/docker/a", cpu__stat="usage_usec 1\n")
    cgroups = host.cgroups()
    assert cgroups.hierarchies.version == "hybrid"
    entries = parse_cgroups(b"5:cpu,cpuacct:/docker/a\n3:cpuset:/other\n0::/docker/b\n")
    paths = cgroups.locate(entries)
    assert (paths.cpu, paths.cpuacct, paths.cpuset) == ("/docker/a", "/docker/a", "/other")
    assert cgroups.cpu_path(entries) == "/docker/a"
    assert cgroups.read_limit(paths.cpu, paths.cpuset).limit_cores == 0.5
    inode = (host.cgroup / "unified/docker/a").stat().st_ino
    assert cgroups.path_of_id(inode) == "/docker/a"


def test_a_removed_cgroup_raises(host: Host) -> None:
    """A missing cgroup is not an unlimited one."""
    v2(host)
    cgroups = host.cgroups()
    with pytest.raises(ProcessGoneError):
        cgroups.read_limit("/kubepods.slice/gone")
    with pytest.raises(ProcessGoneError):
        cgroups.read_usage("/kubepods.slice/gone")


def test_cgroup_outside_of_the_mount_is_unreachable(host: Host) -> None:
    """A mount of a subtree shows that subtree under its host path, and nothing else."""
    host.mount("", "cgroup2", "rw", root="/docker/a")
    host.put("", cpu__max="100000 100000\n")
    host.put("child", cpu__max="max 100000\n")
    cgroups = host.cgroups()
    assert cgroups.read_limit("/docker/a/child").limit_cgroup == "/docker/a"
    with pytest.raises(AccessError, match="cgroup-unreachable"):
        cgroups.read_limit("/docker/b")
    inode = (host.cgroup / "child").stat().st_ino
    assert cgroups.path_of_id(inode) == "/docker/a/child"


def test_ids_are_remembered_after_removal(host: Host) -> None:
    """A walk happens at most once per refresh, and a removed cgroup keeps its path."""
    v2(host)
    folder = host.cgroup / "a/b"
    folder.mkdir(parents=True)
    cgroups = host.cgroups()
    inode = folder.stat().st_ino
    assert cgroups.path_of_id(inode) == "/a/b"
    later = host.cgroup / "later"
    later.mkdir()
    assert cgroups.path_of_id(later.stat().st_ino) is None
    cgroups.refresh()
    folder.rmdir()
    assert cgroups.path_of_id(later.stat().st_ino) == "/later"
    assert cgroups.path_of_id(inode) == "/a/b"
    assert len(cgroups) > 5
    assert cgroups.evictions == 0


def test_ids_without_a_unified_tree(host: Host) -> None:
    """A pure v1 host has no cgroup ids."""
    v1(host)
    assert host.cgroups().path_of_id(1) is None
