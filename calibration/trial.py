"""``python -m calibration.trial``: does a simulation of the scheduler predict better than the
model?

For each run, the load is searched with which the simulated search for work, waking and parking
take the share that the run's profile has. The same load is then simulated with fewer Ps. What
these three terms retain in the simulation takes the place of their fitted numbers. All else is as
in fit.py: the other terms are fitted, and a Gaussian process corrects the rest.

The errors beside it are those of the model as it is, and of models that know what some terms
really used afterwards. No simulation of those terms could be better than that.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from gotax.diagnosis.saving import _GROUPED, TERMS, Floats, Neighbours, plain

from calibration import table
from calibration.fit import EXPECTED, PULL, RETAINED_MAX, SWEEPS, WAYS, Pair, Sample, pairs
from calibration.grid import CPUS
from calibration.simulation import Load, Machine, Simulation

SERVICES = (2_000, 5_000, 12_000, 30_000, 80_000, 200_000, 500_000, 1_500_000)
CHILDREN = (0.0, 0.5, 0.9)
GOROUTINES = 500
SIMULATED = ("find", "wake", "park")
KNOWN = (
    SIMULATED,
    (*SIMULATED, "switch", "network", "timers"),
    ("mark", "assist", "sweep"),
    (*SIMULATED, "switch", "network", "timers", "mark", "assist", "sweep"),
    ("alloc", "user"),
)
_NAMES = list(TERMS)
After = Callable[[Pair], float]
"""The CPU that some terms use afterwards, as a part of all CPU before."""


def main() -> int:
    print("the model:", errors((), lambda _: 0.0))
    print("simulated:", errors(SIMULATED, simulated_after))
    for known in KNOWN:
        print(f"with the real {', '.join(known)}:", errors(known, _real_after(known)))
    return 0


def errors(terms: Sequence[str], after: After) -> str:
    """Of predictions as in findings: from above 2 to what fits."""
    fitted, held_out = (table.read(table.DATA / f"{n}.csv") for n in ("fitted", "held-out"))
    chosen = [_NAMES.index(term) for term in terms]
    left_out, held = [], []
    for target in WAYS.values():
        expected = np.array([EXPECTED[name] for name in TERMS]) ** (1 / target)
        known, seen = list(pairs(fitted, target)), list(pairs(held_out, target))
        samples = Sample.of(known, target), Sample.of(seen, target)
        parts = [np.array([after(pair) for pair in found]) for found in (known, seen)]
        for name in sorted(set(samples[0].names)):
            out = samples[0].names == name
            one = _Model(samples[0][~out], parts[0][~out], chosen, expected)
            off = one.predict(samples[0][out], parts[0][out]) - samples[0].kept[out]
            left_out += list(off[_as_in_findings(itertools.compress(known, out), target)])
        model = _Model(samples[0], parts[0], chosen, expected)
        off = model.predict(samples[1], parts[1]) - samples[1].kept
        held += list(off[_as_in_findings(seen, target)])
    return f"{_describe(left_out)} left out, {_describe(held)} held out"


def _as_in_findings(found: Iterator[Pair] | Sequence[Pair], target: int) -> np.ndarray:
    return np.array([p.before.fits == target and p.before.procs > 2 for p in found], bool)


def _describe(off: Sequence[float]) -> str:
    values = np.array(off)
    middle = np.median(np.abs(np.expm1(values)))
    return f"{middle:.1%} off in the median ({np.sqrt((values**2).mean()):.3f} rms)"


class _Model:
    """As in fit.py, but for terms whose CPU afterwards is given."""

    def __init__(self, sample: Sample, after: Floats, given: list[int], expected: Floats) -> None:
        self._given = given
        weight = np.array([1 / math.sqrt((sample.names == name).sum()) for name in sample.names])
        kept = np.exp(sample.kept)
        rows = sample.shares / kept[:, None] * weight[:, None]
        rows[:, given] = 0
        gram = rows.T @ rows + PULL * np.eye(rows.shape[1])
        aim = rows.T @ ((kept - after) / kept * weight) + PULL * expected
        self._retained = expected.copy()
        for _ in range(SWEEPS):
            for i in range(len(self._retained)):
                step = (aim[i] - gram[i] @ self._retained) / gram[i, i]
                self._retained[i] = min(RETAINED_MAX, max(0.0, self._retained[i] + step))
        rest = sample.kept - self._plain(sample, after)
        self._neighbours = Neighbours.of(sample.points, rest)

    def _plain(self, sample: Sample, after: Floats) -> Floats:
        retained = self._retained.copy()
        retained[self._given] = 0
        return plain(np.column_stack([sample.shares, after]), np.append(retained, 1.0))

    def predict(self, sample: Sample, after: Floats) -> Floats:
        return self._plain(sample, after) + self._neighbours.predict(sample.points)[0]


def _real_after(terms: Sequence[str]) -> After:
    rows = [_NAMES.index(term) for term in terms]

    def after(pair: Pair) -> float:
        samples = np.array(pair.after.samples, float)
        return float((_GROUPED @ samples)[rows].sum() / samples.sum() * pair.kept)

    return after


def simulated_after(pair: Pair) -> float:
    """By the three loads that are nearest to the profile before."""
    row, shares = pair.before, pair.situation.shares
    seen = np.array([shares[_NAMES.index(term)] for term in SIMULATED])
    work = 1 - seen.sum()
    cores = min(0.95 * CPUS, max(0.005, row.cpu_s / row.duration_s * work))
    found = []
    for service, children in itertools.product(SERVICES, CHILDREN):
        load = Load(service, children, cores)
        before = simulate(Machine(row.procs, CPUS, row.limit_cores), load)
        found.append((_distance(before, seen / work), load, before))
    found.sort(key=lambda each: each[0])
    weights = np.exp([(found[0][0] - distance) / 0.05 for distance, _, _ in found[:3]])
    sums = np.zeros(2)
    for weight, (_, load, before) in zip(weights, found, strict=False):
        after = simulate(Machine(pair.after.procs, CPUS, row.limit_cores), load)
        sums += weight * np.array([after.sum(), max(1e-4, before.sum())])
    return float(seen.sum() * min(1.5, sums[0] / sums[1]))


def _distance(simulated: Floats, seen: Floats) -> float:
    a, b = simulated.sum() + 0.003, seen.sum() + 0.003
    mixture = ((simulated / a - seen / b) ** 2).sum()
    return float(math.log(a / b) ** 2 + mixture / 2)


def simulate(machine: Machine, load: Load) -> Floats:
    """CPU time of the terms, per CPU time of the work."""
    spent = Simulation(machine, load).run(GOROUTINES)
    return np.array([spent[term] for term in SIMULATED]) / max(1, spent["work"])


if __name__ == "__main__":
    sys.exit(main())
