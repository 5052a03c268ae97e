"""GT016 to GT019 and the table of GT009: the last number without each, and the first with it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import yaml
from gotax.diagnosis import rules
from gotax.diagnosis.context import Context
from gotax.diagnosis.heap import MIB, Heap, heap_of, predict_gc_saving
from gotax.diagnosis.patches import Setting, setting_patch
from gotax.findings import Confidence, Finding, Severity
from gotax.process import NO_MEMORY_LIMIT, Container, GoBuild, Memory, Module, RuntimeState
from gotax.window import Collections

from tests.unit.diagnosis.test_context import CONTAINER, POD, context
from tests.unit.diagnosis.test_rule_edges import found

BARE = Container("c", "api", "/c")
TIGHT = RuntimeState(0, 100, 175 * MIB, 50, 156 * MIB, 150 * MIB, 900 * MIB, 14 * MIB)
"""150 MiB live at a limit of 175 MiB: 6 MiB of room."""
OPEN = replace(TIGHT, memory_limit_bytes=NO_MEMORY_LIMIT, heap_goal_bytes=300 * MIB)


def of(
    state: RuntimeState | None = TIGHT,
    memory: Memory | None = None,
    collections: Collections | None = None,
    **seen: Any,
) -> Context:
    given: dict[str, Any] = {"container": BARE, "cpu_ns": 10 * 10**9}
    if not any(name.isupper() for name in seen):
        given |= {"GC_MARK_DEDICATED": 700, "USER": 300}
    made = context(1, 1, **given | seen)
    process = replace(made.report.main_process, runtime=state)
    report = replace(made.report, processes=(process,), memory=memory, collections=collections)
    return replace(made, report=report)


def own(limit: int, **numbers: Any) -> Memory:
    """A container with this limit in MiB, and nothing else on its path."""
    size = limit * MIB
    return Memory(limit_bytes=size, limit_cgroup="/c", own_limit_bytes=size, **numbers)


def held(seen: Context) -> Finding:
    return found(seen)[rules.HELD]


def heap(**numbers: Any) -> Heap:
    given: dict[str, Any] = {"live": 100, "goal": 110, "gogc": 100, "limit": 120, "other": 5}
    return Heap(**given | numbers)


# The model


@pytest.mark.parametrize(
    ("numbers", "is_held"),
    [
        ({"live": 100 * MIB, "goal": 170 * MIB - 1}, True),
        ({"live": 100 * MIB, "goal": 170 * MIB}, False),  # 85 % of what GOGC allows
        ({"live": 100 * MIB, "goal": 110 * MIB, "limit": None}, False),
        ({"live": 100 * MIB, "goal": 900 * MIB, "gogc": -1}, True),  # nothing but the limit
        ({"live": 100 * MIB, "goal": 127 * MIB, "gogc": 50}, True),
        ({"live": 100 * MIB, "goal": 128 * MIB, "gogc": 50}, False),
        ({"live": 100 * MIB, "goal": 110 * MIB, "gogc": 0}, False),  # no off
        ({"live": MIB, "goal": 3 * MIB}, True),  # GOGC allows 4 MiB at least
        ({"live": MIB, "goal": 7 * MIB // 2}, False),
    ],
)
def test_a_limit_holds_the_heap_below_what_gogc_allows(
    numbers: dict[str, Any], is_held: bool
) -> None:
    assert heap(**numbers).is_held is is_held


@pytest.mark.parametrize(
    ("numbers", "is_tight"),
    [
        ({"goal": 170 * MIB - 1}, True),
        ({"goal": 170 * MIB}, False),
        ({"goal": 170 * MIB - 1, "gogc": 200}, True),
        ({"goal": 170 * MIB, "gogc": 200}, False),  # twice the live heap is enough
        ({"goal": 170 * MIB - 1, "gogc": -1}, True),
        ({"goal": 170 * MIB, "gogc": -1}, False),
        ({"goal": 127 * MIB, "gogc": 50}, True),
        ({"goal": 128 * MIB, "gogc": 50}, False),
        ({"goal": 127 * MIB, "limit": None}, False),
    ],
)
def test_a_tight_limit_leaves_less_than_twice_the_live_heap(
    numbers: dict[str, Any], is_tight: bool
) -> None:
    known = heap(live=100 * MIB, **numbers)
    assert known.is_tight is is_tight
    wanted = 150 if numbers.get("gogc") == 50 else 200
    assert known.wanted == wanted * MIB


@pytest.mark.parametrize(
    ("numbers", "room"),
    [
        ({}, 10),
        ({"per_cycle": 9}, 10),
        ({"per_cycle": 11}, 11),  # a cycle took longer than the goal allows
        ({"goal": 100}, 1),
        ({"goal": 90, "live": 1000}, 10),  # nothing is known: 1 % of the live heap
        ({"goal": 90, "live": 1000, "per_cycle": 3}, 3),
    ],
)
def test_room_is_what_the_goal_leaves_or_what_was_allocated(
    numbers: dict[str, Any], room: int
) -> None:
    assert heap(**numbers).room == room


def test_goals_and_the_cycles_they_keep() -> None:
    """The goal of a limit is 97 % of what it leaves for the heap, and never below the live heap."""
    assert heap().goal_by_percent(200) == 4 * 2 * MIB
    assert heap(live=100 * MIB).goal_by_percent(50) == 150 * MIB
    assert heap().goal_by_limit(305) == 291
    assert heap().goal_by_limit(50) == 100
    assert heap().kept(140) == 10 / 40
    assert heap().kept(105) == 1.0
    assert heap().kept(100) == 1.0
    assert heap(goal=101, per_cycle=1).kept(102) == 1 / 2
    assert heap(gogc=0, live=100 * MIB).wanted == 100 * MIB
    assert heap(goal=0, live=10).room == 1
    assert heap(goal=10, live=10).kept(11) == 1.0


def test_gogc_counts_stacks_and_globals_like_live_data() -> None:
    """20 MiB live and 100 MiB of stacks: GOGC=100 allows 120 MiB of garbage, a limit that leaves 16
    is tight, and at GOGC=200 there is room for twice as much."""
    stacks = heap(live=20 * MIB, roots=100 * MIB, goal=36 * MIB, limit=150 * MIB)
    assert stacks.goal_by_percent(100) == 140 * MIB
    assert stacks.wanted == 140 * MIB
    assert stacks.is_tight
    assert not heap(live=20 * MIB, goal=36 * MIB, limit=150 * MIB).is_tight
    assert stacks.kept(stacks.wanted) == pytest.approx(16 / 120)
    state = replace(OPEN, live_heap_bytes=20 * MIB, heap_goal_bytes=140 * MIB)
    known = heap_of(of(replace(state, root_bytes=100 * MIB)))
    assert known is not None
    assert known.roots == 100 * MIB
    assert known.kept(known.goal_by_percent(200)) == 0.5
    assert heap_of(of(state)).roots == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "missing", ["gogc", "memory_limit_bytes", "heap_goal_bytes", "live_heap_bytes"]
)
def test_a_heap_needs_its_numbers(missing: str) -> None:
    assert heap_of(of(replace(TIGHT, **{missing: None}))) is None
    assert heap_of(of(None)) is None


@pytest.mark.parametrize(
    ("collections", "per_cycle"),
    [
        (None, None),
        (Collections(2, 40), None),
        (Collections(3, 60), 20),
        (Collections(3, 0), None),
    ],
)
def test_three_cycles_show_what_is_allocated_in_one(
    collections: Collections | None, per_cycle: int | None
) -> None:
    known = heap_of(of(collections=collections))
    assert known is not None
    assert known.per_cycle == per_cycle
    assert (known.live, known.goal >> 20, known.limit) == (150 * MIB, 156, 175 * MIB)
    assert heap_of(of(OPEN)).limit is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("state", "goal"),
    [
        (replace(TIGHT, heap_goal_bytes=80 * MIB), 156),  # it was for 40 MiB of live data
        (replace(OPEN, heap_goal_bytes=80 * MIB), 300),
        (replace(OPEN, gogc=50, heap_goal_bytes=80 * MIB), 225),
        (replace(TIGHT, memory_limit_bytes=1 << 40, heap_goal_bytes=80 * MIB), 300),
        (replace(TIGHT, gogc=-1, memory_limit_bytes=400 * MIB), 374),
        (replace(TIGHT, gogc=0), 150),
    ],
)
def test_the_goal_is_for_the_live_data_of_now(state: RuntimeState, goal: int) -> None:
    """What the runtime stores is the goal of the last cycle: a heap that had been filled had no
    cycle yet with the new one, and seemed to be held (GT016) by a limit of more than twice it."""
    known = heap_of(of(state))
    assert known is not None
    assert known.goal >> 20 == goal
    assert heap_of(of(replace(OPEN, gogc=-1))) is None


def test_other_memory_may_be_unknown() -> None:
    known = heap_of(of(replace(TIGHT, non_heap_bytes=None)))
    assert known is not None
    assert known.other == 0
    assert (MIB, NO_MEMORY_LIMIT) == (1048576, 9223372036854775807)


def test_the_saving_is_the_cpu_time_of_the_cycles_that_go() -> None:
    """One core, 70 % of it the GC, three quarters of that no longer needed."""
    saving = predict_gc_saving(of(), 0.25)
    assert saving is not None
    assert saving.mid == pytest.approx(0.75 * 0.7 * 1.05)
    assert saving.low == pytest.approx(0.75 * 0.671 * 0.75, abs=0.001)
    assert saving.high == pytest.approx(0.75 * 0.728 * 1.8, abs=0.001)
    assert saving.sources[0].cores == saving.mid
    most = predict_gc_saving(of(), 0.0)
    assert most is not None
    assert most.high == 1.0  # not more than it uses
    assert predict_gc_saving(of(cpu_ns=None), 0.5) is None
    assert predict_gc_saving(of(USER=0), 0.5) is None


# GT016


def test_a_memory_limit_near_the_live_heap() -> None:
    """Room for as much garbage as live data and a tenth of both: 330 MiB at 97 %, and 14 MiB."""
    finding = held(of())
    assert finding.severity is Severity.WARNING
    assert finding.remedy.patch == "GOMEMLIMIT=355MiB\n"
    assert finding.remedy.gomaxprocs is None
    assert finding.saving is not None
    assert finding.saving.low > 0
    assert finding.saving.mid == pytest.approx((1 - 6 / 180.8) * 0.7 * 1.05, abs=0.001)
    assert "should take about 7% of its CPU instead of 70%" in finding.remedy.text
    texts = [each.text for each in finding.evidence]
    assert texts[0].startswith("the memory limit (GOMEMLIMIT) is 175 MiB: 150 MiB of the heap are")
    assert texts[1] == "so the heap may grow to 156 MiB; GOGC=100 alone lets it grow to 300 MiB"
    assert "GOMEMLIMIT=355MiB is predicted to save 0.71 cores, 71% of its CPU" in texts[-1]
    assert {rules.GC_HEAVY, rules.ALLOCATION_HEAVY} <= set(rules.EXCLUDES[rules.HELD])
    assert texts[-1].endswith(", at the same work (0.49 to 1.00)")
    assert [f.code for f in rules.find_all(of())] == [rules.HELD]


def test_what_remains_of_the_collections_remains_of_their_share() -> None:
    """With half of the room already there, half of 60 % goes: 30 of 70 remain."""
    finding = held(of(collections=Collections(9, 9 * 90 * MIB), GC_MARK_DEDICATED=600, USER=400))
    assert "should take about 43% of its CPU instead of 60%" in finding.remedy.text
    few = of(collections=Collections(9, 9 * 90 * MIB), GC_MARK_DEDICATED=150, USER=850)
    assert rules.HELD not in found(few)  # half of 15 % is surely not above 8 %
    assert finding.evidence[3].text.startswith("9 GC cycles in 10 s")
    bare = held(of(collections=Collections(4, 0)))
    assert bare.evidence[3].text == "4 GC cycles in 10 s"
    assert "cycles" not in held(of(collections=Collections())).evidence[3].text
    assert "GOGC is off" in held(of(replace(TIGHT, gogc=-1))).evidence[1].text
    assert "GOGC=1 alone" not in held(of()).evidence[1].text
    full = replace(TIGHT, memory_limit_bytes=164 * MIB)  # 150 and 14
    no_room = "this leaves no room for garbage, so the collector runs all the time; GOGC=100 alone"
    assert held(of(full)).evidence[1].text.startswith(no_room)
    more = replace(TIGHT, memory_limit_bytes=170 * MIB)  # 151.3 MiB for the heap
    assert held(of(more)).evidence[1].text.startswith("so the heap may grow to 151 MiB; ")


@pytest.mark.parametrize(
    ("gogc", "limit"),
    [(100, 355), (200, 355), (50, 270), (-1, 355)],
)
def test_room_for_as_much_as_gogc_allows_and_at_most_twice_the_live_heap(
    gogc: int, limit: int
) -> None:
    """GOGC=200 is no reason to pay for three times the live heap; off counts as 100."""
    assert held(of(replace(TIGHT, gogc=gogc))).remedy.patch == f"GOMEMLIMIT={limit}MiB\n"


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        (OPEN, {}),
        (replace(TIGHT, memory_limit_bytes=277 * MIB), {}),  # 85 % of what GOGC allows
        (TIGHT, {"GC_MARK_DEDICATED": 80, "USER": 920}),  # surely less than 8 %
        (TIGHT, {"GC_MARK_DEDICATED": 40, "USER": 9}),  # too few samples
        (TIGHT, {"cpu_ns": None}),
        (TIGHT, {"cpu_ns": 60 * 10**6}),  # 0.0042 cores to save
        (replace(TIGHT, gogc=-1, memory_limit_bytes=900 * MIB, heap_goal_bytes=850 * MIB), {}),
        (replace(TIGHT, live_heap_bytes=None), {}),
        (None, {}),
    ],
)
def test_a_limit_that_costs_nothing_is_no_finding(
    state: RuntimeState | None, seen: dict[str, Any]
) -> None:
    assert rules.HELD not in found(of(state, **seen))


def test_the_first_numbers_with_a_finding() -> None:
    """The share of the GC that goes is proven above 8 %: 107 of 1000 are, 80 are not."""
    assert rules.HELD in found(of(GC_MARK_DEDICATED=107, USER=893))
    assert rules.HELD in found(of(GC_MARK_DEDICATED=40, USER=10))
    assert rules.HELD in found(of(cpu_ns=80 * 10**6))  # 0.0056 cores
    late = of(cpu_ns=50 * 10**6)  # 0.0035 cores
    assert rules.HELD not in found(late)
    assert rules.HELD in found(replace(late, lenient=True))
    assert rules.HELD not in found(of(memory=own(300), GC_MARK_DEDICATED=0, USER=0))


def test_a_saving_as_large_as_the_threshold_is_enough() -> None:
    seen = of()
    saving = held(seen).saving
    assert saving is not None
    for cores, named in ((saving.mid, True), (saving.mid * 1.001, False)):
        thresholds = replace(seen.thresholds, saving_cores=cores)
        assert (rules.HELD in found(replace(seen, thresholds=thresholds))) is named
    evidence = held(seen).evidence[-1]
    assert evidence.interval == (saving.low, saving.high)


def test_it_is_certain_if_the_allocations_were_counted() -> None:
    assert held(of()).confidence is Confidence.MEDIUM
    counted = held(of(collections=Collections(46, 46 * 8 * MIB)))
    assert counted.confidence is Confidence.HIGH
    assert counted.evidence[3].text == "46 GC cycles in 10 s, after 8 MiB of allocations each"
    assert counted.saving is not None
    assert counted.saving.mid == pytest.approx((1 - 8 / 180.8) * 0.7 * 1.05, abs=0.001)


@pytest.mark.parametrize(
    ("live", "patch", "confidence", "text"),
    [
        ((150, 150), 355, Confidence.HIGH, ": 150 MiB of the heap"),
        ((120, 150), 355, Confidence.HIGH, ": 150 MiB of the heap"),
        ((119, 150), 355, Confidence.MEDIUM, ": 150 MiB (119 MiB to 150 MiB at other moments) of"),
        ((150, 180), 423, Confidence.HIGH, ": 150 MiB of the heap"),
        ((100, 180), 423, Confidence.MEDIUM, ": 150 MiB (100 MiB to 180 MiB at other moments) of"),
        ((100, 140), 355, Confidence.MEDIUM, ": 150 MiB (100 MiB to 140 MiB at other moments) of"),
    ],
)
def test_the_new_limit_has_room_for_the_most_live_data_that_was_seen(
    live: tuple[int, int], patch: int, confidence: Confidence, text: str
) -> None:
    """The live heap of one moment made the remedy another one in each run, with high confidence."""
    seen = of(collections=Collections(46, 46 * 8 * MIB))
    finding = held(replace(seen, live_heap=(live[0] * MIB, live[1] * MIB)))
    assert finding.remedy.patch == f"GOMEMLIMIT={patch}MiB\n"
    assert finding.confidence is confidence
    assert text in finding.evidence[0].text


def test_a_container_limit_has_room_for_the_most_live_data_that_was_seen() -> None:
    """150 MiB and 14 MiB of other memory are less than 80 % of 206 MiB, 151 MiB are not."""
    seen = of(OPEN, own(229, oom_kills=2))
    for highest, patch in ((150, "GOMEMLIMIT=206MiB\n"), (151, "GOMEMLIMIT=357MiB\n")):
        grown = replace(seen, live_heap=(150 * MIB, highest * MIB))
        assert found(grown)[rules.NO_MEMORY_LIMIT].remedy.patch == patch


@pytest.mark.parametrize(
    ("memory", "patch", "text"),
    [
        (own(400), "GOMEMLIMIT=355MiB", "; 89% of the container's memory limit."),
        (own(395), "GOMEMLIMIT=355MiB", "; 90% of"),  # exactly
        (own(394), "GOMEMLIMIT=354MiB", ": 90 % of the container's memory limit."),
        (own(274), "GOMEMLIMIT=246MiB", ": 90 % of"),  # what remains is not worth a finding
        (own(273), "GOMEMLIMIT=355MiB", "raise the memory limit of the container to 400 MiB, and"),
        (own(273), "GOMEMLIMIT=355MiB", "Or, to stay within it, set GOMEMLIMIT=245MiB: that saves"),
        (own(201), "GOMEMLIMIT=355MiB", "set GOMEMLIMIT=180MiB"),  # half of the gain
        (own(200), "GOMEMLIMIT=355MiB", "collector would run all the time. Or keep"),
        (Memory(150 * MIB, "/s"), "GOMEMLIMIT=135MiB", ""),
        (Memory(300 * MIB, "/s"), "GOMEMLIMIT=270MiB", ": 90 % of the limit of /s."),
    ],
)
def test_the_limit_fits_into_the_containers(memory: Memory, patch: str, text: str) -> None:
    """Or the container's has to be raised. What only ancestors limit cannot be raised here."""
    findings = found(of(memory=memory))
    if not text:
        assert rules.HELD not in findings  # nothing to gain
        return
    remedy = findings[rules.HELD].remedy
    assert remedy.patch == f"{patch}\n"
    assert text in remedy.text
    within = [f"{word.rstrip(':')}\n" for word in remedy.text.split() if "GOMEMLIMIT=" in word]
    assert list(remedy.patches) == [remedy.patch, *within[1:]]


def test_a_new_limit_may_be_exactly_what_the_container_allows() -> None:
    """355 MiB are 90 % of it: then the text is about the room, and not about the container."""
    size = math.ceil(355 * MIB / 0.9)
    remedy = held(of(memory=Memory(size, "/c", size))).remedy
    assert int(size * 0.9) == 355 * MIB
    assert "room for the live heap, for garbage, and for other memory of Go; 90% of" in remedy.text


@pytest.mark.parametrize(
    ("limit", "collector", "saving_share", "ends"),
    [
        (230, 415, 0.08, True),  # a third of the room: 10.5 % of the CPU is the GC then
        (230, 420, 0.08, False),
        (337, 700, 0.0, True),  # 85 % of what GOGC allows, and a tenth more, is not tight
        (336, 700, 0.0, False),
    ],
)
def test_a_limit_within_the_container_has_to_end_the_finding(
    limit: int, collector: int, saving_share: float, ends: bool
) -> None:
    seen = of(memory=own(limit), GC_MARK_DEDICATED=collector, USER=1000 - collector)
    seen = replace(seen, thresholds=replace(seen.thresholds, saving_share=saving_share))
    patch = held(seen).remedy.patch
    assert (patch != "GOMEMLIMIT=355MiB\n") is ends


def test_the_patches_set_both_limits() -> None:
    """In Kubernetes and in systemd; the downward API would give the whole limit."""
    pod = replace(CONTAINER, pod=POD)
    finding = held(of(memory=own(194), container=pod))
    (patched,) = yaml.safe_load(finding.remedy.patch)["spec"]["template"]["spec"]["containers"]
    assert patched["resources"] == {"limits": {"memory": "400Mi"}}
    assert patched["env"] == [{"name": "GOMEMLIMIT", "value": "355MiB", "valueFrom": None}]
    assert "limits.memory of the downward API would give the whole limit" in finding.remedy.text
    assert "resources" not in held(of(memory=own(400), container=pod)).remedy.patch
    unit = Container("c", "a", "/a.service", unit="a.service")
    text = setting_patch(unit, Setting("GOMEMLIMIT", "355MiB", "400Mi"))
    assert text.endswith("[Service]\nEnvironment=GOMEMLIMIT=355MiB\nMemoryMax=400M\n")
    assert "/a.service.d/gomemlimit.conf\n" in text
    assert "MemoryMax" not in setting_patch(unit, Setting("GOGC", "200"))
    nested = replace(pod, nested="docker/x")
    assert held(of(container=nested)).remedy.patch == "GOMEMLIMIT=355MiB\n"
    assert "downward" not in held(of(container=nested)).remedy.text


def test_automemlimit_is_named() -> None:
    seen = of()
    linked = Module("github.com/KimMachineGun/automemlimit", "v0.7.0")
    process = replace(seen.report.main_process, build=GoBuild("go1.24.1", dependencies=(linked,)))
    assert "automemlimit" not in held(seen).remedy.text
    other = replace(
        process, build=GoBuild("go1.24.1", dependencies=(Module("example.com/x", "v1"),))
    )
    without = replace(seen, report=replace(seen.report, processes=(other,)))
    assert "automemlimit" not in held(without).remedy.text
    seen = replace(seen, report=replace(seen.report, processes=(process,)))
    assert "It links automemlimit" in held(seen).remedy.text


# GT017


@pytest.mark.parametrize(
    ("memory", "severity"),
    [
        (own(310, working_set_bytes=100 * MIB), None),
        (own(310, working_set_bytes=279 * MIB), Severity.INFO),  # 90 %
        (own(310, working_set_bytes=279 * MIB - 1), None),
        (own(310, oom_kills=1), Severity.WARNING),  # GOGC alone allows 314 MiB
        (own(314, oom_kills=1), Severity.INFO),
        (own(628, oom_kills=1), Severity.INFO),
        (own(629, oom_kills=1), None),  # it was not the heap
        (own(310, oom_kills=0), None),
        (own(310), None),
        (Memory(300 * MIB, "/", oom_kills=1), None),  # no limit of its own
        (None, None),
    ],
)
def test_no_gomemlimit_near_the_containers_limit(
    memory: Memory | None, severity: Severity | None
) -> None:
    finding = found(of(OPEN, memory)).get(rules.NO_MEMORY_LIMIT)
    assert (finding and finding.severity) == severity


def test_a_gomemlimit_or_gogc_off_is_another_finding() -> None:
    memory = own(310, oom_kills=1)
    assert rules.NO_MEMORY_LIMIT not in found(of(TIGHT, memory))
    assert rules.NO_MEMORY_LIMIT not in found(of(replace(OPEN, gogc=-1), memory))


@pytest.mark.parametrize(
    ("limit", "patch"),
    [
        (310, "GOMEMLIMIT=279MiB"),
        (229, "GOMEMLIMIT=206MiB"),  # 164 MiB are at most 80 % of it
        (227, "GOMEMLIMIT=355MiB"),  # of 204 MiB they are more
    ],
)
def test_live_data_needs_room_in_the_new_limit(limit: int, patch: str) -> None:
    finding = found(of(OPEN, own(limit, oom_kills=2)))[rules.NO_MEMORY_LIMIT]
    assert finding.remedy.patch == f"{patch}\n"
    assert "the kernel has killed 2 processes of its container" in finding.evidence[-1].text
    assert ("raise the memory limit" in finding.remedy.text) is (limit == 227)


def test_the_evidence_of_a_missing_limit() -> None:
    """Where GOGC is 0, it is not off; the limit is proven to be too low for GOGC, or may be."""
    pod: dict[str, Any] = {"container": replace(CONTAINER, pod=POD)}
    near = own(310, working_set_bytes=290 * MIB)
    finding = found(of(OPEN, near))[rules.NO_MEMORY_LIMIT]
    assert [each.text for each in finding.evidence] == [
        "there is no memory limit (GOMEMLIMIT), and GOGC=100 alone lets it grow to 300 MiB",
        "the container's memory limit is 310 MiB, in use are 290 MiB",
        "150 MiB of the heap are live, 14 MiB are other memory of Go",
    ]
    assert finding.confidence is Confidence.HIGH
    assert found(of(OPEN, own(314, oom_kills=1)))[rules.NO_MEMORY_LIMIT].confidence is (
        Confidence.MEDIUM
    )
    killed = found(of(OPEN, own(310, oom_kills=1), **pod))[rules.NO_MEMORY_LIMIT]
    assert killed.evidence[1].text.endswith("310 MiB, its use could not be read")
    assert killed.evidence[1].value is None
    assert "has killed 1 processes of its pod" in killed.evidence[-1].text
    zero = replace(OPEN, gogc=0)
    by_gogc = found(of(zero, own(310, oom_kills=1)))[rules.NO_MEMORY_LIMIT].evidence[0].text
    assert by_gogc.endswith("GOGC=0 alone lets it grow to 150 MiB")
    late = of(OPEN, own(310, working_set_bytes=168 * MIB))  # 54 %
    assert rules.NO_MEMORY_LIMIT not in found(late)
    assert rules.NO_MEMORY_LIMIT in found(replace(late, lenient=True))
    even = replace(OPEN, live_heap_bytes=144 * MIB, non_heap_bytes=0)
    plan = found(of(even, own(200, oom_kills=1)))[rules.NO_MEMORY_LIMIT]
    assert plan.remedy.patch == "GOMEMLIMIT=180MiB\n"  # 144 are 80 % of it


# GT018


@pytest.mark.parametrize(
    ("limit", "memory", "before", "title"),
    [
        (400, own(399), None, "above"),
        (400, own(400), None, None),  # what the downward API gives
        (400, Memory(399 * MIB, "/pod"), None, "above"),
        (400, Memory(), None, None),
        (None, own(399), None, None),
        (180, own(400), 200, "did not follow"),
        (180, own(400), 180, "did not follow"),
        (180, own(400), 179, None),  # it never fitted that
        (180, own(400), 400, None),
        (180, own(400), 500, None),
        (180, own(170), 200, "above"),
        (180, own(400), None, None),
        (180, Memory(400 * MIB, "/pod"), 200, None),  # it has no limit of its own any more
    ],
)
def test_a_gomemlimit_that_does_not_fit_the_containers_limit(
    limit: int | None, memory: Memory, before: int | None, title: str | None
) -> None:
    state = replace(OPEN, memory_limit_bytes=NO_MEMORY_LIMIT if limit is None else limit * MIB)
    seen = of(state, memory, USER=100)
    seen = replace(seen, earlier_memory=before and before * MIB)
    finding = found(seen).get(rules.UNFIT_MEMORY_LIMIT)
    assert (finding is None) is (title is None)
    if finding is not None and title is not None:
        assert title in finding.title
        assert finding.severity is Severity.INFO
        texts = [each.text for each in finding.evidence]
        assert texts[0] == f"the memory limit (GOMEMLIMIT) is {limit} MiB"
        assert texts[1].endswith(f" MiB (cgroup {memory.limit_cgroup})")
        known = f"the container's memory limit was {before} MiB before"
        assert (known in texts) is (before is not None)


def test_the_remedy_is_ninety_percent_of_the_new_limit() -> None:
    """Or the advice alone, where it is not the container's own; also before Go 1.20."""
    state = replace(OPEN, memory_limit_bytes=900 * MIB)
    for each in (state, replace(state, live_heap_bytes=None)):
        finding = found(of(each, own(400), USER=100))[rules.UNFIT_MEMORY_LIMIT]
        assert finding.remedy.patch == "GOMEMLIMIT=360MiB\n"
        assert "90 % of the container's memory limit" in finding.remedy.text
    finding = found(of(state, Memory(400 * MIB, "/pod"), USER=100))[rules.UNFIT_MEMORY_LIMIT]
    assert finding.remedy.patch == ""
    assert "90 % of the memory that the program may use" in finding.remedy.text
    crowded = replace(state, live_heap_bytes=350 * MIB)
    finding = found(of(crowded, own(400), USER=100))[rules.UNFIT_MEMORY_LIMIT]
    assert "raise the memory limit of the container" in finding.remedy.text
    seen = replace(of(state, Memory(400 * MIB, "/pod"), USER=100), earlier_memory=500 * MIB)
    assert len(found(seen)[rules.UNFIT_MEMORY_LIMIT].evidence) == 2
    assert rules.UNFIT_MEMORY_LIMIT not in found(of(None, own(400), USER=100))
    unknown = replace(state, memory_limit_bytes=None)
    assert rules.UNFIT_MEMORY_LIMIT not in found(of(unknown, own(400), USER=100))


# GT019


def test_gogc_off_without_a_limit() -> None:
    """With a limit of the container, GOMEMLIMIT; else the default of GOGC."""
    off = RuntimeState(gogc=-1, memory_limit_bytes=NO_MEMORY_LIMIT)
    finding = found(of(off))[rules.NO_COLLECTOR]
    assert finding.remedy.patch == "GOGC=100\n"
    assert len(finding.evidence) == 1
    finding = found(of(off, own(400, usage_bytes=90 * MIB)))[rules.NO_COLLECTOR]
    assert finding.remedy.patch == "GOMEMLIMIT=360MiB\n"
    assert [each.value for each in finding.evidence] == [None, 90 * MIB, 400 * MIB]
    assert "or keep GOGC off and set GOMEMLIMIT=360MiB" in finding.remedy.text
    for other in (
        replace(off, gogc=0),
        replace(off, gogc=None),
        replace(off, memory_limit_bytes=900 * MIB),
        replace(off, memory_limit_bytes=None),  # Go 1.18 has none
        None,
    ):
        assert rules.NO_COLLECTOR not in found(of(other))


# GT009


@pytest.mark.parametrize(
    ("memory", "rows"),
    [
        (None, [200, 400]),
        (Memory(working_set_bytes=900 * MIB), [200, 400]),  # no limit on the whole path
        (own(900, working_set_bytes=360 * MIB), [200, 400]),  # 450 MiB are free
        (own(900, working_set_bytes=360 * MIB + 1), [200]),
        (own(900, working_set_bytes=660 * MIB), [200]),  # 150 MiB are free
        (own(900, working_set_bytes=660 * MIB + 1), []),
        (Memory(900 * MIB, "/", usage_bytes=661 * MIB), []),
        (own(849), [200, 400]),  # 314 MiB for Go, as far as is known: 450 MiB are free
        (own(848), [200]),
    ],
)
def test_the_table_has_what_there_is_memory_for(memory: Memory | None, rows: list[int]) -> None:
    finding = found(of(OPEN, memory))[rules.GC_HEAVY]
    for gogc, more in ((200, 150), (400, 450)):
        named = f"GOGC={gogc}: " in finding.remedy.text
        assert named is (gogc in rows)
        assert (f"for {more} MiB more" in finding.remedy.text) is named
    assert finding.remedy.patch == (f"GOGC={rows[-1]}\n" if rows else "")
    assert (finding.saving is None) is (not rows)
    assert finding.remedy.setting == (f"GOGC={rows[-1]}" if rows else "")
    assert finding.evidence[3].text == "150 MiB of the heap are live, and it may grow to 300 MiB"
    if rows:
        assert finding.saving is not None
        kept = 150 / (1.5 * 100 * rows[-1] / 100)
        assert finding.saving.mid == pytest.approx((1 - kept) * 0.7 * 1.05)
    else:
        assert "There is no memory left for a higher GOGC" in finding.remedy.text


def test_twice_the_gogc_it_has_and_not_200() -> None:
    """The heap of GOGC=200 at 150 MiB live has a goal of 450 MiB."""
    state = replace(OPEN, gogc=200, heap_goal_bytes=450 * MIB)
    text = found(of(state))[rules.GC_HEAVY].remedy.text
    assert "GOGC=400: " in text
    assert "GOGC=800: " in text
    assert "GOGC=200" not in text


@pytest.mark.parametrize(
    ("state", "memory", "seen", "says"),
    [
        (replace(OPEN, gogc=1), own(200, usage_bytes=180 * MIB), {}, "There is no memory left"),
        (replace(OPEN, gogc=0), None, {}, "GOGC=2 instead of 0"),  # twice nothing is nothing
        (OPEN, own(314), {"cpu_ns": None}, "GOGC=200 instead of 100"),
        (TIGHT, own(175), {}, "Raise the limit as far"),
    ],
)
def test_memory_is_missing_only_where_it_would_help(
    state: RuntimeState, memory: Memory | None, seen: dict[str, Any], says: str
) -> None:
    """Without the kernel's CPU time no saving was known, and the text said that the memory for it
    was missing."""
    finding = found(of(state, memory, GC_MARK_DEDICATED=700, USER=300, **seen))[rules.GC_HEAVY]
    assert says in finding.remedy.text
    assert ("no memory left" in finding.remedy.text) is says.startswith("There")


def test_a_higher_gogc_that_saves_nothing_is_no_row() -> None:
    """300 MiB are allocated in a cycle: more than GOGC=100 allows, and all that 200 does."""
    text = found(of(OPEN, collections=Collections(3, 900 * MIB)))[rules.GC_HEAVY].remedy.text
    assert "GOGC=400: " in text
    assert "GOGC=200: " not in text


@pytest.mark.parametrize(
    ("memory", "where"),
    [
        (None, "if there is memory for it (the memory limit could not be read)"),
        (Memory(), "if the host has the memory for it"),
        (Memory(900 * MIB, "/pod"), "within the memory limit of /pod"),
        (own(900), "within the container's memory limit"),
    ],
)
def test_the_table_names_the_memory_that_it_takes(memory: Memory | None, where: str) -> None:
    """A GOMEMLIMIT against peaks is advised within a limit of its own, if there is none yet."""
    against_peaks = "Set GOMEMLIMIT to 90 % of the container's memory limit, too"
    text = found(of(OPEN, memory))[rules.GC_HEAVY].remedy.text
    assert f"collect less often, {where}. GOGC=200: " in text
    assert (against_peaks in text) is (memory == own(900))
    wide = replace(OPEN, memory_limit_bytes=2000 * MIB)
    assert against_peaks not in found(of(wide, memory))[rules.GC_HEAVY].remedy.text


@pytest.mark.parametrize(
    ("memory", "is_said"), [(None, True), (Memory(), False), (own(900), False)]
)
def test_a_memory_limit_that_was_not_read_may_not_allow_the_new_one(
    memory: Memory | None, is_said: bool
) -> None:
    text = held(of(TIGHT, memory)).remedy.text
    assert ("The container's own memory limit could not be read: it has to" in text) is is_said


def test_a_memory_limit_bounds_the_table() -> None:
    """At 475 MiB there is room for 161 MiB more; where the limit holds the heap there is no row."""
    state = replace(OPEN, memory_limit_bytes=464 * MIB)
    text = found(of(state))[rules.GC_HEAVY].remedy.text
    assert "GOGC=200: " in text
    assert "GOGC=400: " not in text
    assert (
        "GOGC=200: "
        not in found(of(replace(state, memory_limit_bytes=464 * MIB - 1)))[
            rules.GC_HEAVY
        ].remedy.text
    )
    assert "Raise the limit as far" in found(of(TIGHT))[rules.GC_HEAVY].remedy.text
    wide = replace(OPEN, memory_limit_bytes=900 * MIB)  # here the container bounds it
    text = found(of(wide, own(900, working_set_bytes=660 * MIB)))[rules.GC_HEAVY].remedy.text
    assert "GOGC=200: " in text
    assert "GOGC=400: " not in text


@pytest.mark.parametrize(
    ("memory", "gc", "is_found"),
    [
        (own(900), 150, True),  # GOGC=400 spares three quarters: 112 of 1000, surely over 8 %
        (own(900), 120, False),
        (None, 150, False),  # whose memory would it be?
        (Memory(900 * MIB, "/pod"), 150, False),
        (own(600, working_set_bytes=100 * MIB), 150, False),  # only GOGC=200 fits: half of it
        (own(600, working_set_bytes=100 * MIB), 220, True),
    ],
)
def test_memory_that_is_paid_for_is_worth_less_collection(
    memory: Memory | None, gc: int, is_found: bool
) -> None:
    """Also below a quarter of the CPU time."""
    seen = of(OPEN, memory, GC_MARK_DEDICATED=gc, USER=1000 - gc)
    assert (rules.GC_HEAVY in found(seen)) is is_found


def test_a_tiny_gain_is_not_worth_a_finding() -> None:
    """The low end of the saving of 0.05 cores at 20 % GC is 0.0049 cores."""
    seen: dict[str, Any] = {"GC_MARK_DEDICATED": 200, "USER": 800}
    assert rules.GC_HEAVY not in found(of(OPEN, own(900), cpu_ns=49 * 10**7, **seen))
    assert rules.GC_HEAVY in found(of(OPEN, own(900), cpu_ns=55 * 10**7, **seen))


@pytest.mark.parametrize(
    ("least", "lenient", "is_found"),
    [(1.0, False, True), (1.001, False, False), (1.6, True, True), (1.7, True, False)],
)
def test_a_gain_as_large_as_the_threshold_is_enough(
    least: float, lenient: bool, is_found: bool
) -> None:
    """Times the low end of the larger option; an earlier finding needs 60 % of the threshold."""
    seen = of(OPEN, own(900), GC_MARK_DEDICATED=150, USER=850)
    saving = found(seen)[rules.GC_HEAVY].saving
    assert saving is not None
    thresholds = replace(seen.thresholds, saving_cores=saving.low * least, gc_share=0.9)
    assert (
        rules.GC_HEAVY in found(replace(seen, thresholds=thresholds, lenient=lenient))
    ) is is_found
