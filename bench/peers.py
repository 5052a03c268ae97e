"""The profilers packaged by a distribution, at the agent's frequency, on the whole host."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BPFTRACE = (
    "profile:hz:{hz} {{ @[ustack, kstack, pid] = count(); }}"
    " interval:s:15 {{ print(@); clear(@); }}"
)
# Kernel headers that bcc's tools/profile.py needs in addition to bpf/include, for x86_64 and
# four-level pages (include/linux/sched.h, arch/x86/include/asm/page_types.h).
_SCHED_H = "#define TASK_COMM_LEN 16\n#define PAGE_OFFSET 0xffff888000000000ULL\n"


@dataclass(frozen=True, slots=True)
class Peer:
    """``is_walk``: the agent's BPF program is compared with its BPF program."""

    name: str
    command: tuple[str, ...]
    has_program: bool = True
    is_walk: bool = False
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Missing:
    name: str
    reason: str


@contextmanager
def find_peers(hz: int, seconds: float, folder: Path) -> Iterator[list[Peer | Missing]]:
    """The available profilers; files that they need or write are in ``folder``."""
    # Here, because the benchmark would share pages of numpy with the agent that it measures first.
    from gotax.sampling.loader import source_directory as header_tree

    with header_tree() as headers:
        yield [
            Peer(
                "bcc, two get_stackid",
                (sys.executable, "-P", str(Path(__file__).parent / "two_walks.py"), str(hz)),
                is_walk=True,
                environment={"BCC_KERNEL_SOURCE": str(headers)},
            ),
            _bcc_profile(hz, seconds, headers, folder),
            _libbpf_profile(hz, seconds),
            _tool(
                Peer("bpftrace profile", ("bpftrace", "-e", BPFTRACE.format(hz=hz))),
                "apt install bpftrace",
            ),
            _tool(
                Peer(
                    "perf record -g",
                    ("perf", "record", f"-F{hz}", "-a", "-g", "-o", str(folder / "perf.data")),
                    has_program=False,
                ),
                "apt install linux-perf",
            ),
        ]


def _tool(peer: Peer, remedy: str) -> Peer | Missing:
    if shutil.which(peer.command[0]):
        return peer
    return Missing(peer.name, f"{peer.command[0]} is not installed: {remedy}")


def _bcc_profile(hz: int, seconds: float, headers: Path, folder: Path) -> Peer | Missing:
    """bcc's tools/profile.py. It prints at its end, so it runs for exactly the measured time."""
    environment = {}
    if not Path("/lib/modules", platform.release(), "build").exists():
        tree = folder / "headers"
        shutil.copytree(headers, tree, dirs_exist_ok=True)
        (tree / "include" / "linux" / "sched.h").write_text(_SCHED_H)
        environment["BCC_KERNEL_SOURCE"] = str(tree)
    command = ("profile-bpfcc", "-F", str(hz), "-f", str(round(seconds)))
    peer = Peer("bcc's profile", command, environment=environment)
    return _tool(peer, "apt install bpfcc-tools")


def _libbpf_profile(hz: int, seconds: float) -> Peer | Missing:
    for name in ("bpf-profile", "libbpf-profile"):
        if shutil.which(name):
            command = (name, "-F", str(hz), "-f", str(round(seconds)))
            return Peer("libbpf's profile", command)
    return Missing(
        "libbpf's profile",
        "no bpf-profile on PATH: Debian 12's libbpf-tools 0.26 does not contain it; build"
        " libbpf-tools/profile of iovisor/bcc and install it under that name",
    )


def environment_of(peer: Peer) -> dict[str, str]:
    return {**os.environ, **peer.environment}
