"""CRI-O's variable: twice the CPU request, in containers without a limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.golang.crio import RULE, is_injected
from gotax.golang.live import LiveGomaxprocs
from gotax.golang.origin import judge, origin
from gotax.golang.startup import Facts
from gotax.process import GoBuild, Origin

CRIO = Facts(
    GoBuild("go1.24.1"), 64, environment="4", container_runtime="cri-o", online_cpus=64, shares=2048
)


@pytest.mark.parametrize(
    ("shares", "value"),
    [
        (2, 1),  # no request
        (256, 1),
        (512, 1),  # 500m
        (513, 2),
        (1024, 2),
        (1025, 3),
        (1536, 3),  # 1500m
        (2048, 4),
        (65536, 128),
    ],
)
def test_twice_the_request_rounded_up(shares: int, value: int) -> None:
    """On cgroup v1, whose shares are exact."""
    for other in range(1, 140):
        facts = replace(CRIO, shares=shares)
        assert is_injected(other, facts) is (other == value), other


@pytest.mark.parametrize(
    ("weight", "values"),
    [
        (1, {1}),  # 2 shares, both rules
        (20, {1, 2}),  # 500 to 525 shares by the older rule: 500m, or a little more
        (39, {1, 2}),  # 1024 shares by the older rule; less than 512 by the newer
        (59, {1, 2, 3, 4}),  # 512 shares by the newer rule are 59, a request of 1.5 by the older
        (100, {2, 6}),  # 1024 shares by the newer rule, 2598 by the older
        (101, {3, 6}),  # 1025 shares by the newer rule, 2624 by the older
        (9628, {491, 493, 494}),  # 252416 shares are of 493, one more of 494; 491 by the newer
        (10000, {512, 513}),  # 262144 shares, the most that the kernel takes, by both rules
    ],
)
def test_a_weight_allows_both_rules_of_the_runtimes(weight: int, values: set[int]) -> None:
    """Rounding and the two rules leave a few values; any other is not CRI-O's."""
    facts = replace(CRIO, shares=None, weight=weight)
    assert {value for value in range(1, 600) if is_injected(value, facts)} == values


@pytest.mark.parametrize(
    "facts",
    [
        replace(CRIO, container_runtime="containerd"),
        replace(CRIO, container_runtime=None),
        replace(CRIO, leaf_limit_cores=4.0),
        replace(CRIO, shares=2049),
        replace(CRIO, shares=None),
    ],
)
def test_other_containers_have_it_from_their_manifest(facts: Facts) -> None:
    assert origin(LiveGomaxprocs(4, None), facts) is Origin.ENVIRONMENT
    assert judge(LiveGomaxprocs(4, None), facts, None).rule != RULE


def test_the_origin_and_its_rule() -> None:
    """A call that overrides the variable is a call."""
    found = judge(LiveGomaxprocs(4, None), CRIO, None)
    assert (found.origin, found.rule, found.expected) == (Origin.CRIO, RULE, 4)
    assert origin(LiveGomaxprocs(4, True), CRIO) is Origin.CRIO
    assert origin(LiveGomaxprocs(5, None), CRIO) is Origin.CALL
