"""Cgroup paths of the wild, and the three layouts as folders."""

from __future__ import annotations

import contextlib
import csv
import os
from dataclasses import replace
from pathlib import Path

import pytest
from gotax.errors import AccessError, ParseError, ProcessGoneError
from gotax.linux.cgroups.cpu import parse_cfs_quota, parse_cpu_max, parse_cpu_stat
from gotax.linux.cgroups.hierarchies import (
    CgroupMount,
    Hierarchies,
    Hierarchy,
    find_hierarchies,
    parse_mountinfo,
)
from gotax.linux.cgroups.identity import group_key, identify, identify_entries, key_of
from gotax.linux.cgroups.tree import Cgroups
from gotax.linux.procfs import CgroupEntry, parse_cgroups
from gotax.process import CpuLimit, CpuUsage
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[2] / "fixtures"
ID = "5eed917563583925ffdbd40a64efb2aaffe58638e57add8becaf460fe74f5b1c"
POD = "kubepods.slice/kubepods-podc83d0428_58af_41eb_8dba_b9e6eddffe7b.slice"


def wild_paths() -> list[dict[str, str]]:
    with (FIXTURES / "cgroup_paths.tsv").open() as table:
        return list(csv.DictReader(table, delimiter="\t"))


@pytest.mark.parametrize("row", wild_paths(), ids=lambda row: row["case"])
def test_path_of_the_wild(row: dict[str, str]) -> None:
    """Each path seen in the wild gives its container, pod, runtime and unit; each of the hostile
    ones the container that its owner is in. ``node``: the container that the node itself is."""
    found = identify(row["path"], frozenset({row["node"]} - {"-"}))
    expected = {k: None if v == "-" else v for k, v in row.items()}
    assert found.container_id == expected["container_id"]
    assert found.pod_uid == expected["pod_uid"]
    assert found.runtime == expected["runtime"]
    assert found.unit == expected["unit"]
    assert found.qos == expected["qos"]
    assert row["path"].startswith(found.cgroup)
    named = found.container_id or found.unit
    assert named is None or named in found.cgroup.rpartition("/")[2]


VICTIM = "f" * 64
CLAIM = f"/kubepods/pod0f3c1a52-3333-4222-8333-944455556666/{VICTIM}"
RUNTIMES = [
    f"/{POD}/cri-containerd-{ID}.scope",
    f"/{POD}/crio-{ID}.scope",
    f"/kubepods/burstable/pod404bd273-57bc-4508-a386-e2b76d3c9cfe/{ID}",
    f"/docker/{ID}",
    f"/system.slice/docker-{ID}.scope",
    f"/machine.slice/libpod-{ID}.scope",
    f"/system.slice/web.service/libpod-payload-{ID}",
]
COMPONENT = st.sampled_from(
    [
        *("a", "init.scope", "x.service", "kubepods", "docker", "", "system.slice"),
        *(VICTIM, f"docker-{VICTIM}.scope", f"cri-containerd-{VICTIM}.scope", "user@1.service"),
        "kubepods-pod0f3c1a52_3333_4222_8333_944455556666.slice:cri-containerd:" + VICTIM,
        *("pod0f3c1a52-3333-4222-8333-944455556666", "0f3c1a5233334222833394445555666" + "6"),
        "kubepods-pod0f3c1a52_3333_4222_8333_944455556666.slice",
    ]
)


@pytest.mark.parametrize("own", RUNTIMES)
@given(below=st.lists(COMPONENT, max_size=6), of_node=st.booleans())
def test_no_name_below_a_container_changes_who_it_is(
    own: str, below: list[str], of_node: bool
) -> None:
    """The innermost pod won: a container that makes cgroups took the name of another, its group
    and its pod. Also where the name is that of the node."""
    node = frozenset({VICTIM} if of_node else ())
    path = "/".join((own, *below))
    assert identify(path, node) == identify(own)
    inside = identify(f"/docker/{VICTIM}{path}", frozenset({VICTIM}))
    assert inside == replace(identify(own), cgroup=f"/docker/{VICTIM}{own}")


@given(below=st.lists(COMPONENT, max_size=6))
def test_no_name_below_a_users_manager_is_an_id(below: list[str]) -> None:
    """systemd gives each user a cgroup; it is not the host that has made what is in it."""
    path = "/".join(("/user.slice/user-1000.slice/user@1000.service", *below))
    found = identify(path)
    assert found.container_id is None
    assert (found.pod_uid is None) or not found.runtime
    assert key_of(found) == found.cgroup
    assert found.cgroup.startswith("/user.slice/user-1000.slice/user@1000.service")


@given(st.text(alphabet="abcdef0123456789/:-_.pods", max_size=200))
def test_identify_never_fails(path: str) -> None:
    """Any path has an identity, and its cgroup is a part of the path."""
    assert path.startswith(identify(path).cgroup)


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        (f"0::/{POD}/cri-containerd-{ID}.scope\n", ID),
        # v1 without CPU accounting: only systemd's own tree knows the unit.
        (
            "3:cpu,cpuacct:/\n1:name=systemd:/system.slice/ssh.service\n",
            "/system.slice/ssh.service",
        ),
        # kubernetes/kubernetes#18202: systemd's tree is behind the times.
        (f"3:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/system.slice/docker.service\n", ID),
        # A hybrid host where the runtime leaves the unified tree alone.
        (f"2:cpu:/docker/{ID}\n0::/system.slice/containerd.service\n", ID),
        # rancher/os#2967: the cpu tree has no container.
        (f"4:cpu:/\n2:memory:/docker/{ID}\n0::/\n", ID),
        ("0::/podruntime/kubelet\n", "/podruntime/kubelet"),
        ("0::/u.slice/user@1.service/a.service/x\n", "/u.slice/user@1.service/a.service"),
        ("4:memory:/process_api/66499121f6102accc42791dba78ed7d1\n1:cpu:/\n0::/\n", None),
        ("0::/\n", None),
        ("", None),
    ],
)
def test_group_key(lines: str, key: str | None) -> None:
    """The container, else the unit, else the cgroup; a process at the root has no group."""
    assert group_key(parse_cgroups(lines.encode())) == key


def test_identity_names_the_containers_own_cgroup() -> None:
    """What crun or a container's systemd makes below is left out, so that limits are found."""
    path = f"/{POD}/crio-{ID}.scope"
    assert identify_entries(parse_cgroups(f"0::{path}/container\n".encode())).cgroup == path


@pytest.mark.parametrize(
    ("text", "cores"),
    [(b"max 100000\n", None), (b"50000 100000\n", 0.5), (b"1200000 100000\n", 12.0)],
)
def test_cpu_max(text: bytes, cores: float | None) -> None:
    """cpu.max is quota and period; max is no limit."""
    assert parse_cpu_max(text) == cores


@pytest.mark.parametrize("text", [b"", b"50000", b"1 0", b"0 1", b"-1 1", b"a b"])
def test_malformed_quota_is_refused(text: bytes) -> None:
    """Anything else raises: no limit is made up."""
    with pytest.raises(ParseError, match="cgroup-quota"):
        parse_cpu_max(text)


def test_cfs_quota() -> None:
    """v1 writes -1 for no limit."""
    assert parse_cfs_quota(b"-1\n", b"100000\n") is None
    assert parse_cfs_quota(b"150000\n", b"100000\n") == 1.5
    with pytest.raises(ParseError, match="cgroup-quota"):
        parse_cfs_quota(b"0\n", b"100000\n")


def test_cpu_stat_of_both_versions() -> None:
    """v2 counts microseconds, v1 nanoseconds; what is not there is None."""
    v2 = b"usage_usec 7\nuser_usec 5\nnr_periods 3\nnr_throttled 2\nthrottled_usec 9\nnew x y\n"
    assert parse_cpu_stat(v2) == CpuUsage(7000, 3, 2, 9000)
    v1 = b"nr_periods 3\nnr_throttled 2\nthrottled_time 9\nwait_sum 1\n"
    assert parse_cpu_stat(v1) == CpuUsage(None, 3, 2, 9)
    assert parse_cpu_stat(b"usage_usec 7\nuser_usec 5\n") == CpuUsage(7000)
    assert parse_cpu_stat(b"") == CpuUsage()


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
    """Whatever the bytes, parse_mountinfo returns mounts or raises ParseError."""
    with contextlib.suppress(ParseError):
        assert parse_mountinfo(b"1 2 3:4 / /x rw - cgroup2 c rw\n" + data)


class Host:
    """A folder that looks like /proc and /sys/fs/cgroup."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        self.cgroup = folder / "cgroup"
        self.mounts: list[str] = []
        self.write(self.proc / "self/cgroup", "0::/\n")
        self.write(self.proc / "1/cgroup", "0::/init.scope\n")

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def mount(self, where: str, kind: str, options: str, root: str = "/") -> None:
        point = self.cgroup / where
        point.mkdir(parents=True, exist_ok=True)
        self.mounts.append(f"31 23 0:28 {root} {point} rw - {kind} {kind} {options}\n")
        (self.proc / "self/mountinfo").write_text("".join(self.mounts))

    def put(self, where: str, **files: str) -> None:
        for name, text in files.items():
            self.write(self.cgroup / where / name.replace("__", "."), text)

    def find(self) -> Hierarchies:
        return find_hierarchies(str(self.proc), str(self.cgroup))

    def cgroups(self) -> Cgroups:
        return Cgroups(self.find())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def v2(host: Host) -> None:
    """A node with the systemd driver: limits on the pod and on the container."""
    host.mount("", "cgroup2", "rw,nsdelegate")
    host.put("", cpuset__cpus__effective="0-7\n", cpu__stat="usage_usec 99\n")
    host.put("kubepods.slice", cpu__max="max 100000\n", cpuset__cpus__effective="0-5\n")
    host.put(POD, cpu__max="150000 100000\n")
    host.put(
        f"{POD}/cri-containerd-{ID}.scope",
        cpu__max="200000 100000\n",
        cpu__weight="39\n",
        cpu__stat="usage_usec 5\nnr_periods 4\nnr_throttled 3\nthrottled_usec 2\n",
    )


def v1(host: Host) -> None:
    """A node with the cgroupfs driver, and with other paths in other trees."""
    host.mount("cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")
    host.mount("cpuset", "cgroup", "rw,cpuset")
    host.put("cpuset", cpuset__effective_cpus="0-7\n")
    host.put("cpuset/docker/a", cpuset__effective_cpus="\n")
    period = "100000\n"
    host.put("cpu,cpuacct", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us=period)
    host.put("cpu,cpuacct/docker", cpu__cfs_quota_us="50000\n", cpu__cfs_period_us=period)
    host.put(
        "cpu,cpuacct/docker/a",
        cpu__cfs_quota_us="-1\n",
        cpu__cfs_period_us=period,
        cpu__shares="512\n",
        cpu__stat="nr_periods 4\nnr_throttled 3\nthrottled_time 2\n",
        cpuacct__usage="77\n",
    )


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


def test_vanished_cgroup_is_gone(host: Host) -> None:
    """A cgroup that is not there is no unlimited cgroup: it raises."""
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


def test_private_namespace_with_the_hosts_tree(host: Host) -> None:
    """Paths are seen from the agent's own cgroup; its place is found by its PID."""
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
    """Containers can still be told apart by the paths, but no limit is made up for them."""
    host.mount("", "cgroup2", "rw")
    host.put("", cpu__max="100000 100000\n")
    host.write(host.proc / "1/cgroup", "0::/../../../init.scope\n")
    cgroups = host.cgroups()
    assert not cgroups.hierarchies.sees_host
    entries = cgroups.host_entries(parse_cgroups(f"0::/../cri-containerd-{ID}.scope\n".encode()))
    assert group_key(entries) == ID
    with pytest.raises(AccessError, match="cgroup-unreachable"):
        cgroups.read_limit(cgroups.cpu_path(entries))


def test_private_namespace_whose_place_is_not_found(host: Host) -> None:
    """Without the agent's PID in the host's tree its paths cannot be placed: nothing is read."""
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
    """kind, minikube and k3d without a cgroup namespace: PID 1 of the node tells."""
    v2(host)
    host.write(host.proc / "1/cgroup", first)
    assert host.find().node == node


def test_the_node_is_known_from_a_namespace_below_it(host: Host) -> None:
    """PID 1 is in no container as the agent's own namespace shows it, but on the host it is."""
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
    """PID 1 is its own process: it keeps its id and its pod, and shows what it starts."""
    v2(host)
    host.write(host.proc / "1/cgroup", f"0::/{POD}/crio-{ID}.scope\n")
    cgroups = host.cgroups()
    own = cgroups.identify((CgroupEntry(0, (), f"/{POD}/crio-{ID}.scope/container"),))
    assert own == identify(f"/{POD}/crio-{ID}.scope")
    path = f"/{POD}/crio-{ID}.scope/docker/{NODE}"
    assert cgroups.identify((CgroupEntry(0, (), path),)).container_id == NODE


def test_mounts_elsewhere_do_not_count(host: Host) -> None:
    """Only what is mounted at or below the given root is used; nothing there is an error."""
    host.write(host.proc / "self/mountinfo", "1 2 3:4 / /elsewhere rw - cgroup2 c rw\n")
    with pytest.raises(AccessError, match="cgroup-not-mounted"):
        host.find()


def test_the_widest_mount_wins(host: Host) -> None:
    """Of two mounts of a hierarchy the one that shows more of it is used."""
    host.mount("host", "cgroup2", "rw")
    host.mount("own", "cgroup2", "rw", root="/docker/a")
    unified = host.find().unified
    assert unified == Hierarchy((), f"{host.cgroup}/host", "/", "/")


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
