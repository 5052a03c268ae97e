"""An isolated place on this host, which leaves nothing behind however its creator ends.

Mounts and network are private, /etc, /var and /run can be written without an effect on the host,
and the few settings of the kernel that a kubelet changes are files that only it sees. PIDs are the
host's, because a pod with hostPID must see those by which the kernel counts.

A process inside, ``python -m tests.e2e.cluster.sandbox``, starts and kills programs as requested on
its standard input, one JSON document a line. When that input ends, because the tests have ended,
failed or were killed, it kills all processes in the sandbox's cgroups and ends; mounts, network,
files and iptables vanish with the last process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

NAME = "gotax-e2e"
ADDRESS = "10.123.0.1"
BASE = Path("/run/sandbox")
"""Inside: a file system in memory, for data that is usually in /var/lib."""

_IN_MEMORY = ("/var/lib/containerd", "/var/lib/kubelet")
# Settings of the kubelet for the whole host (k8s.io/kubernetes pkg/kubelet/cm setupKernelTunables).
SETTINGS = (
    *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"),
)
_GONE_WITHIN_S = 20.0
_ROOT = Path(__file__).resolve().parents[3]


class SandboxError(Exception):
    """Something in the sandbox failed; the text says what."""


class Sandbox:
    """The side of the tests. ``start`` and ``kill`` programs, run a ``command`` inside."""

    def __init__(self, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        for old in logs.glob("*.log"):
            old.unlink()
        self.logs = logs
        with (logs / "sandbox.log").open("wb") as errors:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--mount", "--net", "--propagation", "private"),
                    *(sys.executable, "-P", "-m", __spec__.name, str(logs)),
                ],
                cwd=_ROOT,
                env={**os.environ, "PYTHONPATH": str(_ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # a Ctrl-C is the tests' to handle
            )
        try:
            self._answer()
        except SandboxError:
            self.close()
            raise

    @property
    def root(self) -> Path:
        """The sandbox's / as seen from here."""
        return Path(f"/proc/{self._process.pid}/root")

    def start(self, name: str, *command: str) -> None:
        """Starts a program; its output goes to ``name``.log."""
        self._ask(do="start", name=name, command=command)

    def kill(self, name: str) -> None:
        """Kills it, as a power failure would."""
        self._ask(do="kill", name=name)

    def ended(self) -> dict[str, int]:
        """Programs that ended by themselves, with their wait status."""
        found: dict[str, int] = self._ask(do="ended")["ended"]
        return found

    def command(self, *command: str, mounts: bool = True) -> list[str]:
        """The command line that runs ``command`` inside, or only with the sandbox's network."""
        where = ("--mount", "--net", "--wdns=/") if mounts else ("--net",)
        return ["nsenter", "--target", str(self._process.pid), *where, "--", *command]

    def close(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait(timeout=2 * _GONE_WITHIN_S)

    def _ask(self, **request: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SandboxError(f"the sandbox ended: {(self.logs / 'sandbox.log').read_text()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SandboxError(answer["error"])
        return answer


# ----------------------------------------------------------------------------------------------
# Inside


class _Programs:
    """Children by name. Ended ones are reaped at the next look."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str]) -> None:
        if name in self._running and self._running[name].poll() is None:
            raise SandboxError(f"{name} runs already")
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None:
            raise SandboxError(f"{name} was not started")
        process.kill()
        process.wait()

    def ended(self) -> dict[str, int]:
        status = {name: process.poll() for name, process in self._running.items()}
        return {name: code for name, code in status.items() if code is not None}


def _serve(logs: Path) -> None:
    # It ends only with its input: the tests close it, or the kernel does when they die.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    programs = _Programs(logs)
    _clear_cgroups()  # of a sandbox that was killed itself
    try:
        _make_cgroups()
        _make_mounts()
        _make_network()
        _say({})
        for line in sys.stdin:
            _say(_obey(programs, json.loads(line)))
    finally:
        _clear_cgroups()


def _say(answer: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(answer), flush=True)


def _obey(programs: _Programs, request: dict[str, Any]) -> dict[str, Any]:
    try:
        if request["do"] == "start":
            programs.start(request["name"], request["command"])
        elif request["do"] == "kill":
            programs.kill(request["name"])
        return {"ended": programs.ended()}
    except (SandboxError, OSError) as error:
        return {"error": str(error)}


def _make_mounts() -> None:
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    (BASE / "settings").mkdir(parents=True)
    Path("/run/lock").mkdir()
    for tree in ("etc", "var"):
        upper, work = BASE / tree, BASE / f"{tree}.work"
        upper.mkdir()
        work.mkdir()
        layers = f"lowerdir=/{tree},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "-o", layers, "overlay", f"/{tree}")
    # The layers of images are overlays themselves, which cannot lie on one.
    for point in _IN_MEMORY:
        kept = BASE / Path(point).name
        kept.mkdir()
        Path(point).mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", str(kept), point)
    for setting in SETTINGS:
        kept, real = BASE / "settings" / setting.replace("/", "."), Path("/proc/sys", setting)
        if real.exists():
            kept.write_text(real.read_text())
            _run("mount", "--bind", str(kept), str(real))
    for folder in ("/var/log/pods", "/var/log/containers", "/etc/cni/net.d", "/etc/kubernetes"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    _run("mount", "--make-rshared", "/")  # the kubelet hands mounts on to pods


def _make_network() -> None:
    """A bridge that is always up, with the node's address; it has no route to the outside."""
    for line in (
        "link set lo up",
        "link add node0 type bridge",
        # A bridge is up only with a connected interface.
        "link add plug0 type veth peer name plug1",
        "link set plug0 master node0",
        *(f"link set {link} up" for link in ("plug0", "plug1", "node0")),
        f"address add {ADDRESS}/24 dev node0",
        "route add default via 10.123.0.254 dev node0 onlink",  # kubelet and Go look for one
    ):
        _run("ip", *line.split())
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    with contextlib.suppress(OSError):  # not every kernel has the module
        Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("1")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SandboxError(f"{' '.join(command)}: {done.stderr.strip()}")


def cgroup_trees() -> Iterator[Path]:
    """Mount points of the cgroup file systems (proc(5), mountinfo)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] in ("cgroup", "cgroup2"):
            yield Path(before.split()[4])


def _make_cgroups() -> None:
    """Pods will be below NAME, programs (and we) in NAME/programs, in every tree."""
    for tree in cgroup_trees():
        programs = tree / NAME / "programs"
        programs.mkdir(parents=True, exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # v1: empty until it is filled
            for folder in (tree / NAME, programs):
                if (folder / name).exists() and (tree / "cgroup.clone_children").exists():
                    (folder / name).write_text((tree / name).read_text())
        (programs / "cgroup.procs").write_text("0")


def _clear_cgroups() -> None:
    """Kills all processes in our cgroups except ourselves, and removes the cgroups."""
    deadline = time.monotonic() + _GONE_WITHIN_S
    roots = [tree / NAME for tree in cgroup_trees()]
    while any(root.exists() for root in roots) and time.monotonic() < deadline:
        for root in roots:
            with contextlib.suppress(OSError):
                if (root / "programs").exists():
                    (root.parent / "cgroup.procs").write_text(str(os.getpid()))
            for folder in _below(root):
                with contextlib.suppress(OSError):  # removed meanwhile; ended meanwhile
                    for pid in map(int, (folder / "cgroup.procs").read_text().split()):
                        if pid not in (0, os.getpid()):
                            os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(OSError):  # not empty yet
                    folder.rmdir()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.05)


def _below(root: Path) -> list[Path]:
    """The cgroup and those in it, the innermost first."""
    return [Path(folder) for folder, _, _ in os.walk(root, topdown=False)]


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
