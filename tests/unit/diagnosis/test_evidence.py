"""Evidence that several rules share: each text from the numbers that it is of."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.diagnosis.context import Context
from gotax.diagnosis.rules import evidence
from gotax.findings import Saving
from gotax.process import Automaxprocs, Gomaxprocs, Origin

from tests.unit.diagnosis.test_context import USUAL, context


def of(found: Gomaxprocs | None) -> Context:
    seen = context()
    process = replace(seen.report.main_process, gomaxprocs=found)
    return replace(seen, report=replace(seen.report, processes=(process,)))


@pytest.mark.parametrize(
    ("origin", "automaxprocs", "text"),
    [
        (Origin.ENVIRONMENT, Automaxprocs.NONE, "set by the GOMAXPROCS environment variable"),
        (
            Origin.CRIO,
            Automaxprocs.NONE,
            "set by CRI-O: twice the CPU request, for a container without a limit",
        ),
        (Origin.AUTOMAXPROCS, Automaxprocs.KNOWN, "set by automaxprocs"),
        (Origin.AUTOMAXPROCS, Automaxprocs.FORK, "set by a fork of automaxprocs"),
        (Origin.CALL, Automaxprocs.NONE, "set by a call of runtime.GOMAXPROCS"),
        (Origin.CALL, Automaxprocs.FORK, "set by a call of runtime.GOMAXPROCS"),
        (Origin.CONTAINER, Automaxprocs.NONE, "computed by Go from the cgroup limit"),
        (Origin.CPU_COUNT, Automaxprocs.NONE, "the number of CPUs, Go's default"),
        (Origin.FIXED, Automaxprocs.NONE, "the default of Go before 1.5"),
        (Origin.UNKNOWN, Automaxprocs.NONE, "of unknown origin"),
    ],
)
def test_every_origin_has_its_words(origin: Origin, automaxprocs: Automaxprocs, text: str) -> None:
    """A fork is one only where it has set the value."""
    seen = of(Gomaxprocs(8, origin, 1, automaxprocs=automaxprocs))
    assert evidence.origin_text(seen) == text
    value = evidence.value_evidence(seen)
    assert value.text.startswith(f"GOMAXPROCS is 8, {text}; a limit of 1 CPU")
    assert (value.value, value.unit) == (8, "count")


@pytest.mark.parametrize(
    ("cores", "share"), [(2.0, ", 25% of its CPU"), (0.5, ", 100% of its CPU"), (None, ""), (0, "")]
)
def test_a_saving_is_a_share_of_what_it_uses(cores: float | None, share: str) -> None:
    """Where that is known, and is something."""
    seen = context(cpu_ns=None if cores is None else round(cores * 10**10))
    found = evidence.saving_evidence(seen, Saving(0.25, 0.5, 0.75), 2)
    text = f"GOMAXPROCS=2 is predicted to save 0.50 cores{share} (0.25 to 0.75)"
    assert (found.text, found.value, found.interval) == (text, 0.5, (0.25, 0.75))
    assert (found.unit, found.window_s) == ("cores", 10.0)


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (0, "0 samples in 10 s; a verdict needs at least 50"),
        (49, "49 samples in 10 s; a verdict needs at least 50"),
        (50, "50 samples in 10 s are not enough to determine the cost"),
    ],
)
def test_too_few_samples_are_counted(samples: int, text: str) -> None:
    """Below the least number, or too few for this cost."""
    found = evidence.power_evidence(context(USER=samples))
    assert (found.text, found.value, found.window_s) == (text, samples, 10.0)


def test_time_that_could_not_be_read_is_a_share() -> None:
    """10 of 100 samples are above the 2 % that are normal."""
    found = evidence.hidden_evidence(context(UNKNOWN=10, USER=90))
    assert found.text.startswith("could not be read, and may be the runtime: 10.0% of its CPU time")
    assert (found.value, found.unit) == (0.1, "share")


@pytest.mark.parametrize("origin", Origin)
def test_what_is_said_of_a_call_is_said_only_of_one(origin: Origin) -> None:
    """Not of a value that was not read, either."""
    text = evidence.if_called(of(Gomaxprocs(8, origin, 1)), "check")
    assert text == ("check" if origin is Origin.CALL else "")
    assert evidence.if_called(of(None), "check") == ""


@pytest.mark.parametrize(("lenient", "part"), [(False, 1.0), (True, 0.6)])
def test_an_earlier_finding_has_to_reach_a_part_of_the_threshold(
    lenient: bool, part: float
) -> None:
    """The release threshold."""
    assert evidence.ease(replace(context(), lenient=lenient)) == part
    assert USUAL.release == 0.6
