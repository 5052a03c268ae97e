"""gotax selftest on this host, and on hosts that lack something."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gotax.config import Roots
from gotax.selftest import run_checks

from tests.patience import PATIENCE_S

pytestmark = pytest.mark.kernel


def selftest(*arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-m", "gotax", "selftest", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_a_host_that_can_be_sampled_passes() -> None:
    """Where the kernel tests run at all, nothing that gotax needs is missing."""
    done = selftest("--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["ok"]) == (0, True), done.stdout
    sampling = result["checks"][-1]
    assert sampling["name"] == "sampling"
    assert int(sampling["found"].split()[0]) > 0


def test_missing_capabilities_are_named() -> None:
    """Root without SYS_PTRACE and BPF is told which capabilities to add, and for what."""
    drop = shutil.which("setpriv")
    assert drop, "util-linux is part of every Debian"
    bounded = (drop, "--bounding-set=-sys_ptrace,-bpf,-perfmon,-sys_admin", "--inh-caps=-all")
    done = selftest(prefix=bounded)
    assert done.returncode == 2
    line = next(line for line in done.stdout.splitlines() if " capabilities " in line)
    assert line.startswith("NO")
    assert all(name in line for name in ("BPF", "PERFMON", "SYS_PTRACE"))


def test_another_pid_namespace_is_noticed() -> None:
    """A container without hostPID would count by PIDs that it cannot look up."""
    unshare = shutil.which("unshare")
    assert unshare, "util-linux is part of every Debian"
    done = selftest(prefix=(unshare, "--pid", "--fork", "--mount-proc"))
    assert done.returncode == 2
    assert any(
        line.startswith("NO") and "PID namespace" in line for line in done.stdout.splitlines()
    )


def test_a_host_without_btf_works(tmp_path: Path) -> None:
    """BTF and kernel symbols are liked, not needed."""
    checks = {check.name: check for check in run_checks(Roots(sys=str(tmp_path)))}
    assert checks["BTF"].is_good is None
    assert checks["BTF"].remedy
