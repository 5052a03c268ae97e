"""Mounts of the hierarchies, and their view from an agent in a cgroup namespace."""

from __future__ import annotations

import contextlib
import os

import pytest
from gotax.errors import AccessError, ParseError
from gotax.linux.cgroups.hierarchies import CgroupMount, Hierarchy, parse_mountinfo
from gotax.linux.cgroups.identity import group_key, identify
from gotax.linux.procfs import CgroupEntry, parse_cgroups
from gotax.process import CpuLimit
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.linux.cgroupfolders import ID, POD, Host, v2


def test_mountinfo_of_a_container() -> None:
    """Roots seen from a cgroup namespace, escapes, and lines that are no cgroup."""
    data = (
        b"23 22 0:21 / /proc rw - proc proc rw\n"
        b"30 23 0:27 /../../.. /host/sys/fs/cg\\040roup ro shared:4 - cgroup2 cgroup rw\n"
        b"31 23 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        b"32 23 0:29 /docker/x /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        b"33 23 0:30 / /x rw - cgroupfoo none rw\n"
    )
    assert parse_mountinfo(data) == (
        CgroupMount((), "/host/sys/fs/cg roup", "/../../.."),
        CgroupMount(("xattr", "name=systemd"), "/sys/fs/cgroup/systemd", "/"),
        CgroupMount(("cpu", "cpuacct"), "/sys/fs/cgroup/cpu", "/docker/x"),
    )


@given(st.binary(max_size=200))
def test_mountinfo_parses_or_refuses(data: bytes) -> None:
    """For any bytes, parse_mountinfo returns mounts or raises ParseError."""
    with contextlib.suppress(ParseError):
        assert parse_mountinfo(b"1 2 3:4 / /x rw - cgroup2 c rw\n" + data)


def test_private_namespace_with_the_hosts_tree(host: Host) -> None:
    """Paths are relative to the agent's own cgroup, which is found by its PID."""
    v2(host)
    host.mounts.clear()
    host.mount("", "cgroup2", "rw", root="/../..")
    host.write(host.proc / "self/cgroup", "0::/inner\n")
    host.write(host.proc / "1/cgroup", "0::/../../init.scope\n")
    host.put("kubepods.slice/agent/inner", cgroup__procs=f"1\n{os.getpid()}\n")
    host.put("kubepods.slice/other", cgroup__procs="77\n")
    cgroups = host.cgroups()
    assert cgroups.hierarchies.sees_host
    assert cgroups.hierarchies.unified is not None
    assert cgroups.hierarchies.unified.base == "/kubepods.slice/agent"
    for seen, path in [
        ("/", "/kubepods.slice/agent"),
        ("/inner", "/kubepods.slice/agent/inner"),
        ("/../other", "/kubepods.slice/other"),
        ("/../../init.scope", "/init.scope"),
        ("/../..", "/"),
    ]:
        (entry,) = cgroups.host_entries(parse_cgroups(f"0::{seen}\n".encode()))
        assert entry.path == path


def test_private_namespace_without_the_hosts_tree(host: Host) -> None:
    """Containers can still be distinguished by their paths, but their limit is unknown."""
    host.mount("", "cgroup2", "rw")
    host.put("", cpu__max="100000 100000\n")
    host.write(host.proc / "1/cgroup", "0::/../../../init.scope\n")
    cgroups = host.cgroups()
    assert not cgroups.hierarchies.sees_host
    entries = cgroups.host_entries(parse_cgroups(f"0::/../cri-containerd-{ID}.scope\n".encode()))
    assert group_key(entries) == ID
    with pytest.raises(AccessError, match="cgroup-unreachable"):
        cgroups.read_limit(cgroups.cpu_path(entries))
    with pytest.raises(AccessError, match="cgroup-unreachable"):
        cgroups.read_limit("/")  # that is our own group, not the root


def test_the_root_has_no_limit_also_where_no_tree_has_limits(host: Host) -> None:
    """Nothing with the cpu controller is mounted; below the root a limit may be hidden."""
    host.mount("memory", "cgroup", "rw,memory")
    cgroups = host.cgroups()
    assert cgroups.hierarchies.of("cpu") is None
    assert cgroups.read_limit("/") == CpuLimit()
    with pytest.raises(AccessError, match="cgroup-unreachable"):
        cgroups.read_limit("/a")


def test_private_namespace_whose_place_is_not_found(host: Host) -> None:
    """If the agent's PID is not in the host's tree, its paths cannot be resolved: nothing is
    read."""
    host.mount("", "cgroup2", "rw", root="/../..")
    host.put("kubepods.slice/other", cgroup__procs="1\n")
    assert not host.find().sees_host


NODE = "b" * 64


@pytest.mark.parametrize(
    ("first", "node"),
    [
        (f"0::/docker/{NODE}/init.scope\n", {NODE}),
        (f"0::/system.slice/docker-{NODE}.scope/init.scope\n", {NODE}),
        (f"2:cpu:/docker/{NODE}\n1:name=systemd:/docker/{NODE}/init.scope\n0::/\n", {NODE}),
        (f"0::/docker/{NODE}/docker/{ID}/init.scope\n", {NODE, ID}),
        *(("0::/init.scope\n", set[str]()), ("0::/\n", set[str]()), ("", set[str]())),
    ],
)
def test_the_node_may_be_a_container(host: Host, first: str, node: set[str]) -> None:
    """kind, minikube and k3d without a cgroup namespace: PID 1 of the node shows it."""
    v2(host)
    host.write(host.proc / "1/cgroup", first)
    assert host.find().node == node


def test_the_node_is_known_from_a_namespace_below_it(host: Host) -> None:
    """PID 1 is in no container as seen from the agent's own namespace, but on the host it is."""
    host.mount("", "cgroup2", "rw", root="/../../../..")
    host.write(host.proc / "self/cgroup", "0::/\n")
    host.write(host.proc / "1/cgroup", "0::/../../init.scope\n")
    agent = f"docker/{NODE}/{POD.split('/')[0]}/agent"
    host.put(agent, cgroup__procs=f"{os.getpid()}\n")
    cgroups = host.cgroups()
    assert cgroups.hierarchies.node == {NODE}
    own = f"/{POD}/cri-containerd-{ID}.scope"
    (entry,) = cgroups.host_entries(parse_cgroups(f"0::/../../{POD}/crio-{ID}.scope\n".encode()))
    assert entry.path == f"/docker/{NODE}/{POD}/crio-{ID}.scope"
    assert cgroups.identify((entry,)).pod_uid == identify(own).pod_uid


def test_a_container_that_sees_only_itself_is_itself(host: Host) -> None:
    """PID 1 is its own process: it keeps its id and its pod, and sees its children."""
    v2(host)
    host.write(host.proc / "1/cgroup", f"0::/{POD}/crio-{ID}.scope\n")
    cgroups = host.cgroups()
    own = cgroups.identify((CgroupEntry(0, (), f"/{POD}/crio-{ID}.scope/container"),))
    assert own == identify(f"/{POD}/crio-{ID}.scope")
    path = f"/{POD}/crio-{ID}.scope/docker/{NODE}"
    assert cgroups.identify((CgroupEntry(0, (), path),)).container_id == NODE


def test_mounts_elsewhere_do_not_count(host: Host) -> None:
    """Only mounts at or below the given root are used; without any there is no error."""
    host.write(host.proc / "self/mountinfo", "1 2 3:4 / /elsewhere rw - cgroup2 c rw\n")
    with pytest.raises(AccessError, match="cgroup-not-mounted"):
        host.find()


def test_the_widest_mount_wins(host: Host) -> None:
    """Of two mounts of a hierarchy the one that shows more of it is used."""
    host.mount("host", "cgroup2", "rw")
    host.mount("own", "cgroup2", "rw", root="/docker/a")
    unified = host.find().unified
    assert unified == Hierarchy((), f"{host.cgroup}/host", "/", "/")
