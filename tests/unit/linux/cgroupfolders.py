"""A folder that looks like /proc and /sys/fs/cgroup."""

from __future__ import annotations

from pathlib import Path

from gotax.linux.cgroups.hierarchies import Hierarchies, find_hierarchies
from gotax.linux.cgroups.tree import Cgroups

ID = "5eed917563583925ffdbd40a64efb2aaffe58638e57add8becaf460fe74f5b1c"
POD = "kubepods.slice/kubepods-podc83d0428_58af_41eb_8dba_b9e6eddffe7b.slice"


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
