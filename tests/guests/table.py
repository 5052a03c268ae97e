"""Which guests there are: every kernel and every number of CPUs at least once, and arm64."""

from __future__ import annotations

from dataclasses import dataclass

NEWEST = "trixie-backports"
"""The suite with the newest kernel of Debian's stable releases."""

CPUS = "tests/guests/checks"
KERNEL = "tests/kernel"
SELFTEST = f"{KERNEL}/test_selftest.py::test_a_host_that_can_be_sampled_passes"
STACKS = f"{KERNEL}/test_stacks.py"

PROGRAM = f"{KERNEL}/test_program.py"
SMOKE = (PROGRAM, f"{CPUS}/test_verdicts.py")
"""Selftest, BPF, verdicts and conservation by one `gotax check`."""

QUICK = (*SMOKE, f"{CPUS}/test_cpus.py", SELFTEST)
LIVE = (
    *SMOKE,
    STACKS,
    *QUICK[1:],
    f"{KERNEL}/test_gomaxprocs_cli.py::test_a_value_changed_by_the_program",
    f"{KERNEL}/test_cgroup_live.py",
    f"{KERNEL}/test_targets.py::test_cgroup_is_a_target_in_the_kernel",
    f"{KERNEL}/test_conservation.py::test_a_timer_that_stopped_with_its_cpu_is_replaced",
    f"{KERNEL}/test_conservation.py::test_small_maps_lose_samples_with_a_reason",
    f"{KERNEL}/test_pid_namespace.py::test_pids_are_those_of_the_own_proc",
)
"""What needs the kernel, and judges by values and inequalities: no clock."""

PYTEST = (
    *("-m", "pytest", "-q", "-p", "tests.guests.reporting", "-p", "no:cacheprovider"),
    *("--color=no", "--tb=short", "--timing=without", "-m", "not slow"),
)

PROGRAMS: tuple[tuple[str, ...], ...] = (
    ("changing", "1.24.13"),
    ("container", "1.27.3"),
    ("findings", "1.24.13"),
    ("gomaxprocs", "1.24.13"),
    ("gomaxprocs", "1.24.13", "stripped"),
    ("gomaxprocs", "1.27.3"),
    ("gomaxprocs", "1.27.3", "pie", "stripped"),
    ("knownwork", "1.27.3"),
    ("stacks", "1.27.3"),
    ("unwinding", "1.22.12"),
    ("unwinding", "1.27.3", "cgo"),
)
"""What these tests start: built on the host."""


@dataclass(frozen=True, slots=True)
class Guest:
    """``possible``: CPUs that the kernel has room for; more than ``cpus`` of them never come."""

    suite: str
    cpus: int
    tests: tuple[str, ...]
    machine: str = "amd64"
    possible: int = 0
    memory_mb: int = 3072
    limit_s: int = 3600

    @property
    def name(self) -> str:
        return f"{self.suite}-{self.machine}-{self.cpus}"


GUESTS = (
    Guest(NEWEST, 4, LIVE, machine="arm64"),
    Guest(NEWEST, 64, QUICK, limit_s=5400),
    Guest("bookworm", 4, LIVE),
    Guest("trixie", 4, QUICK, possible=12),
    Guest("bookworm-backports", 16, QUICK),
    Guest(NEWEST, 16, LIVE),
    Guest("bookworm", 64, QUICK, limit_s=5400),
    Guest("bookworm", 2, (*QUICK, STACKS), machine="arm64"),
)
SMOKE_GUEST = Guest(NEWEST, 16, SMOKE, limit_s=900)
