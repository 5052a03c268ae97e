"""automaxprocs by its versions, and its replacements."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.golang.cgroupview import CgroupLayout, CgroupView
from gotax.golang.live import GomaxprocsAddresses, LiveGomaxprocs
from gotax.golang.origin import judge, origin
from gotax.golang.prediction import predict
from gotax.golang.startup import Facts
from gotax.process import Automaxprocs, GoBuild, Module, Origin

from tests.unit.golang.facts import AUTOMAXPROCS, PLAIN, automatic, v1_automatic


@pytest.mark.parametrize(
    ("version", "limit", "value"),
    [
        ("v1.0.0", 0.5, 2),
        ("v1.1.0", 0.5, 1),
        ("v1.1.0", 2.5, 3),
        ("v1.2.0", 2.5, 2),
        ("v1.6.0", 0.5, 1),
        ("v1.6.0", 20.0, 20),
        ("(devel)", 2.5, None),  # as built with a go.work: the version is unknown
    ],
)
def test_automaxprocs_rounds_as_its_version_does(
    version: str, limit: float, value: int | None
) -> None:
    facts = automatic(version, leaf_limit_cores=limit, cgroup=CgroupView(1))
    prediction = predict(facts)
    assert (prediction.value, prediction.origin) == (value, Origin.AUTOMAXPROCS)


@pytest.mark.parametrize(
    ("version", "layout", "sees"),
    [
        ("v1.4.0", CgroupLayout.NAMESPACE, False),
        ("v1.5.0", CgroupLayout.NAMESPACE, False),
        ("v1.5.1", CgroupLayout.NAMESPACE, True),
        ("v1.5.1", CgroupLayout.BIND, True),
        ("v1.5.1", CgroupLayout.HOST, False),
        ("v1.5.2", CgroupLayout.HOST, True),
        ("v1.6.0", CgroupLayout.BIND, False),
        ("v1.6.0", CgroupLayout.HIDDEN, False),
    ],
)
def test_automaxprocs_finds_cgroup_v2_as_its_version_does(
    version: str, layout: CgroupLayout, sees: bool
) -> None:
    prediction = predict(automatic(version, cgroup=CgroupView(2, layout)))
    assert (prediction.origin is Origin.AUTOMAXPROCS) is sees


def test_automaxprocs_needs_cgroup_v2_at_its_usual_place() -> None:
    view = CgroupView(2, CgroupLayout.HOST, usual_mount=False)
    assert predict(automatic("v1.6.0", cgroup=view)).origin is Origin.CPU_COUNT


def test_automaxprocs_is_disabled_by_an_empty_variable() -> None:
    assert predict(automatic("v1.6.0", environment="")).origin is Origin.CPU_COUNT


def test_automaxprocs_in_the_code_counts_without_build_info() -> None:
    """Bazel and GOPATH builds list no dependencies."""
    code = GomaxprocsAddresses(0, None, "exchange", automaxprocs=True)
    facts = replace(PLAIN, build=GoBuild("go1.22.12"), code=code)
    assert predict(facts).origin is Origin.AUTOMAXPROCS


def replaced(by: Module) -> Facts:
    """Go 1.22 under a limit of 2.5 with a replacement of automaxprocs 1.6.0."""
    facts = automatic("v1.6.0", leaf_limit_cores=2.5, cgroup=CgroupView(1))
    (module,) = facts.build.dependencies
    return replace(
        facts,
        build=replace(facts.build, dependencies=(replace(module, replaced_by=by),)),
        online_cpus=8,
    )


@pytest.mark.parametrize(
    ("by", "kind", "expected"),
    [
        (Module("example.com/fork", "v0.1.0"), Automaxprocs.FORK, None),
        (Module("example.com/fork", "v1.6.0"), Automaxprocs.FORK, None),
        (Module("../automaxprocs", ""), Automaxprocs.FORK, None),
        (Module(AUTOMAXPROCS, "v1.1.0"), Automaxprocs.KNOWN, 3),  # rounds up: 1.6.0 would give 2
    ],
)
def test_a_fork_has_no_version_of_automaxprocs(
    by: Module, kind: Automaxprocs, expected: int | None
) -> None:
    """v0.1.0 of a fork is not automaxprocs before 1.1; its code may be of another version."""
    seen = judge(LiveGomaxprocs(8, None, 8), replaced(by), 2.5)
    assert (seen.automaxprocs, seen.expected) == (kind, expected)
    assert seen.origin is Origin.CPU_COUNT


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        (replaced(Module("example.com/fork", "v1.6.0")), "a fork of automaxprocs: "),
        (automatic("", cgroup=CgroupView(1)), "automaxprocs: "),
    ],
)
def test_the_rule_says_whether_it_is_a_fork(facts: Facts, what: str) -> None:
    """Of neither the version is known."""
    prediction = predict(facts)
    assert prediction.value is None
    assert prediction.rule.startswith(what)


@pytest.mark.parametrize(
    ("value", "source"),
    [(2, Origin.AUTOMAXPROCS), (3, Origin.AUTOMAXPROCS), (5, Origin.CALL)],
)
def test_a_fork_may_round_either_way(value: int, source: Origin) -> None:
    """A value that neither rounding gives was set by another call."""
    facts = replaced(Module("example.com/fork", "v0.1.0"))
    assert origin(LiveGomaxprocs(value, None, 8), facts) is source


@pytest.mark.parametrize(
    ("version", "limit", "value", "source"),
    [
        ("v1.6.0", 2.5, 2, Origin.AUTOMAXPROCS),
        ("v1.6.0", 2.5, 3, Origin.CALL),  # its version rounds down
        ("v1.6.0", 0.5, 1, Origin.AUTOMAXPROCS),
        ("v1.1.9", 2.5, 3, Origin.AUTOMAXPROCS),
        ("v1.1.0", 0.5, 1, Origin.AUTOMAXPROCS),
        ("v1.0.9", 0.5, 2, Origin.AUTOMAXPROCS),
        ("v1.0.9", 0.5, 1, Origin.CALL),
        ("v1.2.0", 2.5, 2, Origin.AUTOMAXPROCS),
        # The rounding of a fork is unknown.
        ("fork", 2.5, 2, Origin.AUTOMAXPROCS),
        ("fork", 2.5, 3, Origin.AUTOMAXPROCS),
        ("fork", 2.5, 4, Origin.CALL),
        ("fork", 2.5, 1, Origin.CALL),
        ("fork", 0.5, 1, Origin.AUTOMAXPROCS),
        ("fork", 0.5, 2, Origin.AUTOMAXPROCS),
        ("fork", 0.5, 3, Origin.CALL),
    ],
)
def test_a_value_of_automaxprocs_is_recognised_by_its_rounding(
    version: str, limit: float, value: int, source: Origin
) -> None:
    """A value that it would not give has another origin."""
    assert judge(LiveGomaxprocs(value, None), v1_automatic(version, limit), limit).origin is source


@pytest.mark.parametrize(
    ("view", "value"),
    [
        (CgroupView(1, CgroupLayout.HOST, False), 2),
        (CgroupView(1, CgroupLayout.HIDDEN, False), 8),
        (CgroupView(None, CgroupLayout.HOST), 8),
        (CgroupView(2, CgroupLayout.HIDDEN), 8),
    ],
)
def test_automaxprocs_needs_to_see_its_cgroup(view: CgroupView, value: int) -> None:
    """Otherwise it uses the number of CPUs."""
    assert predict(v1_automatic("v1.6.0", 2.5, view)).value == value


@pytest.mark.parametrize(
    ("version", "rule"),
    [
        ("v1.6.0", "automaxprocs: 2.5 cores rounded down, at least 1"),
        ("v1.1.0", "automaxprocs: 2.5 cores rounded up, at least 1"),
        ("v1.0.0", "automaxprocs: 2.5 cores rounded up, at least 2"),
    ],
)
def test_the_rule_names_the_rounding(version: str, rule: str) -> None:
    """That of its version."""
    assert predict(v1_automatic(version, 2.5)).rule == rule
