"""Cgroups of the running kernel: needs root, and a cgroup v1 cpu tree or a v2 tree for new
groups."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from gotax.errors import ProcessGoneError
from gotax.linux.cgroups.hierarchies import Hierarchy, find_hierarchies
from gotax.linux.cgroups.tree import Cgroups
from gotax.process import CpuLimit
from gotax.processes.containers import Containers

from tests.kernel.load import wait_until
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kernel

NAME = f"gotax-test-{os.getpid()}"


@pytest.fixture
def cgroups() -> Cgroups:
    return Cgroups(find_hierarchies("/proc", "/sys/fs/cgroup"))


def set_quota(folder: Path, is_v2: bool, quota_us: int) -> None:
    if is_v2:
        (folder / "cpu.max").write_text(f"{quota_us} 100000")
    else:
        (folder / "cpu.cfs_period_us").write_text("100000")
        (folder / "cpu.cfs_quota_us").write_text(str(quota_us))


@pytest.fixture
def tree(cgroups: Cgroups) -> Hierarchy:
    tree = cgroups.hierarchies.of("cpu")
    if tree is None or tree.root != "/" or os.geteuid():
        pytest.skip("needs root and the host's cgroup tree")
    return tree


@pytest.fixture
def group(tree: Hierarchy) -> Iterator[Path]:
    """A parent limited to 1.5 cores with a child limited to 2; both are removed afterwards."""
    parent = Path(tree.mount) / NAME
    child = parent / "leaf"
    is_v2 = not tree.controllers
    try:
        parent.mkdir()
        if is_v2:
            (Path(tree.mount) / "cgroup.subtree_control").write_text("+cpu")
            (parent / "cgroup.subtree_control").write_text("+cpu")
        child.mkdir()
        # v1 refuses a child above its parent, and a parent below its child: child first.
        set_quota(child, is_v2, 150_000)
        set_quota(parent, is_v2, 150_000)
        yield child
    finally:
        for folder in (child, parent):
            wait_until(lambda folder=folder: is_removed(folder), f"{folder} to be empty")


def is_removed(folder: Path) -> bool:
    """Not while the kernel still has an ended process in it."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def busy_child(group: Path) -> subprocess.Popen[bytes]:
    """A process that enters the group before it runs; killed by the test."""
    code = f"open('{group}/cgroup.procs', 'w').write('0')\nprint(flush=True)\nwhile True: pass"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read(1)
    return child


def test_limit_and_usage_of_a_child_process(cgroups: Cgroups, tree: Hierarchy, group: Path) -> None:
    """The limit read is the quota written; usage grows and throttling is counted."""
    set_quota(group, not tree.controllers, 5_000)  # 5 % of a core: throttled at once
    child = busy_child(group)
    try:
        entries = cgroups.read_entries("/proc", child.pid)
        paths = cgroups.locate(entries)
        assert paths.cpu == f"/{NAME}/leaf"
        limit = cgroups.read_limit(paths.cpu, paths.cpuset)
        assert limit.limit_cores == limit.leaf_limit_cores == 0.05
        assert limit.limit_cgroup == f"/{NAME}/leaf"
        assert limit.cpuset_cpus == os.cpu_count()
        usage = cgroups.read_usage(paths.cpu, paths.cpuacct)
        deadline = time.monotonic() + PATIENCE_S
        while not (usage.throttled_periods and usage.throttled_ns and usage.usage_ns):
            assert time.monotonic() < deadline, usage
            usage = cgroups.read_usage(paths.cpu, paths.cpuacct)
        assert usage.periods is not None
        assert usage.periods >= usage.throttled_periods
        set_quota(group, not tree.controllers, 150_000)
        assert cgroups.read_limit(paths.cpu).limit_cores == 1.5
    finally:
        child.kill()
        child.communicate()


def test_removed_group_is_gone(cgroups: Cgroups, group: Path) -> None:
    """After its removal, limit and usage raise an error, and are not "unlimited"."""
    path = f"/{NAME}/leaf"
    cgroups.read_limit(path)
    group.rmdir()
    with pytest.raises(ProcessGoneError):
        cgroups.read_limit(path)
    with pytest.raises(ProcessGoneError):
        cgroups.read_usage(path)


def test_id_is_the_inode(cgroups: Cgroups) -> None:
    """The inode of a directory in the unified tree leads to its path, and to its last path after
    its removal."""
    unified = cgroups.hierarchies.unified
    if unified is None or unified.root != "/" or os.geteuid():
        pytest.skip("needs root and a unified tree")
    folder = Path(unified.mount) / NAME
    folder.mkdir()
    try:
        inode = folder.stat().st_ino
        assert cgroups.path_of_id(inode) == f"/{NAME}"
    finally:
        folder.rmdir()
    cgroups.refresh()
    assert cgroups.path_of_id(inode) == f"/{NAME}"


INSIDE = """
import os
from gotax.linux.cgroups.hierarchies import find_hierarchies
from gotax.linux.cgroups.tree import Cgroups
cgroups = Cgroups(find_hierarchies("/proc", "/sys/fs/cgroup"))
print(open("/proc/1/cgroup").read().count("/.."))
print(cgroups.cpu_path(cgroups.read_entries("/proc", os.getpid())))
print(cgroups.cpu_path(cgroups.read_entries("/proc", 1)))
print(cgroups.read_limit(cgroups.cpu_path(cgroups.read_entries("/proc", os.getpid()))).limit_cores)
"""


def test_private_cgroup_namespace(cgroups: Cgroups, group: Path) -> None:
    """In a namespace with the host's tree mounted, host paths and limits are the same."""
    outside = cgroups.cpu_path(cgroups.read_entries("/proc", 1))
    enter = f"echo 0 > {group}/cgroup.procs && exec unshare -C {sys.executable} -"
    run = subprocess.run(
        ["/bin/sh", "-c", enter], input=INSIDE, capture_output=True, text=True, check=False
    )
    assert not run.returncode, run.stderr
    ups, own, of_init, limit = run.stdout.split()
    assert int(ups) >= 1  # the kernel shows relative paths here
    assert own == f"/{NAME}/leaf"
    assert of_init == outside
    assert float(limit) == 1.5


def test_a_limit_whose_path_is_too_long_is_not_none(cgroups: Cgroups, tree: Hierarchy) -> None:
    """21 groups with names of 200 bytes: their files cannot be opened by path."""
    name, errors = f"{NAME}-{'d' * 180}", Counter[str]()
    folders = [os.open(tree.mount, os.O_RDONLY)]
    child = subprocess.Popen(["sleep", "60"])
    try:
        for _ in range(21):
            os.mkdir(name, dir_fd=folders[-1])
            folders.append(os.open(name, os.O_RDONLY, dir_fd=folders[-1]))
        put(folders[-1], "cgroup.procs", str(child.pid))
        position = cgroups.find_place(cgroups.read_entries("/proc", child.pid))
        limit = Containers(cgroups, errors).bounds(position, {}).limit
    finally:
        child.kill()
        child.wait()
        for above in reversed(folders[:-1]):
            wait_until(lambda at=above: is_removed_at(at, name), f"{name} to be empty")
        for folder in folders:
            os.close(folder)
    assert len(position.paths.cpu) == 4095  # the kernel cuts it
    assert limit == CpuLimit(problem="cgroup-unreadable")
    assert errors == {"cgroup-unreadable": 1}


def put(folder: int, name: str, text: str) -> None:
    fd = os.open(name, os.O_WRONLY, dir_fd=folder)
    os.write(fd, text.encode())
    os.close(fd)


def is_removed_at(folder: int, name: str) -> bool:
    try:
        os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
