#!/usr/bin/env python3
"""The production example on this host: one Go service, run twice, and gotax's table of both.

Builds demo/service, creates two sibling cgroups with a limit of one CPU, and runs the service in
each, one after the other, first with GOMAXPROCS=192 and then with 1. ``gotax check`` watches the
host, and the demo prints its results beside the production figures. Leaves nothing behind.

Exit codes: 0 it ran, 2 it could not, 128 + n ended by signal n.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from limit import Account, Group, LimitError, limited_groups
from table import COLOURED, Result, Style, predicted_use, render_summary, render_table

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCE = REPOSITORY / "demo" / "service"
BUILD = REPOSITORY / "build" / "demo"
LIMIT_CORES = 1
RUNS = (("oversized", 192), ("right-sized", 1))
WARM_UP_S = 3  # the heap, the pool and the threads are there after a second
HZ = 99  # the default of 19 would give a few hundred samples of a run, and shares with +-4 points
END_WITHIN_S = 3
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h


class DemoError(Exception):
    """The demo cannot continue; the text is one sentence with the remedy."""


class Interrupted(BaseException):
    """A signal as an exception, so that everything is removed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(frozen=True, slots=True)
class Tools:
    go: str
    gotax: str


def main() -> int:
    options = parse_options()
    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        results = run_story(options.duration)
    except (DemoError, LimitError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        return 128 + interrupted.number
    if options.json:
        print(json.dumps([dataclasses.asdict(result) for result in results], indent=2))
        return 0
    style = COLOURED if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else Style()
    oversized, fitting = results
    print()
    print(render_table(oversized, fitting, os.cpu_count() or 0, style))
    print()
    print(render_summary(oversized, fitting, style))
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo/run.py", description="Replay the production story on this host (about a minute)."
    )
    parser.add_argument(
        "-d",
        "--duration",
        type=watch_seconds,
        default=22,
        metavar="SECONDS",
        help="how long gotax watches each of the two runs (5 to 300; default 22)",
    )
    parser.add_argument("--json", action="store_true", help="print both results as JSON")
    return parser.parse_args()


def watch_seconds(text: str) -> int:
    if not text.isdecimal() or not 5 <= int(text) <= 300:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 5 to 300")
    return int(text)


def interrupt(number: int, _frame: FrameType | None) -> None:
    for each in SIGNALS:  # a second Ctrl-C must not interrupt the removal
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)


def run_story(duration_s: int) -> tuple[Result, Result]:
    tools = find_tools()
    say("building demo/service")
    binary = build_service(tools.go)
    results = []
    names = tuple(name for name, _ in RUNS)
    with limited_groups(names, LIMIT_CORES) as groups:
        for group, (name, procs) in zip(groups, RUNS, strict=True):
            say(f"{name}: GOMAXPROCS={procs}, limit {LIMIT_CORES} CPU, {duration_s} s")
            results.append(run_once(binary, tools.gotax, group, (procs, duration_s)))
    return results[0], results[1]


def find_tools() -> Tools:
    """Raises DemoError for anything missing: root, a Go toolchain, gotax."""
    if os.geteuid() != 0:
        raise DemoError("needs root for cgroups and perf events: run it with sudo")
    beside = Path(sys.executable).parent  # the virtual environment's own commands
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), str(beside)))
    go = os.environ.get("GO") or shutil.which("go", path=path)
    if go is None:
        raise DemoError("no Go toolchain found: `make demo` installs one, or put go into PATH")
    gotax = REPOSITORY / ".venv" / "bin" / "gotax"
    if not gotax.exists():
        gotax = beside / "gotax"
    if not gotax.exists():
        raise DemoError("gotax is not installed: `make demo` sets it up")
    return Tools(go, str(gotax))


def build_service(go: str) -> Path:
    """The service's binary, built unless it exists for the same sources and toolchain."""
    # No toolchain download because of go.mod's go line, no C compiler, no user settings.
    environment = {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOFLAGS": ""}
    environment["GOWORK"] = "off"
    digest = hashlib.sha256(run_go([go, "version"], environment).encode())
    for source in sorted([*SOURCE.glob("*.go"), SOURCE / "go.mod"]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    binary = BUILD / f"service-{digest.hexdigest()[:16]}"
    if not binary.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        fresh = BUILD / f"{binary.name}.{os.getpid()}"
        run_go([go, "build", "-o", str(fresh), "."], environment)
        fresh.replace(binary)
    return binary


def run_go(command: list[str], environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise DemoError(f"cannot run {command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise DemoError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout


def run_once(binary: Path, gotax: str, group: Group, setting: tuple[int, int]) -> Result:
    """One run: ``setting`` is GOMAXPROCS and the seconds that gotax watches."""
    procs, duration_s = setting
    with running_service(binary, group, procs) as service:
        born = time.time()
        time.sleep(WARM_UP_S)
        started, before = time.time(), group.read_account()
        document = watch(gotax, duration_s)
        ended, after = time.time(), group.read_account()
        if service.poll() is not None:
            raise DemoError(f"the service ended by itself with {service.returncode}")
        pid = service.pid
        lines = stop_and_read(service)
    container = find_container(document, pid)
    result = evaluate(
        container, select_lines(lines, started, ended), ((before, after), ended - started)
    )
    others = sum(each["cpu_cores"] for each in document["containers"] if each is not container)
    warned = any(f["severity"] == "warning" for f in container["findings"])
    return dataclasses.replace(
        result,
        neighbours_cores=others + document.get("other_cpu_cores", 0.0),
        flagged_after_s=ended - born if warned else None,
    )


@contextmanager
def running_service(binary: Path, group: Group, procs: int) -> Iterator[subprocess.Popen[str]]:
    """The service in its cgroup; killed at the end if it still runs."""
    # Settings of Go's runtime in the environment would change the experiment.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GO")}
    environment["GOMAXPROCS"] = str(procs)
    try:
        service = subprocess.Popen(
            [str(binary), "-duration", "15m"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which ends the service
            preexec_fn=enter(group),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DemoError(f"cannot start the service in cgroup {group.path}: {error}") from error
    try:
        yield service
    finally:
        service.kill()
        service.wait()
        assert service.stdout is not None
        service.stdout.close()


def enter(group: Group) -> Callable[[], None]:
    """Runs in the child between fork and exec; everything it needs is loaded before."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def child() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # end with this process, even if it is killed
        group.join()

    return child


def watch(gotax: str, duration_s: int) -> dict[str, Any]:
    """Runs ``gotax check`` over the host and returns its document."""
    command = [gotax, "check", "-d", str(duration_s), "--hz", str(HZ), "--json"]
    try:
        check = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        raise DemoError(f"cannot run {gotax}: {error.strerror}") from error
    try:
        output, complaint = check.communicate(timeout=duration_s + 60)
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"gotax did not end within {duration_s + 60} s") from error
    finally:
        if check.poll() is None:
            check.terminate()
            with suppress(subprocess.TimeoutExpired):
                # it still writes its results: continue to read
                check.communicate(timeout=END_WITHIN_S)
            check.kill()
            check.wait()
    if check.returncode not in (0, 1):  # 0 fine, 1 findings
        said = complaint.strip().splitlines()
        raise DemoError(f"gotax check failed: {said[-1] if said else check.returncode}")
    try:
        document: dict[str, Any] = json.loads(output)
    except ValueError as error:
        raise DemoError(f"gotax check wrote no JSON: {error}") from error
    return document


def stop_and_read(service: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """The lines of the service, one for each second and one at its end."""
    service.terminate()
    try:
        output, _ = service.communicate(timeout=END_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        raise DemoError(f"the service did not end within {END_WITHIN_S} s") from error
    return [json.loads(line) for line in output.splitlines()]


def find_container(document: dict[str, Any], pid: int) -> dict[str, Any]:
    for container in document["containers"]:
        if pid in container["pids"]:
            found: dict[str, Any] = container
            return found
    raise DemoError(f"gotax did not see the service (PID {pid})")


def select_lines(
    lines: list[dict[str, Any]], started: float, ended: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first and the last line of the time that gotax watched."""
    inside = [line for line in lines if started <= line["at_ns"] / 1e9 <= ended]
    if len(inside) < 2:
        raise DemoError("the service did not report while gotax watched: is the host overloaded?")
    return inside[0], inside[-1]


def evaluate(
    container: dict[str, Any],
    ends: tuple[dict[str, Any], dict[str, Any]],
    kernel: tuple[tuple[Account, Account], float],
) -> Result:
    """Combines the data of gotax, the service and the kernel about one run."""
    first, last = ends
    (before, after), elapsed_s = kernel
    served = last["requests"] - first["requests"]
    cumulative = {f["function"]: f["cumulative"] for f in container["functions"]}
    limits = container["gomaxprocs"] or {}
    warnings = [f for f in container["findings"] if f["severity"] == "warning"]
    return Result(
        gomaxprocs=limits.get("value"),
        recommended=limits.get("recommended"),
        limit_cores=container["cpu_limit_cores"],
        go_version=container["go_version"] or "",
        cpu_s_per_min=container["cpu_cores"] * 60,
        kernel_s_per_min=(after.cpu_ns - before.cpu_ns) / 1e9 / elapsed_s * 60,
        throttled_s_per_min=(after.throttled_ns - before.throttled_ns) / 1e9 / elapsed_s * 60,
        requests_per_cpu_s=served / max(last["cpu_s"] - first["cpu_s"], 1e-9),
        neighbours_cores=0.0,
        requests_per_s=served / ((last["at_ns"] - first["at_ns"]) / 1e9),
        live_heap_mb=last["live_heap_bytes"] / 1e6,
        schedule=cumulative.get("runtime.schedule"),
        mark_worker=cumulative.get("runtime.gcBgMarkWorker"),
        scheduler=share_of(container, "scheduler/", "netpoll", "timers"),
        gc=share_of(container, "gc/"),
        verdict=container["verdict"],
        findings=tuple((f["code"], f["title"]) for f in container["findings"]),
        cause=next((f["cause"] for f in warnings), None),
        predicted_s_per_min=predicted_use(container["cpu_cores"], warnings),
    )


def share_of(container: dict[str, Any], *prefixes: str) -> float:
    shares: dict[str, float] = container["shares"]
    return sum(ratio for category, ratio in shares.items() if category.startswith(prefixes))


def say(text: str, stream: IO[str] = sys.stderr) -> None:
    print(f"demo: {text}", file=stream, flush=True)


if __name__ == "__main__":
    sys.exit(main())
