"""Compares one workload before and after: the changes, their certainty, and the prediction.

The number of samples gives the uncertainty of shares. CPU time is exact, because it comes from the
kernel. But the next minute may differ from this one; the scatter between blocks of time shows by
how much. Nothing shows whether the load was the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from gotax.category import RUNTIME_GROUPS, Category, Group
from gotax.comparison import (
    Comparison,
    Delta,
    Estimate,
    Observation,
    Outcome,
    Work,
    collector_changes,
)
from gotax.confidence import difference, mean_reach
from gotax.findings import Saving

MIN_SAMPLES = 50  # as for a verdict: below, shares say little


@dataclass(frozen=True, slots=True)
class Tuned:
    """A setting of a remedy, as GOMEMLIMIT=324MiB, and what it is predicted to save."""

    setting: str
    saving: Saving

    def is_applied(self, after: Observation) -> bool:
        """A higher memory limit than that of the remedy is one, too."""
        name, _, value = self.setting.partition("=")
        if name == "GOGC":
            return str(after.gogc) == value
        limit = after.memory_limit_bytes
        number = value.removesuffix("MiB")
        return limit is not None and number.isdecimal() and limit >= int(number) << 20


def tuned_of(findings: Iterable[tuple[str, Saving | None]]) -> Tuned | None:
    """The largest saving of these remedies: (setting, saving)."""
    found = [Tuned(setting, saving) for setting, saving in findings if setting and saving]
    return max(found, key=lambda each: each.saving.mid, default=None)


@dataclass(frozen=True, slots=True)
class Subject:
    """A container of a recording or of the agent.

    ``program``: the path of the main module, else the command. ``version``: that of the main
    module. ``predicted``: the predicted saving of the recommended GOMAXPROCS, or
    None; ``tuned``: that of another GOGC or GOMEMLIMIT.
    """

    name: str
    cgroup: str
    observation: Observation
    container_id: str | None = None
    unit: str | None = None
    program: str = ""
    version: str = ""
    commands: tuple[str, ...] = ()
    predicted: Saving | None = None
    tuned: Tuned | None = None

    def answers_to(self, name: str) -> bool:
        """Whether ``name`` on the command line means this container."""
        names = {self.name, self.cgroup, self.unit, self.program, *self.commands}
        return name in names or bool(name and (self.container_id or "").startswith(name))


@dataclass(frozen=True, slots=True)
class Pair:
    before: Subject
    after: Subject
    matched_by: str


@dataclass(frozen=True, slots=True)
class Matching:
    """``unmatched``: (before or after, name, why)."""

    pairs: tuple[Pair, ...]
    unmatched: tuple[tuple[str, str, str], ...]


_RULES: tuple[tuple[str, Callable[[Subject], Hashable]], ...] = (
    ("cgroup", lambda subject: (subject.cgroup, subject.program)),
    ("name", lambda subject: (subject.name, subject.program)),
    ("program", lambda subject: subject.program),
)


def match(before: Sequence[Subject], after: Sequence[Subject]) -> Matching:
    """Matches the containers before with those after.

    First by program and cgroup, then by program and name, then by program. Each rule matches only
    if exactly one container on each side has this key: replicas cannot be matched.
    """
    left, right = list(before), list(after)
    pairs = []
    for label, key in _RULES:
        of_left, of_right = _unique(left, key), _unique(right, key)
        for value in [value for value in of_left if value in of_right]:
            pairs.append(Pair(of_left[value], of_right[value], label))
            left.remove(of_left[value])
            right.remove(of_right[value])
    return Matching(tuple(pairs), (*_unmatched(left, right), *_unmatched(right, left, "after")))


def _unique(
    subjects: Iterable[Subject], key: Callable[[Subject], Hashable]
) -> dict[Hashable, Subject]:
    subjects = list(subjects)
    counts = Counter(key(subject) for subject in subjects)
    return {key(subject): subject for subject in subjects if counts[key(subject)] == 1}


def _unmatched(
    left: Sequence[Subject], right: Sequence[Subject], side: str = "before"
) -> Iterable[tuple[str, str, str]]:
    here = Counter(subject.program for subject in left)
    there = Counter(subject.program for subject in right)
    for subject in left:
        many = max(here[subject.program], there[subject.program])
        if there[subject.program]:
            why = f"{many} containers run {subject.program}: it is unclear which one became which"
        else:
            why = f"no such container {'after' if side == 'before' else 'before'}"
        yield side, subject.name, why


def compare(pair: Pair, work: Work | None = None) -> Comparison:
    """``work``: units of work per second, both above 0, or None if unknown."""
    before, after = pair.before.observation, pair.after.observation
    saving = _saving(before, after, work)
    predicted, wanted, is_applied = _prediction(pair)
    return Comparison(
        name=pair.before.name,
        matched_by=pair.matched_by,
        before=before,
        after=after,
        cores=_mean_delta(before, after, (1.0, 1.0)),
        runtime=share_delta(before, after, *RUNTIME_GROUPS),
        shares=tuple((group, share_delta(before, after, group)) for group in Group),
        categories=tuple(
            (category, _delta_of_samples(before, after, category_samples))
            for category in Category
            if any(
                category_samples := (
                    before.category_samples[category],
                    after.category_samples[category],
                )
            )
        ),
        work=work,
        cpu_per_unit=_mean_delta(before, after, (1 / work.before, 1 / work.after))
        if work
        else None,
        saving=saving,
        predicted=predicted,
        outcome=_outcome(saving, predicted, is_applied),
        caveats=tuple(_caveats(pair, work)),
        predicted_for=wanted,
    )


def _prediction(pair: Pair) -> tuple[Saving | None, str, bool]:
    """What was predicted, for which setting, and whether that was applied.

    Of another GOGC or GOMEMLIMIT, if one of them changed and GOMAXPROCS did not.
    """
    before, after, tuned = pair.before.observation, pair.after.observation, pair.before.tuned
    is_about_memory = before.gomaxprocs == after.gomaxprocs and (
        _settings(before) != _settings(after) or pair.before.predicted is None
    )
    if tuned is not None and is_about_memory:
        return tuned.saving, tuned.setting, tuned.is_applied(after)
    predicted, recommended = pair.before.predicted, before.recommended
    wanted = "" if predicted is None else f"GOMAXPROCS={recommended}"
    return predicted, wanted, after.gomaxprocs is not None and after.gomaxprocs == recommended


def _settings(seen: Observation) -> tuple[int | None, int | None]:
    return seen.gogc, seen.memory_limit_bytes


def share_delta(before: Observation, after: Observation, *groups: Group) -> Delta:
    """Of the share of these groups in the samples."""
    return _delta_of_samples(before, after, (before.samples_of(*groups), after.samples_of(*groups)))


def _delta_of_samples(before: Observation, after: Observation, samples: tuple[int, int]) -> Delta:
    totals = before.samples, after.samples
    low, high = difference((samples[0], totals[0]), (samples[1], totals[1]))
    shares = [part / total if total else 0.0 for part, total in zip(samples, totals, strict=True)]
    return Delta(shares[0], shares[1], low, high)


def _mean_delta(before: Observation, after: Observation, scale: tuple[float, float]) -> Delta:
    """Of the CPU, each side times its scale."""
    values = before.cores * scale[0], after.cores * scale[1]
    reach = _reach(before, after, scale)
    if reach is None:
        return Delta(*values)
    change = values[1] - values[0]
    return Delta(*values, change - reach, change + reach)


def _reach(before: Observation, after: Observation, scale: tuple[float, float]) -> float | None:
    return mean_reach(
        (before.blocks, before.cores_variance * scale[0] ** 2),
        (after.blocks, after.cores_variance * scale[1] ** 2),
    )


def _saving(before: Observation, after: Observation, work: Work | None) -> Estimate:
    """In cores; at the work of before where it is known."""
    grown = _mean_delta(before, after, (1.0, work.before / work.after if work else 1.0))
    if grown.low is None or grown.high is None:
        return Estimate(-grown.change)
    return Estimate(-grown.change, -grown.high, -grown.low)


def _outcome(saving: Estimate, predicted: Saving | None, is_applied: bool) -> Outcome:
    if predicted is None:
        return Outcome.NOT_PREDICTED
    if not is_applied:
        return Outcome.NOT_APPLIED
    if saving.value < predicted.low:
        return Outcome.BELOW
    return Outcome.ABOVE if saving.value > predicted.high else Outcome.WITHIN


def _caveats(pair: Pair, work: Work | None) -> Iterable[str]:
    before, after = pair.before.observation, pair.after.observation
    if work is None:
        yield (
            "no throughput was given: the CPU figures can be compared only if the load was the same"
        )
    if before.blocks < 2 or after.blocks < 2:
        yield (
            "the CPU is exact for the measured time, but one window on a side does not show how"
            " much the CPU varies"
        )
    else:
        yield (
            "the interval of CPU covers the variation within the measured time, not a load that"
            " differs from hour to hour"
        )
    also = collector_changes(before, after)
    if before.gomaxprocs == after.gomaxprocs:
        if not also:
            yield (
                f"GOMAXPROCS is {before.gomaxprocs} on both sides: the difference has another cause"
            )
        also = also[1:]  # the first one is what is compared
    others = (
        *also,
        ("Go", before.go_version, after.go_version),
        ("the CPU limit", _cores(before.limit_cores), _cores(after.limit_cores)),
        ("the program's version", pair.before.version, pair.after.version),
    )
    for what, old, new in others:
        if old != new:
            yield (
                f"{what} changed too, {old or 'unknown'} to {new or 'unknown'}: this also affects"
                " the numbers"
            )
    if min(before.samples, after.samples) < MIN_SAMPLES:
        yield (
            f"{min(before.samples, after.samples)} samples on one side are too few for reliable"
            " shares: the intervals are wide"
        )


def _cores(limit: float | None) -> str:
    return "none" if limit is None else f"{limit:g}"
