"""Real cgroup paths, and hostile ones."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from gotax.linux.cgroups.identity import group_key, identify, identify_entries, key_of
from gotax.linux.procfs import parse_cgroups
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.linux.cgroupfolders import ID, POD

FIXTURES = Path(__file__).parents[2] / "fixtures"


def wild_paths() -> list[dict[str, str]]:
    with (FIXTURES / "cgroup_paths.tsv").open() as table:
        return list(csv.DictReader(table, delimiter="\t"))


@pytest.mark.parametrize("row", wild_paths(), ids=lambda row: row["case"])
def test_real_and_hostile_paths(row: dict[str, str]) -> None:
    """Each real path gives its container, pod, runtime and unit; each of the hostile ones the
    container of its owner. ``node``: the container that the node itself is."""
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
def test_no_name_below_a_container_changes_its_identity(
    own: str, below: list[str], of_node: bool
) -> None:
    """The innermost pod won: a container that creates cgroups took the name of another, its group
    and its pod. Also if the name is that of the node."""
    node = frozenset({VICTIM} if of_node else ())
    path = "/".join((own, *below))
    assert identify(path, node) == identify(own)
    inside = identify(f"/docker/{VICTIM}{path}", frozenset({VICTIM}))
    assert inside == replace(identify(own), cgroup=f"/docker/{VICTIM}{own}")


@given(below=st.lists(COMPONENT, max_size=6))
def test_no_name_below_a_users_manager_is_an_id(below: list[str]) -> None:
    """systemd gives each user a cgroup; its contents are created by the user, not by the host."""
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
        # v1 without CPU accounting: only systemd's own tree has the unit.
        (
            "3:cpu,cpuacct:/\n1:name=systemd:/system.slice/ssh.service\n",
            "/system.slice/ssh.service",
        ),
        # kubernetes/kubernetes#18202: systemd's tree is outdated.
        (f"3:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/system.slice/docker.service\n", ID),
        # A hybrid host whose runtime does not use the unified tree.
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
    """Cgroups created below by crun or a container's systemd are omitted, so that limits are
    found."""
    path = f"/{POD}/crio-{ID}.scope"
    assert identify_entries(parse_cgroups(f"0::{path}/container\n".encode())).cgroup == path
