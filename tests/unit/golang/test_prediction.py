"""Go's own rules at the edges of its versions, and the value that fits a limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.golang.cgroupview import CgroupLayout, CgroupView
from gotax.golang.live import LiveGomaxprocs
from gotax.golang.origin import judge
from gotax.golang.prediction import bindings, predict, recommend
from gotax.golang.startup import Facts
from gotax.process import Binding, GoBuild, Ignored, Origin, Otherwise
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.golang.facts import OLD, OLD_GO_LINE, PLAIN, built_with, debugging


@pytest.mark.parametrize(
    ("limit", "cpus", "fits"), [(0.0, 8, 1), (1.0, 0, 1), (None, 0, 1), (2.0, 1, 1), (1.5, 2, 2)]
)
def test_one_always_fits(limit: float | None, cpus: int, fits: int) -> None:
    """Also for a limit of 0, and if no CPU is allowed."""
    assert recommend(limit, cpus) == fits


@pytest.mark.parametrize(
    ("limit", "cpus", "fits"),
    [
        (None, 64, 64),
        (0.25, 64, 1),
        (1.0, 64, 1),
        (1.001, 64, 2),
        (2.5, 64, 3),
        (3.0, 64, 3),
        (100.0, 64, 64),
        (4.0, 2, 2),
        (None, 0, 1),
    ],
)
def test_what_fits_is_the_limit_rounded_up_within_the_cpus(
    limit: float | None, cpus: int, fits: int
) -> None:
    assert recommend(limit, cpus) == fits


@given(st.floats(0.001, 10_000) | st.none(), st.integers(1, 1024))
def test_what_fits_is_never_more_than_the_cpus_nor_less_than_one(
    limit: float | None, cpus: int
) -> None:
    fits = recommend(limit, cpus)
    assert 1 <= fits <= cpus
    assert limit is None or fits == cpus or fits >= limit


@pytest.mark.parametrize(
    ("limit", "allowed", "online", "cpuset", "bound"),
    [
        (0.0, 8, 8, 8, (Binding.QUOTA,)),  # 1 also fits a limit of 0
        (4.0, 0, None, None, (Binding.HOST,)),
        (1.0, 0, None, None, (Binding.QUOTA, Binding.HOST)),
        (None, 4, None, None, (Binding.HOST,)),
        (None, 4, None, 4, (Binding.HOST,)),
        (None, 4, 4, 4, (Binding.HOST,)),
        (None, 4, 5, 4, (Binding.CPUSET,)),
        (None, 4, 5, 5, (Binding.AFFINITY,)),
        (None, 4, 5, None, (Binding.AFFINITY,)),
    ],
)
def test_the_bound_that_gives_the_number(
    limit: float | None,
    allowed: int,
    online: int | None,
    cpuset: int | None,
    bound: tuple[Binding, ...],
) -> None:
    """The host if its CPUs are unknown."""
    facts = replace(PLAIN, allowed_cpus=allowed, online_cpus=online, cpuset_cpus=cpuset)
    assert bindings(limit, facts) == bound


@pytest.mark.parametrize(
    ("limit", "allowed", "cpuset", "bound"),
    [
        (1.0, 8, 8, (Binding.QUOTA,)),
        (4.0, 1, 1, (Binding.CPUSET,)),
        (4.0, 1, 8, (Binding.AFFINITY,)),
        (4.0, 1, None, (Binding.AFFINITY,)),
        (4.0, 1, 4, (Binding.AFFINITY,)),
        (None, 8, 8, (Binding.HOST,)),
        (None, 2, 2, (Binding.CPUSET,)),
        (16.0, 8, 8, (Binding.HOST,)),
        (1.5, 2, 2, (Binding.QUOTA, Binding.CPUSET)),
        (2.0, 2, 4, (Binding.QUOTA, Binding.AFFINITY)),
        (8.0, 8, 8, (Binding.QUOTA, Binding.HOST)),
        (0.1, 1, 1, (Binding.QUOTA, Binding.CPUSET)),
    ],
)
def test_the_binding_limit_gives_the_number(
    limit: float | None, allowed: int, cpuset: int | None, bound: tuple[Binding, ...]
) -> None:
    """On a host of 8 CPUs; both if two give the same."""
    facts = replace(PLAIN, allowed_cpus=allowed, cpuset_cpus=cpuset, online_cpus=8)
    assert judge(LiveGomaxprocs(64, True), facts, limit).bound_by == bound


def test_an_open_limit_file_overrides_what_is_inferred() -> None:
    """The runtime keeps the file open exactly when it follows the limit."""
    hidden = replace(PLAIN, cgroup=CgroupView(2, CgroupLayout.HIDDEN))
    assert predict(hidden).value == 8
    assert predict(replace(hidden, follows_limit=True)).value == 4
    assert predict(replace(PLAIN, follows_limit=False)).value == 8


@pytest.mark.parametrize(
    ("version", "value", "by"),
    [
        ("go1.4.3", 1, Origin.FIXED),
        ("go1.5.4", 8, Origin.CPU_COUNT),
        ("devel go1.28-0123abc Mon Jan 1", 4, Origin.CONTAINER),
        ("go1.26rc1", 4, Origin.CONTAINER),
        ("go1.24.13 X:nocoverageredesign", 8, Origin.CPU_COUNT),
        ("", None, Origin.UNKNOWN),
        ("devel +deadbeef", None, Origin.UNKNOWN),
    ],
)
def test_the_default_is_that_of_the_version(version: str, value: int | None, by: Origin) -> None:
    prediction = predict(replace(PLAIN, build=GoBuild(version)))
    assert (prediction.value, prediction.origin) == (value, by)


@pytest.mark.parametrize(
    ("version", "limit", "cpus", "value", "by"),
    [
        ("go1.4", None, 8, 1, Origin.FIXED),
        ("go1.5", None, 8, 8, Origin.CPU_COUNT),
        ("go1.24", 4.0, 8, 8, Origin.CPU_COUNT),
        ("go1.25", 4.0, 8, 4, Origin.CONTAINER),
        ("go1.25", 0.5, 8, 2, Origin.CONTAINER),  # never below 2
        ("go1.25", 2.1, 8, 3, Origin.CONTAINER),
        ("go1.25", 8.0, 8, 8, Origin.CPU_COUNT),
        ("go1.25", 7.1, 8, 8, Origin.CPU_COUNT),
        ("go1.25", 7.0, 8, 7, Origin.CONTAINER),
        ("go1.25", 0.5, 1, 1, Origin.CPU_COUNT),
        ("go1.25", 0.5, 2, 2, Origin.CPU_COUNT),
        ("go1.25", None, 8, 8, Origin.CPU_COUNT),
        ("devel", 4.0, 8, None, Origin.UNKNOWN),
    ],
)
def test_the_default(
    version: str, limit: float | None, cpus: int, value: int | None, by: Origin
) -> None:
    """Without a variable and without automaxprocs."""
    facts = Facts(GoBuild(version), allowed_cpus=cpus, leaf_limit_cores=limit)
    found = predict(facts)
    assert (found.value, found.origin) == (value, by)


def test_more_cpus_than_an_old_runtime_knows_are_capped() -> None:
    for version, value in (("go1.8.7", 256), ("go1.9.7", 1024), ("go1.10.8", 2000)):
        facts = replace(PLAIN, build=GoBuild(version), allowed_cpus=2000)
        assert predict(facts).value == value


def test_rules_count_one_as_one() -> None:
    facts = replace(PLAIN, allowed_cpus=1, leaf_limit_cores=1.0)
    assert predict(facts).rule == (
        "the 1 CPU the process may run on: no more than its limit, 1 core rounded up, at least 2"
    )


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (PLAIN, None),
        (replace(PLAIN, build=GoBuild("go1.24.3")), Ignored.OLD_GO),
        (built_with(OLD_GO_LINE), Ignored.GO_MOD),
        (built_with("containermaxprocs=0"), Ignored.DEBUG_LINE),
        (replace(PLAIN, godebug="containermaxprocs=0"), Ignored.GODEBUG),
        (replace(built_with(OLD_GO_LINE), godebug="containermaxprocs=1"), None),
        (replace(PLAIN, cgroup=CgroupView(2, CgroupLayout.HIDDEN)), Ignored.HIDDEN),
        (replace(PLAIN, follows_limit=False), Ignored.HIDDEN),
        (replace(built_with(OLD_GO_LINE), follows_limit=True), None),  # its open files prove it
        (built_with("", version=""), None),
    ],
)
def test_the_reason_why_a_limit_is_ignored(facts: Facts, reason: Ignored | None) -> None:
    """Before 1.25 always; later by go.mod, by GODEBUG, or because the cgroup is not visible."""
    assert judge(LiveGomaxprocs(8, False), facts, 1.0).ignored is reason


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (PLAIN, None),
        (debugging("containermaxprocs=0", None), Ignored.DEBUG_LINE),
        (debugging("containermaxprocs=0,updatemaxprocs=0", None), Ignored.GO_MOD),
        # The variable disables it too: changing only the build would not help.
        (debugging("containermaxprocs=0,updatemaxprocs=0", "containermaxprocs=0"), Ignored.GODEBUG),
        (debugging("containermaxprocs=0,updatemaxprocs=0", "gctrace=1"), Ignored.GO_MOD),
        (debugging("", "containermaxprocs=0"), Ignored.GODEBUG),
        (debugging("containermaxprocs=0", "containermaxprocs=1"), None),
        (debugging("", "containermaxprocs=-1"), Ignored.GODEBUG),
        (replace(PLAIN, cgroup=CgroupView(None, CgroupLayout.HOST)), Ignored.HIDDEN),
        (replace(PLAIN, cgroup=CgroupView(2, CgroupLayout.HIDDEN)), Ignored.HIDDEN),
        (replace(PLAIN, cgroup=CgroupView(2, CgroupLayout.BIND)), None),
        (
            replace(PLAIN, build=GoBuild("go1.25"), cgroup=CgroupView(2, CgroupLayout.BIND)),
            Ignored.HIDDEN,
        ),
        (replace(PLAIN, follows_limit=False), Ignored.HIDDEN),
        (replace(PLAIN, build=GoBuild("go1.24"), follows_limit=True), Ignored.OLD_GO),
    ],
)
def test_the_reason_why_a_runtime_does_not_follow_its_limit(
    facts: Facts, reason: Ignored | None
) -> None:
    """None if it does."""
    assert judge(LiveGomaxprocs(8, None), facts, 4.0).ignored is reason


def test_an_unreadable_environment_is_not_an_empty_one() -> None:
    """No value is expected, and the origin is not a call; the flag still shows that nothing was
    set."""
    unread = replace(PLAIN, environment_read=False)
    chosen = judge(LiveGomaxprocs(64, True), unread, 4.0)
    assert (chosen.origin, chosen.expected) == (Origin.UNKNOWN, None)
    assert chosen.variable_is_set is None
    assert chosen.otherwise == Otherwise()
    assert judge(LiveGomaxprocs(8, False), unread, 4.0).origin is Origin.CPU_COUNT
    old = replace(OLD, environment_read=False)
    assert judge(LiveGomaxprocs(5, None), old, 4.0).origin is Origin.UNKNOWN
