"""gotax in a PID namespace below the initial one, as in the nodes of kind, minikube and k3d."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.load import GUARD_S, PATIENT, ROOT, SPIN, Group, Load
from tests.toolchains import VERSIONS

pytestmark = pytest.mark.kernel

GOTAX = f"{sys.executable} -m gotax"
NEW = ("-p", "-f", "--kill-child")
WITH_OTHERS = "sleep 1000 & "
WITHOUT_BTF = "mount -t tmpfs none /sys/kernel/btf && "


def nested(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A shell as PID 1 of a namespace with its own /proc; everything ends with the shell."""
    unshare = shutil.which("unshare")
    assert unshare, "util-linux is part of every Debian"
    return subprocess.run(
        [unshare, *NEW, "--mount-proc", "sh", "-c", script, "sh", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=GUARD_S,
        cwd=ROOT,
    )


# $1: a PID of the initial namespace, $2: the Go program, then for each of three cgroups the folders
# where a process enters it.
NODE = f"""
taken=$1 program=$2; shift 2
join() {{ for folder in $1; do echo 0 > $folder/cgroup.procs; done; }}
echo $((taken - 1)) > /proc/sys/kernel/ns_last_pid
(join "$1"; exec $program -busy 0 > /dev/null) & idle=$!
(join "$2"; exec $program -busy 0.5 > /dev/null) &
(join "$3"; exec unshare -p -f --kill-child $program -busy 0.5 > /dev/null) &
[ $idle = $taken ] || exit 77
while [ $(readlink /proc/[0-9]*/exe | grep -c /knownwork) -lt 3 ]; do :; done
exec {sys.executable} -c '{PATIENT}' check --json -d 3
"""


@pytest.mark.toolchain
def test_pids_are_those_of_the_own_proc(
    go_binary: Callable[..., Path], load: Callable[..., Load], group: Callable[[str], Group]
) -> None:
    """A busy process outside has the same PID as an idle Go program inside: the idle one stays
    idle. Busy ones in the namespace, and in one below it, have their samples and names."""
    program = go_binary("knownwork", VERSIONS[-1])
    groups = [group(name) for name in ("idle", "busy", "deep", "outside")]
    for each in groups:
        each.favour()
    *inside, own = groups
    outside = load("python3", "-c", SPIN, group=own)
    done = nested(
        NODE,
        str(outside.pid),
        program,
        *(" ".join(map(str, one.folders)) for one in inside),
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    containers = {container["cgroup"]: container for container in found["containers"]}
    idle, busy, deep = (containers[one.path] for one in inside)
    samples = found["samples"]
    assert idle["pids"] == [outside.pid]
    assert idle["samples"] * 10 < samples["lost"]["outside-namespace"]
    for container in (busy, deep):
        assert container["samples"] > 4 * idle["samples"]
        assert container["samples"] > 0
        assert any(f["function"].startswith("main.") for f in container["functions"]), found
        assert container["processes"][0]["pid"] != outside.pid
    assert samples["drained"] == samples["attributed"] + sum(samples["lost"].values())


def check(script: str) -> tuple[int, str]:
    done = nested(script + f"{GOTAX} check -d 0.5; exit $?")
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr


def selftest(script: str) -> tuple[int, dict[str, Any]]:
    """Its exit code, and its message about the namespace."""
    done = nested(script + f"{GOTAX} selftest --json; exit $?")
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, next(c for c in checks if c["name"] == "PID namespace")


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        pytest.param("", "nothing but gotax runs in its PID namespace", id="alone"),
        pytest.param(WITHOUT_BTF + WITH_OTHERS, "CONFIG_DEBUG_INFO_BTF=y", id="no BTF"),
        pytest.param(WITH_OTHERS, "no Go process runs in the PID namespace of gotax", id="no Go"),
    ],
)
def test_an_invisible_host_is_refused(
    load: Callable[..., Load], before: str, sentence: str
) -> None:
    """One sentence and exit code 2, never "No Go process runs on this host"."""
    load("python3", "-c", SPIN)
    code, said = check(before)
    assert code == 2
    assert sentence in said


@pytest.mark.parametrize("agent_alone", [True, False])
def test_the_agent_refuses_too(agent_alone: bool) -> None:
    before = "" if agent_alone else WITHOUT_BTF + WITH_OTHERS
    done = nested(before + f"{GOTAX} agent --listen 127.0.0.1:0; exit $?")
    assert done.returncode == 2
    assert "PID namespace" in done.stderr.splitlines()[-1]


def test_selftest_says_the_same() -> None:
    """The remedy is hostPID in a container; in a nested node there is none."""
    code, alone = selftest("")
    assert (code, alone["ok"], "hostPID" in alone["remedy"]) == (2, False, True)
    code, blind = selftest(WITHOUT_BTF + WITH_OTHERS)
    assert (code, blind["ok"], "hostPID" in blind["remedy"]) == (2, False, False)
    code, node = selftest(WITH_OTHERS)
    assert (code, node["ok"], node["needed"]) == (0, False, False)
    assert "translated" in node["found"]


def test_the_hosts_proc_in_a_namespace_needs_no_translation(
    go_binary: Callable[..., Path], load: Callable[..., Load]
) -> None:
    """--proc: the namespace of that /proc counts, not the one of gotax."""
    program = load(go_binary("knownwork", VERSIONS[-1]), "-busy", "0.5")
    program.report()
    unshare = shutil.which("unshare")
    assert unshare
    done = subprocess.run(
        [unshare, *NEW, *GOTAX.split(), "check", "--json", "-d", "2", "--pid", str(program.pid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=GUARD_S,
        cwd=ROOT,
    )
    (container,) = json.loads(done.stdout)["containers"]
    assert container["pids"] == [program.pid]
    assert container["samples"] > 0
