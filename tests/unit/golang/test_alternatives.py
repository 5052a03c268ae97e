"""The effect of a change of the variables, the build or the limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.golang.cgroupview import CgroupLayout, CgroupView
from gotax.golang.live import LiveGomaxprocs
from gotax.golang.origin import judge
from gotax.golang.startup import Facts
from gotax.process import GoBuild, Otherwise

from tests.unit.golang.facts import (
    OLD,
    OLD_GO_LINE,
    PLAIN,
    built_with,
    debugging,
    old_default,
    v1_automatic,
)


@pytest.mark.parametrize(
    ("facts", "limit", "expected"),
    [
        (replace(PLAIN, environment="64"), 4.0, Otherwise(unset=4)),
        (replace(OLD, leaf_limit_cores=4.0), 4.0, Otherwise(go_1_25=4, go_1_26=4)),
        # Go 1.25 does not find a bind-mounted cgroup, 1.26 does.
        (
            replace(OLD, leaf_limit_cores=4.0, cgroup=CgroupView(2, CgroupLayout.BIND)),
            4.0,
            Otherwise(go_1_26=4),
        ),
        (
            replace(PLAIN, build=GoBuild("go1.25.3"), cgroup=CgroupView(2, CgroupLayout.BIND)),
            4.0,
            Otherwise(go_1_26=4),
        ),
        # It searched for the limit and did not find it (Landlock): a newer Go will not either.
        (replace(PLAIN, follows_limit=False), 4.0, Otherwise()),
        (replace(PLAIN, build=GoBuild("go1.25.3"), follows_limit=False), 4.0, Otherwise()),
        (built_with(OLD_GO_LINE), 4.0, Otherwise(godebug=4, go_line=4)),
        (
            replace(built_with(OLD_GO_LINE), godebug="containermaxprocs=0"),
            4.0,
            Otherwise(godebug=4),
        ),
        (replace(PLAIN, godebug="containermaxprocs=0"), 4.0, Otherwise(no_godebug=4, godebug=4)),
        # The limit is above its own cgroup: only moving it helps, and only if the runtime reads it.
        (replace(PLAIN, leaf_limit_cores=None), 4.0, Otherwise(own_limit=4)),
        (replace(OLD, leaf_limit_cores=None), 4.0, Otherwise()),
    ],
)
def test_a_way_is_offered_only_if_the_rules_say_that_it_helps(
    facts: Facts, limit: float, expected: Otherwise
) -> None:
    """For a process of 64 on 8 CPUs."""
    assert judge(LiveGomaxprocs(64, None), facts, limit).otherwise == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        # It follows its limit already: there is nothing to change.
        (PLAIN, Otherwise()),
        (replace(PLAIN, environment="8"), Otherwise(unset=4)),
        # Built for the defaults before 1.25: each way to enable the new ones gives the limit.
        (old_default(), Otherwise(godebug=4, go_line=4)),
        (old_default(version="go1.25"), Otherwise(godebug=4, go_line=4, go_1_26=4)),
        (debugging("", "containermaxprocs=0"), Otherwise(no_godebug=4, godebug=4)),
        (debugging("", "gctrace=1,containermaxprocs=0"), Otherwise(no_godebug=4, godebug=4)),
        (old_default("containermaxprocs=0"), Otherwise(godebug=4, go_line=None)),
        # Before 1.25 no setting helps, only another build.
        (replace(PLAIN, build=GoBuild("go1.24")), Otherwise(go_1_25=4, go_1_26=4)),
        (
            replace(PLAIN, build=GoBuild("go1.24"), godebug="containermaxprocs=0"),
            Otherwise(),
        ),
        (replace(PLAIN, build=GoBuild("go1.25")), Otherwise(go_1_26=4)),
        # It searched for the limit, and did not find it: another build would not either.
        (replace(PLAIN, build=GoBuild("go1.25"), follows_limit=False), Otherwise()),
        # 1.25 does not see a bind mount, 1.26 does.
        (
            replace(PLAIN, build=GoBuild("go1.25"), cgroup=CgroupView(2, CgroupLayout.BIND)),
            Otherwise(go_1_26=4),
        ),
        # 1.24 without an open limit file says nothing about 1.25.
        (
            replace(PLAIN, build=GoBuild("go1.24"), follows_limit=False),
            Otherwise(go_1_25=4, go_1_26=4),
        ),
        (replace(PLAIN, build=GoBuild("go1.24"), leaf_limit_cores=None), Otherwise(own_limit=None)),
        # It did not find the limit, as the rules predict for 1.25 with a bind mount; 1.26 will.
        (
            replace(
                PLAIN,
                build=GoBuild("go1.25"),
                cgroup=CgroupView(2, CgroupLayout.BIND),
                follows_limit=False,
            ),
            Otherwise(go_1_26=4),
        ),
        # It has not searched, because of its settings.
        (
            replace(debugging("", "containermaxprocs=0"), follows_limit=False),
            Otherwise(no_godebug=4, godebug=4),
        ),
        # A build with other settings than that of the limit.
        (debugging("panicnil=1", None), Otherwise()),
        # The variable decides, with any settings.
        (replace(debugging("", "containermaxprocs=0"), environment="3"), Otherwise(unset=8)),
    ],
)
def test_the_effect_of_each_change(facts: Facts, expected: Otherwise) -> None:
    """By the rules, at a limit of 4 of 8 CPUs."""
    assert judge(LiveGomaxprocs(8, None), facts, 4.0).otherwise == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("go1.22", Otherwise(go_1_25=2, go_1_26=2)),
        ("go1.24", Otherwise(go_1_25=2, go_1_26=2)),
        ("go1.25", Otherwise(no_godebug=2, godebug=2, go_1_26=2)),
        ("go1.26", Otherwise(no_godebug=2, godebug=2)),
    ],
)
def test_automaxprocs_decides_with_any_settings(version: str, expected: Otherwise) -> None:
    """GODEBUG=containermaxprocs=0 is a setting of Go 1.25 and later: before, no change of it is
    offered. It is not built in, so another go line changes nothing."""
    facts = v1_automatic("v1.6.0", 2.5)
    facts = replace(
        facts, build=replace(facts.build, version=version), godebug="containermaxprocs=0"
    )
    assert judge(LiveGomaxprocs(8, None), facts, 2.5).otherwise == expected


def test_a_limit_of_its_own_has_the_value_of_the_ancestor() -> None:
    """Its own cgroup has none: with the ancestor's 4 the runtime would follow it, as 1.25 does."""
    facts = replace(PLAIN, leaf_limit_cores=None)
    assert judge(LiveGomaxprocs(8, None), facts, 4.0).otherwise.own_limit == 4
    assert judge(LiveGomaxprocs(8, None), facts, 9.0).otherwise.own_limit == 8
    assert judge(LiveGomaxprocs(8, None), PLAIN, 4.0).otherwise.own_limit is None
    linked = replace(v1_automatic("v1.6.0", 2.5), leaf_limit_cores=None)
    assert judge(LiveGomaxprocs(8, None), linked, 2.5).otherwise.own_limit == 2
