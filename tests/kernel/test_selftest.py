"""gotax selftest on this host, and on hosts with missing features."""

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
    return gotax("selftest", *arguments, prefix=prefix)


def gotax(*arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-m", "gotax", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_a_host_that_can_be_sampled_passes() -> None:
    """Wherever the kernel tests run, no required feature is missing."""
    done = selftest("--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["ok"]) == (0, True), done.stdout
    sampling = result["checks"][-1]
    assert sampling["name"] == "sampling"
    assert int(sampling["found"].split()[0]) > 0


def test_missing_capabilities_are_named() -> None:
    """Root without SYS_PTRACE and BPF gets the capabilities to add, and their purpose."""
    drop = shutil.which("setpriv")
    assert drop, "util-linux is part of every Debian"
    bounded = (drop, "--bounding-set=-sys_ptrace,-bpf,-perfmon,-sys_admin", "--inh-caps=-all")
    done = selftest(prefix=bounded)
    assert done.returncode == 2
    line = next(line for line in done.stdout.splitlines() if " capabilities " in line)
    assert line.startswith("NO")
    assert all(name in line for name in ("BPF", "PERFMON", "SYS_PTRACE"))


def test_another_pid_namespace_is_detected() -> None:
    """A container without hostPID would count PIDs that it cannot look up."""
    unshare = shutil.which("unshare")
    assert unshare, "util-linux is part of every Debian"
    done = selftest(prefix=(unshare, "--pid", "--fork", "--mount-proc"))
    assert done.returncode == 2
    assert any(
        line.startswith("NO") and "PID namespace" in line for line in done.stdout.splitlines()
    )


WITHOUT_PTRACE = ("--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace")
HIDDEN = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
WITH_BPF = ("--inh-caps=+bpf,+perfmon", "--ambient-caps=+bpf,+perfmon")
UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *WITH_BPF)
AGENT = ("agent", "--listen", "127.0.0.1:0")


@pytest.mark.parametrize("command", [("check", "-d", "0.2"), ("top", "--once"), AGENT])
@pytest.mark.parametrize(
    ("prefix", "sentence"),
    [
        pytest.param(("setpriv", *WITHOUT_PTRACE), "add the capability SYS_PTRACE", id="dropped"),
        pytest.param(
            ("unshare", "-m", "sh", "-c", HIDDEN, "sh", *UNPRIVILEGED),
            "hides the processes",
            id="hidepid",
        ),
    ],
)
def test_unreadable_programs_are_an_error(
    command: tuple[str, ...], prefix: tuple[str, ...], sentence: str
) -> None:
    """Exit code 2 and one sentence, instead of "No Go process runs on this host" and 0."""
    done = gotax(*command, prefix=prefix)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr


def test_only_the_selected_programs_have_to_be_readable() -> None:
    """--pid for a program of the same user without more capabilities needs no SYS_PTRACE."""
    own = 'sleep 1000 & pid=$!; "$@" --pid $pid; code=$?; kill $pid; exit $code'
    prefix = ("setpriv", *WITHOUT_PTRACE, "sh", "-c", own, "sh")
    done = gotax("check", "-d", "0.2", prefix=prefix)
    assert done.returncode == 0, done.stderr


def test_a_host_without_btf_works(tmp_path: Path) -> None:
    """BTF and kernel symbols are optional."""
    checks = {check.name: check for check in run_checks(Roots(sys=str(tmp_path)))}
    assert checks["BTF"].is_good is None
    assert checks["BTF"].remedy
