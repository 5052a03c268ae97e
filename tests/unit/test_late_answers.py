"""What the agent makes of a reader that does not answer in time, or never."""

# ruff: noqa: F811 (fixtures of another module)
from __future__ import annotations

import os
import shutil
from collections import Counter
from typing import Any

import pytest
from gotax.category import Category
from gotax.config import Thresholds
from gotax.errors import AccessError
from gotax.pipeline import Pipeline
from gotax.processes.resolver import Resolver
from gotax.reader.asking import HOSTILE, PENDING, InProcess, Subject
from gotax.sampling.sampler import NewProcess
from gotax.window import Window

from tests.unit.host import Host, Program, set_memory
from tests.unit.test_pipeline import (
    EVERYTHING,
    RUN_ONE,
    SPAN,
    Known,
    StackCount,
    check_books,
    drain,
    host,  # noqa: F401
    known,  # noqa: F401
    names,
    native,  # noqa: F401
    use_cpu,
)

pytestmark = pytest.mark.toolchain


class Moody(InProcess):
    """Refuses the questions in ``refused``, each for its reason."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: dict[str, str] = {}
        self.asked = Counter[str]()

    def ask(self, subject: Subject, question: str, *arguments: Any) -> Any:
        self.asked[question] += 1
        if question in self.refused:
            raise AccessError(self.refused[question])
        return super().ask(subject, question, *arguments)


def of(host: Host, reader: Moody) -> Pipeline:
    return Pipeline(Resolver(host.roots, reader), "host", Thresholds(), EVERYTHING)


def sampled(walk: Pipeline, known: Known) -> Window:
    """A window of one drain of the same stack."""
    walk.absorb(drain([StackCount(7, 100, 1)], {1: [known.main]}), 0.0)
    window = walk.window(SPAN)
    check_books(window, 100)
    return window


def categories(window: Window) -> set[int]:
    return set(window.profile.category.tolist())


@pytest.mark.parametrize("question", ["exe_id", "describe"])
def test_a_program_that_is_late_is_judged_in_the_next_drain(
    host: Host,
    known: Known,
    question: str,
) -> None:
    """Its samples are neither lost nor those of a program that is not Go."""
    reader = Moody()
    reader.refused[question] = PENDING
    walk = of(host, reader)
    host.start(7, 100, known.program)
    window = sampled(walk, known)
    assert [(each.reason, each.processes, each.samples) for each in window.unjudged] == [
        (PENDING, 1, 100)
    ]
    assert not window.reports
    assert window.health.errors[PENDING]
    reader.refused.clear()
    window = sampled(walk, known)
    assert not window.unjudged
    assert categories(window) == {int(Category.USER)}


def test_pending_programs_are_read_before_the_first_window(
    host: Host,
    known: Known,
) -> None:
    reader = Moody()
    reader.refused["describe"] = PENDING
    walk = of(host, reader)
    host.start(7, 100, known.program)
    walk.scan()
    assert walk.read_pending()  # there is more, and whether this helped is not known yet
    assert not walk.read_pending()  # it did not
    reader.refused.clear()
    assert not walk.read_pending()
    assert sampled(walk, known).reports


@pytest.mark.parametrize("question", ["exe_id", "describe"])
def test_cpu_time_of_a_program_that_is_late_is_that_since_the_start(
    host: Host, known: Known, question: str
) -> None:
    """The time of its whole life, which may be years, was that of its first window."""
    reader = Moody()
    reader.refused[question] = PENDING
    walk = of(host, reader)
    host.start(7, 100, known.program)
    use_cpu(host, 7, 1_000_000)
    walk.scan()
    reader.refused.clear()
    use_cpu(host, 7, 1_000_080)
    (report,) = sampled(walk, known).reports
    assert report.cpu_ns == 800_000_000
    use_cpu(host, 7, 1_000_100)
    (report,) = sampled(walk, known).reports
    assert report.cpu_ns == 200_000_000


@pytest.mark.parametrize("start_ticks", [100, 1 << 40])
@pytest.mark.parametrize("scans", [True, False])
def test_cpu_time_of_a_program_that_is_windows_late_is_its_samples(
    host: Host, known: Known, scans: bool, start_ticks: int
) -> None:
    """In the windows before, its time was that of an unjudged program."""
    reader = Moody()
    reader.refused["describe"] = PENDING
    walk = of(host, reader)
    host.start(7, start_ticks, known.program)
    use_cpu(host, 7, 1_000)
    if scans:
        walk.scan()
    for _ in range(2):
        assert not sampled(walk, known).reports
    reader.refused.clear()
    use_cpu(host, 7, 1_080)
    (report,) = sampled(walk, known).reports
    assert report.cpu_ns == 100 * SPAN.period_ns
    use_cpu(host, 7, 1_100)
    (report,) = sampled(walk, known).reports
    assert report.cpu_ns == 200_000_000


def test_cpu_time_of_an_old_process_seen_between_drains_is_no_lifetime(
    host: Host, known: Known
) -> None:
    """Its first window ends before a drain has seen it."""
    number = host.cgroup(RUN_ONE)
    walk = of(host, Moody())
    host.start(7, 100, known.program, RUN_ONE)
    use_cpu(host, 7, 1_000_000)
    assert walk.read_new([NewProcess(number, 7)]) == [7]
    host.spoil(7, "stat")
    (report,) = walk.window(SPAN).reports
    assert report.cpu_ns == 0
    host.start(7, 100, known.program, RUN_ONE)
    use_cpu(host, 7, 1_000_080)
    (report,) = sampled(walk, known).reports
    assert report.cpu_ns == 100 * SPAN.period_ns


@pytest.mark.parametrize("question", ["calls", "maps", "find_mapped", "auxiliary"])
def test_stacks_without_names_yet_are_not_kept(
    host: Host,
    known: Known,
    question: str,
) -> None:
    """The same stack has its category as soon as there is an answer."""
    reader = Moody()
    walk = of(host, reader)
    reader.refused[question] = PENDING
    host.start(7, 100, known.program)
    window = sampled(walk, known)
    if question in ("calls", "maps"):
        assert categories(window) == {int(Category.UNKNOWN)}
        assert window.health.errors[PENDING]
        assert names(window) == {"[not read yet]", "[truncated]"}
    assert int(Category.NATIVE) not in categories(window)
    reader.refused.clear()
    window = sampled(walk, known)
    assert categories(window) == {int(Category.USER)}
    assert names(window) == {"main.main", "[truncated]"}


@pytest.mark.parametrize("question", ["calls", "maps"])
def test_a_refusal_for_good_is_not_called_late(host: Host, known: Known, question: str) -> None:
    reader = Moody()
    walk = of(host, reader)
    reader.refused[question] = "file-denied"
    host.start(7, 100, known.program)
    window = sampled(walk, known)
    assert names(window) & {"[not read yet]", "[unmapped]"} == set()
    assert "[unreadable module]" in names(window)


def test_gomaxprocs_that_is_late_stays_what_it_was(
    host: Host,
    known: Known,
) -> None:
    """A verdict does not flap because the host is busy."""
    reader = Moody()
    walk = of(host, reader)
    host.start(7, 100, known.program)
    set_memory(host, 7, known.gomaxprocs, b"\x04")
    before = sampled(walk, known).reports[0].main_process.gomaxprocs
    assert before is not None
    assert before.value == 4
    reader.refused["runtime_values"] = PENDING
    assert sampled(walk, known).reports[0].main_process.gomaxprocs == before


def test_a_hostile_program_is_named_and_asked_once(
    host: Host,
    known: Known,
) -> None:
    reader = Moody()
    reader.refused["describe"] = HOSTILE
    walk = of(host, reader)
    host.start(7, 100, known.program)
    for _ in range(3):
        window = sampled(walk, known)
        assert [(each.reason, each.samples) for each in window.unjudged] == [(HOSTILE, 100)]
    assert reader.asked["describe"] == 1


def test_a_program_that_turns_out_to_be_hostile_is_unreadable(
    host: Host,
    known: Known,
) -> None:
    """It was read at first. Its tables are what holds the reader up."""
    reader = Moody()
    reader.refused["calls"] = HOSTILE
    walk = of(host, reader)
    host.start(7, 100, known.program)
    set_memory(host, 7, known.gomaxprocs, b"\x04")
    for _ in range(2):
        window = sampled(walk, known)
        assert categories(window) == {int(Category.UNKNOWN)}
    (report,) = window.reports
    assert report.verdict.value == "unreadable"
    (finding,) = report.findings
    assert finding.code == "GT015"
    assert finding.evidence[0].text == f"reason: {HOSTILE}"


def test_a_touched_program_is_the_same(host: Host, known: Known) -> None:
    """touch: its CPU time was lost as that of another program."""
    path = host.proc.parent / "program"
    shutil.copy(known.program.path, path)
    line = known.program.maps.replace(str(known.program.path), str(path))
    walk = of(host, Moody())
    host.start(7, 100, Program(path, line))
    assert categories(sampled(walk, known)) == {int(Category.USER)}
    for number in range(3):
        os.utime(path, ns=(number, number))
        window = sampled(walk, known)
        assert not window.samples.lost
        assert categories(window) == {int(Category.USER)}


def test_a_program_that_renames_its_own_file_is_the_same(host: Host, known: Known) -> None:
    """Its CPU time was lost as that of another program, for as long as it went on."""
    path = host.proc.parent / "program"
    shutil.copy(known.program.path, path)
    walk = of(host, Moody())
    for number in range(4):
        path = path.rename(path.with_name(f"program{number}"))
        line = known.program.maps.replace(str(known.program.path), str(path))
        host.start(7, 100, Program(path, line))  # with the same stack
        window = sampled(walk, known)
        assert not window.samples.lost
        assert categories(window) == {int(Category.USER)}
