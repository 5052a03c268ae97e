"""The quality of predictions and verdicts, on workloads that the model was not fitted to.

``judge`` is for the table of held-out workloads, ``judge_left_out`` for the fitted ones: each is
judged by a model without it. Runs go through the real rules, as a window of gotax would.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
from gotax.config import Thresholds
from gotax.diagnosis import rules, saving
from gotax.diagnosis.context import Context
from gotax.findings import Severity, Verdict
from gotax.process import Container, CpuLimit, CpuUsage, Gomaxprocs, Origin, Process
from gotax.window import ContainerReport

from calibration.fit import EXPECTED, WAYS, Sample, fit_retained, pairs
from calibration.grid import CPUS
from calibration.measure import Row

WORTHWHILE = 0.15
"""A saving, as a share of the CPU, that a finding must not miss."""
_CONTAINER = Container("run", "run", "/run")


@dataclass(frozen=True, slots=True)
class Judged:
    """A run, and the result of the rules. ``saved``: the part of its CPU that the recommended value
    saved at the same work; ``low``, ``mid``, ``high``: the prediction, None without one."""

    row: Row
    saved: float
    warned: bool
    codes: frozenset[str]
    low: float | None
    mid: float | None
    high: float | None

    @property
    def is_mismatch(self) -> bool:
        return self.row.procs > self.row.fits

    @property
    def is_told(self) -> bool:
        """As a cost: with a warning, or without one if the saving may be a loss."""
        return self.warned or not self.codes.isdisjoint((rules.COSTLY, rules.UNLIMITED))


def context_of(row: Row) -> Context:
    """The run as one window of gotax."""
    found = Gomaxprocs(row.procs, Origin.ENVIRONMENT, row.fits)
    report = ContainerReport(
        container=_CONTAINER,
        processes=(Process(7, 1, row.workload, _CONTAINER, gomaxprocs=found),),
        category_samples=np.array(row.samples, np.int64),
        functions=(),
        limit=CpuLimit(row.limit_cores, "/run", row.limit_cores),
        usage=CpuUsage(None, row.periods, row.throttled_periods, round(row.throttled_s * 1e9)),
        verdict=Verdict.UNREADABLE,
        cpu_ns=round(row.cpu_s * 1e9),
        process_samples=(sum(row.samples),),
    )
    return Context(report, row.duration_s, CPUS, Thresholds())


def judge(rows: Sequence[Row]) -> Iterator[Judged]:
    """Every run whose cell has the run with the value that fits."""
    fitting = {_key(row): row for row in rows if row.procs == row.fits}
    for row in rows:
        best = fitting.get(_key(row))
        if best is None:
            continue
        context = context_of(row)
        found = rules.find_all(context)
        predicted = context.saving(row.fits) if row.procs >= row.fits else None
        cores = row.cpu_s / row.duration_s
        kept = (best.cpu_s / best.duration_s / best.work) / (cores / row.work)
        yield Judged(
            row,
            1 - kept,
            any(f.severity is Severity.WARNING for f in found),
            frozenset(f.code for f in found),
            *(
                (predicted.low / cores, predicted.mid / cores, predicted.high / cores)
                if predicted
                else (None, None, None)
            ),
        )


def _key(row: Row) -> tuple[str, str, float, float]:
    return row.workload, row.version, row.limit_cores or 0.0, row.load


def judge_left_out(rows: Sequence[Row]) -> Iterator[Judged]:
    """Like ``judge``, each workload by a model that was fitted to the others."""
    samples = {}
    for way, target in WAYS.items():
        found = list(pairs(rows, target))
        samples[way] = Sample.of(found, target)
    for name in sorted({row.workload for row in rows}):
        models = {}
        for way, target in WAYS.items():
            known = samples[way][samples[way].names != name]
            expected = np.array([EXPECTED[term] for term in saving.TERMS]) ** (1 / target)
            retained = fit_retained(known, expected)
            rest = known.kept - saving.plain(known.shares, retained)
            models[way] = retained, saving.Neighbours.of(known.points, rest)
        saving.predict_retained.cache_clear()
        with patch.object(saving, "_calibration", models.__getitem__):
            yield from judge([row for row in rows if row.workload == name])
    saving.predict_retained.cache_clear()


@dataclass(frozen=True, slots=True)
class Score:
    runs: int
    matched: int
    false_alarms: int
    worthwhile: int
    missed: int
    not_warned: int  # reported, but the range of the saving includes a loss
    predicted: int
    within: float
    off: float
    width: float

    def __str__(self) -> str:
        return (
            f"{self.runs} runs; matched {self.matched}, false alarms {self.false_alarms};"
            f" worth {WORTHWHILE:.0%} and more {self.worthwhile}, missed {self.missed},"
            f" reported without a warning {self.not_warned};"
            f" predicted {self.predicted}: {self.within:.0%} within the range, the middle off by"
            f" {self.off:.1%} in the median, ranges {self.width:.2f} of the CPU wide in the mean"
        )


def score(judged: Sequence[Judged]) -> Score:
    """GOMAXPROCS=2 at a limit of 1 and less is Go's own choice: reported, but neither a mismatch
    nor a match."""
    matched = [each for each in judged if each.row.procs <= each.row.fits]
    above = [each for each in judged if each.is_mismatch]
    worthwhile = [e for e in above if e.saved >= WORTHWHILE and e.row.procs > 2]
    predicted = [e for e in above if e.low is not None and e.row.procs > 2]
    # The CPU usage after the change, beside the predicted one.
    off = [abs((1 - (e.mid or 0.0)) / (1 - e.saved) - 1) for e in predicted]
    within = [(e.low or 0.0) <= e.saved <= (e.high or 0.0) for e in predicted]
    width = [(e.high or 0.0) - (e.low or 0.0) for e in predicted]
    return Score(
        len(judged),
        len(matched),
        sum(each.warned for each in matched),
        len(worthwhile),
        sum(not each.is_told for each in worthwhile),
        sum(each.is_told and not each.warned for each in worthwhile),
        len(predicted),
        float(np.mean(within)) if within else math.nan,
        float(np.median(off)) if off else math.nan,
        float(np.mean(width)) if width else math.nan,
    )
