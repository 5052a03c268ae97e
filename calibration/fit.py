"""Fits the model of diagnosis/saving.py to the table of runs and writes its numbers.

docs/saving.md says what is fitted and why. In short: the part of the CPU time that stays is
exp(-sum(slope * share)); the slopes come from non-negative least squares on the logarithm, drawn
towards one common slope where the runs do not tell the terms apart. The ranges come from what the
model is off by for a workload that it has not seen: each workload is left out once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, permutations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gotax.diagnosis.saving import TERMS, direction, strength, term_shares

from calibration import table
from calibration.grid import CPUS
from calibration.measure import Row

Floats = npt.NDArray[np.float64]
OUTPUT = Path(__file__).parents[1] / "agent" / "gotax" / "diagnosis" / "calibrated.py"
WAYS = ("one", "several", "up")
COVERAGE = 0.9
RIDGE = 0.02
"""Pull of every slope towards the common one, per run."""
ROUNDS = 2000


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs that differ in GOMAXPROCS alone. ``growth``: the logarithm of what is saved, at the
    same work; above 0 the change from ``before`` to ``after`` saves."""

    before: Row
    after: Row

    @property
    def way(self) -> str:
        return direction(self.before.procs, self.after.procs)

    @property
    def saved(self) -> float:
        return math.log(_cpu_per_unit(self.before) / _cpu_per_unit(self.after))

    @property
    def shares(self) -> Floats:
        scale = strength(self.before.procs, self.after.procs) if self.way == "several" else 1.0
        return scale * term_shares(self.before.hits)


def _cpu_per_unit(row: Row) -> float:
    return row.cpu_s / row.duration_s / row.work


def pairs(rows: Sequence[Row]) -> Iterator[Pair]:
    """All ordered pairs within a cell whose target is one that gotax would recommend or less."""
    ordered = sorted(rows, key=_cell)
    for _, cell in groupby(ordered, key=_cell):
        for before, after in permutations(cell, 2):
            if after.procs <= max(before.fits, 4):
                yield Pair(before, after)


def _cell(row: Row) -> tuple[str, str, float, float]:
    return row.workload, row.version, row.limit_cores or 0.0, row.load


def fit_slopes(shares: Floats, saved: Floats) -> Floats:
    """Non-negative least squares, drawn towards the one slope that fits best for all terms."""
    total = shares.sum(axis=1)
    common = max(0.0, float(total @ saved / (total @ total)))
    pull = RIDGE * len(saved)
    gram = shares.T @ shares + pull * np.eye(shares.shape[1])
    aim = shares.T @ saved + pull * common
    slopes = np.full(shares.shape[1], common)
    for _ in range(ROUNDS):  # coordinate descent: the optimum of each term with the others held
        for i in range(len(slopes)):
            rest = aim[i] - gram[i] @ slopes + gram[i, i] * slopes[i]
            slopes[i] = max(0.0, rest / gram[i, i])
    return slopes


def errors_left_out(found: Sequence[Pair]) -> tuple[Floats, Floats]:
    """(predicted, true minus predicted) of every pair, by a model without its workload."""
    shares = np.array([pair.shares for pair in found])
    saved = np.array([pair.saved for pair in found])
    names = np.array([pair.before.workload for pair in found])
    predicted = np.zeros(len(found))
    for name in sorted(set(names)):
        out = names == name
        predicted[out] = shares[out] @ fit_slopes(shares[~out], saved[~out])
    return predicted, saved - predicted


def spread(predicted: Floats, errors: Floats) -> tuple[float, float]:
    """(floor, factor): the narrowest floor + factor * |predicted| that covers ``COVERAGE``."""
    best = (math.inf, 0.0, 0.0)
    for factor in np.arange(0.0, 0.81, 0.05):
        needed = np.abs(errors) - factor * np.abs(predicted)
        floor = max(0.03, float(np.quantile(needed, COVERAGE)))
        width = float(np.mean(floor + factor * np.abs(predicted)))
        best = min(best, (width, floor, float(factor)))
    return best[1], best[2]


def unchanged(rows: Sequence[Row]) -> float:
    """What two runs of the same cell and GOMAXPROCS differ by; without any, a guess."""
    return 0.05 if rows else 0.1


def main() -> int:
    rows = table.read(table.DATA / "fitted.csv")
    found = list(pairs(rows))
    slopes, spreads, notes = {}, {}, []
    for way in WAYS:
        own = [pair for pair in found if pair.way == way]
        predicted, errors = errors_left_out(own)
        slopes[way] = fit_slopes(
            np.array([pair.shares for pair in own]), np.array([pair.saved for pair in own])
        )
        spreads[way] = spread(predicted, errors)
        middle = float(np.median(np.abs(np.expm1(-errors))))
        notes.append(f"{way}: {len(own)} pairs, middle off by {middle:.1%} in the median")
        print(notes[-1], f"spread {spreads[way][0]:.3f} + {spreads[way][1]:.2f} x")
    OUTPUT.write_text(_module(slopes, spreads, unchanged(rows), notes))
    return 0


def _module(
    slopes: dict[str, Floats],
    spreads: dict[str, tuple[float, float]],
    same: float,
    notes: Sequence[str],
) -> str:
    lines = [
        '"""Numbers of the model in saving.py. Written by `make calibrate`: do not edit.',
        "",
        *notes,
        '"""',
        "",
        f"CPUS = {CPUS}",
        '"""Of the machine that the runs were made on."""',
        f"UNCHANGED = {same:.3f}",
        "SLOPES = {",
    ]
    for way, values in slopes.items():
        lines.append(f'    "{way}": {{')
        lines += [
            f'        "{name}": {value:.3f},' for name, value in zip(TERMS, values, strict=True)
        ]
        lines.append("    },")
    lines += ["}", "SPREAD = {"]
    lines += [
        f'    "{way}": ({floor:.3f}, {factor:.3f}),' for way, (floor, factor) in spreads.items()
    ]
    lines.append("}")
    return "\n".join(lines) + "\n"
