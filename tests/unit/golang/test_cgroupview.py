"""A process's view of its cgroup, from paths and from files."""

from __future__ import annotations

from pathlib import Path

import pytest
from gotax.errors import ProcessGoneError
from gotax.golang.cgroupview import CgroupLayout, CgroupView, read_cgroup_view, view_cgroup
from gotax.linux.cgroups.hierarchies import CgroupMount
from gotax.linux.procfs import CgroupEntry

POD = "/kubepods/pod1/c1"


def _v2(path: str) -> tuple[CgroupEntry, ...]:
    return (CgroupEntry(0, (), path),)


def _v1(path: str) -> tuple[CgroupEntry, ...]:
    return (CgroupEntry(0, (), "/"), CgroupEntry(4, ("cpu", "cpuacct"), path))


def _mounted(root: str, *controllers: str) -> tuple[CgroupMount, ...]:
    place = "/sys/fs/cgroup/cpu,cpuacct" if controllers else "/sys/fs/cgroup"
    return (CgroupMount(controllers, place, root),)


@pytest.mark.parametrize(
    ("entries", "mounts", "private", "view"),
    [
        (_v2("/x.service"), _mounted("/"), False, CgroupView(2, CgroupLayout.HOST)),
        (_v2(POD), _mounted(POD), True, CgroupView(2, CgroupLayout.NAMESPACE)),
        (_v2(POD + "/init"), _mounted(POD), True, CgroupView(2, CgroupLayout.NAMESPACE)),
        (_v2(POD), _mounted(POD), False, CgroupView(2, CgroupLayout.BIND)),
        (_v2(POD), _mounted(POD + "2"), False, CgroupView(2, CgroupLayout.HIDDEN)),
        (_v2(POD), _mounted("/"), True, CgroupView(2, CgroupLayout.HIDDEN)),
        (_v2(POD), (), True, CgroupView(2, CgroupLayout.HIDDEN, False)),
        (_v1(POD), _mounted(POD, "cpu", "cpuacct"), False, CgroupView(1, CgroupLayout.BIND, False)),
        (_v1(POD), _mounted("/", "cpu"), False, CgroupView(1, CgroupLayout.HOST, False)),
        (_v1(POD), _mounted(POD), False, CgroupView(1, CgroupLayout.HIDDEN, False)),
        (_v2("/../c2"), _mounted("/../c2"), True, CgroupView(2, CgroupLayout.NAMESPACE)),
        (_v2("/../../x"), _mounted("/../.."), False, CgroupView(2, CgroupLayout.HOST)),
        ((), _mounted("/"), False, CgroupView(None, CgroupLayout.HIDDEN, False)),
    ],
)
def test_the_view_of_a_process(
    entries: tuple[CgroupEntry, ...],
    mounts: tuple[CgroupMount, ...],
    private: bool,
    view: CgroupView,
) -> None:
    """The cpu controller's tree counts; the mount's root distinguishes a bind mount from the
    host's."""
    assert view_cgroup(entries, mounts, private) == view


def test_without_a_look_the_whole_tree_of_version_2_is_assumed() -> None:
    """As a process of systemd's sees it."""
    assert view_cgroup(_v2("/x.service"), _mounted("/"), private=False) == CgroupView()


def process(root: Path, pid: str, namespace: str, mounted: str = "/") -> None:
    """A /proc/PID of a process in the cgroup /pod, in a cgroup namespace that is a file's inode."""
    folder = root / pid
    (folder / "ns").mkdir(parents=True)
    (folder / "cgroup").write_text("0::/pod\n")
    (folder / "mountinfo").write_text(
        f"29 22 0:26 {mounted} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
    )
    (root / namespace).touch()
    (folder / "ns" / "cgroup").symlink_to(root / namespace)


@pytest.mark.parametrize(
    ("namespace", "mounted", "layout"),
    [
        ("host", "/", CgroupLayout.HOST),
        ("host", "/pod", CgroupLayout.BIND),
        ("own", "/pod", CgroupLayout.NAMESPACE),
        ("own", "/", CgroupLayout.HIDDEN),
    ],
)
def test_a_view_is_read_from_proc(
    namespace: str, mounted: str, layout: CgroupLayout, tmp_path: Path
) -> None:
    """A namespace other than that of the host's first process is its own."""
    process(tmp_path, "1", "host")
    process(tmp_path, "7", namespace, mounted)
    view = read_cgroup_view(str(tmp_path), 7)
    assert (view.version, view.layout, view.usual_mount) == (2, layout, True)


@pytest.mark.parametrize("missing", ["mountinfo", "ns/cgroup"])
def test_a_process_that_ends_during_the_read_is_gone(missing: str, tmp_path: Path) -> None:
    """It is not a process without a cgroup."""
    process(tmp_path, "1", "host")
    process(tmp_path, "7", "host")
    (tmp_path / "7" / missing).unlink()
    with pytest.raises(ProcessGoneError):
        read_cgroup_view(str(tmp_path), 7)


def test_the_kernel_refuses_reads_of_an_ended_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open file of /proc then gives ESRCH: the process is gone."""
    process(tmp_path, "7", "host")

    def ended(_: bytes) -> None:
        raise ProcessLookupError

    monkeypatch.setattr("gotax.golang.cgroupview.parse_mountinfo", ended)
    with pytest.raises(ProcessGoneError):
        read_cgroup_view(str(tmp_path), 7)
