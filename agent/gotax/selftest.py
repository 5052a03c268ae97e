"""Checks what this node allows: one line for each requirement or option, with the remedy.

The last check loads the real BPF program and takes real samples.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gotax.config import Roots
from gotax.errors import GotaxError, ProcessGoneError, ReadError
from gotax.linux import pidnamespace
from gotax.linux.cgroups.hierarchies import find_hierarchies
from gotax.linux.procfs import list_pids, read_stat
from gotax.reader.asking import Reader, Subject
from gotax.reader.pool import Pool
from gotax.reader.server import ForkServer
from gotax.sampling import btf, preflight
from gotax.sampling.sampler import Sampler, Target

_CAPABILITIES = {  # include/uapi/linux/capability.h
    "BPF": (39, "loads the program"),
    "PERFMON": (38, "opens the timers and reads stacks"),
    "SYS_PTRACE": (19, "reads GOMAXPROCS from other processes"),
    "DAC_READ_SEARCH": (2, "reads /proc and binaries of other users"),
}
_SYS_ADMIN = 21
_TRY_HZ, _TRY_S = 199, 0.5
_WAIT_S = 20.0
"""Until so much CPU time was used: a busy host gives it late."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. ``is_good`` None: missing, but gotax works without it. ``found``: the result."""

    name: str
    is_good: bool | None
    found: str
    remedy: str = ""


def run_checks(roots: Roots) -> Iterator[Check]:
    """All checks in order, the slow ones last. It never raises for a failed check."""
    yield _kernel()
    yield _capabilities(roots)
    yield _lockdown(roots)
    yield _paranoid(roots)
    yield _type_information(roots)
    yield _kernel_symbols(roots)
    yield _cgroups(roots)
    yield _pid_namespace(roots)
    yield _processes(roots)
    yield _sampling(roots)


def _kernel() -> Check:
    least = ".".join(map(str, preflight.MINIMUM_KERNEL))
    return Check(
        "kernel",
        preflight.kernel_release() >= preflight.MINIMUM_KERNEL
        and platform.machine() in ("x86_64", "aarch64"),
        f"Linux {platform.release()}, {platform.machine()}",
        f"run Linux {least} or newer on x86_64 or arm64",
    )


def _capabilities(roots: Roots) -> Check:
    held = preflight.effective_capabilities(roots.proc)
    missing = [n for n, (bit, _) in _CAPABILITIES.items() if not held >> bit & 1]
    if held >> _SYS_ADMIN & 1:  # includes BPF and PERFMON
        missing = [name for name in missing if name not in ("BPF", "PERFMON")]
    purposes = "; ".join(f"{name} {_CAPABILITIES[name][1]}" for name in missing)
    return Check(
        "capabilities",
        not missing,
        "all needed capabilities" if not missing else f"missing: {', '.join(missing)}",
        f"run as root, or add them to the container: {purposes}",
    )


def _lockdown(roots: Roots) -> Check:
    mode = preflight.lockdown(roots.sys)
    return Check("lockdown", mode != "confidentiality", mode, "boot with lockdown=integrity")


def _paranoid(roots: Roots) -> Check:
    level = _text(f"{roots.proc}/sys/kernel/perf_event_paranoid")
    # Levels above 2 are from Debian and Ubuntu. CAP_PERFMON passes all of them.
    return Check(
        "perf_event_paranoid",
        level is not None,
        level or "no perf events",
        "boot a kernel with CONFIG_PERF_EVENTS=y",
    )


def _type_information(roots: Roots) -> Check:
    exists = os.path.exists(f"{roots.sys}/kernel/btf/vmlinux")
    return Check(
        "BTF",
        exists or None,
        "available" if exists else "none",
        "boot a kernel with CONFIG_DEBUG_INFO_BTF=y; without it gotax misses the callers of some"
        " leaf functions in system calls",
    )


def _kernel_symbols(roots: Roots) -> Check:
    first = _text(f"{roots.proc}/kallsyms", 64)
    shown = first is not None and int(first.split()[0], 16) > 0
    return Check(
        "kernel symbols",
        shown or None,
        "readable" if shown else "hidden",
        "add the capability SYSLOG, or set kernel.kptr_restrict=0; only `record` and `explain`"
        " name kernel functions",
    )


def _cgroups(roots: Roots) -> Check:
    try:
        found = find_hierarchies(roots.proc, f"{roots.sys}/fs/cgroup")
    except ReadError as error:
        return Check("cgroups", False, str(error), "mount the host's /sys/fs/cgroup")
    remedy = "mount the host's /sys/fs/cgroup; without it gotax cannot read any limit"
    what = f"{found.version}, {'the whole host' if found.sees_host else 'only our own'}"
    return Check("cgroups", found.sees_host, what, remedy)


def _pid_namespace(roots: Roots) -> Check:
    name = "PID namespace"
    try:
        found = pidnamespace.read_pid_namespace(roots.proc)
    except ReadError as error:
        return Check(name, False, str(error), "add the capability SYS_PTRACE")
    if found == pidnamespace.INITIAL:
        return Check(name, True, "the host's")
    if not pidnamespace.read_others(roots.proc):
        return Check(
            name,
            False,
            f"pid:[{found}], which contains only gotax",
            "set hostPID: true (docker: --pid=host)",
        )
    try:
        btf.read_pid_layout(roots.sys)
    except ReadError as error:
        return Check(name, False, f"nested: pid:[{found}]", preflight.explain_namespace(str(error)))
    return Check(
        name,
        None,
        f"nested: pid:[{found}]; PIDs are translated",
        "programs outside it are only counted, as outside-namespace. This is correct in a node of"
        " kind, minikube or k3d; elsewhere set hostPID: true (docker: --pid=host)",
    )


def _processes(roots: Roots) -> Check:
    """How many of the other processes can be read as a verdict needs."""
    seen = read = 0
    with ForkServer() as server:
        ourselves = {pidnamespace.read_own_pid(roots.proc), server.pid}
        pool = Pool(server)
        for pid in list_pids(roots.proc):
            try:
                if pid in ourselves or read_stat(roots.proc, pid).is_kernel_thread:
                    continue
                if _is_readable(pool, roots.proc, pid):
                    read += 1
                seen += 1
            except ProcessGoneError:
                continue
            except ReadError:
                seen += 1
        pool.close()
    return Check(
        "other processes",
        read > 0 and seen - read <= max(1, seen // 10),  # a security module may protect one
        f"{read} of {seen} readable",
        "add the capabilities SYS_PTRACE and DAC_READ_SEARCH, and an AppArmor profile that allows"
        " ptrace (Unconfined)",
    )


def _is_readable(reader: Reader, proc: str, pid: int) -> bool:
    """Raises ReadError, and ProcessGoneError, also for a process without a program."""
    reader.begin_round()

    def ask(question: str, *arguments: object) -> Any:
        return reader.ask(Subject(pid, str(pid)), question, proc, str(pid), *arguments)

    ask("exe_id")
    mappings = ask("maps").parse().mappings
    if not mappings:
        return False
    ask("environment", frozenset({"GOMAXPROCS"}))
    ask("memory", mappings[0].start, 8)
    return True


def _sampling(roots: Roots) -> Check:
    """Loads the real BPF program and samples gotax itself."""
    try:
        samples = _sample_ourselves(roots)
    except (GotaxError, OSError) as error:
        return Check("sampling", False, "failed", str(error))
    return Check(
        "sampling",
        samples > 0,
        f"{samples} samples in {_TRY_S:g} s of CPU time",
        "another profiler or the hypervisor may block the CPU timers: please report this",
    )


def _sample_ourselves(roots: Roots) -> int:
    namespace = pidnamespace.read_pid_namespace(roots.proc)
    pid = pidnamespace.read_own_pid(roots.proc)
    target = Target(
        tgids=frozenset({os.getpid() if pid is None else pid}),
        pid_namespace=None if namespace == pidnamespace.INITIAL else namespace,
    )
    with Sampler(_TRY_HZ, _TRY_S, target) as sampler:
        end, latest = time.process_time() + _TRY_S, time.monotonic() + _WAIT_S
        while time.process_time() < end and time.monotonic() < latest:
            sum(range(1000))
        return int(sampler.drain().samples.sum())


def _text(path: str, limit: int = 4096) -> str | None:
    try:
        with Path(path).open("rb") as file:
            return file.read(limit).decode("utf-8", "replace").strip()
    except OSError:
        return None


def render_check(check: Check) -> str:
    mark = {True: "yes ", False: "NO  ", None: "(no)"}[check.is_good]
    line = f"{mark} {check.name:<20} {check.found}"
    return line if check.is_good else f"{line}\n     {'':<20} {check.remedy}"


def document(checks: Sequence[Check]) -> dict[str, object]:
    """The JSON document. ``needed`` false: gotax works without it."""
    return {
        "schema": "gotax.selftest/1",
        "ok": all(check.is_good is not False for check in checks),
        "checks": [
            {
                "name": check.name,
                "ok": bool(check.is_good),
                "needed": check.is_good is not None,
                "found": check.found,
                "remedy": "" if check.is_good else check.remedy,
            }
            for check in checks
        ],
    }
