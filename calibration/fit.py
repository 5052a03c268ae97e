"""Fits the model of diagnosis/saving.py to the table of runs and writes its numbers.

docs/saving.md says what is fitted and why. Per way (down to one P, down to several):

- what each term retains, by least squares on relative errors, within physical bounds and drawn
  towards what one would expect where the runs do not distinguish two terms;
- what that gets wrong, run by run: the points of the Gaussian process;
- the factor of the ranges: each workload is left out once, predicted from the others, and the
  factor is the one whose ranges hold COVERAGE of the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gotax.diagnosis.saving import TERMS, Neighbours, Situation, features, plain, reach

from calibration import table
from calibration.grid import CPUS
from calibration.measure import Row

Floats = npt.NDArray[np.float64]
OUTPUT = Path(__file__).parents[1] / "agent" / "gotax" / "diagnosis" / "calibrated.py"
WAYS = {"one": 1, "several": 2}
COVERAGE = 0.9
EXPECTED = {
    "find": 0.05,
    "wake": 0.1,
    "park": 0.0,
    "switch": 0.4,
    "mark": 0.5,
    "assist": 0.3,
    "sweep": 0.1,
    "network": 0.3,
    "timers": 0.5,
    "alloc": 0.55,
    "chan": 0.6,
    "locks": 0.3,
    "syscall": 0.6,
    "user": 0.9,
}
"""The rough part of a term that is retained at one P; at two, the root of it."""
RETAINED_MAX = 1.2
PULL = 0.3
SWEEPS = 200


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs that differ only in GOMAXPROCS; ``after`` has fewer Ps."""

    before: Row
    after: Row

    @property
    def kept(self) -> float:
        """The part of the CPU time that is retained at the same work."""
        return _cpu_per_unit(self.after) / _cpu_per_unit(self.before)

    @property
    def situation(self) -> Situation:
        row = self.before
        room = min(row.procs, CPUS, row.limit_cores or math.inf)
        return Situation(row.samples, row.procs, row.cpu_s / row.duration_s / room)


def _cpu_per_unit(row: Row) -> float:
    return row.cpu_s / row.duration_s / row.work


def pairs(rows: Sequence[Row], target: int) -> Iterator[Pair]:
    """In each cell, from every higher value to ``target``."""
    for _, cell in groupby(sorted(rows, key=_cell), key=_cell):
        runs = list(cell)
        for after in (row for row in runs if row.procs == target):
            yield from (Pair(before, after) for before in runs if before.procs > target)


def _cell(row: Row) -> tuple[str, str, float, float]:
    return row.workload, row.version, row.limit_cores or 0.0, row.load


@dataclass(frozen=True, slots=True)
class Sample:
    """Columns over pairs: shares and features (2-D), log of the retained part, workload, weight."""

    shares: Floats
    points: Floats
    kept: Floats
    names: npt.NDArray[np.str_]

    @staticmethod
    def of(found: Sequence[Pair], target: int) -> Sample:
        return Sample(
            np.array([pair.situation.shares for pair in found]),
            np.array([features(pair.situation, target) for pair in found]),
            np.log([pair.kept for pair in found]),
            np.array([pair.before.workload for pair in found]),
        )

    def __getitem__(self, chosen: npt.NDArray[np.bool_]) -> Sample:
        return Sample(
            self.shares[chosen], self.points[chosen], self.kept[chosen], self.names[chosen]
        )


def fit_retained(sample: Sample, expected: Floats) -> Floats:
    """The retained part of each term. All workloads have the same weight, whatever their number of
    runs."""
    weight = np.array([1 / math.sqrt((sample.names == name).sum()) for name in sample.names])
    rows = sample.shares / np.exp(sample.kept)[:, None] * weight[:, None]
    gram = rows.T @ rows + PULL * np.eye(rows.shape[1])
    aim = rows.T @ weight + PULL * expected
    retained = expected.copy()
    for _ in range(SWEEPS):  # coordinate descent: the optimum of each term with the others held
        for i in range(len(retained)):
            step = (aim[i] - gram[i] @ retained) / gram[i, i]
            retained[i] = min(RETAINED_MAX, max(0.0, retained[i] + step))
    return retained


def predict_left_out(sample: Sample, expected: Floats) -> tuple[Floats, Floats]:
    """(middle, reach) of every pair, by a model that was fitted without its workload."""
    middle, far = np.zeros(len(sample.kept)), np.zeros(len(sample.kept))
    for name in sorted(set(sample.names)):
        out = sample.names == name
        known, unseen = sample[~out], sample[out]
        retained = fit_retained(known, expected)
        neighbours = Neighbours.of(known.points, known.kept - plain(known.shares, retained))
        rest, deviation = neighbours.predict(unseen.points)
        middle[out] = plain(unseen.shares, retained) + rest
        far[out] = reach(middle[out], deviation)
    return middle, far


def main() -> int:
    rows = table.read(table.DATA / "fitted.csv")
    parts = [_head(len(rows), len({row.workload for row in rows}))]
    retained, ranges, runs = {}, {}, {}
    for way, target in WAYS.items():
        found = list(pairs(rows, target))
        sample = Sample.of(found, target)
        expected = np.array([EXPECTED[name] for name in TERMS]) ** (1 / target)
        retained[way] = fit_retained(sample, expected)
        middle, far = predict_left_out(sample, expected)
        # Ranges are for the cases of findings: from well above the recommended value to it.
        kept = np.array(
            [p.before.fits == target and p.before.procs >= target + 2 for p in found], bool
        )
        off = np.abs(sample.kept - middle)
        ranges[way] = float(np.quantile((off / far)[kept], COVERAGE))
        rest = sample.kept - plain(sample.shares, retained[way])
        runs[way] = np.column_stack([sample.points, rest])
        width = np.exp(middle + ranges[way] * far) - np.exp(middle - ranges[way] * far)
        print(
            f"{way}: {len(found)} pairs, {kept.sum()} of them as in findings; left out, the middle"
            f" is off by {np.median(np.expm1(off[kept])):.1%} in the median, and the ranges that"
            f" hold {COVERAGE:.0%} are {np.mean(width[kept]):.2f} of the CPU kept in the mean"
        )
    OUTPUT.write_text("\n".join([*parts, *_body(retained, ranges, runs)]) + "\n")
    return 0


def _head(rows: int, workloads: int) -> str:
    return f'''"""Numbers of the model in saving.py, from {rows} runs of {workloads} workloads.

Written by `make calibrate`: do not edit. The runs themselves are in calibration/data/fitted.csv.
"""

CPUS = {CPUS}
"""Of the machine that the runs were made on."""'''


def _body(
    retained: dict[str, Floats], ranges: dict[str, float], runs: dict[str, Floats]
) -> Iterator[str]:
    yield "RETAINED = {"
    for way, values in retained.items():
        yield f'    "{way}": {{'
        for name, value in zip(TERMS, values, strict=True):
            yield f'        "{name}": {value:.3f},'
        yield "    },"
    yield "}"
    yield '"""Part of each term\'s CPU time that is retained, by way."""'
    yield "RANGE = {" + ", ".join(f'"{way}": {value:.3f}' for way, value in ranges.items()) + "}"
    yield "RUNS = {"
    for way, lines in runs.items():
        yield f'    "{way}": """'
        for line in np.round(lines * 1000).astype(int).tolist():
            yield " ".join(map(str, line))
        yield '""",'
    yield "}"
    yield '"""A line per run, in thousandths: its features, and what its shares alone get wrong."""'
