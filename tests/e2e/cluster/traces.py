"""The traces that a cluster could leave on its host. They must be equal before and after."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.e2e.cluster.programs import cache
from tests.e2e.cluster.sandbox import NAME, SETTINGS, cgroup_trees

_FOLDERS = (
    *("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd", "/var/lib/cni", "/run/netns"),
    *("/var/log/pods", "/var/log/containers", "/etc/cni/net.d", "/etc/kubernetes", "/opt/cni"),
    *("/run/containerd", "/run/kubernetes", "/run/sandbox"),
)


def read_traces() -> frozenset[str]:
    """One line for each thing, with its kind."""
    return frozenset(
        [
            *(f"cgroup {tree / NAME}" for tree in cgroup_trees() if (tree / NAME).exists()),
            *(f"link {link}" for link in os.listdir("/sys/class/net")),
            *(f"mount {point}" for point in _mounts()),
            *(f"folder {folder}" for folder in _FOLDERS if Path(folder).exists()),
            *(f"{name} = {_text(Path('/proc/sys', name))}" for name in SETTINGS),
            *(f"iptables {rule}" for rule in _rules()),
            *(f"process {line}" for line in _processes()),
        ]
    )


def _mounts() -> list[str]:
    ours = (str(cache()), NAME, "/run/sandbox", "/run/netns", "/var/lib/kubelet")
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(ours)]


def _rules() -> list[str]:
    """Of the firewall. Their counters and times are comments."""
    done = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if line.startswith(("-A", "-N", ":KUBE"))]


def _processes() -> list[str]:
    """Processes with a program of a cluster."""
    names = ("containerd", "containerd-shim", "runc", "kubelet", "etcd")
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            program = os.readlink(process / "exe")
        except OSError:  # ended, or a thread of the kernel
            continue
        if program.startswith(str(cache())) or Path(program).name.startswith(names):
            found.append(f"{process.name} {program}")
    return found


def _text(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
