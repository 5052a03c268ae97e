"""Fuzz what reads hostile files, guided by coverage (Atheris).

    .venv/bin/python -m tests.fuzz [--minutes 30] [--jobs 1] [TARGET ...]

Inputs that reach new code are kept in the cache (see tests/toolchains.py), under fuzz/, and the
next run starts from them. An input that breaks a limit (limits.py) or lets an exception escape is
kept under fuzz/findings/, the smallest for each place; the run goes on, and exits 1 in the end.
As base64 (no binary in git) in tests/fixtures/fuzz/TARGET/NAME-OF-THE-BUG.b64 it is tried by the
tests for good.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.toolchains import cache

NAMES = ("elf", "buildinfo", "pclntab", "holes", "pctables", "inlines", "scanner", "texts")
LONGEST = 16384
TURN_MINUTES = 2.0
"""Atheris 3.0 leaks arrays that are compared, some 30 KB a run: a fresh process now and then."""

HANGS_S = 900  # of the wall's clock, for a loop that no signal interrupts


Waiting = list[tuple[str, float]]
Running = dict[str, tuple[subprocess.Popen[bytes], float]]
"""Targets with the minutes that they have left."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--minutes", type=float, default=30, help="CPU time of each target (30)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (1)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.targets) - set(NAMES)
    if unknown:
        parser.error(f"no such targets: {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        print("fuzz: no Atheris here; run ./setup fuzz", file=sys.stderr)
        return 2
    os.nice(19 - os.nice(0))
    if options.one:
        fuzz(options.targets[0], options.minutes)
    return supervise(options.targets or list(NAMES), options.minutes, options.jobs)


def supervise(targets: list[str], minutes: float, jobs: int) -> int:
    """A process at a time for each target. Returns 1 when there are findings."""
    waiting: Waiting = [(name, minutes) for name in targets]
    running: Running = {}
    failed: list[str] = []
    began = time.time()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _run(waiting, running, jobs, failed)
    finally:
        for process, _ in running.values():
            process.kill()
    folder = cache() / "fuzz" / "findings"
    found = [path for path in sorted(folder.glob("*")) if path.stat().st_mtime >= began]
    for path in found:
        print(f"fuzz: {path.name}")
    return 1 if found or failed else 0


def _run(waiting: Waiting, running: Running, jobs: int, failed: list[str]) -> None:
    while waiting or running:
        while waiting and len(running) < jobs:
            name, left = waiting.pop(0)
            running[name] = _start(name, min(left, TURN_MINUTES)), left
        for name, (process, left) in list(running.items()):
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not pid:
                continue
            del running[name]
            process.returncode = os.waitstatus_to_exitcode(status)
            left -= max(1.0, usage.ru_utime + usage.ru_stime) / 60
            if process.returncode:
                failed.append(name)
                print(f"fuzz: {name} ended: {process.returncode}", flush=True)
            elif left > 0:
                waiting.insert(0, (name, left))
            else:
                print(f"fuzz: {name} done", flush=True)
        time.sleep(0.2)


def _start(name: str, minutes: float) -> subprocess.Popen[bytes]:
    (cache() / "fuzz").mkdir(parents=True, exist_ok=True)
    with (cache() / "fuzz" / f"{name}.log").open("ab") as log:
        # Blocks above 64 KiB are given back at once: what an input costs is seen when it does.
        return subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz", "--one", "--minutes", str(minutes), name],
            env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "OPENBLAS_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )


def fuzz(name: str, minutes: float) -> None:
    """Does not return."""
    import atheris

    with atheris.instrument_imports(include=["gotax"]):
        targets = importlib.import_module("tests.fuzz.targets")
    from tests.fuzz.limits import judge
    from tests.fuzz.mutation import mutate_words
    from tests.fuzz.seeds import seeds

    corpus = cache() / "fuzz" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds(name):
        (corpus / f"seed-{hashlib.sha256(seed).hexdigest()[:16]}").write_bytes(seed)
    target = targets.TARGETS[name]
    report = _Findings(name)

    def one(data: bytes) -> None:
        try:
            judge(target, data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            report(error, data)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        if seed % 5 < 2:
            return mutate_words(data, seed)[:longest]
        mutated: bytes = atheris.Mutate(data, longest)
        return mutated

    atheris.Setup(
        [
            "fuzz",
            str(corpus),
            f"-max_total_time={max(1, round(minutes * 60))}",  # 0 would be for ever
            f"-max_len={LONGEST}",
            f"-timeout={HANGS_S}",
            "-report_slow_units=1000000",  # by the wall's clock
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
            f"-artifact_prefix={cache()}/fuzz/findings/{name}-",
        ],
        one,
        custom_mutator=mutate,
    )
    atheris.Fuzz()


class _Findings:
    """Keeps the smallest input for each place that an error comes from."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._folder = cache() / "fuzz" / "findings"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._smallest: dict[str, int] = {}

    def __call__(self, error: BaseException, data: bytes) -> None:
        steps = traceback.extract_tb(error.__traceback__)
        own = [step for step in steps if "/gotax/" in step.filename] or steps
        name = f"{self._target}-{type(error).__name__}-{Path(own[-1].filename).stem}"
        name += f"-{own[-1].lineno}"
        if len(data) >= self._smallest.get(name, LONGEST + 1):
            return
        self._smallest[name] = len(data)
        (self._folder / f"{name}.bin").write_bytes(data)
        (self._folder / f"{name}.txt").write_text("".join(traceback.format_exception(error)))


if __name__ == "__main__":
    sys.exit(main())
