"""What a finding says beside its code: which evidence, which remedy, and how sure it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gotax.diagnosis import rules
from gotax.diagnosis.context import Context
from gotax.diagnosis.rules.runtime import collector_settings
from gotax.findings import Confidence, Finding, Saving, Severity
from gotax.process import (
    NO_MEMORY_LIMIT,
    Automaxprocs,
    Binding,
    Container,
    CpuLimit,
    CpuResources,
    CpuUsage,
    GoBuild,
    Gomaxprocs,
    Ignored,
    Origin,
    RuntimeState,
)

from tests.unit.diagnosis.test_context import CONTAINER, POD, context
from tests.unit.diagnosis.test_rule_edges import found, several

BARE = replace(CONTAINER, pod_uid=None)
OWN = CpuLimit(1.0, "/c", 1.0)


def of(gomaxprocs: Gomaxprocs | None, **seen: Any) -> Context:
    """Outside Kubernetes, with this GOMAXPROCS."""
    given: dict[str, Any] = {"container": BARE, "limit": OWN} | seen
    made = context(**given)
    process = replace(made.report.main_process, gomaxprocs=gomaxprocs)
    return replace(made, report=replace(made.report, processes=(process,)))


def texts(finding: Finding) -> list[str]:
    return [evidence.text for evidence in finding.evidence]


@pytest.fixture
def predicts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """predicts(Saving(...)) is the prediction from now on."""

    def predict(saving: Saving | None, target: int = 1) -> None:
        def predict_saving(_report: object, asked: int, *_: object) -> Saving | None:
            assert asked == target
            return saving

        monkeypatch.setattr("gotax.diagnosis.context.predict_saving", predict_saving)

    return predict


MISMATCH = Gomaxprocs(8, Origin.ENVIRONMENT, 1)
THROTTLED = CpuUsage(periods=100, throttled_periods=1, throttled_ns=10**9)


@pytest.mark.parametrize(
    ("seen", "code", "starts"),
    [
        ({}, rules.TOO_FEW_SAMPLES, ["0 samples"]),
        ({"USER": 10}, rules.TOO_FEW_SAMPLES, ["scheduler and GC take 0.0%", "10 samples"]),
        (
            {"USER": 75, "SCHED_WAKE": 25, "usage": THROTTLED},
            rules.TOO_FEW_SAMPLES,
            ["scheduler and GC take 25.0%", "throttled in 1 of 100", "100 samples"],
        ),
        ({"USER": 1000}, rules.HARMLESS, ["scheduler and GC take 0.0%"]),
        (
            {"USER": 1000, "usage": CpuUsage(periods=100, throttled_periods=0)},
            rules.HARMLESS,
            ["scheduler and GC take 0.0%"],
        ),
        (
            {"GC_SWEEP": 500, "SCHED_WAKE": 100, "ALLOC": 400},
            rules.COSTLY,
            ["scheduler and GC take 60.0%"],
        ),
        (
            {"UNKNOWN": 100, "USER": 180},
            rules.TOO_FEW_SAMPLES,
            ["scheduler and GC take 0.0%", "could not be read, and may be the runtime: 35.7%"],
        ),
        (
            {"UNKNOWN": 1, "USER": 48},  # more samples help first
            rules.TOO_FEW_SAMPLES,
            ["scheduler and GC take 0.0%", "49 samples"],
        ),
        (
            {"UNKNOWN": 45, "USER": 5},
            rules.TOO_FEW_SAMPLES,
            ["scheduler and GC take 0.0%", "could not be read, and may be the runtime: 90.0%"],
        ),
        (
            {"UNKNOWN": 100, "SCHED_WAKE": 180},  # the cost is proven without it
            rules.COSTLY,
            ["scheduler and GC take 64.3%"],
        ),
    ],
)
def test_evidence_of_a_mismatch(seen: dict[str, Any], code: str, starts: list[str]) -> None:
    """Value and cause; then what there is of shares, saving, throttling and samples. One of the
    three rules finds it."""
    costs = {rules.COSTLY, rules.HARMLESS, rules.TOO_FEW_SAMPLES}
    every = rules.find_each(of(MISMATCH, **seen))
    assert [finding.code for finding in every if finding.code in costs] == [code]
    finding = found(of(MISMATCH, **seen))[code]
    starts = ["GOMAXPROCS is 8", "cause: the environment variable", *starts]
    assert len(finding.evidence) == len(starts)
    for text, start in zip(texts(finding), starts, strict=True):
        assert text.startswith(start)


@pytest.mark.parametrize(
    ("saving", "code", "confidence", "severity"),
    [
        (None, rules.COSTLY, Confidence.MEDIUM, Severity.WARNING),
        (Saving(0.01, 0.5, 0.6), rules.COSTLY, Confidence.HIGH, Severity.WARNING),
        (Saving(0.0, 0.5, 0.6), rules.COSTLY, Confidence.MEDIUM, Severity.WARNING),
        (Saving(-0.01, 0.5, 0.6), rules.COSTLY, Confidence.MEDIUM, Severity.INFO),
        (Saving(-0.01, 0.0, 0.01), rules.HARMLESS, Confidence.HIGH, Severity.INFO),
    ],
)
def test_how_sure_a_cost_is(
    saving: Saving | None, code: str, confidence: Confidence, severity: Severity, predicts: Any
) -> None:
    """By the range of the saving, which is evidence; a loss in it is no warning."""
    predicts(saving and replace(saving, cautions=("Watch the tail.", "Twice.")))
    seen = of(MISMATCH, cpu_ns=10**10, SCHED_WAKE=900, USER=100)
    finding = found(seen)[code]
    assert (finding.confidence, finding.severity) == (confidence, severity)
    is_loss = saving is not None and saving.low < 0 and code == rules.COSTLY
    assert ("a lower value may not save CPU" in finding.title) is is_loss
    assert any("is predicted to save" in text for text in texts(finding)) is (saving is not None)
    text = finding.remedy.text.partition(" The model cannot say")[0]
    cautioned = text.endswith(" Watch the tail. Twice.")
    assert cautioned is (saving is not None and code == rules.COSTLY)
    assert finding.remedy.text.startswith("No change is needed") is (code == rules.HARMLESS)


def test_little_cost_without_a_prediction_is_less_sure() -> None:
    """The share of the runtime alone says so."""
    assert found(of(MISMATCH, USER=1000))[rules.HARMLESS].confidence is Confidence.MEDIUM


# GT003


FREE = Gomaxprocs(64, Origin.CPU_COUNT, 64)


def unlimited(gomaxprocs: Gomaxprocs = FREE, **seen: Any) -> Finding | None:
    given = {"limit": CpuLimit(), "SCHED_WAKE": 900, "USER": 100} | seen
    return found(of(gomaxprocs, **given)).get(rules.UNLIMITED)


def test_a_cost_without_a_limit_is_proven() -> None:
    """A program that computes is left alone, and one whose value or node was not read."""
    assert unlimited() is not None
    assert unlimited(SCHED_WAKE=0, USER=1000) is None
    assert unlimited(replace(FREE, value=None)) is None
    assert unlimited(replace(FREE, recommended=None)) is None
    assert unlimited(replace(FREE, value=200)) is None  # more than the node has: GT001
    assert unlimited(limit=OWN) is None


@pytest.mark.parametrize(
    ("request_cores", "target", "said"),
    [(None, 2, False), (0.0, 2, False), (1.5, 2, True), (2.5, 3, True), (30.0, 30, True)],
)
def test_without_a_limit_the_request_is_the_least(
    request_cores: float | None, target: int, said: bool
) -> None:
    """Rounded up. A request of nothing asks for nothing."""
    pod = replace(POD, current=CpuResources(request_cores))
    finding = unlimited(container=replace(CONTAINER, pod=pod))
    assert finding is not None
    assert finding.remedy.gomaxprocs == target
    assert (f"at least its request of {request_cores or 0:g} CPU" in finding.remedy.text) is said
    requests = [text for text in texts(finding) if text.startswith("its CPU request is")]
    assert len(requests) == (request_cores is not None)
    assert "downward API would give the number of CPUs" in finding.remedy.text


def test_a_request_above_half_of_the_value_is_no_case() -> None:
    """64 are not twice 33."""
    pod = replace(POD, current=CpuResources(32.5))
    assert unlimited(container=replace(CONTAINER, pod=pod)) is None


@pytest.mark.parametrize(
    ("gomaxprocs", "follows"),
    [
        (FREE, True),
        (replace(FREE, ignored=Ignored.OLD_GO), False),
        (replace(FREE, variable=64), False),
        (replace(FREE, origin=Origin.ENVIRONMENT), False),
        (replace(FREE, origin=Origin.CRIO), False),
        (replace(FREE, origin=Origin.CALL), False),
        (replace(FREE, origin=Origin.UNKNOWN), False),
        (replace(FREE, origin=Origin.CONTAINER), True),
        (replace(FREE, automaxprocs=Automaxprocs.KNOWN, ignored=Ignored.OLD_GO), True),
        (replace(FREE, automaxprocs=Automaxprocs.KNOWN, variable_is_set=True), False),
        (replace(FREE, automaxprocs=Automaxprocs.FORK), False),
        (replace(FREE, automaxprocs=Automaxprocs.FORK, ignored=Ignored.OLD_GO), False),
    ],
)
def test_a_limit_is_offered_where_the_program_follows_it(
    gomaxprocs: Gomaxprocs, follows: bool
) -> None:
    """As it was started: the variable and a call win, an old Go ignores limits."""
    finding = unlimited(gomaxprocs)
    assert finding is not None
    assert ("Or set a CPU limit, which this program follows" in finding.remedy.text) is follows
    is_call = gomaxprocs.origin is Origin.CALL
    assert ("A call in the program may override" in finding.remedy.text) is is_call
    is_crios = gomaxprocs.origin is Origin.CRIO
    assert ("The variable of the manifest replaces CRI-O's." in finding.remedy.text) is is_crios
    assert finding.remedy.text.endswith("can never use more than 2 CPUs.")


@pytest.mark.parametrize(
    ("value", "says"), [(63, "far more than it uses"), (64, "all CPUs it may use")]
)
def test_without_a_limit_all_cpus_are_all(value: int, says: str) -> None:
    """Not one less."""
    finding = unlimited(replace(FREE, value=value))
    assert finding is not None
    assert says in finding.title


@pytest.mark.parametrize(("low", "loses"), [(-0.1, True), (0.0, False)])
def test_without_a_limit_the_range_is_told(low: float, loses: bool, predicts: Any) -> None:
    """And what to watch."""
    predicts(Saving(low, 0.5, 0.6, cautions=("Watch.",)), 2)
    finding = unlimited(cpu_ns=10**10)
    assert finding is not None
    assert ("may not save CPU" in finding.title) is loses
    assert (finding.severity is Severity.INFO) is loses
    assert "GOMAXPROCS=2 is predicted to save" in texts(finding)[-1]
    assert texts(finding)[1].startswith("it used 1.00 cores")
    assert texts(finding)[2].startswith("scheduler and GC take 90.0%")
    assert finding.remedy.text.partition(" The model cannot")[0].endswith(" Watch.")


# GT004


@pytest.mark.parametrize(
    ("origin", "bound_by", "says"),
    [
        (Origin.ENVIRONMENT, (Binding.QUOTA,), "use the whole limit."),
        (Origin.ENVIRONMENT, (Binding.CPUSET,), "use all CPUs it may use."),
        (Origin.CALL, (Binding.QUOTA,), "A call in the program may override"),
    ],
)
def test_below_the_limit_it_may_use_more(
    origin: Origin, bound_by: tuple[Binding, ...], says: str
) -> None:
    """All that bounds it; a call may have to change."""
    seen = of(
        Gomaxprocs(2, origin, 4, bound_by=bound_by),
        limit=CpuLimit(4.0, "/c", 4.0),
        cpu_ns=2 * 10**10,
    )
    finding = found(seen)[rules.BELOW_LIMIT]
    assert says in finding.remedy.text
    assert ("A call in the program" in finding.remedy.text) is (origin is Origin.CALL)
    assert (finding.remedy.gomaxprocs, finding.remedy.patch) == (4, "GOMAXPROCS=4\n")
    assert [text[:10] for text in texts(finding)] == ["GOMAXPROCS", "it used 2."]


@pytest.mark.parametrize(
    ("state", "container", "origin", "evidence", "says"),
    [
        (None, BARE, Origin.CPU_COUNT, [], "set GOMAXPROCS=4. Double it again if that is not"),
        (
            RuntimeState(gogc=100),  # its idle Ps could not be read
            CONTAINER,
            Origin.CPU_COUNT,
            [],
            "set GOMAXPROCS=4, and requests.cpu to what it then uses. Double it again",
        ),
        (
            RuntimeState(idle_ps=1),
            CONTAINER,
            Origin.CALL,
            ["1 of 2 Ps had no work at the end of the window"],
            "uses less CPU. A call in the program may override the variable: check afterwards.",
        ),
    ],
)
def test_too_low_without_a_limit_says_what_is_known(
    state: RuntimeState | None,
    container: Container,
    origin: Origin,
    evidence: list[str],
    says: str,
) -> None:
    """Without a request, and with or without the idle Ps. Only a pod has a request to raise."""
    seen = of(Gomaxprocs(2, origin, 64), limit=CpuLimit(), cpu_ns=2 * 10**10, container=container)
    process = replace(seen.report.main_process, runtime=state)
    seen = replace(seen, report=replace(seen.report, processes=(process,)))
    finding = found(seen)[rules.BELOW_LIMIT]
    value, cores, *others = texts(finding)
    assert value.startswith("GOMAXPROCS is 2")
    assert cores == "it used 2.00 cores over 10 s"
    assert others == evidence
    assert says in finding.remedy.text
    assert ("A call in the program" in finding.remedy.text) is (origin is Origin.CALL)


def test_below_the_limit_takes_all_numbers() -> None:
    """Without a value, what fits or the kernel's account nothing is said; nor at a
    GOMAXPROCS that is saturated only in its busiest window, if that is not known."""
    limit = CpuLimit(4.0, "/c", 4.0)
    full = Gomaxprocs(2, Origin.CALL, 4)
    assert rules.BELOW_LIMIT in found(of(full, limit=limit, cpu_ns=2 * 10**10))
    for seen in (
        of(replace(full, value=None), limit=limit, cpu_ns=2 * 10**10),
        of(replace(full, recommended=None), limit=limit, cpu_ns=2 * 10**10),
        replace(of(full, limit=limit), peak_cores=2.0),
    ):
        assert rules.BELOW_LIMIT not in found(seen)
    peak = replace(of(full, limit=limit, cpu_ns=10**9), peak_cores=2.0)
    assert rules.BELOW_LIMIT in found(peak)


# GT005


TWO = Gomaxprocs(2, Origin.CPU_COUNT, 1, bound_by=(Binding.QUOTA,))


@pytest.mark.parametrize(
    ("gomaxprocs", "is_design", "is_count"),
    [
        (replace(TWO, origin=Origin.CONTAINER), True, False),
        (replace(TWO, expected=2), True, False),
        (replace(TWO, expected=1), False, True),
        (replace(TWO, expected=2, ignored=Ignored.OLD_GO), False, True),
        (replace(TWO, expected=2, bound_by=(Binding.QUOTA, Binding.CPUSET)), False, True),
        (replace(TWO, expected=2, origin=Origin.ENVIRONMENT), False, False),
    ],
)
def test_two_is_by_design_where_go_computed_it(
    gomaxprocs: Gomaxprocs, is_design: bool, is_count: bool
) -> None:
    """From the limit, which it follows and which alone bounds; else two may be the CPUs."""
    finding = found(of(gomaxprocs))[rules.TWO_FOR_ONE]
    assert ("by design of Go 1.25 and newer" in finding.title) is is_design
    assert ("never choose less than 2" in finding.remedy.text) is is_design
    assert ("But this 2 is the number of CPUs" in finding.remedy.text) is is_count
    assert " GOMAXPROCS=1 in the environment saves CPU" in finding.remedy.text


@pytest.mark.parametrize(
    ("variable", "says", "patch"),
    [
        (2, "A value of 1 in the call of runtime.GOMAXPROCS saves CPU, if", ""),
        (None, "GOMAXPROCS=1 in the environment saves CPU, if", "GOMAXPROCS=1\n"),
    ],
)
def test_two_from_a_call(variable: int | None, says: str, patch: str) -> None:
    """Beside a variable the call has won."""
    call = replace(TWO, origin=Origin.CALL, variable=variable)
    finding = found(of(call))[rules.TWO_FOR_ONE]
    assert says in finding.remedy.text
    assert finding.remedy.text.endswith("may override the variable: check afterwards.")
    assert finding.remedy.patch == patch
    plain = found(of(replace(TWO, variable=2)))[rules.TWO_FOR_ONE]
    assert plain.remedy.text.endswith("if latency matters less.")
    assert plain.remedy.patch == "GOMAXPROCS=1\n"


def test_two_for_one_is_of_a_limit_that_binds(predicts: Any) -> None:
    """With the saving and its cautions, where it is known; in a pod with the note of its patch."""
    assert rules.TWO_FOR_ONE not in found(of(replace(TWO, bound_by=(Binding.CPUSET,))))
    assert rules.TWO_FOR_ONE not in found(of(replace(TWO, recommended=2)))
    assert rules.TWO_FOR_ONE not in found(of(TWO, limit=CpuLimit()))
    assert len(found(of(TWO))[rules.TWO_FOR_ONE].evidence) == 1
    predicts(Saving(0.1, 0.2, 0.3, cautions=("Watch.",)))
    finding = found(of(TWO, container=CONTAINER))[rules.TWO_FOR_ONE]
    assert finding.remedy.gomaxprocs == 1
    assert "GOMAXPROCS=1 is predicted to save 0.20" in texts(finding)[1]
    assert "if latency matters less. The patch takes the value" in finding.remedy.text
    assert finding.remedy.text.endswith(" Watch.")


# GT015


def unread(reason: str) -> Gomaxprocs:
    return Gomaxprocs(None, Origin.UNKNOWN, 1, reason=reason)


@pytest.mark.parametrize(
    ("gomaxprocs", "reason", "says"),
    [
        (None, "not read", "Try again"),
        (Gomaxprocs(None, Origin.UNKNOWN, 1), "not read", "Try again"),
        (unread("gomaxprocs-none"), "gomaxprocs-none", "can"),
        (unread("binary-hostile"), "binary-hostile", "Find out where the program comes from"),
        (unread("binary-pending"), "binary-pending", "other programs on this node"),
        (unread("reader-stuck"), "reader-stuck", "End what does not answer"),
        (unread("procfs-denied"), "procfs-denied", "If it is root already"),
    ],
)
def test_unreadable_has_a_reason(gomaxprocs: Gomaxprocs | None, reason: str, says: str) -> None:
    """Without one it was not read yet."""
    seen = found(of(gomaxprocs))
    assert set(seen) == {rules.UNREADABLE}
    assert texts(seen[rules.UNREADABLE]) == [f"reason: {reason}"]
    assert says in seen[rules.UNREADABLE].remedy.text
    assert rules.UNREADABLE not in found(of(MISMATCH))


# GT009 to GT011


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (None, "GOGC and GOMEMLIMIT could not be read from the process"),
        (RuntimeState(), "GOGC and GOMEMLIMIT could not be read from the process"),
        (RuntimeState(gogc=0), "GOGC is 0; the memory limit is unknown"),
        (RuntimeState(gogc=-1), "GOGC is off; the memory limit is unknown"),
        (
            RuntimeState(gogc=100, memory_limit_bytes=NO_MEMORY_LIMIT),
            "GOGC is 100, and there is no memory limit (GOMEMLIMIT)",
        ),
        (
            RuntimeState(gogc=100, memory_limit_bytes=3 << 30),
            "GOGC is 100, and the memory limit (GOMEMLIMIT) is 3,072 MiB",
        ),
    ],
)
def test_settings_of_the_collector(state: RuntimeState | None, text: str) -> None:
    """The memory limit in MiB; 2**63 - 1 is none."""
    assert collector_settings(state) == text
    assert NO_MEMORY_LIMIT == 2**63 - 1


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (None, "could not read whether GOGC"),
        (RuntimeState(memory_limit_bytes=1 << 30), "could not read whether GOGC"),
        (RuntimeState(gogc=100, memory_limit_bytes=1 << 30), "Raise the limit as far"),
        (RuntimeState(gogc=-1, memory_limit_bytes=1 << 30), "Raise the limit as far"),
        (RuntimeState(gogc=-1, memory_limit_bytes=NO_MEMORY_LIMIT), "look for calls of runtime.GC"),
        (RuntimeState(gogc=-1), "Allocate less."),
        (
            RuntimeState(gogc=100, memory_limit_bytes=NO_MEMORY_LIMIT),
            "GOGC=200 instead of 100 about halves the marking, and the heap grows to 3 times the",
        ),
        (
            RuntimeState(gogc=50),
            "Or, if no memory limit (GOMEMLIMIT) causes them, make collections rarer: GOGC=100",
        ),
        (RuntimeState(gogc=50), "the heap grows to 2 times the live data instead of 1.5."),
        (
            RuntimeState(gogc=100, memory_limit_bytes=NO_MEMORY_LIMIT),
            "Allocate less. Or make collections rarer: ",
        ),
        (RuntimeState(gogc=0, memory_limit_bytes=NO_MEMORY_LIMIT), "GOGC=2 instead of 0 about"),
    ],
)
def test_what_to_do_about_collections(state: RuntimeState | None, says: str) -> None:
    """By what starts them: GOGC, a memory limit, or the program. The heap is 1 + GOGC / 100 times
    the live data."""
    seen = of(Gomaxprocs(1, Origin.CALL, 1), GC_MARK_DEDICATED=500, ALLOC=100, USER=400)
    process = replace(seen.report.main_process, runtime=state)
    seen = replace(seen, report=replace(seen.report, processes=(process,)))
    finding = found(seen)[rules.GC_HEAVY]
    assert says in finding.remedy.text
    assert (finding.remedy.text == "Allocate less.") is (says == "Allocate less.")
    starts = ["the GC without idle marking takes 50.0%", "allocation takes 10.0%", "GC settings: "]
    assert len(finding.evidence) == 3
    for text, start in zip(texts(finding), starts, strict=True):
        assert text.startswith(start)


def test_evidence_of_coordination_and_of_allocation() -> None:
    """All parts of it."""
    seen = of(Gomaxprocs(1, Origin.CALL, 1), CHAN=300, LOCKS=100, SCHED_WAKE=200, USER=400)
    finding = found(seen)[rules.COORDINATION]
    starts = ["scheduler, channels and locks take 60", "channels alone take 30", "locks alone take"]
    assert [
        text[: len(start)] for text, start in zip(texts(finding), starts, strict=True)
    ] == starts
    seen = of(Gomaxprocs(1, Origin.CALL, 1), ALLOC=300, GC_ASSIST=100, GC_SWEEP=100, USER=500)
    (text,) = texts(found(seen)[rules.ALLOCATION_HEAVY])
    assert text.startswith("allocation, assists and sweeping take 50.0%")


@pytest.mark.parametrize(
    ("gomaxprocs", "saving", "lenient", "is_told"),
    [
        (None, None, False, False),  # not read: it may be the reason
        (Gomaxprocs(1, Origin.CALL, 1), None, False, True),
        (MISMATCH, Saving(-0.1, 0.0, 0.1), False, True),  # it costs little
        (MISMATCH, Saving(-0.1, 0.11, 0.2), False, False),  # it may cost something
        (MISMATCH, Saving(-0.1, 0.11, 0.2), True, True),  # and that ends no earlier finding
        (MISMATCH, Saving(0.1, 0.5, 0.6), False, False),
        (MISMATCH, Saving(0.1, 0.5, 0.6), True, False),
        (Gomaxprocs(8, Origin.CALL, None), None, False, True),
    ],
)
def test_the_program_is_blamed_where_gomaxprocs_is_not_the_reason(
    gomaxprocs: Gomaxprocs | None,
    saving: Saving | None,
    lenient: bool,
    is_told: bool,
    predicts: Any,
) -> None:
    """Of 100 samples, 11 are from 6 to 19 %: 8 are not proven, and 12 not excluded."""
    predicts(saving)
    seen = of(gomaxprocs, cpu_ns=10**10, GC_MARK_DEDICATED=50, CHAN=50)
    seen = replace(seen, lenient=lenient)
    assert (rules.GC_HEAVY in found(seen)) is is_told
    assert (rules.COORDINATION in found(seen)) is is_told


@pytest.mark.parametrize("fits", [1, 4])
def test_the_cost_is_that_of_what_fits(fits: int, predicts: Any) -> None:
    """The prediction is asked for that value."""
    predicts(Saving(-0.1, 0.0, 0.1), fits)
    seen = of(Gomaxprocs(8, Origin.CALL, fits), cpu_ns=10**10, GC_MARK_DEDICATED=1000)
    assert rules.GC_HEAVY in found(seen)


def test_unlimited_leaves_out_what_may_be_its_effect() -> None:
    """Collections and waiting of 64 Ps for a load of one."""
    for heavy in ({"GC_MARK_DEDICATED": 800}, {"CHAN": 600, "SCHED_WAKE": 300}):
        seen = of(FREE, limit=CpuLimit(), SCHED_FIND_WORK=500, **heavy)
        assert rules.UNLIMITED in found(seen)
        assert len(found(seen)) > 1
        assert [finding.code for finding in rules.find_all(seen)] == [rules.UNLIMITED]


# GT006 to GT008


@pytest.mark.parametrize(
    ("value", "cores", "shows"), [(2, 1.0, "throttled in 50 of"), (1, 0.85, "it used 0.85 cores")]
)
def test_evidence_of_a_fraction(value: int, cores: float, shows: str) -> None:
    """Of the rounding that shows."""
    seen = of(
        Gomaxprocs(value, Origin.CALL, 2),
        limit=CpuLimit(1.5, "/c", 1.5),
        usage=CpuUsage(periods=100, throttled_periods=50 if value == 2 else 0),
        cpu_ns=round(cores * 10**10),
    )
    finding = found(seen)[rules.FRACTIONAL]
    assert "The CPU limit of 1.5 is not a whole number: GOMAXPROCS=2 is" in finding.title
    assert "GOMAXPROCS=1 leaves a part unused" in finding.title
    assert "and 0.5 of a CPU remains" in finding.remedy.text
    assert texts(finding)[1].startswith(shows)


@pytest.mark.parametrize(
    ("value", "limit", "fits", "cores"),
    [
        (2, None, 2, 1.0),
        (None, 1.5, 2, 1.0),
        (2, 2.0, 2, 1.0),
        (3, 3.0, 3, 1.0),
        (2, 1.0, 1, 0.5),
        (2, 1.5, 1, 1.0),  # the cpuset bounds
        (2, 1.5, 2, 1.275),  # 85 % of the limit
    ],
)
def test_a_fraction_that_does_not_matter(
    value: int | None, limit: float | None, fits: int, cores: float
) -> None:
    """No limit, no value, a whole number, another bound, or a limit that is used up."""
    usage = CpuUsage(periods=100, throttled_periods=50)
    made = of(
        Gomaxprocs(value, Origin.CALL, fits),
        limit=CpuLimit(limit, "/c", limit),
        usage=usage,
        cpu_ns=round(cores * 10**10),
    )
    assert rules.FRACTIONAL not in found(made)


def test_a_fraction_is_rounded_down_to_its_peak() -> None:
    """One P of a limit of 1.5 is used up in the busiest window; 60 % of that keep the finding."""
    seen = of(Gomaxprocs(1, Origin.CALL, 2), limit=CpuLimit(1.5, "/c", 1.5), cpu_ns=10**9)
    assert rules.FRACTIONAL not in found(replace(seen, peak_cores=0.84))
    assert rules.FRACTIONAL in found(replace(seen, peak_cores=0.85))
    assert rules.FRACTIONAL in found(replace(seen, peak_cores=0.52, lenient=True))
    assert rules.FRACTIONAL not in found(replace(seen, peak_cores=0.5, lenient=True))
    two = of(Gomaxprocs(2, Origin.CALL, 3), limit=CpuLimit(2.5, "/c", 2.5), cpu_ns=10**9)
    assert rules.FRACTIONAL in found(replace(two, peak_cores=1.7))
    assert rules.FRACTIONAL not in found(replace(two, peak_cores=1.69))


def test_a_fraction_without_an_account_of_the_use() -> None:
    """Throttled is enough: that the limit is used up is not known."""
    usage = CpuUsage(periods=100, throttled_periods=50)
    seen = of(Gomaxprocs(2, Origin.CALL, 2), limit=CpuLimit(1.1, "/c", 1.1), usage=usage)
    assert rules.FRACTIONAL in found(seen)


def throttled(
    gomaxprocs: Gomaxprocs, limit: float, cores: float | None, periods: int, **seen: Any
) -> dict[str, Finding]:
    return found(
        of(
            gomaxprocs,
            limit=seen.pop("cpu_limit", CpuLimit(limit, "/c", limit)),
            usage=CpuUsage(periods=100, throttled_periods=periods),
            cpu_ns=None if cores is None else round(cores * 10**10),
            **seen,
        )
    )


@pytest.mark.parametrize(("limit", "is_told"), [(0.5, True), (1.0, False), (2.5, False)])
def test_one_p_is_throttled_too_below_one_cpu(limit: float, is_told: bool) -> None:
    """The quota of half a CPU ends after half a period."""
    gomaxprocs = Gomaxprocs(8, Origin.CALL, max(1, round(limit + 0.49)))
    finding = throttled(gomaxprocs, limit, 0.1, 30)[rules.BURSTS]
    assert ("With a limit of 0.5 CPU even a single thread" in finding.remedy.text) is is_told
    assert finding.remedy.text.startswith("Its CPU usage is below the limit")
    starts = ["GOMAXPROCS is 8", "throttled in 30", "it used 0.10"]
    assert [
        text[: len(start)] for text, start in zip(texts(finding), starts, strict=True)
    ] == starts


def test_bursts_are_of_a_quota() -> None:
    """Not of a cpuset, and not of a GOMAXPROCS that fits."""
    eight = Gomaxprocs(8, Origin.CALL, 1)
    assert rules.BURSTS in throttled(eight, 1.0, 0.1, 30)
    assert rules.BURSTS not in throttled(replace(eight, bound_by=(Binding.CPUSET,)), 1.0, 0.1, 30)
    assert rules.BURSTS not in throttled(replace(eight, value=1), 1.0, 0.1, 30)
    assert rules.BURSTS not in throttled(replace(eight, recommended=None), 1.0, 0.1, 30)


@pytest.mark.parametrize(
    ("value", "cores", "periods", "says", "confidence"),
    [
        (1, 0.3, 30, "not because of GOMAXPROCS", Confidence.MEDIUM),
        (1, 0.9, 30, "not because of GOMAXPROCS", Confidence.HIGH),
        (8, 0.9, 30, "not because of GOMAXPROCS", Confidence.HIGH),
        (2, 0.3, 30, "GOMAXPROCS=1 instead of 2 would also reduce", Confidence.MEDIUM),
        (2, None, 30, "GOMAXPROCS=1 instead of 2 would also reduce", Confidence.MEDIUM),
        (2, 0.3, 85, "not because of GOMAXPROCS", Confidence.HIGH),
    ],
)
def test_too_low_a_limit(
    value: int, cores: float | None, periods: int, says: str, confidence: Confidence
) -> None:
    """Surely, where the demand is above it: 85 % of the limit, or of the periods."""
    finding = throttled(Gomaxprocs(value, Origin.CALL, 1), 1.0, cores, periods)[rules.LIMIT_TOO_LOW]
    assert says in finding.title + finding.remedy.text
    assert ("Another GOMAXPROCS would not end" in finding.remedy.text) is says.startswith("not")
    assert finding.confidence is confidence
    assert "Raise the limit of 1 CPU" in finding.remedy.text
    use = "its CPU time is not known" if cores is None else "it used"
    starts = ["GOMAXPROCS is", "throttled in", use]
    assert [
        text[: len(start)] for text, start in zip(texts(finding), starts, strict=True)
    ] == starts


def test_too_low_a_limit_takes_a_limit_and_a_value() -> None:
    """And no fraction of a CPU that explains it."""
    one = Gomaxprocs(1, Origin.CALL, 1)
    code = rules.LIMIT_TOO_LOW
    assert code in throttled(one, 1.0, 0.3, 30)
    assert code not in throttled(replace(one, value=None), 1.0, 0.3, 30)
    assert code not in throttled(one, 1.0, 0.3, 3)
    assert code not in throttled(one, 1.0, 0.3, 30, cpu_limit=CpuLimit())
    assert code not in throttled(Gomaxprocs(2, Origin.CALL, 2), 1.5, 0.3, 30)
    own = throttled(one, 1.0, 0.3, 30, cpu_limit=CpuLimit(1.0, "/", None))[code]
    assert "Raise the limit of 1 CPU" in own.remedy.text
    without = throttled(replace(one, recommended=None), 1.0, 0.3, 30)[code]
    assert "not because of GOMAXPROCS" in without.title
    two = throttled(Gomaxprocs(2, Origin.CALL, None), 1.0, 0.3, 30)[code]
    assert "GOMAXPROCS=1 instead of 2 would also" in two.remedy.text
    five = throttled(Gomaxprocs(5, Origin.CALL, 4), 4.0, 0.3, 30)[code]
    assert "GOMAXPROCS=4 instead of 5 would also" in five.remedy.text


@pytest.mark.parametrize(("limit", "cores", "is_above"), [(2.0, 1.7, True), (2.0, 1.69, False)])
def test_the_demand_is_above_the_limit_from_85_percent(
    limit: float, cores: float, is_above: bool
) -> None:
    """Of the limit, whatever that is."""
    finding = throttled(Gomaxprocs(2, Origin.CALL, 2), limit, cores, 30)[rules.LIMIT_TOO_LOW]
    assert (finding.confidence is Confidence.HIGH) is is_above


def test_a_gomaxprocs_that_fits_saves_nothing(predicts: Any) -> None:
    """2 for a limit of 1 is no mismatch: 0.95 of a CPU stay what they are."""
    predicts(Saving(0.1, 0.15, 0.2))
    finding = throttled(Gomaxprocs(2, Origin.CALL, 1), 1.0, 0.95, 30)[rules.LIMIT_TOO_LOW]
    assert finding.confidence is Confidence.HIGH


def test_a_quota_without_a_limit_is_throttled_by_bursts() -> None:
    """What was read may contradict itself: then no sentence has its number."""
    eight = Gomaxprocs(8, Origin.CALL, 1, bound_by=(Binding.QUOTA,))
    seen = throttled(eight, 1.0, 0.3, 30, cpu_limit=CpuLimit())
    assert "single thread" not in seen[rules.BURSTS].remedy.text


@pytest.mark.parametrize(
    ("mid", "code"),
    [(0.06, rules.LIMIT_TOO_LOW), (0.15, rules.BURSTS), (-0.5, rules.LIMIT_TOO_LOW)],
)
def test_what_is_saved_is_no_demand(mid: float, code: str, predicts: Any) -> None:
    """0.95 of a CPU less the saving is above or below 85 % of the limit; a loss is no demand."""
    predicts(Saving(mid - 0.1, mid, mid + 0.1))
    seen = throttled(Gomaxprocs(8, Origin.CALL, 1), 1.0, 0.95, 30)
    assert {rules.LIMIT_TOO_LOW, rules.BURSTS} & seen.keys() == {code}


def test_a_loss_adds_no_demand(predicts: Any) -> None:
    """Half a CPU that may become one is half a CPU."""
    predicts(Saving(-0.6, -0.5, -0.4))
    seen = throttled(Gomaxprocs(8, Origin.CALL, 1), 1.0, 0.5, 30)
    assert {rules.LIMIT_TOO_LOW, rules.BURSTS} & seen.keys() == {rules.BURSTS}


# GT012 and GT013


def test_busy_processes_are_named_up_to_eight() -> None:
    """The sum is of all of them; what was not read, or has no samples, is not busy."""
    seen = several(2, *[(3, 10)] * 9)
    finding = found(seen)[rules.SEVERAL_PROCESSES]
    (text,) = texts(finding)
    assert finding.title.startswith("9 Go processes")
    assert text.count("api 3") == 8
    assert "; sum 27; a limit of 1 CPU" in text
    first, second, *others = seen.report.processes
    second = replace(second, gomaxprocs=None)
    others[0] = replace(others[0], gomaxprocs=Gomaxprocs(None, Origin.UNKNOWN, 2))
    less = replace(seen, report=replace(seen.report, processes=(first, second, *others)))
    assert "; sum 21;" in texts(found(less)[rules.SEVERAL_PROCESSES])[0]
    assert found(less)[rules.SEVERAL_PROCESSES].title.startswith("7 Go processes")
    few = several(2, (2, 5), (2, 5))
    assert rules.SEVERAL_PROCESSES in found(few)
    unknown = replace(few, report=replace(few.report, process_samples=()))
    assert rules.SEVERAL_PROCESSES not in found(unknown)


def test_several_processes_share_a_limit_that_fits_something() -> None:
    """Not without a limit, nor where what fits is unknown."""
    seen = several(2, (2, 50), (2, 50))
    free = replace(seen, report=replace(seen.report, limit=CpuLimit()))
    assert rules.SEVERAL_PROCESSES not in found(free)
    main, other = seen.report.processes
    main = replace(main, gomaxprocs=Gomaxprocs(2, Origin.CALL, None))
    unknown = replace(seen, report=replace(seen.report, processes=(main, other)))
    assert rules.SEVERAL_PROCESSES not in found(unknown)


def test_evidence_of_c_code() -> None:
    """Without cgo in the build that is told."""
    seen = of(Gomaxprocs(1, Origin.CALL, 1), CGO=500, USER=500)
    first, second = texts(found(seen)[rules.CGO_HEAVY])
    assert first.startswith("code that is not Go takes 50.0%")
    assert second == "the program was built without cgo"
    process = replace(seen.report.main_process, build=GoBuild("go1.24.1"))
    without = replace(seen, report=replace(seen.report, processes=(process,)))
    assert len(texts(found(without)[rules.CGO_HEAVY])) == 2
    process = replace(seen.report.main_process, build=GoBuild("go1.24.1", cgo=True))
    with_cgo = replace(seen, report=replace(seen.report, processes=(process,)))
    (text,) = texts(found(with_cgo)[rules.CGO_HEAVY])
    assert text.startswith("C code takes 50.0%")
