"""Questions of a small fleet whose answers are known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from gotax_collector.query.answers import Compared, Span
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import Selection, SelectionError, parse_selection
from gotax_collector.query.wording import difference_sentence
from gotax_collector.report import Finding
from gotax_collector.storage.store import ClickHouseStore

from tests.collector.fleet import FINE, HOURS, UNTIL, filled
from tests.collector.reports import NOW, OVERSIZED, SECOND, Sampled, Seen, report, sender, web

BUSY = Seen(
    web(), (Sampled("main.main", 0, 90), Sampled("runtime.mcall", 1, 10)), cpu_ns=30 * SECOND
)


@pytest.mark.parametrize(
    "terms",
    [(), ("workload=web",), ("node=n1",), ("gomaxprocs=4",), ("pod=web-n1",), ("since=3h",)],
)
def test_a_collector_that_has_run_for_minutes(store: ClickHouseStore, terms: tuple[str]) -> None:
    """Cores are over the time that is covered, not over the day that is asked for."""
    windows = [report(sender(), 1 + n, [BUSY], start_s=NOW + 600 + n * 60) for n in range(3)]
    store.insert(windows)
    questions = Questions(store.connections)
    top = questions.top(parse_selection(terms, NOW + 3600))
    assert (top.span.since, top.span.until) == (NOW + 600, NOW + 780)
    assert top.total.cores == pytest.approx(0.5)
    assert top.total.containers == pytest.approx(1)
    (row,) = top.rows
    assert row.consumption.cores == pytest.approx(0.5)
    whole = questions.workload(parse_selection(terms, NOW + 3600))
    assert whole is not None
    assert sum(whole.categories.values()) == pytest.approx(0.5)
    compared = questions.compare(parse_selection(terms, NOW + 3600))
    assert compared.sides[0].containers == pytest.approx(1)


def test_a_container_without_go_has_its_finding_and_none_of_the_cpu_time(
    store: ClickHouseStore,
) -> None:
    """It is a workload of its own: the Go container of the same pod keeps its numbers."""
    made = report(sender(), 1, [BUSY], start_s=NOW)
    go = made.containers[0]
    finding = Finding("GT020", "warning", "high", title="Throttled", evidence=("so often",))
    other = replace(
        go,
        identity=replace(go.identity, container="proxy", key="proxy"),
        cpu_ns=0,
        verdict="not-go",
        is_go=False,
        findings=(finding,),
        category=go.category[:0],
        category_samples=go.category_samples[:0],
        category_cpu_ns=go.category_cpu_ns[:0],
    )
    store.insert([replace(made, others=(other,))])
    questions = Questions(store.connections)
    top = questions.top(parse_selection([], NOW + 600))
    rows = {row.workload: row for row in top.rows}
    assert rows.keys() == {"web", "web:proxy"}
    assert rows["web:proxy"].consumption.cores == 0
    assert rows["web"].consumption.cores == pytest.approx(top.total.cores)
    assert rows["web:proxy"].open_findings is not None
    assert [one.code for one in rows["web:proxy"].open_findings] == ["GT020"]
    whole = questions.workload(parse_selection(["workload=web:proxy"], NOW + 600))
    assert whole is not None


def test_a_workload_that_came_later_is_measured_from_then(store: ClickHouseStore) -> None:
    late = Seen(web("late"), BUSY.stack_counts, cpu_ns=30 * SECOND)
    store.insert(
        [
            report(sender(), 1 + n, [BUSY, late] if n >= 30 else [BUSY], start_s=NOW + n * 60)
            for n in range(60)
        ]
    )
    questions = Questions(store.connections)
    alone = questions.top(parse_selection(["workload=late"], NOW + 3600))
    assert alone.span.seconds == 1800
    assert alone.rows[0].consumption.cores == pytest.approx(0.5)
    beside = questions.top(parse_selection([], NOW + 3600))
    assert beside.span.seconds == 3600
    cores = {row.workload: row.consumption.cores for row in beside.rows}
    assert cores == pytest.approx({"web": 0.5, "late": 0.25})


def test_without_its_windows_an_hour_counts_as_long_as_a_container_ran(
    store: ClickHouseStore,
) -> None:
    """They are kept for less long than the sums."""
    store.insert([report(sender(), 1 + n, [BUSY], start_s=NOW + 600 + n * 60) for n in range(3)])
    store.connections.command("TRUNCATE TABLE windows")
    top = Questions(store.connections).top(parse_selection([], NOW + 3600))
    assert (top.span.since, top.span.until, top.span.seconds) == (NOW, NOW + 3600, 180)
    assert top.total.cores == pytest.approx(0.5)
    assert top.rows[0].open_findings is None  # nothing says what holds


@pytest.mark.parametrize(("since", "days"), [("24h", 1), ("2d", 2), ("1h", 1)])
def test_the_trend_is_against_the_day_before(store: ClickHouseStore, since: str, days: int) -> None:
    """For a longer time against as much time before; a new workload has none."""
    then = Seen(web(), (Sampled("main.main", 0, 60), Sampled("runtime.mcall", 1, 40)))
    new = Seen(web("new"), BUSY.stack_counts)
    now = NOW + 3600
    store.insert([report(sender(), 1, [then], start_s=now - days * 86_400 - 1800)])
    store.insert([report(sender(), 2, [BUSY, new], start_s=now - 1800)])
    top = Questions(store.connections).top(parse_selection([f"since={since}"], now))
    rows = {row.workload: row for row in top.rows}
    assert rows["web"].consumption.runtime_share == pytest.approx(0.1)
    assert rows["web"].earlier_runtime_share == pytest.approx(0.4)
    assert rows["new"].earlier_runtime_share is None


def test_workloads_come_in_pages(store: ClickHouseStore) -> None:
    """Each workload is on one page."""
    seen = [Seen(web(f"w{n}"), BUSY.stack_counts, cpu_ns=(n + 1) * SECOND) for n in range(7)]
    store.insert([report(sender(), 1, seen, start_s=NOW)])
    questions, selection = Questions(store.connections), parse_selection([], NOW + 3600)
    pages = [questions.top(selection, 3, "cpu", skipped) for skipped in (0, 3, 6, 9)]
    assert [[row.workload for row in page.rows] for page in pages] == [
        ["w6", "w5", "w4"],
        ["w3", "w2", "w1"],
        ["w0"],
        [],
    ]
    assert {page.workloads for page in pages} == {7}


def test_one_window_is_the_least_time(store: ClickHouseStore) -> None:
    store.insert([report(sender(), 1, [BUSY], start_s=NOW)])
    top = Questions(store.connections).top(parse_selection([], NOW + 30))
    assert top.span.seconds == 60
    assert top.total.cores == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("seconds_later", "state"), [(0, "current"), (180, "current"), (181, "silent")]
)
def test_what_an_agent_that_fell_silent_said_last(
    store: ClickHouseStore, seconds_later: int, state: str
) -> None:
    """Three windows of a minute may be missing after the end of the last."""
    bad = replace(BUSY, findings=(OVERSIZED,))
    store.insert([report(sender(), 1 + n, [bad], start_s=NOW + n * 60) for n in range(3)])
    now = parse_selection(["since=3h"], NOW + 180 + seconds_later)
    questions = Questions(store.connections)
    (row,) = questions.top(now).rows
    assert row.open_findings is not None
    assert [(found.code, found.state) for found in row.open_findings] == [("GT001", state)]
    whole = questions.workload(now)
    assert whole is not None
    assert [(found.state, found.until) for found in whole.findings] == [(state, NOW + 180)]


@pytest.mark.parametrize(("windows_after", "state"), [(1, "current"), (2, "ended")])
def test_a_pod_that_is_gone_takes_its_findings_with_it(
    store: ClickHouseStore, windows_after: int, state: str
) -> None:
    """An idle container may be left out of a window, so one is waited for."""
    bad, good = replace(BUSY, findings=(OVERSIZED,)), Seen(web("web", "n1", image="web:2"), ())
    good = replace(
        good, identity=replace(good.identity, pod="other"), stack_counts=BUSY.stack_counts
    )
    store.insert(
        [
            report(sender(), 1 + n, [bad] if n < 3 else [good], start_s=NOW + n * 60)
            for n in range(3 + windows_after)
        ]
    )
    selection = parse_selection(["since=3h"], NOW + (3 + windows_after) * 60)
    whole = Questions(store.connections).workload(selection)
    assert whole is not None
    (found,) = whole.findings
    assert (found.state, found.until) == (state, NOW + 180)
    assert found.why == ("mended" if state == "ended" else "")
    assert bool(whole.row.open_findings) == (state == "current")


def test_of_one_node_the_time_counts_in_which_its_agent_reported(store: ClickHouseStore) -> None:
    """The other agents went on meanwhile."""
    store.insert(
        [
            report(
                sender(f"a-{node}", node),
                1 + n,
                [replace(BUSY, identity=web(node=node))],
                start_s=NOW - 7200 + n * 60,
            )
            for node, minutes in (("n1", [*range(30), *range(100, 130)]), ("n2", range(130)))
            for n in minutes
        ]
    )
    questions = Questions(store.connections)
    for terms, seconds, cores in ((["node=n1"], 3600, 0.5), ([], 7800, 0.5 + 0.5 * 60 / 130)):
        top = questions.top(parse_selection(["since=6h", *terms], NOW + 3600))
        assert top.span.seconds == seconds
        assert top.total.cores == pytest.approx(cores)


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Questions]:
    store = filled(tmp_path_factory.mktemp("fleet"))
    yield Questions(store.connections)
    store.close()


def test_top_counts_what_the_runtime_takes(questions: Questions) -> None:
    top = questions.top(parse_selection([f"since={HOURS}h"], UNTIL))
    assert [row.workload for row in top.rows] == ["web", "api"]
    # The last window began twenty minutes after the last hour and took one. There are two an hour.
    assert top.span.until - top.span.since == (HOURS - 1) * 3600 + 21 * 60
    covered = HOURS * 120
    assert (top.workloads, top.span.seconds) == (2, covered)
    first = top.rows[0]
    # Two windows of 30 s and four of 17 s of CPU in an hour.
    assert first.consumption.cores == pytest.approx(HOURS * (2 * 30 + 4 * 17) / covered)
    assert first.consumption.runtime_share == pytest.approx((60 * 0.47 + 68 * 0.15) / 128, abs=0.02)
    assert first.gomaxprocs == (4, 192)
    assert first.findings == ("GT001",)
    assert first.consumption.saving_cores is not None
    assert first.consumption.saving_cores[1] == pytest.approx(HOURS * 0.2 * 120 / covered)
    assert top.total.cores == pytest.approx(sum(r.consumption.cores for r in top.rows))


@pytest.mark.parametrize("span", ["since=12h", "since=2h"])
@pytest.mark.parametrize("term", ["workload=web", "node=small*", "gomaxprocs=4", "pod=web-*"])
def test_every_table_gives_the_same_answer(questions: Questions, span: str, term: str) -> None:
    """Hourly sums of workloads, of containers, and windows: whichever knows the fields."""
    selection = parse_selection([span, term, "workload=web"], UNTIL)
    hours = 12 if span == "since=12h" else 2
    big, small = (60 if term in ("workload=web", "pod=web-*") else 0), 68
    cores = questions.top(selection).rows[0].consumption.cores
    span_s = questions.top(selection).span.seconds
    assert cores * span_s == pytest.approx(hours * (big + small))


def test_the_same_workload_at_two_gomaxprocs(questions: Questions) -> None:
    """The production story's own method."""
    found = questions.compare(parse_selection(["since=12h", "workload=web"], UNTIL))
    assert (found.by, found.unit, found.reference) == ("gomaxprocs", "container-hour", "4")
    small, big = found.sides
    assert (small.label, small.samples, small.nodes) == ("4", 2 * HOURS, 2)
    assert (big.label, big.samples, big.nodes) == ("192", HOURS, 1)
    assert small.runtime is None
    assert big.runtime is not None
    assert big.runtime.change == pytest.approx(0.32, abs=0.02)
    assert big.runtime.p is not None
    assert big.runtime.p < 1e-6
    assert big.runtime.low is not None
    assert big.runtime.low < 0.32 < (big.runtime.high or 0)
    assert big.cores == pytest.approx(0.5)


def test_two_nodes_that_are_alike_do_not_differ(questions: Questions) -> None:
    terms = ["since=12h", "workload=web", "node=small*"]
    found = questions.compare(parse_selection(terms, UNTIL), by="node")
    assert {side.label for side in found.sides} == {"small1", "small2"}
    contrast = found.sides[1].runtime
    assert contrast is not None
    assert not contrast.is_sure


def test_a_change_is_found_with_what_it_brought(questions: Questions) -> None:
    selection = parse_selection(["since=12h"], UNTIL)
    (change,) = questions.changes(selection).rows
    assert (change.workload, change.what) == ("api", ("gomaxprocs", "go"))
    assert change.at == NOW - (HOURS // 2 - 1) * 3600
    assert (change.before.gomaxprocs, change.after.gomaxprocs) == (4, 1)
    assert change.hours == (6, 5)
    assert list(change.cores) == pytest.approx([9 / 60, 6 / 60])
    assert change.runtime_change.change == pytest.approx(-0.2, abs=0.02)
    assert change.runtime_change.is_sure
    assert change.cpu_per_unit is None


def test_cpu_per_unit_of_work(questions: Questions) -> None:
    """Half the CPU at half the work is no saving."""
    selection = parse_selection(["since=12h", "workload=api"], UNTIL)
    (change,) = questions.changes(selection, work=(30.0, 20.0)).rows
    assert change.cpu_per_unit is not None
    assert change.cpu_per_unit[0] == pytest.approx(change.cpu_per_unit[1])


def test_changes_do_not_know_pods(questions: Questions) -> None:
    with pytest.raises(SelectionError, match="knows nothing of pod: it knows container"):
        questions.changes(parse_selection(["since=12h", "pod=big"], UNTIL))


@pytest.mark.parametrize("terms", [("since=12h",), ("since=12h", "node=*"), ("since=2h",)])
def test_a_profile_has_all_the_cpu_time(questions: Questions, terms: tuple[str, ...]) -> None:
    profile = questions.profile(parse_selection([*terms, "workload=web"], UNTIL))
    hours = 2 if "since=2h" in terms else 12
    assert profile.cpu_ns == pytest.approx(hours * 128 * SECOND, rel=1e-6)
    assert profile.stack_count == 3
    leaf = {stack.functions[-1]: stack for stack in profile.stacks}
    assert leaf["runtime.findRunnable"].functions == tuple(FINE.split(";"))
    assert leaf["runtime.findRunnable"].category == "scheduler/find-work"


def test_functions(questions: Questions) -> None:
    found = questions.functions(parse_selection(["since=12h", "workload=web"], UNTIL))
    by_name = {row.function: row for row in found.rows}
    assert by_name["main.main"].flat_ns == 0
    assert by_name["main.main"].cumulative_ns == by_name["encoding/json.Marshal"].flat_ns
    assert found.rows[0].function == "encoding/json.Marshal"
    assert sum(row.flat_ns for row in found.rows) == pytest.approx(found.cpu_ns)


def test_difference_of_two_selections(questions: Questions) -> None:
    small = parse_selection(["since=12h", "workload=web", "gomaxprocs=4"], UNTIL)
    big = parse_selection(["since=12h", "workload=web", "gomaxprocs=192"], UNTIL)
    found = questions.difference(small, big)
    by_name = {row.function: row for row in found.rows}
    flat = by_name["encoding/json.Marshal"].flat
    assert list(flat) == pytest.approx([0.85, 0.53], abs=0.02)
    assert found.rows[0].function == "encoding/json.Marshal"


def test_a_workload_whole(questions: Questions) -> None:
    found = questions.workload(parse_selection(["since=12h", "workload=web"], UNTIL))
    assert found is not None
    assert len(found.hours) == HOURS
    # Each hour has two minutes of reports, and 128 s of CPU in them.
    assert [hour.cores for hour in found.hours] == pytest.approx([128 / 120] * HOURS)
    assert found.gaps == ()
    assert sum(found.categories.values()) == pytest.approx(found.row.consumption.cores)
    (finding,) = found.findings
    assert (finding.code, finding.severity, finding.containers) == ("GT001", "warning", 1)
    assert found.images == ("registry/web:1",)
    assert questions.workload(parse_selection(["workload=nobody"], UNTIL)) is None


def test_a_finding_selects_what_had_it(questions: Questions) -> None:
    """Of hours and of windows, whose columns have different names."""
    for since in ("7d", "3h"):
        terms = [f"since={since}", "finding=GT001"]
        (row,) = questions.top(parse_selection(terms, UNTIL)).rows
        assert (row.workload, row.gomaxprocs) == ("web", (192,))
    assert questions.top(parse_selection(["since=7d", "finding=GT002"], UNTIL)).rows == ()
    without = questions.top(parse_selection(["since=7d", "finding!=GT001"], UNTIL)).rows
    assert sorted(row.workload for row in without) == ["api", "web"]
    assert questions.profile(parse_selection(["since=7d", "finding=GT001"], UNTIL)).cpu_ns > 0


def test_names_are_completed(questions: Questions) -> None:
    found = questions.names("A", UNTIL - 86_400, UNTIL)
    assert [(one.field, one.value, one.term) for one in found] == [
        ("workload", "api", "workload=api"),
        ("node", "small1", "node=small1"),
        ("node", "small2", "node=small2"),
    ]
    assert [one.term for one in questions.names("go1.25", UNTIL - 86_400, UNTIL)] == ["go=go1.25.3"]
    assert questions.names("%", UNTIL - 86_400, UNTIL) == ()


def test_nodes_with_most_runtime_come_first(questions: Questions) -> None:
    found = questions.nodes(parse_selection(["since=7d"], UNTIL), 2)
    assert (found.nodes, [row.node for row in found.rows]) == (3, ["big", "small1"])
    assert found.rows[1].workloads == 2
    rest = questions.nodes(parse_selection(["since=7d"], UNTIL), 2, 2)
    assert [row.node for row in rest.rows] == ["small2"]


def test_two_selections_beside_each_other(questions: Questions) -> None:
    before, after = (
        parse_selection(["since=7d", "workload=web", f"node={n}"], UNTIL) for n in ("small1", "big")
    )
    spans = Span(0, 86_400, "hours", 86_400), Span(0, 86_400, "hours", 43_200)

    def beside(first: Selection, second: Selection) -> Compared:
        return questions.compare_two((first, second), spans)

    compared = beside(before, after)
    assert [side.label for side in compared.sides] == ["before", "after"]
    # Each is counted over its own time, of which agents reported half as much after.
    assert compared.sides[1].containers == pytest.approx(2 * compared.sides[0].containers)
    change = compared.sides[1].runtime
    assert change is not None
    assert 0.29 < change.change < 0.35
    assert change.is_sure
    short = parse_selection(["since=2h", "workload=web", "node=big"], UNTIL)
    assert beside(before, short).unit == "window"
    text = difference_sentence(compared)
    assert re.search(r"take 1\d\.\d % before and 4\d\.\d % after: 3\d\.\d points more", text)
    same = difference_sentence(beside(before, before))
    assert "this may be chance (-" in same
    assert "Different" not in same
    gone = parse_selection(["since=7d", "workload=none"], UNTIL)
    missing = difference_sentence(beside(before, gone))
    assert missing == "There are too few samples after: nothing can be compared."


def test_nothing_there(questions: Questions) -> None:
    nothing = parse_selection(["since=12h", "workload=nobody"], UNTIL)
    assert questions.top(nothing).rows == ()
    assert questions.compare(nothing).sides == ()
    assert questions.changes(nothing).rows == ()
    assert questions.profile(nothing).stacks == ()
    assert questions.functions(nothing).rows == ()
