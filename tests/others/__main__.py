"""``python -m tests.others``: real programs with threads for the whole node, at a limit of 1 CPU.

``gotax check`` looks at each, which then gets the setting that the finding names, and looks again.
Then it looks at ten healthy programs. It needs root, javac, cargo, nginx, node, and NumPy
for the Python of ``--python``. The programs are built in ``build/others``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kernel.load import SPIN, Group, Load

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "others"
GOTAX = Path(sys.executable).parent / "gotax"
PORT = 18_089


@dataclass(frozen=True)
class Trial:
    """``wrong`` and ``right`` are environments, or arguments behind the command."""

    name: str
    setting: str
    command: list[str]
    wrong: dict[str, str] = field(default_factory=dict)
    right: dict[str, str] = field(default_factory=dict)
    wrong_arguments: list[str] = field(default_factory=list)
    right_arguments: list[str] = field(default_factory=list)
    serves: bool = False


def trials(python: str) -> list[Trial]:
    classes = str(BUILD / "java")
    folder = BUILD / "nginx"
    nginx = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g"]
    processors = "-XX:ActiveProcessorCount="
    return [
        Trial(
            "openblas",
            "OPENBLAS_NUM_THREADS",
            [python, str(HERE / "blas.py")],
            right={"OPENBLAS_NUM_THREADS": "1"},
        ),
        Trial(
            "java",
            processors,
            ["java", "-cp", classes],
            wrong_arguments=[processors + "8", "Pool"],
            right_arguments=[processors + "1", "Pool"],
        ),
        Trial(
            "tokio",
            "TOKIO_WORKER_THREADS",
            [str(BUILD / "tokio" / "release" / "tokiopool")],
            wrong={"TOKIO_WORKER_THREADS": "8"},
            right={"TOKIO_WORKER_THREADS": "1"},
        ),
        Trial(
            "nginx",
            "worker_processes",
            nginx,
            wrong_arguments=["daemon off; worker_processes 8;"],
            right_arguments=["daemon off; worker_processes 1;"],
            serves=True,
        ),
    ]


def healthy(python: str) -> list[tuple[str, float | None, list[str], dict[str, str]]]:
    """Name, limit, command, environment."""
    one = {"OPENBLAS_NUM_THREADS": "1"}
    fits, tokio = "-XX:ActiveProcessorCount=1", str(BUILD / "tokio" / "release" / "tokiopool")
    blas = [python, str(HERE / "blas.py")]
    sleeper = (
        "import threading, time\n"
        "for _ in range(40): threading.Thread(target=time.sleep, args=(600,)).start()"
    )
    return [
        ("one-thread", 1.0, [sys.executable, "-c", SPIN], {}),
        ("half-a-cpu", 0.5, [sys.executable, "-c", SPIN], {}),
        ("no-limit", None, blas, {}),
        ("wide", 2.0, blas, {}),
        ("set-to-fit", 1.0, blas, one),
        ("idle-threads", 0.5, [sys.executable, "-c", sleeper], {}),
        ("node", 1.0, ["node", "-e", "setInterval(() => 1, 10)"], {}),
        ("shell", 0.2, ["sh", "-c", "while :; do :; done"], {}),
        ("java-fits", 1.0, ["java", "-cp", str(BUILD / "java"), fits, "Pool"], {}),
        ("tokio-fits", 1.0, [tokio], {"TOKIO_WORKER_THREADS": "1"}),
    ]


def build() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    run(["javac", "-d", str(BUILD / "java"), str(HERE / "Pool.java")])
    target = {"CARGO_TARGET_DIR": str(BUILD / "tokio")}
    shutil.copytree(HERE / "tokio", BUILD / "crate", dirs_exist_ok=True)
    run(["cargo", "build", "--release", "--quiet"], cwd=BUILD / "crate", env=os.environ | target)
    folder = BUILD / "nginx"
    folder.mkdir(exist_ok=True)
    (folder / "page.txt").write_text("\n".join(str(n * 7919 % 104729) for n in range(120_000)))
    (folder / "nginx.conf").write_text(
        f"error_log {folder}/error.log;\npid {folder}/nginx.pid;\nuser root;\n"
        "events { worker_connections 64; }\n"
        f"http {{ access_log off; gzip on; gzip_comp_level 9; gzip_types *; server {{"
        f" listen 127.0.0.1:{PORT} reuseport; root {folder}; }} }}\n"
    )


def run(command: list[str], **how: Any) -> None:
    subprocess.run(command, check=True, **how)


def ask_for_pages(stop_s: float) -> None:
    """Eight requests at once, then a rest: what a service gets."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/page.txt", headers={"Accept-Encoding": "gzip"}
    )

    def one(_: int) -> int:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return len(answer.read())

    with ThreadPoolExecutor(8) as pool:
        while time.monotonic() < stop_s:
            list(pool.map(one, range(8)))
            time.sleep(0.2)


def check(groups: list[Group], seconds: float) -> dict[str, Any]:
    flags = [flag for group in groups for flag in ("-g", group.path)]
    done = subprocess.run(
        [GOTAX, "check", "--json", "-d", str(seconds), *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode > 1:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@dataclass(frozen=True)
class Seen:
    code: str
    severity: str
    remedy: str
    evidence: list[str]
    throttled: float
    stopped_s: float
    cores: float
    ran: int | None


def seen(container: dict[str, Any]) -> Seen:
    finding = next(iter(container["findings"]), None)
    periods = container["periods"] or 0
    return Seen(
        code=finding["code"] if finding else "-",
        severity=finding["severity"] if finding else "-",
        remedy=finding["remedy"]["text"] if finding else "",
        evidence=[each["text"] for each in finding["evidence"]] if finding else [],
        throttled=(container["throttled_periods"] or 0) / periods if periods else 0.0,
        stopped_s=container["throttled_s"] or 0.0,
        cores=container["cpu_cores"],
        ran=container["threads_ran"],
    )


def look(trial: Trial, is_right: bool, seconds: float) -> Seen:
    arguments = trial.right_arguments if is_right else trial.wrong_arguments
    environment = trial.right if is_right else trial.wrong
    with Group(f"{trial.name}") as group:
        group.limit(1.0)
        group.favour()
        with Load(*trial.command, *arguments, group=group, env=environment) as load:
            time.sleep(2.0)
            with ThreadPoolExecutor(1) as pool:
                if trial.serves:
                    pool.submit(ask_for_pages, time.monotonic() + seconds + 4)
                document = check([group], seconds)
            stop_children(load.pid)
    return seen(document["other_containers"][0])


def stop_children(pid: int) -> None:
    """The workers of nginx: it ends without them if it is killed."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


def trial_line(name: str, when: str, found: Seen) -> str:
    return (
        f"{name:<12}{when:<8}{found.code:<7}{found.severity:<9}"
        f"{found.throttled:>6.0%} of periods {found.stopped_s:>6.1f} s stopped"
        f" {found.cores:>5.2f} cores  {found.ran} threads ran"
    )


def try_healthy(python: str, seconds: float) -> list[str]:
    """The codes of the findings about them. One after the other: together they would get so little
    of a small host that nothing is throttled."""
    codes = []
    for name, limit, command, environment in healthy(python):
        with Group(f"healthy-{name}") as group:
            group.favour()
            if limit is not None:
                group.limit(limit)
            with Load(*command, group=group, env=environment):
                time.sleep(1.0)
                document = check([group], seconds)
        for each in document["other_containers"]:
            found = seen(each)
            print(trial_line(name, "healthy", found), *found.evidence, sep="\n    ", flush=True)
            codes += [] if found.code == "-" else [found.code]
    return codes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.others", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="a Python with NumPy")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each look (15)")
    parser.add_argument("names", nargs="*", help="only these")
    options = parser.parse_args()
    build()
    bad = 0
    for trial in trials(options.python):
        if options.names and trial.name not in options.names:
            continue
        before = look(trial, False, options.seconds)
        print(trial_line(trial.name, "before", before))
        for text in [*before.evidence, before.remedy]:
            print(f"    {text}")
        after = look(trial, True, options.seconds)
        print(trial_line(trial.name, "after", after), flush=True)
        bad += before.code != "GT020" or trial.setting not in before.remedy
        bad += after.code != "-" or after.stopped_s > before.stopped_s / 4
    if not options.names or "healthy" in options.names:
        bad += len(try_healthy(options.python, options.seconds))
    print(f"{bad} wrong" if bad else "all as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = scratch
        sys.exit(main())
