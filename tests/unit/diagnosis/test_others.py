"""GT020: which containers without Go have it, what it says, and how long it stays."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from gotax.confidence import interval
from gotax.config import Suppression, Thresholds
from gotax.diagnosis.others import DOUBT_S, OtherHistory
from gotax.diagnosis.suppression import suppressed
from gotax.findings import Confidence, Finding, Remedy, Severity
from gotax.other import OtherUse, Recognised, ThreadGroup, Throttling
from gotax.process import Container, CpuLimit, CpuUsage, Process
from gotax.recipe import Knob, Recipe
from gotax.recipes import load_recipes
from gotax.window import OtherReport

RECIPES = {recipe.name: recipe for recipe in load_recipes()}
BLAS, JAVA, NGINX = RECIPES["OpenBLAS"], RECIPES["Java"], RECIPES["nginx"]
MKL, OPENMP, CELERY = RECIPES["MKL"], RECIPES["OpenMP"], RECIPES["Celery"]
NO_OPTION = "its command line, as far as it shows it, has no --concurrency or -c"
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


def judged(one: OtherUse, cpus: int = 64, thresholds: Thresholds | None = None) -> Finding | None:
    report = OtherHistory(thresholds or Thresholds()).judge(one, 15.0, cpus)
    return report.findings[0] if report.findings else None


def told(one: OtherUse, cpus: int = 64) -> str:
    """The sentences of its evidence."""
    finding = judged(one, cpus)
    assert finding is not None
    return "\n".join(each.text for each in finding.evidence)


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
    assert finding.evidence[0].value == 80 / 150
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
        replace(use(), limit=None),
        use(found=None),
        use(found=throttling(throttled=0, stopped_s=0.0)),
        use(found=throttling(throttled=9)),
        use(found=throttling(throttled=10, stopped_s=1.0, periods=10)),
        use(found=throttling(stopped_s=80 * 0.1 * 0.04)),
        use(limit=3.0, runnable=4.0, found=throttling(stopped_s=4.0)),
        use((Recognised(BLAS, BLAS.knobs[0], 1),)),
    ],
    ids=[
        *(
            "no-limit",
            "limit-not-read",
            "not-read",
            "not-throttled",
            "seldom",
            "too-short",
            "for-a-moment",
        ),
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


@pytest.mark.parametrize(
    ("recognised", "text"),
    [
        ((), "no recipe knows the program (python)"),
        (None, "the settings of the program (python) have not been read"),
    ],
)
def test_without_a_recipe_no_setting_is_named(
    recognised: tuple[Recognised, ...] | None, text: str
) -> None:
    """A program that was not looked at is not one that no recipe knows."""
    finding = judged(use(recognised, limit=4.0, runnable=9.0))
    assert finding is not None
    assert finding.title == "Throttled: more threads run at once than the CPU limit allows"
    assert finding.severity is Severity.INFO
    assert text in told(use(recognised))
    assert finding.remedy == Remedy("Let it run at most 4 at once: threads, workers or processes.")


def test_what_could_not_be_read_is_told() -> None:
    finding = judged(replace(use(None), unread="procfs-denied"))
    assert finding is not None
    assert any("could not be read (procfs-denied)" in e.text for e in finding.evidence)
    assert f"could not be read ({'x' * 100})" in told(replace(use(None), unread="x" * 101))


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


@pytest.mark.parametrize(
    ("cpus", "cpuset", "fits"), [(64, 2, 2), (64, None, 8), (4, 6, 4), (0, None, 8)]
)
def test_the_fewest_of_limit_cpus_and_cpuset_fit(cpus: int, cpuset: int | None, fits: int) -> None:
    """A number of CPUs that is not known bounds nothing."""
    one = replace(use(runnable=20.0), limit=CpuLimit(8.0, "/web", cpuset_cpus=cpuset))
    assert f"a limit of 8 CPU (cgroup /web) fits {fits}\n" in told(one, cpus)


@pytest.mark.parametrize(
    ("one", "thresholds", "is_found"),
    [
        (use(found=throttling(stopped_s=80 * 0.1 * 0.05)), Thresholds(), True),
        (use(found=throttling(stopped_s=80 * 0.1 * 0.049)), Thresholds(), False),
        (use(found=throttling(20, periods=20)), Thresholds(), True),
        (use(found=throttling(19, periods=19)), Thresholds(), False),
        (use(), Thresholds(throttled_share=interval(80, 150)[0]), True),
        (use(), Thresholds(throttled_share=math.nextafter(interval(80, 150)[0], 1)), False),
        (use(limit=4.0, found=throttling(stopped_s=1.0), runnable=6.0), Thresholds(), True),
        (use(limit=4.0, found=throttling(stopped_s=1.0), runnable=5.99), Thresholds(), False),
        (
            use(limit=0.5, found=throttling(stopped_s=1.0), runnable=None),
            Thresholds(mismatch_ratio=1.0),
            False,
        ),
    ],
    ids=[
        *("stopped-a-moment", "stopped-less", "enough-periods", "too-few-periods"),
        *("share", "below-the-share", "ratio", "below-the-ratio", "no-proof-below-a-limit-of-1"),
    ],
)
def test_the_thresholds(one: OtherUse, thresholds: Thresholds, is_found: bool) -> None:
    assert (judged(one, thresholds=thresholds) is not None) == is_found


@pytest.mark.parametrize(
    ("cores", "severity"), [(0.85, Severity.INFO), (0.84, Severity.WARNING), (None, Severity.INFO)]
)
def test_only_a_use_that_is_known_to_be_below_the_limit_makes_a_warning(
    cores: float | None, severity: Severity
) -> None:
    """Without the kernel's number neither "0.00 cores" nor "all of its limit" is said."""
    usage = replace(THROTTLED.usage, usage_ns=None if cores is None else int(cores * 15e9))
    finding = judged(use(found=replace(THROTTLED, usage=usage)))
    assert finding is not None
    assert finding.severity is severity
    used = [each.value for each in finding.evidence if each.text.startswith("it used")]
    assert used == ([] if cores is None else [pytest.approx(cores)])
    assert ("all of its limit" in finding.remedy.text) == (cores == 0.85)


def test_a_stopped_time_that_is_not_known_proves_nothing() -> None:
    usage = replace(THROTTLED.usage, throttled_ns=None)
    assert judged(use(found=replace(THROTTLED, usage=usage))) is None


@pytest.mark.parametrize(
    ("samples", "busy"),
    [
        ((1000, 50), 2),
        ((1000, 49), 1),
        ((10,) * 40, 40),
        ((1,), 1),
        ((1, 1), 2),
        ((1, 0), 1),
        ((0, 0), 1),
        ((), 1),
    ],
)
def test_a_process_is_busy_beside_the_busiest(samples: tuple[int, ...], busy: int) -> None:
    """Each of forty equal workers has less than 5 % of the samples, and all are busy."""
    one = replace(use(processes=len(samples)), samples=sum(samples), process_samples=samples)
    text = told(one)
    assert (f"1 others; {busy} processes were busy" in text) == (busy > 1)
    assert ("processes were busy" in text) == (busy > 1)


def test_forty_workers_with_a_setting_each_are_too_many() -> None:
    """They were taken for none: their setting fits one, and the finding was missing."""
    one = use((Recognised(BLAS, BLAS.knobs[0], 1),), limit=4.0, processes=40, runnable=9.0)
    assert "the settings of OpenBLAS fit each process, but there are several" in told(one)


@pytest.mark.parametrize(
    ("processes", "ran", "what"),
    [(8, 16, "processes"), (8, 17, "threads"), (8, None, "processes"), (1, 2, "threads")],
)
def test_the_title_says_whether_processes_or_their_threads_are_too_many(
    processes: int, ran: int | None, what: str
) -> None:
    """More than two threads of each process are a pool."""
    groups = None if ran is None else (ThreadGroup("python", ran),)
    finding = judged(replace(use(processes=processes), ran=groups))
    assert finding is not None
    name = "OpenBLAS runs more"
    assert finding.title == f"Throttled: {name} {what} at once than the limit allows"
    finding = judged(replace(use((), processes=processes), ran=groups))
    assert finding is not None
    assert finding.title == f"Throttled: more {what} run at once than the CPU limit allows"


@pytest.mark.parametrize(
    ("ran", "text"),
    [
        ((), "0 of 18 threads ran\n"),
        (
            tuple(ThreadGroup(name, 1) for name in "abcde"),
            "5 of 18 threads ran: 1 named a, 1 named b, 1 named c, 1 named d\n",
        ),
    ],
)
def test_at_most_four_groups_of_threads_are_named(ran: tuple[ThreadGroup, ...], text: str) -> None:
    assert text in told(replace(use(), ran=ran))


def test_threads_that_were_not_looked_at_are_not_counted() -> None:
    assert "threads ran" not in told(replace(use(), ran=None))


@pytest.mark.parametrize(
    ("recognised", "text"),
    [
        (Recognised(OPENMP), f"OpenMP: OMP_NUM_THREADS is not set; then {OPENMP.unset}"),
        (
            Recognised(MKL),
            f"MKL: none of MKL_NUM_THREADS, OMP_NUM_THREADS is set; then {MKL.unset}",
        ),
        (
            Recognised(CELERY),
            f"Celery: {NO_OPTION}; then {CELERY.unset}",
        ),
        (
            Recognised(Recipe("own", (Knob("OWN"),), "{n}", programs=("own",))),
            "own: OWN is not set",
        ),
        (
            Recognised(OPENMP, OPENMP.knobs[0]),
            "OpenMP: OMP_NUM_THREADS is set, but not to a number",
        ),
        (Recognised(OPENMP, OPENMP.knobs[0], 8), "OpenMP: OMP_NUM_THREADS is 8"),
    ],
)
def test_the_sentence_of_a_setting(recognised: Recognised, text: str) -> None:
    finding = judged(use((recognised,)))
    assert finding is not None
    assert text in [each.text for each in finding.evidence]


@pytest.mark.parametrize(
    ("recognised", "severity", "text"),
    [
        (
            Recognised(MKL),
            Severity.INFO,
            "whether MKL_NUM_THREADS or OMP_NUM_THREADS is set could not be read",
        ),
        (Recognised(MKL, MKL.knobs[0]), Severity.WARNING, "MKL_NUM_THREADS is set, but"),
        (Recognised(MKL, MKL.knobs[0], 8), Severity.WARNING, "MKL_NUM_THREADS is 8"),
    ],
)
def test_a_setting_that_could_not_be_read_is_not_one_that_is_missing(
    recognised: Recognised, severity: Severity, text: str
) -> None:
    one = replace(use((recognised,)), unread="e" * 101)
    finding = judged(one)
    assert finding is not None
    assert finding.severity is severity
    assert text in told(one)
    assert (f"({'e' * 100})" in told(one)) == (recognised.knob is None)


def test_at_most_three_settings_are_named_the_first_one_in_the_title() -> None:
    """Each has its patch."""
    finding = judged(use(tuple(map(Recognised, (BLAS, MKL, OPENMP, CELERY)))))
    assert finding is not None
    assert "OpenBLAS runs" in finding.title
    named = [e.text.partition(":")[0] for e in finding.evidence if "is set;" in e.text]
    named += [e.text.partition(":")[0] for e in finding.evidence if "is not set;" in e.text]
    assert named == ["OpenBLAS", "MKL", "OpenMP"]
    assert "Celery" not in told(use(tuple(map(Recognised, (BLAS, MKL, OPENMP, CELERY)))))
    assert finding.remedy.patch == "OPENBLAS_NUM_THREADS=1\n"
    assert finding.remedy.other_patches == ("MKL_NUM_THREADS=1\n", "OMP_NUM_THREADS=1\n")


@pytest.mark.parametrize(
    ("recipes", "text"), [((NGINX, BLAS), "nginx runs more processes"), ((BLAS, NGINX), "threads")]
)
def test_the_first_setting_says_what_runs(recipes: tuple[Recipe, ...], text: str) -> None:
    finding = judged(use(tuple(map(Recognised, recipes))))
    assert finding is not None
    assert text in finding.title


HELD = "throttled in 80 of 150 periods"
"""Evidence of the window with which a finding begins."""
QUIET = use(found=None, runnable=None)


def evidence(history: OtherHistory, one: OtherUse, duration_s: float = 15.0) -> str:
    """The first sentence, "" without a finding."""
    report = history.judge(one, duration_s, 64)
    history.end_window(duration_s)
    return report.findings[0].evidence[0].text.partition(",")[0] if report.findings else ""


def windows(history: OtherHistory, *uses: OtherUse) -> list[tuple[str, ...]]:
    found = []
    for one in uses:
        report = history.judge(one, 15.0, 64)
        history.end_window(15.0)
        found.append(tuple(finding.code for finding in report.findings))
    return found


@pytest.mark.parametrize(
    ("throttled", "is_found"), [(5, True), (3, False)], ids=["above-0.06", "below-0.06"]
)
def test_a_finding_that_holds_is_found_by_less(throttled: int, is_found: bool) -> None:
    """The upper ends of the intervals are 0.076 and 0.057."""
    history = OtherHistory(Thresholds())
    assert evidence(history, use(), 60.0) == HELD
    found = evidence(history, use(found=throttling(throttled)), 60.0)
    assert found == (f"throttled in {throttled} of 150 periods" if is_found else HELD)
    assert judged(use(found=throttling(throttled))) is None


def test_the_lower_end_of_a_share_that_holds_is_counted() -> None:
    thresholds = Thresholds(throttled_share=interval(9, 150)[1], release=1.0)
    history = OtherHistory(thresholds)
    evidence(history, use(), 60.0)
    assert evidence(history, use(found=throttling(9)), 60.0) == "throttled in 9 of 150 periods"


@pytest.mark.parametrize(("runnable", "is_found"), [(13.0, True), (12.9, False)])
def test_a_finding_that_holds_needs_fewer_threads(runnable: float, is_found: bool) -> None:
    """1.3 times what fits instead of 1.5."""
    history = OtherHistory(Thresholds())
    assert evidence(history, use(limit=10.0, runnable=20.0), 60.0) == HELD
    one = use(limit=10.0, found=throttling(70, stopped_s=0.7), runnable=runnable)
    assert evidence(history, one, 60.0) == ("throttled in 70 of 150 periods" if is_found else HELD)
    assert judged(one) is None


def test_a_minute_without_throttled_periods_finds_nothing() -> None:
    """Few periods prove no share, but "throttled in 0 of 30 periods" is no evidence."""
    history = OtherHistory(Thresholds())
    idle = use(found=throttling(0, 0.0, periods=30))
    assert [evidence(history, one, 60.0) for one in (use(), idle)] == [HELD, HELD]
    assert [evidence(history, idle, 450.0) for _ in range(2)] == [HELD, ""]


@pytest.mark.parametrize(
    ("duration_s", "text"), [(58.5, "throttled in 160 of 300 periods"), (59.0, HELD)]
)
def test_the_last_minute_is_summed(duration_s: float, text: str) -> None:
    history = OtherHistory(Thresholds())
    assert [evidence(history, use(), duration_s) for _ in range(2)] == [HELD, text]


def test_the_minute_is_that_before_the_end_of_the_window() -> None:
    history = OtherHistory(Thresholds())
    assert evidence(history, use(), 60.0) == HELD
    assert evidence(history, use(), 15.0) == "throttled in 160 of 300 periods"


@pytest.mark.parametrize("order", [1, -1])
def test_a_counter_that_one_window_does_not_know_is_not_that_of_the_other(order: int) -> None:
    """The CPU of one window in the time of both was half of what the container used."""
    history = OtherHistory(Thresholds())
    unknown = replace(THROTTLED, usage=replace(THROTTLED.usage, usage_ns=None))
    for one in (use(), use(found=unknown))[::order]:
        finding = history.judge(one, 15.0, 64).findings[0]
        history.end_window(15.0)
    assert finding.severity is Severity.INFO
    assert finding.evidence[0].text == "throttled in 160 of 300 periods, 24.0 s in all on all CPUs"
    assert not any(each.text.startswith("it used") for each in finding.evidence)


def test_four_windows_are_a_minute() -> None:
    history = OtherHistory(Thresholds())
    found = [evidence(history, use()) for _ in range(10)]
    sums = [f"throttled in {n * 80} of {n * 150} periods" for n in (1, 2, 3)]
    assert found == [*sums, *["throttled in 320 of 600 periods"] * 7]


def test_a_throttled_start_is_not_found_again_hours_later() -> None:
    """Only windows that were measured pushed it out of the last minute."""
    history = OtherHistory(Thresholds())
    windows(history, *[use()] * 3, *[QUIET] * 100)
    assert windows(history, use(found=throttling(0, 0.0))) == [()]


def test_the_threads_are_those_of_the_last_window() -> None:
    """The other numbers are of the last minute."""
    history = OtherHistory(Thresholds())
    evidence(history, use())
    finding = history.judge(use(), 15.0, 64).findings[0]
    spans = {each.text.partition(" threads ran")[0]: each.window_s for each in finding.evidence}
    assert spans["17 of 18"] == 15.0
    assert spans["it used 0.50 cores over 30 s"] == 30.0


def test_a_window_that_is_hardly_throttled_leaves_the_settings_known() -> None:
    """Its settings are not asked for. "No recipe knows the program" was said then."""
    history = OtherHistory(Thresholds())
    hardly = replace(use(None, found=throttling(3, 0.5), runnable=None), ran=None)
    first = replace(use((Recognised(BLAS),)), unread="procfs-denied")
    one = history.judge(first, 15.0, 64).findings[0]
    history.end_window(15.0)
    two = history.judge(hardly, 15.0, 64).findings[0]
    assert (one.title, one.severity, one.remedy) == (two.title, two.severity, two.remedy)
    assert one.evidence[3] == two.evidence[2]
    assert "procfs-denied" in two.evidence[2].text
    other = replace(use(None), processes=(Process(99, 2, "python", hardly.container),))
    assert "have not been read" in history.judge(other, 15.0, 64).findings[0].evidence[3].text


def test_it_stays_through_quiet_windows_and_goes_after_a_quarter_of_an_hour() -> None:
    history = OtherHistory(Thresholds())
    quiet = use(found=throttling(throttled=0, stopped_s=0.0), runnable=None)
    assert windows(history, use(), quiet) == [("GT020",)] * 2
    assert history.judge(quiet, 15.0, 64).findings[0].held_s == 45.0
    rest = windows(history, *[quiet] * (int(DOUBT_S / 15) + 4))
    assert rest[0] == ("GT020",)
    assert rest[-1] == ()


@pytest.mark.parametrize(
    ("duration_s", "found"), [(899.5, HELD), (900.0, "")], ids=["less", "a-quarter-of-an-hour"]
)
def test_it_ends_after_a_quarter_of_an_hour_without_it(duration_s: float, found: str) -> None:
    assert DOUBT_S == 900.0
    history = OtherHistory(Thresholds())
    for _ in range(2):  # the second time of a finding that was confirmed in between
        assert evidence(history, use(), 60.0) == HELD
        assert evidence(history, QUIET, 600.0) == HELD
    evidence(history, use(), 60.0)
    assert evidence(history, QUIET, duration_s) == found


@pytest.mark.parametrize(
    "changed",
    [
        {"processes": (Process(99, 1, "python", QUIET.container),)},
        {"processes": (Process(7, 2, "python", QUIET.container),)},
        {"limit": CpuLimit(2.0, "/web")},
        {"limit": CpuLimit()},
    ],
    ids=["another-process", "the-pid-of-another-process", "another-limit", "no-limit"],
)
def test_new_processes_and_another_limit_end_it_at_once(changed: dict[str, Any]) -> None:
    """And what was counted before does not count."""
    history = OtherHistory(Thresholds())
    assert evidence(history, use()) == HELD
    assert evidence(history, replace(QUIET, **changed)) == ""
    history = OtherHistory(Thresholds())
    evidence(history, use())
    found = evidence(history, replace(use(), **changed))
    assert found == ("" if changed == {"limit": CpuLimit()} else HELD)


def test_a_process_that_stays_and_an_unread_limit_end_nothing() -> None:
    """A limit that could not be read is no other limit."""
    history = OtherHistory(Thresholds())
    unread = replace(QUIET, limit=None, unread="cgroup-quota")
    more = replace(use(), processes=(*use().processes, Process(9, 3, "sh", QUIET.container)))
    assert [evidence(history, one) for one in (use(), unread)] == [HELD, HELD]
    finding = history.judge(more, 15.0, 64).findings[0]
    assert finding.held_s == 45.0
    assert finding.evidence[0].text.startswith("throttled in 160 of 300 periods")


def test_containers_that_are_not_measured_have_no_history() -> None:
    history = OtherHistory(Thresholds())
    windows(history, QUIET)
    assert len(history) == 0


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_container_that_is_gone_is_forgotten(earlier: int) -> None:
    """After eight windows without samples: the end of its last window is counted too."""
    history = OtherHistory(Thresholds())
    for _ in range(earlier):
        windows(history, use())
        for _ in range(5):
            history.end_window(15.0)
    history.judge(use(), 15.0, 64)
    for _ in range(8):
        history.end_window(15.0)
    assert len(history) == 1
    history.end_window(15.0)
    assert len(history) == 0


def test_it_can_be_suppressed() -> None:
    report = OtherHistory(Thresholds()).judge(use(), 15.0, 64)
    assert isinstance(report, OtherReport)
    hidden = suppressed(report, [Suppression("GT020", "", "web")])
    assert (hidden.findings, hidden.suppressed) == ((), ("GT020",))
    assert suppressed(report, [Suppression("GT020", "", "other")]) == report
