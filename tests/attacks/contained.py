"""gotax as its chart runs it: memory and CPU limited, few capabilities, a root it cannot write."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.kernel.load import GUARD_S, ROOT, Group, wait_until
from tests.kernel.test_leftovers import ENDS_WITHIN_S, Held, check_nothing_is_left, children, held

WINDOW_S = 1.0
AGENT_BYTES = 256 << 20
COLLECTOR_BYTES = 2 << 30
CORES = 1.0
CAPABILITIES = ("bpf", "perfmon", "sys_ptrace", "dac_read_search")
HOSTILE = frozenset({"binary-hostile", "binary-pending", "binary-refused"})
"""The reasons under which gotax names a program that it cannot read because of its file."""

TOO_HIGH = frozenset({"oversized", "mismatch"})
"""Verdicts of a GOMAXPROCS that is too high: how much that costs depends on the load."""

_READ_ONLY = "mount -o remount,bind,ro / && mount -t tmpfs -o size=16m,mode=1777 tmpfs /tmp"
_PROBE_TIMEOUT_S = 5.0  # of the chart's liveness probe


class Box(Group):
    """A cgroup with a limit of memory and one of CPU."""

    def __init__(self, name: str, memory_bytes: int, cores: float) -> None:
        super().__init__(name)
        self._memory_bytes = memory_bytes
        self._cores = cores
        legacy = Path("/sys/fs/cgroup/memory")
        self._legacy = legacy / self.name if legacy.is_dir() else None
        if self._legacy:
            self.folders.append(self._legacy)

    def __enter__(self) -> Self:
        if self._legacy is None:
            for folder in self.folders:
                (folder.parent / "cgroup.subtree_control").write_text("+memory")
        super().__enter__()
        self.limit(self._cores)
        for folder in self.folders:
            for name in ("memory.limit_in_bytes", "memory.max"):
                if (folder / name).exists():
                    (folder / name).write_text(str(self._memory_bytes))
        return self

    def processes(self) -> list[int]:
        return [int(line) for line in (self.folders[0] / "cgroup.procs").read_text().split()]

    def killed(self) -> int:
        """How many processes in it the kernel has killed for want of memory."""
        texts = [
            (folder / name).read_text()
            for folder in self.folders
            for name in ("memory.oom_control", "memory.events")
            if (folder / name).exists()
        ]
        return sum(int(n) for text in texts for n in re.findall(r"^oom_kill (\d+)$", text, re.M))


@dataclass(frozen=True)
class Answer:
    status: int
    body: str


class Contained:
    """A gotax command in a box."""

    def __init__(self, box: Box, port: int, command: Sequence[str], *, writable: bool) -> None:
        enter = "".join(f"echo 0 > {folder}/cgroup.procs; " for folder in box.folders)
        keep = ",".join(f"+{name}" for name in CAPABILITIES)
        drop = f"setpriv --bounding-set=-all,{keep} --inh-caps=-all --no-new-privs"
        script = f'{enter}{_READ_ONLY if not writable else ":"} && exec {drop} "$@"'
        self.box = box
        self.port = port
        # A file and no pipe: a process that the attack holds in the kernel may keep it open.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", *command],
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            cwd=ROOT,
        )
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in (*children(self.pid), self.pid):
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self._errors.close()

    def get(self, path: str, timeout_s: float = _PROBE_TIMEOUT_S) -> Answer:
        """OSError if there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode())
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def is_up(self, path: str = "/readyz") -> bool:
        assert self.process.poll() is None, self.end_text()
        try:
            return self.get(path).status == 200
        except OSError:
            return False

    def end_text(self) -> str:
        """What it has written, once it has ended."""
        self.process.wait(GUARD_S)
        self._errors.seek(0)
        return self._errors.read().decode()

    def terminate(self) -> float:
        """SIGTERM; how long it took to end."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        errors = self.end_text()
        took_s = time.monotonic() - began
        assert "Traceback" not in errors, errors
        return took_s


class Metrics:
    """One answer of /metrics."""

    def __init__(self, text: str) -> None:
        self.samples = [s for f in text_string_to_metric_families(text) for s in f.samples]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the series that have these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def ids_of(self, group: Group) -> set[str]:
        """The label ``id`` of the series of this cgroup."""
        return {
            sample.labels["id"]
            for sample in self.samples
            if sample.name == "gotax_container_info" and sample.labels["cgroup"] == group.path
        }

    def reasons(self) -> set[str]:
        """By what the agent says that something could not be read, or was lost or left out."""
        return {
            label
            for sample in self.samples
            for key, label in sample.labels.items()
            if key in ("reason", "kind", "code") and sample.value > 0
        }


class Agent(Contained):
    """`gotax agent` at the chart's 256 MiB and one CPU."""

    def __init__(self, box: Box) -> None:
        port = free_port()
        arguments = ("--listen", f"127.0.0.1:{port}", "-i", f"{WINDOW_S:g}", "--hz", "199")
        thresholds = ("--min-samples", "10", "--saving-share", "0.001", "--saving-cores", "0.0001")
        command = (sys.executable, "-m", "gotax", "agent", *arguments, *thresholds)
        super().__init__(box, port, command, writable=False)
        self.before: Held | None = None
        self.watch = Watch(self)

    def wait_until_it_samples(self) -> None:
        wait_until(self.is_up, "the agent's first window")
        self.before = held(self.pid)

    def metrics(self) -> Metrics:
        answer = self.get("/metrics", GUARD_S)
        assert answer.status == 200
        return Metrics(answer.body)

    def waited_s(self) -> float:
        """For how long its main thread has waited for a CPU: proc_pid_schedstat of the kernel."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9

    def windows(self) -> int:
        return int(self.metrics().total("gotax_processing_seconds_count"))

    def wait_for_windows(self, count: int) -> None:
        enough = self.windows() + count
        wait_until(lambda: self.windows() >= enough, f"{count} more windows")

    def verdict_of(self, group: Group) -> str:
        """Empty before there is one."""
        metrics = self.metrics()
        ids = metrics.ids_of(group)
        return next(
            (
                sample.labels["verdict"]
                for sample in metrics.samples
                if sample.name == "gotax_verdict" and sample.value and sample.labels["id"] in ids
            ),
            "",
        )

    def cpu_s(self, group: Group) -> float:
        metrics = self.metrics()
        return sum(metrics.total("gotax_cpu_seconds_total", id=i) for i in metrics.ids_of(group))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class Watch:
    """Reads /metrics all the time: by how much the latest window was late, without the time for
    which the thread that samples was ready to run, and the host had no CPU for it."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.late_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _run(self) -> None:
        count, ended_s, waited_s = 0.0, 0.0, 0.0
        while not self._enough.wait(WINDOW_S / 4):
            try:
                metrics = self._agent.metrics()
                now_waited_s = self._agent.waited_s()
            except OSError:
                continue
            now = metrics.total("gotax_processing_seconds_count")
            now_s = metrics.total("gotax_last_window_timestamp_seconds")
            if count and now > count:
                took_s = now_s - ended_s - (now_waited_s - waited_s)
                self.late_s = max(self.late_s, took_s / (now - count) - WINDOW_S)
            count, ended_s, waited_s = now, now_s, now_waited_s


def check_it_is_well(agent: Agent, neighbour: Group) -> None:
    """What every attack leaves as it was."""
    began = agent.metrics()
    agent.wait_for_windows(2)
    now = agent.metrics()
    assert now.total("gotax_samples_total") > began.total("gotax_samples_total"), (
        "it does not sample"
    )
    wait_until(lambda: agent.verdict_of(neighbour) == "oversized", "the neighbour's verdict")
    assert agent.get("/healthz").status == 200
    assert agent.box.killed() == 0
    assert agent.process.poll() is None
    assert agent.watch.late_s < WINDOW_S, agent.watch.late_s


def check_it_ends(agent: Agent, *, holds_a_reader: bool = False) -> None:
    """SIGTERM ends it and all its processes in time, and the kernel keeps nothing of it. The kernel
    itself may hold a process that reads a file, where nothing but the file's owner can end that."""
    assert agent.before is not None
    began_s = time.monotonic()
    agent.terminate()
    if not holds_a_reader:
        wait_until(lambda: not agent.box.processes(), "the agent's processes to end")
    took_s = time.monotonic() - began_s
    assert agent.process.returncode == 0
    check_nothing_is_left(agent.before)
    assert took_s < ENDS_WITHIN_S, took_s
