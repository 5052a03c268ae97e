"""The agent's own CPU time, stage by stage, on the busy node of bench.fleet.

.venv/bin/python -m bench.pipeline [--warm-up 60] [--windows 8] [--functions 15]

Runs the daemon's loop in this process: sample, publish, expose. Every stage is timed by the CPU
clock of its thread, without its inner stages, so the stages add up. The readers' time is not in it.
Prints milliseconds per window
(median and mean) and the CPU seconds a minute.
"""

from __future__ import annotations

import argparse
import cProfile
import functools
import os
import pstats
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from types import ModuleType
from typing import Any

from gotax import pipeline
from gotax.accumulator import Accumulator
from gotax.cli.stopping import StopSignal
from gotax.config import Detail
from gotax.diagnosis.reports import Reports
from gotax.exporters.prometheus import PrometheusExporter
from gotax.pipeline import Pipeline
from gotax.processes.resolver import Resolver
from gotax.sampling.sampler import Sampler
from gotax.scope import Scope
from gotax.session import Plan, Session
from gotax.symbols.symbolizer import Symbolizer

from bench.cgroups import BenchError, read_pss_bytes
from bench.fleet import CGROUP, CORES, PROCESSES, Fleet, build_load, interruptible

STAGES: tuple[tuple[str, type | ModuleType, str], ...] = (
    ("drain", Sampler, "drain"),
    ("scan for new processes", Pipeline, "scan"),
    ("resolve processes", pipeline, "find_owners"),
    ("symbolize: known stacks", pipeline, "find_user_stacks"),
    ("symbolize: new stacks", Symbolizer, "learn"),
    ("symbolize: new addresses", Symbolizer, "_look_up"),
    ("symbolize: compose, classify", Symbolizer, "_compose"),
    ("add up", Accumulator, "add"),
    ("refresh limits, GOMAXPROCS", Resolver, "refresh_go"),
    ("report, judge", Reports, "of_window"),
    ("window, rest", Pipeline, "window"),
    ("publish", PrometheusExporter, "publish"),
    ("exposition (a scrape)", PrometheusExporter, "expose"),
)


class StageClock:
    """CPU time of nested stages of one thread, each without its inner stages."""

    def __init__(self) -> None:
        self.spent_ns: defaultdict[str, int] = defaultdict(int)
        self._inside: list[int] = []  # time of inner stages, per open stage

    def watch(self, stage: str, owner: type | ModuleType, method: str) -> None:
        original: Callable[..., Any] = getattr(owner, method)

        @functools.wraps(original)
        def timed(*arguments: Any, **options: Any) -> Any:
            self._inside.append(0)
            began = time.thread_time_ns()
            try:
                return original(*arguments, **options)
            finally:
                spent = time.thread_time_ns() - began
                self.spent_ns[stage] += spent - self._inside.pop()
                if self._inside:
                    self._inside[-1] += spent

        setattr(owner, method, timed)

    def take(self) -> dict[str, int]:
        taken, self.spent_ns = dict(self.spent_ns), defaultdict(int)
        return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hz", type=int, default=19)
    parser.add_argument("--window", type=float, default=15.0, help="seconds (15)")
    parser.add_argument("--warm-up", type=float, default=60.0, help="seconds (60)")
    parser.add_argument("--windows", type=int, default=8, help="windows to measure (8)")
    parser.add_argument("--cores", type=float, default=CORES)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--functions", type=int, default=0, help="list Python's costliest (0)")
    parser.add_argument(
        "--only-load",
        action="store_true",
        help="sample the load only: steadier figures on a host that does other things as well",
    )
    options = parser.parse_args()
    interruptible()
    try:
        with Fleet(build_load(), options.processes, options.cores):
            measure(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def measure(options: argparse.Namespace) -> None:
    clock = StageClock()
    for stage in STAGES:
        clock.watch(*stage)
    exporter = PrometheusExporter()
    scope = Scope(cgroups=(f"/{CGROUP}",)) if options.only_load else Scope()
    plan = Plan(hz=options.hz, drain_s=options.window, scope=scope, detail=Detail(names=False))
    profiler = cProfile.Profile(time.thread_time) if options.functions else None
    rows: list[dict[str, int]] = []
    started = time.monotonic()
    whole = time.thread_time()
    with Session(plan) as session:
        for window in session.windows(options.window, StopSignal()):
            exporter.publish(window)
            exporter.expose()
            spent = clock.take()
            spent["everything else"] = int((time.thread_time() - whole) * 1e9) - sum(spent.values())
            if time.monotonic() - started >= options.warm_up:
                rows.append(spent)
                if profiler and len(rows) == 1:
                    profiler.enable()
            total_ms = sum(spent.values()) / 1e6
            print(
                f"window of {window.duration_s:.0f} s: {window.samples.drained} samples,"
                f" {len(window.profile)} stack counts, {len(window.profile.stacks)} stacks,"
                f" {len(window.reports)} containers, {total_ms:.1f} ms,"
                f" PSS {read_pss_bytes(os.getpid()) / 1e6:.1f} MB",
                file=sys.stderr,
            )
            clock.take()
            whole = time.thread_time()
            if len(rows) >= options.windows:
                break
    if profiler:
        profiler.disable()
    print_stages(rows, options.window)
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(options.functions)


def print_stages(rows: list[dict[str, int]], window_s: float) -> None:
    names = [name for name, _, _ in STAGES] + ["everything else"]
    print(f"{'stage':32}{'median ms':>12}{'mean ms':>10}{'CPU s/min':>12}{'share':>8}")
    total = sum(sum(row.values()) for row in rows)
    for name in names:
        values = [row.get(name, 0) / 1e6 for row in rows]
        mean = statistics.fmean(values)
        print(
            f"{name:32}{statistics.median(values):12.2f}{mean:10.2f}"
            f"{mean / 1e3 * 60 / window_s:12.4f}{sum(values) * 1e6 / total:8.1%}"
        )
    mean = total / 1e6 / len(rows)
    sums = [sum(row.values()) / 1e6 for row in rows]
    print(
        f"{'all':32}{statistics.median(sums):12.2f}{mean:10.2f}{mean / 1e3 * 60 / window_s:12.4f}"
    )


if __name__ == "__main__":
    sys.exit(main())
