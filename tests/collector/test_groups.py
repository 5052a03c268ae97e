"""A category is drawn as the group that its agent gave it: no list here has to know it."""

from __future__ import annotations

import dataclasses

import numpy as np
from gotax_collector.http.charts import chart_of
from gotax_collector.http.drawing import group_shares
from gotax_collector.query.documents import document
from gotax_collector.query.flamegraph import tree
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import parse_selection
from gotax_collector.report import Category, Report, StackCounts
from gotax_collector.storage.store import ClickHouseStore

from tests.collector.reports import NOW, Sampled, Seen, report, sender, web

NEWER = (
    Category("user", "user"),
    Category("io-uring/wait", "service"),
    Category("quantum", "entangled"),
    Category("gc/mark-idle", "gc"),
)
ALL = (
    Sampled("main.main", 0, 40),
    Sampled("main.main;io.wait", 1, 30),
    Sampled("main.main;spooky", 2, 20),
    Sampled("runtime.gcBgMarkWorker", 3, 10),
)


def minute(number: int, seen: Seen, agent: str = "a1") -> Report:
    made = report(sender(agent), number, [seen], start_s=NOW + 60 * number)
    return dataclasses.replace(made, categories=NEWER)


def without_stack(made: Report, category: int) -> Report:
    """An agent cuts off stacks of which there are too many: the category's samples stay."""
    columns = made.stack_counts
    kept = columns.category != category
    left = StackCounts(
        columns.container[kept],
        columns.category[kept],
        columns.stack_hash[kept],
        columns.samples[kept],
    )
    return dataclasses.replace(made, stack_counts=left)


def test_a_category_of_a_newer_agent_has_its_group(store: ClickHouseStore) -> None:
    store.insert([minute(1, Seen(web(), ALL)), minute(9, Seen(web(), ALL))])
    questions = Questions(store.connections)
    selection = parse_selection(["workload=web", "since=3h"], NOW + 3600)
    expected = {"user": "user", "io-uring/wait": "service", "gc/mark-idle": "gc"}
    profile = questions.profile(selection)
    assert {s.category: s.group for s in profile.stacks} == {**expected, "quantum": "unknown"}
    drawn = tree(profile).document(title="", seconds_per_unit=1e-9)
    assert {tuple(each) for each in drawn["categories"]} == {
        *expected.items(),
        ("quantum", "unknown"),
    }
    answer = questions.workload(selection)
    assert answer is not None
    assert answer.groups == {**expected, "quantum": "unknown"}
    shares = {group: round(share, 6) for group, share in group_shares(answer).items() if share}
    assert shares == {"user": 0.4, "service": 0.3, "unknown": 0.2, "gc": 0.1}
    chart = chart_of(answer)
    assert chart is not None
    assert {group for group, _ in chart.areas} == {"user", "service", "unknown", "gc"}
    assert "group" not in document(profile)["stacks"][0]
    assert "groups" not in document(answer)


def test_a_category_without_stacks_has_the_group_that_others_say(store: ClickHouseStore) -> None:
    seen = Seen(web(), ALL)
    cut = without_stack(without_stack(minute(1, seen), 1), 3)
    assert sorted(np.unique(cut.stack_counts.category)) == [0, 2]
    store.insert([cut, minute(1, Seen(web("other"), ALL[:2]), "a2")])
    selection = parse_selection(["workload=web"], NOW + 3600)
    answer = Questions(store.connections).workload(selection)
    assert answer is not None
    assert set(answer.categories) == {category.label for category in NEWER}
    assert answer.groups == {"user": "user", "io-uring/wait": "service", "quantum": "unknown"}
    assert answer.group_of("gc/mark-idle") == "unknown"


def test_one_agent_does_not_change_the_group_for_others(store: ClickHouseStore) -> None:
    wrong = minute(1, Seen(web("other"), ALL[1:2]), "a2")
    wrong = dataclasses.replace(
        wrong, categories=(NEWER[0], Category("io-uring/wait", "gc"), *NEWER[2:])
    )
    right = [
        minute(1, Seen(web(name), (Sampled(f"{name};io.wait", 1, 5),)), name) for name in "bcd"
    ]
    store.insert([wrong, *right, without_stack(minute(1, Seen(web(), ALL)), 1)])
    answer = Questions(store.connections).workload(parse_selection(["workload=web"], NOW + 3600))
    assert answer is not None
    assert answer.group_of("io-uring/wait") == "service"
