"""The same drains through the whole pipeline, written out: is the output still the same?

    python -m tests.replay FOLDER           # what this checkout makes of the recording
    python -m tests.replay --against REV    # and whether another revision makes the same of it

A recording is made of a seed: a host of files with real Go binaries whose processes start, end and
exec, cgroups that count, and drains. It is played through ``Pipeline`` and every exporter. Two
revisions that differ in structure only write the same files. Times that the agent measures on
itself are left out, since they differ from run to run.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import fcntl
import filecmp
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from gotax.config import Detail, Thresholds
from gotax.exporters import folded, pprof, report
from gotax.exporters.backends import otlp
from gotax.exporters.prometheus import Exposition, PrometheusExporter
from gotax.exporters.stream.encoding import encode
from gotax.exporters.style import Style
from gotax.exporters.terminal.check import render_check
from gotax.golang.gomaxprocs import find_gomaxprocs
from gotax.golang.live import GomaxprocsAddresses
from gotax.golang.pclntab import parse_pclntab
from gotax.linux.elf import PF_X, FileReader, parse_elf
from gotax.pipeline import Pipeline, Span
from gotax.processes.resolver import Resolver
from gotax.sampling.sampler import STACK_COUNT, Drain, NewProcess, Stacks
from gotax.sampling.sampler import Counter as KernelCounter
from gotax.window import Window

from tests.toolchains import go_binary
from tests.unit.host import Host, Program, set_memory

SEED = 20261128
WINDOWS = 40
PERIOD_NS = 52_631_578
_VERSIONS = ("1.22.12", "1.26.8")
_POD = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
_UID = "0f3c1a52_3333_4222_8333_94445556666{}"
_OF_ITSELF = re.compile(
    r"^gotax_(own_cpu_seconds_total|resident_memory_bytes|(processing|drain)_seconds_sum) .*\n",
    re.M,
)


class Recording:
    """A host in ``folder`` and what happens on it; the same for the same seed."""

    def __init__(self, folder: Path) -> None:
        self.random = random.Random(SEED)
        self.host = Host(folder, "0-15")
        self.binaries = [self._binary(folder, version) for version in _VERSIONS]
        shell = folder / "shell"
        shell.write_text("#!/bin/sh\n")
        self.native = Program(shell, "00400000-00401000 r-xp 00000000 00:00 {inode} /shell\n")
        self.cgroups = {
            path: self.host.cgroup(path, limit)
            for path, limit in (
                (f"{_POD}{_UID.format(1)}.slice/cri-containerd-{'a' * 64}.scope", "100000 100000"),
                (f"{_POD}{_UID.format(2)}.slice/cri-containerd-{'b' * 64}.scope", "50000 100000"),
                (f"{_POD}{_UID.format(3)}.slice/cri-containerd-{'c' * 64}.scope", "max 100000"),
                ("/system.slice/web.service", "250000 100000"),
                ("/plain", "400000 100000"),
            )
        }
        self.counts = dict.fromkeys(self.cgroups, (0, 0, 0, 0))
        self.alive: dict[int, tuple[str, bool]] = {}
        self.serial = 0

    def _binary(self, folder: Path, version: str) -> tuple[Program, list[int], GomaxprocsAddresses]:
        path = folder / f"service-{version}"
        shutil.copyfile(go_binary("gomaxprocs", version), path)
        with FileReader(path) as reader:
            elf = parse_elf(reader)
            pclntab = parse_pclntab(elf, f"go{version}")
            names = ("main.main", "runtime.schedule", "runtime.gcBgMarkWorker", "runtime.mallocgc")
            ranges = pclntab.function_ranges(frozenset(names))
            text = next(load for load in elf.loads if load.flags & PF_X)
            maps = (
                f"{text.address:08x}-{(text.address + text.file_size + 4095) & ~4095:08x} r-xp"
                f" {text.offset:08x} 00:00 {{inode}} {path}\n"
            )
            return (
                Program(path, maps),
                [ranges[n][0] + 4 for n in names],
                find_gomaxprocs(elf, pclntab),
            )

    def happen(self) -> None:
        """Some of the things that happen on a host between two drains."""
        choose = self.random
        for _ in range(choose.randrange(4)):
            pid = choose.randrange(2, 24)
            if pid in self.alive and choose.random() < 0.4:
                self.host.end(pid)
                del self.alive[pid]
            elif pid not in self.alive or choose.random() < 0.2:
                self._start(pid)
        for path, (usage, periods, throttled, stopped) in self.counts.items():
            usage += choose.randrange(900_000)
            periods += 100
            throttled += choose.randrange(60)
            stopped += choose.randrange(40_000)
            self.counts[path] = usage, periods, throttled, stopped
            (self.host.cgroups / path.strip("/") / "cpu.stat").write_text(
                f"usage_usec {usage}\nuser_usec {usage}\nsystem_usec 0\nnr_periods {periods}\n"
                f"nr_throttled {throttled}\nthrottled_usec {stopped}\n"
            )

    def _start(self, pid: int) -> None:
        self.serial += 1
        cgroup = self.random.choice([*self.cgroups, "/"])
        number = self.random.randrange(3)
        program = self.native if number == 2 else self.binaries[number][0]
        self.host.start(pid, 1000 + self.serial, program, cgroup, stack=self.serial)
        if number < 2:
            addresses = self.binaries[number][2]
            value = self.random.choice((1, 2, 4, 16))
            set_memory(self.host, pid, addresses.value_address, struct.pack("<I", value))
        self.alive[pid] = cgroup, number < 2

    def drain(self) -> Drain:
        stacks: dict[int, list[int]] = {}
        for binary, (_, addresses, _) in enumerate(self.binaries):
            main, *others = addresses
            stacks[10 * binary + 1] = [main]
            for number, address in enumerate(others, 2):
                stacks[10 * binary + number] = [address, main]
        stacks[30] = [0x7F0000001000, 5]
        stack_counts = np.zeros(self.random.randrange(1, 60), STACK_COUNT)
        for row in stack_counts:
            pid = self.random.choice([*self.alive, 99])
            cgroup = self.alive.get(pid, ("/", False))[0]
            row["tgid"] = pid
            row["cgroup_id"] = self.cgroups.get(cgroup, 1)
            row["user_stack"] = self.random.choice([*stacks, 0])
            row["kernel_stack"] = self.random.choice((0, 0, 0, 1))
        counts = np.array([self.random.randrange(1, 40) for _ in stack_counts], np.int64)
        lengths = [len(ips) for _, ips in sorted(stacks.items())]
        user = Stacks(
            hashes=np.array(sorted(stacks), np.uint64),
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            callers=np.zeros(len(stacks), np.uint64),
            ips=np.array([ip for _, ips in sorted(stacks.items()) for ip in ips], np.uint64),
        )
        nothing = Stacks(
            np.zeros(0, np.uint64), np.zeros(1, np.int64), np.zeros(0, np.uint64), np.zeros(0, "u8")
        )
        full = self.random.choice((0, 0, 3))
        return Drain(
            stack_counts, counts, user, nothing, {KernelCounter.STACK_COUNTS_FULL: full}, cpus=16
        )

    def new_processes(self, drain: Drain) -> list[NewProcess]:
        rows = sorted({(int(s["cgroup_id"]), int(s["tgid"])) for s in drain.stack_counts})
        return [NewProcess(*row) for row in rows]


def play(folder: Path, detail: Detail) -> list[Window]:
    recording = Recording(folder)
    pipeline = Pipeline(Resolver(recording.host.roots), "node", Thresholds(), detail)
    windows = []
    for _ in range(4):
        recording.happen()
    pipeline.scan()
    for number in range(WINDOWS):
        for _ in range(3):
            recording.happen()
            drain = recording.drain()
            pipeline.read_again(pipeline.read_new(recording.new_processes(drain)))
            pipeline.absorb(drain, 0.0)
        windows.append(pipeline.window(Span(number * 15 * 10**9, 15.0, PERIOD_NS)))
    return windows


def plain(value: Any) -> Any:
    """A window as JSON: what it holds, without what the agent measured of itself."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, enum.Enum):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value) if f.init]
        return {n: plain(getattr(value, n)) for n in names if n not in ("drain_s", "work_s")}
    if isinstance(value, dict):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, frozenset, set)):
        listed = [plain(v) for v in value]
        return sorted(listed, key=repr) if isinstance(value, (set, frozenset)) else listed
    return value


def write(out: Path) -> None:
    """The output of every exporter, once with names and once without."""
    out.mkdir(parents=True, exist_ok=True)
    for kind, detail in {
        "names": Detail(functions=20, native_frames=True, lines=True),
        "classes": Detail(names=False),
    }.items():
        # A fixed place, for one at a time: paths of files are in the output.
        folder = Path(tempfile.gettempdir()) / "gotax-replay"
        with open(f"{folder}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(folder, ignore_errors=True)
            try:
                windows = play(folder, detail)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        metrics = PrometheusExporter(Exposition())
        texts: dict[str, list[str]] = {
            name: [] for name in ("windows", "check", "metrics", "table")
        }
        raw: dict[str, list[bytes]] = {name: [] for name in ("wire", "pprof", "otlp")}
        lines: list[str] = []
        for window in windows:
            metrics.publish(window)
            texts["windows"].append(json.dumps(plain(window), indent=1))
            texts["check"].append(json.dumps(report.check_document(window), indent=1))
            texts["metrics"].append(_OF_ITSELF.sub("", metrics.expose().decode()))
            texts["table"].append(render_check(window, Style(width=120)))
            raw["wire"].append(encode(window).SerializeToString(deterministic=True))
            raw["pprof"].append(pprof.profile_bytes(window))
            raw["otlp"] += [p.body for p in otlp.export_batches(window)]
            lines += folded.folded_lines(window)
        for name, parts in texts.items():
            (out / f"{kind}-{name}.txt").write_text("\n\n".join(parts))
        for name, blobs in raw.items():
            (out / f"{kind}-{name}.bin").write_bytes(b"\n--\n".join(blobs))
        (out / f"{kind}-folded.txt").write_text("\n".join(lines))


def differences(mine: Path, theirs: Path) -> list[str]:
    names = sorted({p.name for p in mine.iterdir()} | {p.name for p in theirs.iterdir()})
    _, different, missing = filecmp.cmpfiles(mine, theirs, names, shallow=False)
    return sorted([*different, *missing])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="where to write the output")
    parser.add_argument("--against", metavar="REV", help="compare with this revision")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # sums of floats follow the order of sets
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.replay", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    if options.against is None:
        if options.folder is None:
            parser.error("give a folder, or --against a revision")
        write(options.folder)
        return 0
    with tempfile.TemporaryDirectory() as work:
        top = Path(work)
        theirs = options.folder / "theirs" if options.folder else top / "theirs"
        mine = options.folder / "mine" if options.folder else top / "mine"
        git = ["git", "worktree"]
        subprocess.run([*git, "add", "-q", "--detach", top / "tree", options.against], check=True)
        try:
            subprocess.run(
                [sys.executable, "-m", "tests.replay", theirs],
                cwd=top / "tree",
                env={**os.environ, "PYTHONPATH": "agent:collector"},
                check=True,
            )
        finally:
            subprocess.run([*git, "remove", "--force", top / "tree"], check=True)
        write(mine)
        found = differences(mine, theirs)
        print("\n".join(found) if found else f"equal: {len(list(mine.iterdir()))} files")
        return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
