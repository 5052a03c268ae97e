"""Memory of a cgroup: limits on the whole path, use and events, in the files of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest
from gotax.errors import AccessError, ParseError, ProcessGoneError
from gotax.linux.cgroups.memory import CgroupMemory, parse_counts, parse_limit
from gotax.linux.cgroups.position import CgroupPosition
from gotax.linux.procfs import parse_cgroups
from gotax.process import Memory
from gotax.processes.counts import ErrorCounts
from gotax.processes.memories import EVERY, Memories

from tests.unit.linux.cgroupfolders import ID, POD, Host

SCOPE = f"{POD}/cri-containerd-{ID}.scope"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (b"max\n", None),
        (b"268435456\n", 268435456),
        (b"0\n", 0),
        (b"9223372036854771712\n", None),  # v1's way to say none
        (b"1152921504606846975\n", (1 << 60) - 1),
    ],
)
def test_limits_of_both_versions(text: bytes, limit: int | None) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", [b"", b"-1\n", b"12k", b"1" * 21])
def test_a_malformed_limit_is_refused(text: bytes) -> None:
    """It is not "no limit"."""
    with pytest.raises(ParseError, match="cgroup-memory"):
        parse_limit(text)


def test_counts_leave_out_what_is_no_number() -> None:
    assert parse_counts(b"low 0\nmax 12\noom_kill x\nsome\n\xff 3\n") == {
        "low": 0,
        "max": 12,
        "\ufffd": 3,
    }


def kubernetes(host: Host, **scope: str) -> None:
    host.mount("", "cgroup2", "rw,nsdelegate")
    host.put("kubepods.slice", memory__max="8000\n", memory__high="max\n")
    host.put(POD, memory__max="3000\n", memory__high="2500\n", memory__events="oom_kill 4\n")
    files = {
        "memory__max": "2000\n",
        "memory__high": "max\n",
        "memory__current": "1700\n",
        "memory__stat": "anon 5\ninactive_file 300\n",
        "memory__events": "low 0\nhigh 7\nmax 9\noom 2\noom_kill 1\n",
    }
    host.put(SCOPE, **(files | scope))


def position(host: Host, path: str) -> CgroupPosition:
    cgroups = host.cgroups()
    return cgroups.find_place(cgroups.host_entries(parse_cgroups(f"0::{path}\n".encode())))


def read(host: Host, path: str) -> Memory:
    return CgroupMemory(host.find()).read(position(host, path))


def test_a_container_in_a_pod(tmp_path: Path) -> None:
    """Its own limit is the tightest; kills count in the pod, where earlier containers were."""
    host = Host(tmp_path)
    kubernetes(host)
    assert read(host, f"/{SCOPE}") == Memory(
        limit_bytes=2000,
        limit_cgroup=f"/{SCOPE}",
        own_limit_bytes=2000,
        high_bytes=2500,
        usage_bytes=1700,
        working_set_bytes=1400,
        high_events=7,
        max_events=9,
        oom_kills=4,
    )


def test_a_tighter_ancestor_and_no_own_limit(tmp_path: Path) -> None:
    """The pod's limit counts, but it is not the container's own."""
    host = Host(tmp_path)
    kubernetes(host, memory__max="max\n", memory__high="100\n")
    found = read(host, f"/{SCOPE}")
    assert (found.limit_bytes, found.limit_cgroup) == (3000, f"/{POD}")
    assert (found.own_limit_bytes, found.high_bytes) == (None, 100)
    assert found.usage_bytes == 1700  # the container's


def test_a_limit_below_the_containers_own_cgroup(tmp_path: Path) -> None:
    """A process in a cgroup below: the tightest of the two is the container's, and its use."""
    host = Host(tmp_path)
    kubernetes(host)
    host.put(f"{SCOPE}/app", memory__max="500\n", memory__current="90\n", memory__stat="")
    found = read(host, f"/{SCOPE}/app")
    assert (found.limit_bytes, found.own_limit_bytes, found.usage_bytes) == (500, 500, 90)
    assert found.working_set_bytes is None
    host.put(f"{SCOPE}/app", memory__max="2000\n")
    assert read(host, f"/{SCOPE}/app").limit_cgroup == f"/{SCOPE}/app"


def test_version_1(tmp_path: Path) -> None:
    """Counters with children are those that begin with total_; a cgroup counts its own kills."""
    host = Host(tmp_path)
    host.mount("memory", "cgroup", "rw,memory")
    host.put("memory", memory__limit_in_bytes="9223372036854771712\n")
    host.put("memory/docker", memory__limit_in_bytes="9000\n")
    host.put(
        f"memory/docker/{ID}",
        memory__limit_in_bytes="4000\n",
        memory__usage_in_bytes="3000\n",
        memory__stat="inactive_file 1\ntotal_inactive_file 1000\n",
        memory__failcnt="5\n",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    )
    cgroups = host.cgroups()
    entries = parse_cgroups(f"4:memory:/docker/{ID}\n3:cpu:/elsewhere\n".encode())
    place = cgroups.find_place(cgroups.host_entries(entries))
    assert CgroupMemory(host.find()).read(place) == Memory(
        *(4000, f"/docker/{ID}", 4000, None, 3000, 2000, None, 5, 2)
    )


def test_nothing_to_read(tmp_path: Path) -> None:
    """The root cgroup, one without the controller, one that is gone, and a hidden one."""
    host = Host(tmp_path)
    kubernetes(host)
    host.put("system.slice/a.service", cpu__stat="")
    assert read(host, "/") == Memory()
    assert read(host, "/system.slice/a.service") == Memory()
    with pytest.raises(ProcessGoneError):
        read(host, "/system.slice/b.service")
    alone = Host(tmp_path / "alone")
    alone.mount("", "cgroup2", "rw", root="/docker/x")
    with pytest.raises(AccessError, match="cgroup-unreachable"):
        CgroupMemory(alone.find()).read(position(host, f"/{SCOPE}"))


def test_ancestors_are_read_once_in_a_round(tmp_path: Path) -> None:
    host = Host(tmp_path)
    kubernetes(host)
    memory = CgroupMemory(host.find())
    place = position(host, f"/{SCOPE}")
    assert memory.read(place).limit_bytes == 2000
    host.put(POD, memory__max="1000\n")
    host.put(SCOPE, memory__max="1900\n")
    assert memory.read(place).limit_bytes == 1900
    memory.forget_ancestors()
    assert memory.read(place).limit_bytes == 1000


def test_memory_is_read_for_containers_with_samples_and_rarely(tmp_path: Path) -> None:
    """Not while idle, then at once, then every twelfth window; forgotten with its container."""
    host = Host(tmp_path)
    kubernetes(host)
    memories = Memories(CgroupMemory(host.find()), ErrorCounts())
    place = position(host, f"/{SCOPE}")
    assert memories.of("a", place, has_samples=False) is None
    found = memories.of("a", place, has_samples=True)
    assert found is not None
    assert found.usage_bytes == 1700
    host.put(SCOPE, memory__current="1600\n")
    for _ in range(EVERY):
        assert memories.of("a", place, has_samples=True) == found
        memories.end_window()
    assert memories.of("a", place, has_samples=False) == found
    again = memories.of("a", place, has_samples=True)
    assert again is not None
    assert again.usage_bytes == 1600
    memories.end_window()
    memories.end_window()
    assert len(memories) == 0


def test_unreadable_memory_is_counted_once_in_many_windows(tmp_path: Path) -> None:
    host = Host(tmp_path)
    kubernetes(host, memory__max="lots\n")
    errors = ErrorCounts()
    memories = Memories(CgroupMemory(host.find()), errors)
    for _ in range(EVERY):
        assert memories.of("a", position(host, f"/{SCOPE}"), has_samples=True) is None
        memories.end_window()
    assert errors == {"cgroup-memory": 1}
