"""The remedy for each origin: it offers only changes that lead to a value that fits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.diagnosis.advice import advise, set_variable
from gotax.diagnosis.context import Context
from gotax.findings import Cause
from gotax.process import Automaxprocs, Binding, CpuLimit, Gomaxprocs, Origin, Otherwise

from tests.unit.diagnosis.test_context import CONTAINER, context

COUNTED = Gomaxprocs(8, Origin.CPU_COUNT, 1)
SET = replace(COUNTED, origin=Origin.ENVIRONMENT, variable=8, variable_is_set=True)
CALLED = replace(COUNTED, origin=Origin.CALL)
BARE = replace(CONTAINER, pod_uid=None)


def of(found: Gomaxprocs, limit: float = 1.0, **otherwise: int) -> Context:
    seen = context(limit=CpuLimit(limit, "/c", limit), container=BARE)
    found = replace(found, otherwise=Otherwise(**otherwise))
    process = replace(seen.report.main_process, gomaxprocs=found)
    return replace(seen, report=replace(seen.report, processes=(process,)))


def says(seen: Context, cause: Cause) -> str:
    return advise(seen, cause).text


@pytest.mark.parametrize(
    ("found", "cause", "first"),
    [
        (SET, Cause.ENVIRONMENT, "Set the variable GOMAXPROCS to 1."),
        (replace(SET, origin=Origin.CRIO), Cause.ENVIRONMENT, "Set the variable GOMAXPROCS to 1."),
        (COUNTED, Cause.OLD_GO, "Set GOMAXPROCS to 1 in the environment."),
        (COUNTED, Cause.AUTOMAXPROCS, "Set GOMAXPROCS to 1 in the environment; automaxprocs resp"),
        (COUNTED, Cause.UNKNOWN, "Set GOMAXPROCS to 1 in the environment, and check again: a call"),
        (COUNTED, Cause.RESIZE, "Set GOMAXPROCS to 1 in the environment, and restart the process."),
        (
            replace(COUNTED, automaxprocs=Automaxprocs.FORK),
            Cause.AUTOMAXPROCS,
            "Set GOMAXPROCS to 1 in the environment, and check again: how a fork",
        ),
        (CALLED, Cause.CALL, "Set GOMAXPROCS to 1 in the environment, and check again: many"),
        (
            replace(CALLED, variable=4),
            Cause.CALL,
            "Let the call of runtime.GOMAXPROCS set 1, or remove the call and set the variable to",
        ),
        (
            replace(CALLED, variable=4, expected=1),
            Cause.CALL,
            "Remove the call of runtime.GOMAXPROCS from the program (then it has 1 here).",
        ),
        (
            replace(COUNTED, updates=True),
            Cause.RESIZE,
            "Wait: its Go runtime checks limit",
        ),
        (
            replace(COUNTED, updates=True),
            Cause.FEWER_CPUS,
            "Wait: its Go runtime checks limit and CPUs",
        ),
        (replace(COUNTED, updates=True), Cause.OLD_GO, "Set GOMAXPROCS to 1 in the environment."),
        (
            replace(COUNTED, updates=True, origin=Origin.AUTOMAXPROCS),
            Cause.RESIZE,
            "Set GOMAXPROCS to 1 in the environment, and restart the process.",
        ),
        (replace(COUNTED, expected=2), Cause.RESIZE, "Restart the process: it will then start"),
        (replace(COUNTED, expected=3), Cause.RESIZE, "Set GOMAXPROCS to 1 in the environment"),
        (replace(COUNTED, expected=2), Cause.OLD_GO, "Set GOMAXPROCS to 1 in the environment."),
    ],
)
def test_the_first_way(found: Gomaxprocs, cause: Cause, first: str) -> None:
    """The best one comes first."""
    assert says(of(found), cause).startswith(first)


@pytest.mark.parametrize(
    ("found", "cause", "otherwise", "way"),
    [
        (SET, Cause.ENVIRONMENT, "unset", "remove the variable"),
        (COUNTED, Cause.GODEBUG, "no_godebug", "from the variable GODEBUG"),
        (COUNTED, Cause.DEBUG_LINE, "go_line", "from the //go:debug or godebug line"),
        (COUNTED, Cause.ANCESTOR, "go_line", "in go.mod and rebuild"),
        (COUNTED, Cause.GO_MOD, "go_line", "GOMAXPROCS will follow the limit"),
        (COUNTED, Cause.DEBUG_LINE, "godebug", "Without a rebuild: GODEBUG=containermaxprocs=1"),
        (COUNTED, Cause.OLD_GO, "go_1_25", "Or build with Go 1.25 or newer"),
        (COUNTED, Cause.OLD_GO, "go_1_26", "Or build with Go 1.26 or newer"),
        (COUNTED, Cause.ANCESTOR, "own_limit", "set the limit on its own cgroup"),
    ],
)
def test_another_way_is_offered_if_it_leads_to_a_value_that_fits(
    found: Gomaxprocs, cause: Cause, otherwise: str, way: str
) -> None:
    """To 1, or to Go's 2; not to 3, and not if the result is unknown."""
    assert way in says(of(found, **{otherwise: 1}), cause)
    assert way in says(of(found, **{otherwise: 2}), cause)
    assert way not in says(of(found, **{otherwise: 3}), cause)
    assert way not in says(of(found), cause)


@pytest.mark.parametrize(
    ("cause", "otherwise", "way"),
    [
        (Cause.OLD_GO, {"unset": 1}, "remove the variable"),  # it is not set
        (Cause.OLD_GO, {"no_godebug": 1}, "from the variable GODEBUG"),
        (Cause.OLD_GO, {"own_limit": 1}, "set the limit on its own cgroup"),
        (Cause.GODEBUG, {"no_godebug": 1, "godebug": 1}, "Without a rebuild"),
        (Cause.DEBUG_LINE, {"go_line": 1}, "in go.mod and rebuild"),
        (Cause.OLD_GO, {"go_1_25": 1, "go_1_26": 1}, "Go 1.26"),  # the older one is enough
        (Cause.GO_MOD, {"go_line": 1}, "Without a rebuild"),
    ],
)
def test_useless_ways_are_not_offered(cause: Cause, otherwise: dict[str, int], way: str) -> None:
    """For another cause, or beside a better way."""
    assert way not in says(of(COUNTED, **otherwise), cause)
    assert "Or build with" not in says(of(COUNTED), cause)


def test_a_new_go_line_can_be_replaced_by_godebug() -> None:
    """GODEBUG has the same effect without a build."""
    text = says(of(COUNTED, go_line=2, godebug=2), Cause.GO_MOD)
    assert "Without a rebuild: GODEBUG=containermaxprocs=1,updatemaxprocs=1" in text
    assert "the limit, 2 here" in text


def test_the_patch_is_that_of_the_first_way() -> None:
    """The go line, the variable, or no patch if the variable does not help."""
    assert advise(of(COUNTED, go_line=2), Cause.GO_MOD).patch == "go 1.25.0\n"
    assert advise(of(COUNTED, go_line=3), Cause.GO_MOD).patch == "GOMAXPROCS=1\n"
    assert advise(of(COUNTED, go_line=2), Cause.OLD_GO).patch == "GOMAXPROCS=1\n"
    assert advise(of(CALLED), Cause.CALL).patch == "GOMAXPROCS=1\n"
    assert advise(of(replace(CALLED, variable=4)), Cause.CALL).patch == ""
    assert advise(of(replace(COUNTED, variable=4)), Cause.OLD_GO).patch == "GOMAXPROCS=1\n"
    assert advise(of(COUNTED, go_line=2), Cause.GO_MOD).gomaxprocs == 2
    assert advise(of(COUNTED), Cause.OLD_GO).gomaxprocs == 1


@pytest.mark.parametrize(
    ("automaxprocs", "offered"), [(Automaxprocs.NONE, True), (Automaxprocs.KNOWN, False)]
)
def test_a_restart_or_the_variable(automaxprocs: Automaxprocs, offered: bool) -> None:
    """A newer Go updates GOMAXPROCS by itself, unless automaxprocs sets it."""
    found = replace(COUNTED, expected=1, automaxprocs=automaxprocs)
    text = says(of(found), Cause.RESIZE)
    assert "Or set GOMAXPROCS to 1 in the environment." in text
    assert ("it would follow such changes by itself" in text) is offered


@pytest.mark.parametrize(
    ("limit", "fits", "bound_by", "is_shown"),
    [
        (1.5, 2, (Binding.QUOTA,), True),
        (1.0, 1, (Binding.QUOTA,), False),
        (0.5, 1, (Binding.QUOTA,), False),  # there is nothing to round down
        (2.5, 2, (Binding.QUOTA,), False),  # the target is not the limit rounded up
        (1.5, 2, (Binding.CPUSET,), False),
    ],
)
def test_rounding_is_explained_if_it_gives_the_number(
    limit: float, fits: int, bound_by: tuple[Binding, ...], is_shown: bool
) -> None:
    """1.5 CPU: 2 is rounded up, 1 leaves half a CPU unused."""
    seen = of(replace(COUNTED, recommended=fits, bound_by=bound_by), limit)
    text = says(seen, Cause.OLD_GO)
    assert ("rounded up, as Go and the" in text) is is_shown
    assert ("1 (rounded down, as automaxprocs does)" in text) is is_shown


def test_a_resized_container_is_restarted_by_its_policy() -> None:
    """If its patch takes the value from the limit."""
    seen = context(limit=CpuLimit(1.0, "/kubepods/pod1/c", 1.0), container=CONTAINER)
    policy = "With the resizePolicy RestartContainer"
    assert policy in says(seen, Cause.RESIZE)
    assert policy not in says(seen, Cause.ENVIRONMENT)
    assert policy not in says(of(SET), Cause.RESIZE)


def test_the_variable_with_a_call_in_the_program() -> None:
    """The call overrides the variable: the text has the variable's value, and that it has no
    effect."""
    text = says(of(replace(CALLED, variable=4)), Cause.CALL)
    assert "The variable alone does not help: it is 4, and the call overrides it." in text
    enough = says(of(replace(CALLED, variable=4, expected=1)), Cause.CALL)
    assert "Or let the call set 1. The variable alone does not help: it is 4" in enough
    plain = says(of(replace(CALLED, expected=1)), Cause.CALL)
    assert "remove it from the program (then it has 1 here), or let it set 1." in plain
    assert "(then it has" not in says(of(CALLED), Cause.CALL)


def test_the_note_of_a_patch_is_said() -> None:
    """After the ways; without a limit nothing is rounded."""
    seen = context(limit=CpuLimit(1.0, "/kubepods/pod1/c", 1.0), container=CONTAINER)
    assert says(seen, Cause.ENVIRONMENT).endswith("so both change together.")
    free = context(8, 2, limit=CpuLimit(), container=CONTAINER, bound_by=(Binding.CPUSET,))
    assert says(free, Cause.ENVIRONMENT).endswith("the number of CPUs of the node.")


@pytest.mark.parametrize(
    ("found", "may_be_set"),
    [
        (COUNTED, False),
        (replace(COUNTED, variable_is_set=None), True),
        (replace(COUNTED, variable_is_set=True), True),
        (None, True),
    ],
)
def test_a_variable_may_be_set_where_its_absence_was_not_read(
    found: Gomaxprocs | None, may_be_set: bool
) -> None:
    """Then a drop-in warns of an EnvironmentFile."""
    seen = context(container=replace(BARE, unit="web.service", cgroup="/web.service"))
    process = replace(seen.report.main_process, gomaxprocs=found)
    seen = replace(seen, report=replace(seen.report, processes=(process,)))
    assert ("EnvironmentFile" in set_variable(seen, 2).text) is may_be_set


def test_the_other_forms_of_a_patch() -> None:
    """Each leads to a value that fits; a go line does not help beside a variable or a call."""
    both = ("go 1.25.0\n", "GOMAXPROCS=2\n")
    assert advise(of(COUNTED, go_line=2), Cause.GO_MOD).patches == both
    unset = replace(COUNTED, variable_is_set=False)
    assert advise(of(unset, go_line=2), Cause.OLD_GO).patches == ("GOMAXPROCS=1\n", "go 1.25.0\n")
    for found in (
        SET,
        replace(COUNTED, variable_is_set=None),
        replace(CALLED, variable_is_set=False),
    ):
        assert advise(of(found, go_line=2), Cause.OLD_GO).patches == ("GOMAXPROCS=1\n",)
    assert advise(of(unset, go_line=3), Cause.OLD_GO).patches == ("GOMAXPROCS=1\n",)
    assert advise(of(replace(CALLED, variable=4)), Cause.CALL).patches == ()
    pod = replace(BARE, pod_uid="u", container_id=None)
    for is_set in (False, None, True):
        seen = of(replace(COUNTED, variable_is_set=is_set))
        seen = replace(seen, report=replace(seen.report, container=pod))
        from_limit, number = advise(seen, Cause.OLD_GO).patches
        assert "resourceFieldRef" in from_limit
        assert 'value: "1"' in number
        assert ("valueFrom: null" in number) is (is_set is not False)  # the other form
