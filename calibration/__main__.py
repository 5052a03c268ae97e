"""``python -m calibration run | fit | validate | published | heaps``: missing runs, the model, its
quality, published cases, and the same for memory limits."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from pathlib import Path

from gotax.session import Plan, Session

from calibration import fit, heaps, published, table
from calibration.grid import FITTED, HELD_OUT, SEED, VERSIONS, Cell, cells
from calibration.measure import HZ, Row, RunError, build, measure
from calibration.validation import judge, judge_left_out, score

NEIGHBOURS_MAX_CORES = 0.7
"""The highest usage by other processes: a busy host hides the cost, because threads without a free
core cannot spin."""
ATTEMPTS = 4
PATIENCE_S = 15.0
ROUNDS = 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="calibration")
    parser.add_argument("step", choices=("run", "fit", "validate", "published", "heaps"))
    parser.add_argument("--set", choices=("fitted", "held-out"), default="fitted")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no run after that time")
    options = parser.parse_args()
    if options.step == "run":
        for version in VERSIONS:
            build(version)
        return run(options.set, options.seconds)
    if options.step == "heaps":
        return heaps.main(options.seconds)
    return {"fit": fit.main, "validate": validate, "published": published.main}[options.step]()


def validate() -> int:
    """Prints the quality of predictions and verdicts on held-out workloads."""
    fitted, held_out = (table.read(table.DATA / f"{name}.csv") for name in ("fitted", "held-out"))
    print("fitted, each left out once:", score(list(judge_left_out(fitted))))
    print("held out:", score(list(judge(held_out))))
    return 0


def run(chosen: str, seconds: float) -> int:
    """Makes the missing runs. Those of a cell follow each other, so that they are comparable."""
    workloads = FITTED if chosen == "fitted" else HELD_OUT
    path = table.DATA / f"{chosen}.csv"
    present = {key(row) for row in table.read(path)}
    missing = [cell for cell in cells(workloads, ROUNDS) if key_of(cell) not in present]
    deadline = time.monotonic() + seconds
    with Session(Plan(hz=HZ, drain_s=1.0)) as session:
        for number, cell in enumerate(missing):
            if time.monotonic() > deadline:
                print(f"{len(missing) - number} cells are left for another call")
                break
            try:
                rows = run_cell(session, cell)
            except RunError as error:
                print(f"{cell.workload}: {error}", file=sys.stderr)
                continue
            table.append(path, rows)
    return 0


def run_cell(session: Session, cell: Cell) -> list[Row]:
    build(cell.version)
    order = list(cell.procs)
    random.Random(f"{SEED} {cell}").shuffle(order)
    rows = []
    for procs in order:
        rows.append(row := measure_alone(session, cell, procs))
        print(
            f"{row.workload} go{row.version} limit {row.limit_cores} GOMAXPROCS {procs}:"
            f" {row.cpu_s / row.duration_s:.3f} cores, {row.work:.0f} units a second",
            flush=True,
        )
    return rows


def measure_alone(session: Session, cell: Cell, procs: int) -> Row:
    for _ in range(ATTEMPTS):
        wait_for_calm()
        row = measure(session, cell, procs)
        if row.neighbours_s / row.duration_s <= NEIGHBOURS_MAX_CORES:
            return row
    raise RunError(f"other processes use {row.neighbours_s / row.duration_s:.2f} cores: later")


def wait_for_calm() -> None:
    """Waits until other processes use little CPU. Gives up after a while."""
    deadline = time.monotonic() + PATIENCE_S
    while read_busy_cores(0.4) > NEIGHBOURS_MAX_CORES and time.monotonic() < deadline:
        time.sleep(0.5)


def read_busy_cores(seconds: float) -> float:
    """CPU usage of the whole host in the next ``seconds``."""

    def read() -> float:
        # proc_stat(5): user nice system idle iowait irq softirq, in clock ticks
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
        ticks = [int(field) for field in fields]
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")

    before = read()
    time.sleep(seconds)
    return (read() - before) / seconds


Key = tuple[str, float | None]


def key(row: Row) -> Key:
    return row.workload, row.limit_cores


def key_of(cell: Cell) -> Key:
    return cell.workload, cell.limit_cores


if __name__ == "__main__":
    sys.exit(main())
