"""GT020: which containers without Go have it, what it says, and how long it stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.config import Suppression, Thresholds
from gotax.diagnosis.others import DOUBT_S, IDLE_MAX, OtherHistory
from gotax.diagnosis.suppression import suppressed
from gotax.findings import Confidence, Finding, Severity
from gotax.other import OtherUse, Recognised, ThreadGroup, Throttling
from gotax.process import Container, CpuLimit, CpuUsage, Process
from gotax.recipes import load_recipes
from gotax.window import OtherReport

RECIPES = {recipe.name: recipe for recipe in load_recipes()}
BLAS, JAVA, NGINX = RECIPES["OpenBLAS"], RECIPES["Java"], RECIPES["nginx"]
PERIOD_NS = 100_000_000


def throttling(
    throttled: int = 80, stopped_s: float = 12.0, cores: float = 0.5, periods: int = 150
) -> Throttling:
    usage = CpuUsage(int(cores * 15e9), periods, throttled, int(stopped_s * 1e9))
    return Throttling(usage, 15.0, PERIOD_NS)


THROTTLED = throttling()


def use(
    recognised: tuple[Recognised, ...] | None = (Recognised(BLAS),),
    limit: float | None = 1.0,
    found: Throttling | None = THROTTLED,
    processes: int = 1,
    runnable: float | None = 3.0,
) -> OtherUse:
    container = Container("k", "web", "/web")
    return OtherUse(
        container=container,
        samples=100 * processes,
        processes=tuple(Process(7 + n, 1, "python", container) for n in range(processes)),
        process_samples=(100,) * processes,
        threads=20,
        limit=CpuLimit(limit, "/web" if limit else None),
        throttling=found,
        counted=18,
        ran=(ThreadGroup("python", 16), ThreadGroup("", 1)),
        runnable=runnable,
        recognised=recognised,
    )


def judged(one: OtherUse, cpus: int = 64) -> Finding | None:
    report = OtherHistory(Thresholds()).judge(one, 15.0, cpus)
    return report.findings[0] if report.findings else None


def test_a_pool_of_the_nodes_size_under_a_small_limit() -> None:
    """The finding names the setting, the value that fits, and the patch."""
    finding = judged(use())
    assert finding is not None
    assert (finding.code, finding.severity) == ("GT020", Severity.WARNING)
    assert finding.confidence is Confidence.HIGH
    assert finding.title == "Throttled: OpenBLAS runs more threads at once than the limit allows"
    names = ["OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"]
    assert [each.text for each in finding.evidence] == [
        "throttled in 80 of 150 periods, 12.0 s in all on all CPUs",
        "at least 3.0 threads at once ran or waited; a limit of 1 CPU (cgroup /web) fits 1",
        "17 of 18 threads ran: 16 named python, 1 others",
        f"OpenBLAS: none of {', '.join(names)} is set; then {BLAS.unset}",
        "it used 0.50 cores over 15 s",
    ]
    assert finding.remedy.text == "Set the variable OPENBLAS_NUM_THREADS to 1."
    assert "OPENBLAS_NUM_THREADS=1" in finding.remedy.patch
    assert finding.saving is None


def test_the_three_lower_bounds_of_threads_at_once() -> None:
    """A limit of 4 needs 6 threads at once: by the queues, or by the threads; 5 are proven."""
    by_queues = throttling(throttled=80, stopped_s=80 * 0.1 * 3)
    assert judged(use(limit=4.0, found=by_queues, runnable=None)) is not None
    assert judged(use(limit=4.0, found=throttling(), runnable=6.1)) is not None
    assert judged(use(limit=4.0, found=throttling(), runnable=5.9)) is None
    assert judged(use(limit=1.0, found=throttling(stopped_s=1.0), runnable=None)) is not None
    assert judged(use(limit=0.5, found=throttling(stopped_s=4.0), runnable=1.0)) is None


@pytest.mark.parametrize(
    "one",
    [
        use(limit=None),
        use(found=None),
        use(found=throttling(throttled=0, stopped_s=0.0)),
        use(found=throttling(throttled=9)),
        use(found=throttling(throttled=10, stopped_s=1.0, periods=10)),
        use(found=throttling(stopped_s=80 * 0.1 * 0.04)),
        use(limit=3.0, runnable=4.0, found=throttling(stopped_s=4.0)),
        use((Recognised(BLAS, BLAS.knobs[0], 1),)),
    ],
    ids=[
        *("no-limit", "not-read", "not-throttled", "seldom", "too-short", "for-a-moment"),
        *("as-many-as-fit", "set-to-fit"),
    ],
)
def test_silence(one: OtherUse) -> None:
    assert judged(one) is None


def test_a_setting_that_is_too_high_has_its_value() -> None:
    finding = judged(use((Recognised(JAVA, JAVA.knobs[0], 8),)))
    assert finding is not None
    assert finding.severity is Severity.WARNING
    assert "Java: -XX:ActiveProcessorCount is 8" in [e.text for e in finding.evidence]
    assert finding.remedy.text.startswith("Start it with -XX:ActiveProcessorCount=1, on")
    assert finding.remedy.patch == ""


def test_a_missing_setting_proves_nothing_of_a_program_that_follows_the_limit() -> None:
    finding = judged(use((Recognised(JAVA),)))
    assert finding is not None
    assert (finding.severity, finding.confidence) == (Severity.INFO, Confidence.MEDIUM)


def test_a_container_that_uses_all_of_its_limit_is_no_warning() -> None:
    """Fewer threads end the pauses, and give it no more CPU."""
    finding = judged(use(found=throttling(cores=0.99)))
    assert finding is not None
    assert finding.severity is Severity.INFO
    assert "It uses all of its limit" in finding.remedy.text


def test_a_limit_below_one_promises_less_throttling_not_none() -> None:
    finding = judged(use(limit=0.5, found=throttling(cores=0.3)))
    assert finding is not None
    assert "expect less throttling, not none" in finding.remedy.text


@pytest.mark.parametrize("recognised", [(), None])
def test_without_a_recipe_no_setting_is_named(recognised: tuple[Recognised, ...] | None) -> None:
    finding = judged(use(recognised))
    assert finding is not None
    assert finding.title == "Throttled: more threads run at once than the CPU limit allows"
    assert finding.severity is Severity.INFO
    assert any("no recipe knows the program (python)" in e.text for e in finding.evidence)
    assert finding.remedy.patch == ""


def test_what_could_not_be_read_is_told() -> None:
    finding = judged(replace(use(None), unread="procfs-denied"))
    assert finding is not None
    assert any("could not be read (procfs-denied)" in e.text for e in finding.evidence)


def test_the_number_is_divided_by_the_busy_processes_or_for_all() -> None:
    """A limit of 4: two processes get 2 threads each, nginx gets 4 workers."""
    four = throttling(cores=2.0)
    finding = judged(use(limit=4.0, found=four, runnable=9.0, processes=2))
    assert finding is not None
    assert finding.remedy.text == "Set the variable OPENBLAS_NUM_THREADS to 2."
    finding = judged(use((Recognised(NGINX),), 4.0, four, processes=8, runnable=9.0))
    assert finding is not None
    assert "Set worker_processes to 4 in nginx.conf" in finding.remedy.text
    assert finding.title == "Throttled: nginx runs more processes at once than the limit allows"


def test_processes_that_each_fit_are_still_too_many() -> None:
    """Eight workers with one thread each, under a limit of 1."""
    fits = (Recognised(BLAS, BLAS.knobs[0], 1),)
    finding = judged(use(fits, processes=8))
    assert finding is not None
    assert any("the settings of OpenBLAS fit each process" in e.text for e in finding.evidence)
    assert finding.remedy.patch == ""


def test_the_cpus_bound_what_fits() -> None:
    """A limit of 8 on a host of 2 CPUs fits 2."""
    finding = judged(use(limit=8.0, runnable=3.1, found=throttling(cores=1.0)), cpus=2)
    assert finding is not None
    assert finding.remedy.text == "Set the variable OPENBLAS_NUM_THREADS to 2."


def windows(history: OtherHistory, *uses: OtherUse) -> list[tuple[str, ...]]:
    found = []
    for one in uses:
        report = history.judge(one, 15.0, 64)
        history.end_window()
        found.append(tuple(finding.code for finding in report.findings))
    return found


def test_it_stays_through_quiet_windows_and_goes_after_a_quarter_of_an_hour() -> None:
    history = OtherHistory(Thresholds())
    quiet = use(found=throttling(throttled=0, stopped_s=0.0), runnable=None)
    assert windows(history, use(), quiet) == [("GT020",)] * 2
    assert history.judge(quiet, 15.0, 64).findings[0].held_s == 45.0
    rest = windows(history, *[quiet] * (int(DOUBT_S / 15) + 4))
    assert rest[0] == ("GT020",)
    assert rest[-1] == ()


@pytest.mark.parametrize("what", ["processes", "limit"])
def test_new_processes_and_another_limit_end_it_at_once(what: str) -> None:
    history = OtherHistory(Thresholds())
    quiet = use(found=throttling(throttled=0, stopped_s=0.0), runnable=None)
    if what == "processes":
        other = replace(quiet, processes=(Process(99, 2, "python", quiet.container),))
    else:
        other = replace(quiet, limit=CpuLimit(2.0, "/web"))
    assert windows(history, use(), other) == [("GT020",), ()]


def test_a_container_that_is_gone_is_forgotten() -> None:
    history = OtherHistory(Thresholds())
    windows(history, use())
    for _ in range(IDLE_MAX + 1):
        history.end_window()
    quiet = use(found=throttling(throttled=0, stopped_s=0.0), runnable=None)
    assert windows(history, quiet) == [()]


def test_it_can_be_suppressed() -> None:
    report = OtherHistory(Thresholds()).judge(use(), 15.0, 64)
    assert isinstance(report, OtherReport)
    hidden = suppressed(report, [Suppression("GT020", "", "web")])
    assert (hidden.findings, hidden.suppressed) == ((), ("GT020",))
    assert suppressed(report, [Suppression("GT020", "", "other")]) == report
