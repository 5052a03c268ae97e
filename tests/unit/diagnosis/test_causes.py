"""The causes of a GOMAXPROCS above what fits, and its bounds, as text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.diagnosis.bounds import long_bound, short_bound
from gotax.diagnosis.causes import SENTENCES, cause_sentence, find_cause
from gotax.diagnosis.context import Context
from gotax.findings import Cause
from gotax.process import Automaxprocs, Binding, CpuLimit, Gomaxprocs, Ignored, Origin

from tests.unit.diagnosis.test_context import context

OWN = CpuLimit(1.0, "/c", 1.0)


def of(found: Gomaxprocs, limit: CpuLimit = OWN, earlier_limit: float | None = None) -> Context:
    seen = context(limit=limit)
    process = replace(seen.report.main_process, gomaxprocs=found)
    report = replace(seen.report, processes=(process,))
    return replace(seen, report=report, earlier_limit=earlier_limit)


QUOTA = Gomaxprocs(8, Origin.CPU_COUNT, 1, bound_by=(Binding.QUOTA,), ignored=Ignored.OLD_GO)
CPUSET = replace(QUOTA, bound_by=(Binding.CPUSET,), ignored=None)


@pytest.mark.parametrize(
    ("found", "limit", "earlier_limit", "cause"),
    [
        (QUOTA, OWN, None, Cause.OLD_GO),
        (replace(QUOTA, value=None), OWN, None, Cause.UNKNOWN),
        (replace(QUOTA, ignored=Ignored.GO_MOD), OWN, None, Cause.GO_MOD),
        (replace(QUOTA, ignored=Ignored.GODEBUG), OWN, None, Cause.GODEBUG),
        (replace(QUOTA, ignored=Ignored.DEBUG_LINE), OWN, None, Cause.DEBUG_LINE),
        (replace(QUOTA, ignored=Ignored.HIDDEN), OWN, None, Cause.HIDDEN),
        (replace(QUOTA, ignored=None), OWN, None, Cause.UNKNOWN),
        (replace(QUOTA, origin=Origin.UNKNOWN), OWN, None, Cause.UNKNOWN),
        (replace(QUOTA, origin=Origin.ENVIRONMENT), OWN, None, Cause.ENVIRONMENT),
        (replace(QUOTA, origin=Origin.CRIO), OWN, None, Cause.ENVIRONMENT),
        (replace(QUOTA, origin=Origin.CALL), OWN, None, Cause.CALL),
        (replace(QUOTA, automaxprocs=Automaxprocs.KNOWN), OWN, None, Cause.AUTOMAXPROCS),
        (replace(QUOTA, origin=Origin.CONTAINER), OWN, None, Cause.RESIZE),
        (replace(CPUSET, origin=Origin.CONTAINER), OWN, None, Cause.FEWER_CPUS),
        (CPUSET, OWN, None, Cause.FEWER_CPUS),
        (replace(CPUSET, origin=Origin.CALL), OWN, None, Cause.CALL),
        # It fitted the earlier limit: exactly, rounded up, rounded down, or as Go's minimum.
        (QUOTA, OWN, 8.0, Cause.RESIZE),
        (QUOTA, OWN, 7.5, Cause.RESIZE),
        (QUOTA, OWN, 8.5, Cause.RESIZE),
        (QUOTA, OWN, 7.0, Cause.OLD_GO),
        (QUOTA, OWN, 9.0, Cause.OLD_GO),
        (replace(QUOTA, value=2), OWN, 0.5, Cause.RESIZE),
        (replace(QUOTA, value=1), OWN, 0.5, Cause.RESIZE),
        (replace(QUOTA, value=3), OWN, 0.5, Cause.OLD_GO),
        (replace(QUOTA, origin=Origin.ENVIRONMENT), OWN, 8.0, Cause.RESIZE),
        (CPUSET, OWN, 8.0, Cause.FEWER_CPUS),
        (replace(QUOTA, value=1), OWN, 1.5, Cause.RESIZE),
        (replace(CPUSET, origin=Origin.CONTAINER), CpuLimit(4.0, "/"), None, Cause.FEWER_CPUS),
        # automaxprocs does not use the number of CPUs.
        (
            replace(CPUSET, origin=Origin.AUTOMAXPROCS, automaxprocs=Automaxprocs.KNOWN),
            OWN,
            None,
            Cause.AUTOMAXPROCS,
        ),
        # Its own cgroup allows more than an ancestor.
        (QUOTA, CpuLimit(1.0, "/"), None, Cause.ANCESTOR),
        (QUOTA, CpuLimit(1.0, "/", 4.0), None, Cause.ANCESTOR),
        (QUOTA, CpuLimit(1.0, "/", 2.1), None, Cause.ANCESTOR),
        (QUOTA, CpuLimit(1.0, "/", 2.0), None, Cause.OLD_GO),  # Go would have chosen 2 for either
        (replace(QUOTA, recommended=3), CpuLimit(3.0, "/", 3.0), None, Cause.OLD_GO),
        (replace(QUOTA, recommended=3), CpuLimit(2.5, "/", 3.0), None, Cause.OLD_GO),
        (replace(QUOTA, recommended=3), CpuLimit(2.5, "/", 3.1), None, Cause.ANCESTOR),
        (replace(QUOTA, recommended=None), CpuLimit(1.0, "/"), None, Cause.OLD_GO),
        (replace(QUOTA, origin=Origin.CONTAINER), CpuLimit(1.0, "/"), None, Cause.ANCESTOR),
    ],
)
def test_causes(
    found: Gomaxprocs, limit: CpuLimit, earlier_limit: float | None, cause: Cause
) -> None:
    """Each cause by its evidence."""
    assert find_cause(of(found, limit, earlier_limit)) is cause


AUTO = replace(QUOTA, automaxprocs=Automaxprocs.KNOWN)


@pytest.mark.parametrize(
    ("found", "cause", "detail"),
    [
        (QUOTA, Cause.OLD_GO, ""),
        (replace(QUOTA, value=None), Cause.CALL, ""),
        (replace(QUOTA, variable=4), Cause.CALL, ", which overrides the variable"),
        (replace(AUTO, variable=4), Cause.CALL, ", which overrides the variable"),
        (replace(QUOTA, variable=4), Cause.OLD_GO, ""),
        (AUTO, Cause.CALL, ". The call may be that of automaxprocs, for another limit"),
        (QUOTA, Cause.CALL, ""),
        (replace(AUTO, variable_is_set=True), Cause.AUTOMAXPROCS, ": the variable GOMAXPROCS is"),
        (
            replace(AUTO, automaxprocs=Automaxprocs.FORK, variable_is_set=True),
            Cause.AUTOMAXPROCS,
            ": the variable GOMAXPROCS is",
        ),
        (replace(AUTO, automaxprocs=Automaxprocs.FORK), Cause.AUTOMAXPROCS, ": it is a fork"),
        (AUTO, Cause.AUTOMAXPROCS, ": it did not find the limit"),
        (replace(AUTO, origin=Origin.AUTOMAXPROCS), Cause.AUTOMAXPROCS, ""),
        (
            replace(AUTO, origin=Origin.AUTOMAXPROCS, bound_by=(Binding.CPUSET,)),
            Cause.AUTOMAXPROCS,
            ": it uses the CPU limit",
        ),
        (
            replace(AUTO, bound_by=(Binding.CPUSET,)),
            Cause.AUTOMAXPROCS,
            ": it did not find the limit",
        ),
    ],
)
def test_a_cause_has_the_details_of_its_context(
    found: Gomaxprocs, cause: Cause, detail: str
) -> None:
    """After the general sentence."""
    sentence = cause_sentence(of(found), cause)
    assert sentence.startswith(SENTENCES[cause])
    said = sentence.removeprefix(SENTENCES[cause])
    assert said.startswith(detail) if detail else said == ""


@pytest.mark.parametrize(
    ("bound_by", "limit", "fits", "short", "long"),
    [
        ((Binding.QUOTA,), OWN, 1, "CPU limit", "a limit of 1 CPU (cgroup /c) fits 1"),
        ((Binding.QUOTA,), CpuLimit(1.5), 2, "CPU limit", "a limit of 1.5 CPU fits 2"),
        (
            (Binding.QUOTA, Binding.CPUSET),
            CpuLimit(2.0, "/c", cpuset_cgroup="/s"),
            2,
            "CPU limit",
            "a limit of 2 CPU (cgroup /c) and a cpuset of 2 CPUs (cgroup /s) both fit 2",
        ),
        (
            (Binding.CPUSET,),
            CpuLimit(4.0, "/c", cpuset_cgroup="/s"),
            1,
            "CPUs of its cpuset",
            "a cpuset of 1 CPU (cgroup /s) fits 1; its limit of 4 CPUs (cgroup /c) allows more",
        ),
        (
            (Binding.AFFINITY,),
            CpuLimit(),
            2,
            "CPUs that its affinity allows",
            "there is no CPU limit, and a CPU affinity (taskset, or a cpuset) of 2 CPUs fits 2",
        ),
        (
            (Binding.AFFINITY,),
            CpuLimit(cpuset_cpus=4),
            2,
            "CPUs that its affinity allows",
            "there is no CPU limit, and a CPU affinity (taskset) of 2 CPUs fits 2",
        ),
        (
            (Binding.HOST,),
            CpuLimit(),
            64,
            "number of CPUs",
            "there is no CPU limit, and a host of 64 CPUs fits 64",
        ),
    ],
)
def test_the_bounds_as_text(
    bound_by: tuple[Binding, ...], limit: CpuLimit, fits: int, short: str, long: str
) -> None:
    """All that give the number, and a limit that would give more."""
    seen = context(8, fits, limit=limit, bound_by=bound_by)
    assert (short_bound(seen), long_bound(seen)) == (short, long)


def test_without_a_recommendation_the_text_says_one() -> None:
    """The context has no recommended value."""
    seen = context(8, None, limit=CpuLimit(), bound_by=(Binding.HOST,))
    assert long_bound(seen) == "there is no CPU limit, and a host of 1 CPU fits 1"


def test_every_cause_has_a_sentence() -> None:
    """No two causes share one."""
    assert set(SENTENCES) == set(Cause)
    assert len(set(SENTENCES.values())) == len(Cause)


def test_a_quota_without_a_limit_is_no_amount() -> None:
    """What was read may contradict itself: there is a sentence all the same."""
    seen = context(8, 2, limit=CpuLimit(), bound_by=(Binding.QUOTA,))
    assert long_bound(seen) == "there is no CPU limit, and a host of 2 CPUs fits 2"
