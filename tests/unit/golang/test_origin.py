"""The origin of a value, and what is known about a process."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.errors import Refusal
from gotax.golang.live import GomaxprocsAddresses, LiveGomaxprocs
from gotax.golang.origin import judge, origin
from gotax.golang.startup import Facts
from gotax.process import GoBuild, Gomaxprocs, Ignored, Origin, Otherwise

from tests.unit.golang.facts import OLD, PLAIN, automatic

NO_FLAG = GomaxprocsAddresses(0, None, "release-store")
EARLY = GomaxprocsAddresses(0, None, "call")
NO_CALLS = GomaxprocsAddresses(0, None, "exchange", can_be_called=False)


@pytest.mark.parametrize(
    ("facts", "live", "source"),
    [
        (OLD, (8, None), Origin.CPU_COUNT),
        (OLD, (16, None), Origin.CPU_COUNT),
        (OLD, (5, None), Origin.CALL),
        (replace(OLD, code=NO_CALLS), (5, None), Origin.CPU_COUNT),
        (replace(OLD, environment="5"), (5, None), Origin.ENVIRONMENT),
        (replace(OLD, environment="5"), (6, None), Origin.CALL),
        (replace(OLD, environment="x"), (8, None), Origin.CPU_COUNT),
        (automatic("v1.6.0"), (4, None), Origin.AUTOMAXPROCS),
        (automatic("v1.6.0"), (3, None), Origin.CALL),
        (automatic("v1.6.0", environment=""), (4, None), Origin.CALL),
        (automatic("v1.6.0", leaf_limit_cores=8.0), (8, None), Origin.AUTOMAXPROCS),
        (PLAIN, (4, False), Origin.CONTAINER),
        (PLAIN, (6, False), Origin.CONTAINER),  # the limit was 6 when the process last ran
        (PLAIN, (8, False), Origin.CPU_COUNT),
        (PLAIN, (4, True), Origin.CALL),  # GOMAXPROCS(n) sets the flag, even if n is no change
        (replace(PLAIN, environment="4"), (4, True), Origin.ENVIRONMENT),
        (replace(PLAIN, environment="4"), (3, True), Origin.CALL),
        (replace(PLAIN, environment="4"), (4, False), Origin.CONTAINER),  # SetDefaultGOMAXPROCS
        (replace(PLAIN, leaf_limit_cores=None), (6, False), Origin.UNKNOWN),
        (replace(PLAIN, godebug="containermaxprocs=0"), (6, False), Origin.CPU_COUNT),
        (replace(PLAIN, code=NO_CALLS), (4, None), Origin.CONTAINER),
        (replace(PLAIN, build=GoBuild("")), (5, None), Origin.UNKNOWN),
        (replace(PLAIN, build=GoBuild("")), (5, True), Origin.CALL),
        (replace(PLAIN, build=GoBuild(""), code=NO_FLAG), (5, None), Origin.CALL),
        (replace(PLAIN, build=GoBuild(""), code=NO_FLAG), (8, None), Origin.CPU_COUNT),
        (replace(PLAIN, build=GoBuild(""), code=EARLY), (5, None), Origin.UNKNOWN),
        (replace(PLAIN, build=GoBuild("go1.4.3")), (1, None), Origin.FIXED),
        (replace(PLAIN, build=GoBuild("go1.4.3")), (2, None), Origin.CALL),
    ],
)
def test_origin(facts: Facts, live: tuple[int, bool | None], source: Origin) -> None:
    """The flag decides if there is one, then the variable, automaxprocs, the default."""
    assert origin(LiveGomaxprocs(*live), facts) is source


@pytest.mark.parametrize(
    ("facts", "live", "source"),
    [
        (OLD, LiveGomaxprocs(3, None, 3), Origin.CPU_COUNT),  # 8 are allowed now
        (OLD, LiveGomaxprocs(8, None, 3), Origin.CALL),
        (OLD, LiveGomaxprocs(16, None, 3), Origin.CALL),
        (replace(OLD, build=GoBuild("go1.8.7")), LiveGomaxprocs(256, None, 300), Origin.CPU_COUNT),
        (replace(PLAIN, build=GoBuild("go1.4.3")), LiveGomaxprocs(1, None, 8), Origin.FIXED),
        (PLAIN, LiveGomaxprocs(12, False, 12), Origin.CPU_COUNT),
        (replace(PLAIN, leaf_limit_cores=None), LiveGomaxprocs(6, False, 6), Origin.CPU_COUNT),
        (PLAIN, LiveGomaxprocs(6, False, 12), Origin.CONTAINER),
    ],
)
def test_the_cpus_at_the_start_give_the_old_default(
    facts: Facts, live: LiveGomaxprocs, source: Origin
) -> None:
    """They distinguish the default from a call when the allowed CPUs have changed since."""
    assert origin(live, facts) is source


@pytest.mark.parametrize(
    ("facts", "live", "before", "source"),
    [
        (automatic("v1.6.0"), (3, None), (3, Origin.AUTOMAXPROCS), Origin.AUTOMAXPROCS),
        (automatic("v1.6.0"), (3, None), (2, Origin.AUTOMAXPROCS), Origin.CALL),
        (automatic("v1.6.0"), (3, None), (3, Origin.CPU_COUNT), Origin.CALL),
        (automatic("v1.6.0"), (4, None), (4, Origin.CPU_COUNT), Origin.AUTOMAXPROCS),
        (
            replace(PLAIN, leaf_limit_cores=None),
            (6, False),
            (6, Origin.CONTAINER),
            Origin.CONTAINER,
        ),
        (PLAIN, (4, True), (4, Origin.CONTAINER), Origin.CALL),
    ],
)
def test_an_unchanged_value_keeps_its_origin(
    facts: Facts, live: tuple[int, bool | None], before: tuple[int, Origin], source: Origin
) -> None:
    """automaxprocs reads the limit once, and the old limit is unknown later; the previous window
    had the origin."""
    earlier = Gomaxprocs(*before, recommended=1)
    assert judge(LiveGomaxprocs(*live), facts, 1.0, earlier).origin is source


def test_judgement_uses_the_limit_that_the_kernel_enforces() -> None:
    """The runtime reads the leaf's 4 cores; an ancestor allows 1.5."""
    verdict = judge(LiveGomaxprocs(4, False), PLAIN, 1.5)
    assert (verdict.value, verdict.expected, verdict.recommended) == (4, 4, 2)
    assert verdict.origin is Origin.CONTAINER
    assert verdict.reason == ""
    assert "rounded up" in verdict.rule


def test_an_unreadable_value_keeps_the_other_facts() -> None:
    verdict = judge(Refusal("memory-unmapped"), PLAIN, 2.0)
    assert (verdict.value, verdict.origin) == (None, Origin.UNKNOWN)
    assert (verdict.expected, verdict.recommended) == (4, 2)
    assert verdict.reason == "memory-unmapped"


def judged(facts: Facts, value: int = 8, flag: bool | None = None) -> Gomaxprocs:
    return judge(LiveGomaxprocs(value, flag), facts, facts.leaf_limit_cores)


@pytest.mark.parametrize(
    ("facts", "updates"),
    [
        (replace(PLAIN, build=GoBuild("go1.24")), False),
        (replace(PLAIN, build=GoBuild("go1.25")), True),
        (replace(PLAIN, build=GoBuild("go1.26")), True),
        (replace(PLAIN, build=GoBuild("devel")), True),  # treated as the newest
        (replace(PLAIN, godebug="updatemaxprocs=0"), False),
        (replace(PLAIN, godebug="updatemaxprocs=1"), True),
        (replace(PLAIN, godebug="updatemaxprocs=-1"), False),
        (replace(PLAIN, environment_read=False), False),
    ],
)
def test_a_runtime_checks_again_since_go_1_25(facts: Facts, updates: bool) -> None:
    """Unless GODEBUG disables it; unknown if its environment was not read."""
    assert judged(facts).updates is updates


@pytest.mark.parametrize(
    ("facts", "is_set", "variable"),
    [
        (PLAIN, False, None),
        (replace(PLAIN, environment=""), True, None),
        (replace(PLAIN, environment="4"), True, 4),
        (replace(PLAIN, environment_read=False), None, None),
    ],
)
def test_the_states_of_the_variable(
    facts: Facts, is_set: bool | None, variable: int | None
) -> None:
    """Not set, set to nothing, and not read are different."""
    found = judged(facts)
    assert (found.variable_is_set, found.variable) == (is_set, variable)


def test_without_version_or_environment_no_way_is_offered() -> None:
    """The rules cannot predict the result."""
    unread = judged(replace(PLAIN, environment_read=False))
    assert (unread.ignored, unread.otherwise) == (None, Otherwise())
    unknown = judged(replace(PLAIN, build=GoBuild("devel"), environment="8"))
    assert (unknown.ignored, unknown.otherwise) == (None, Otherwise())
    assert judged(replace(PLAIN, environment="8")).otherwise.unset == 4
    old = judged(replace(PLAIN, build=GoBuild("go1.24")))
    assert (old.ignored, old.otherwise.go_1_25) == (Ignored.OLD_GO, 4)


@pytest.mark.parametrize(
    ("version", "source"),
    [("go1.4", Origin.FIXED), ("go1.5", Origin.CPU_COUNT), ("go1.6", Origin.CPU_COUNT)],
)
def test_a_value_that_the_program_cannot_change(version: str, source: Origin) -> None:
    """Without runtime.GOMAXPROCS in the code it is the old default: 1 before Go 1.5."""
    code = GomaxprocsAddresses(1, None, "exchange", can_be_called=False)
    facts = Facts(GoBuild(version), allowed_cpus=8, code=code)
    assert judged(facts, 3).origin is source


@pytest.mark.parametrize(
    ("facts", "live", "source"),
    [
        # Go 1.5 is the first that starts with the number of CPUs; it had 12.
        (replace(OLD, build=GoBuild("go1.5")), LiveGomaxprocs(12, None, 12), Origin.CPU_COUNT),
        # The limit gives the number of the CPUs at the start: it is the limit that counts now.
        (PLAIN, LiveGomaxprocs(4, False, 4), Origin.CONTAINER),
    ],
)
def test_a_value_with_two_reasons(facts: Facts, live: LiveGomaxprocs, source: Origin) -> None:
    """The default of the version takes precedence over possible values at the start."""
    assert origin(live, facts) is source


def test_no_reason_if_the_environment_is_unknown() -> None:
    """The variable may decide, and not the age of the runtime."""
    unread = judge(LiveGomaxprocs(8, None, 8), replace(OLD, environment_read=False), 4.0)
    assert (unread.ignored, unread.otherwise) == (None, Otherwise())
    assert judge(LiveGomaxprocs(8, None, 8), OLD, 4.0).ignored is Ignored.OLD_GO


@pytest.mark.parametrize(
    ("facts", "live", "source", "expected"),
    [
        (PLAIN, (4, False), Origin.UNKNOWN, None),
        (PLAIN, (8, False), Origin.UNKNOWN, None),  # all CPUs, or a limit of at least as many
        (PLAIN, (4, True), Origin.UNKNOWN, None),
        (replace(PLAIN, environment="4"), (4, True), Origin.ENVIRONMENT, 4),
        (replace(PLAIN, environment="4"), (3, True), Origin.CALL, 4),
        (replace(PLAIN, godebug="containermaxprocs=0"), (8, False), Origin.CPU_COUNT, 8),
        (automatic("v1.6.0"), (4, None), Origin.UNKNOWN, None),
        (OLD, (8, None), Origin.CPU_COUNT, 8),  # Go 1.22 reads no limit
        (OLD, (5, None), Origin.CALL, 8),
    ],
)
def test_a_limit_that_could_not_be_read_is_not_none(
    facts: Facts, live: tuple[int, bool | None], source: Origin, expected: int | None
) -> None:
    """What depends on it is unknown, and which value fits is unknown for all."""
    unread = replace(facts, leaf_limit_cores=None, limit_read=False)
    found = judge(LiveGomaxprocs(*live), unread, None)
    assert (found.value, found.origin, found.expected) == (live[0], source, expected)
    assert (found.recommended, found.bound_by, found.otherwise) == (None, (), Otherwise())
    assert ("could not be read" in found.rule) is (expected is None)
    read = judge(LiveGomaxprocs(*live), replace(unread, limit_read=True), None)
    assert read.recommended == 8
