"""Containers that start processes without end, or that call their cgroups like another's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.attacks.contained import TOO_HIGH, Agent, Metrics, check_it_ends, check_it_is_well
from tests.kernel.load import Group, Load, wait_until
from tests.toolchains import VERSIONS

pytestmark = [pytest.mark.kernel, pytest.mark.timing, pytest.mark.toolchain]

GO = VERSIONS[2]
STORM = "i=0; while :; do i=$((i+1)); cp -f $1 $2/$((i%50)); $2/$((i%50)) -kind none & wait; done"
LOSSES = {"process-gone", "process-exec", "pid-reused", "samples-full"}
VICTIM, OTHER = "a" * 64, "b" * 64
POD = "pod01234567-89ab-cdef-0123-4567{:08x}"


def test_a_storm_of_starts(
    agent: Agent,
    neighbour: Group,
    attack: Callable[..., Load],
    tmp_path: Path,
    go_binary: Callable[..., Path],
) -> None:
    """Each is a Go program of its own file, and ends at once."""
    attack(Path("/bin/sh"), "-c", STORM, "sh", go_binary("findings", GO), tmp_path)
    attack(Path("/bin/sh"), "-c", "while :; do /bin/true; done")
    agent.wait_for_windows(3)
    check_it_is_well(agent, neighbour)
    check_it_ends(agent)


def test_a_cgroup_that_claims_to_be_another_container(
    agent: Agent,
    neighbour: Group,
    go_binary: Callable[..., Path],
) -> None:
    """A container makes cgroups below its own that are called like another pod's: the outermost
    counts, so that its CPU time stays its own and the other's verdict stays right."""
    with ExitStack() as stack:
        groups: dict[str, Group] = {}

        def made(*parts: str) -> Group:
            for end in range(len(parts) + 1):
                path = "/".join(("node", *parts[:end]))
                if path not in groups:
                    groups[path] = stack.enter_context(Group(path))
            return groups[path]

        claimed = ("kubepods", POD.format(1), VICTIM)
        own = ("kubepods", POD.format(2), OTHER)
        victim = made(*claimed)
        victim.limit(0.5)
        made(*own).limit(0.5)
        attacker = made(*own, *claimed)
        program = go_binary("changing", GO)
        stack.enter_context(Load(program, "-rate", "20000", group=victim, env={"GOMAXPROCS": "64"}))
        stack.enter_context(
            Load(program, "-rate", "20000", group=attacker, env={"GOMAXPROCS": "1"})
        )

        def verdicts() -> dict[str, set[str]]:
            """By container id."""
            metrics = agent.metrics()
            ids = {
                sample.labels["id"]: sample.labels["container_id"]
                for sample in metrics.samples
                if sample.name == "gotax_container_info" and sample.labels["container_id"]
            }
            found: dict[str, set[str]] = {}
            high = dict.fromkeys(TOO_HIGH, "too high")
            for sample in metrics.samples:
                if sample.name == "gotax_verdict" and sample.value and sample.labels["id"] in ids:
                    verdict = sample.labels["verdict"]
                    verdict = high.get(verdict, verdict)
                    found.setdefault(ids[sample.labels["id"]], set()).add(verdict)
            return found

        expected = {VICTIM: {"too high"}, OTHER: {"fits"}}
        wait_until(lambda: verdicts() == expected, "the verdicts of both")
        check_it_is_well(agent, neighbour)
        assert verdicts() == expected
    check_it_ends(agent)


@pytest.mark.parametrize("standing", [50, pytest.param(4000, marks=pytest.mark.slow)])
def test_a_storm_of_cgroups(
    agent: Agent, neighbour: Group, hostile: Group, attack: Callable[..., Load], standing: int
) -> None:
    """Made, renamed and removed while it runs in them, beside many that stay: what the kernel
    counted by means nothing any more once the agent looks it up."""
    storm = attack("cgroupstorm.py", str(standing), *hostile.folders, says="made")
    try:
        agent.wait_for_windows(4)
        check_it_is_well(agent, neighbour)
    finally:
        storm.end()  # it removes them
    check_it_ends(agent)


def test_a_process_in_disguise(
    agent: Agent,
    neighbour: Group,
    hostile: Group,
    attack: Callable[..., Load],
    go_binary: Callable[..., Path],
) -> None:
    """Its name and its arguments are for a terminal to obey, its /proc is empty, its root cannot be
    read, and its GOMAXPROCS is behind two megabytes of environment: it is judged like any other,
    and no character of its name goes out as it is."""
    attack("disguise.py", go_binary("changing", GO), "-rate", "20000", says="hidden")
    wait_until(lambda: agent.verdict_of(hostile) in TOO_HIGH, "the verdict")
    text = agent.get("/metrics").body
    metrics = Metrics(text)
    infos = [s.labels for s in metrics.samples if s.name == "gotax_container_info"]
    origins = {i["gomaxprocs_origin"] for i in infos if i["cgroup"] == hostile.path}
    assert origins == {"environment"}
    assert "\x1b" not in text
    assert "\u202e" not in text
    check_it_is_well(agent, neighbour)
    check_it_ends(agent)


@pytest.mark.slow
def test_pids_that_are_reused_at_once(
    agent: Agent,
    neighbour: Group,
    attack: Callable[..., Load],
    go_binary: Callable[..., Path],
) -> None:
    """One PID is a Go program, a shell and another Go program, thirty times a second: the agent
    goes on, and the verdict of the neighbour is right."""
    first, second = go_binary("changing", GO), go_binary("knownwork", GO)
    spin = "/bin/sh -c while(:)do(:);done"
    before = agent.metrics()
    attack("reuse.py", f"{first} -rate 20000", spin, str(second), says="reuses")
    agent.wait_for_windows(4)
    check_it_is_well(agent, neighbour)
    now = agent.metrics()
    assert now.total("gotax_samples_total") > before.total("gotax_samples_total")
    check_it_ends(agent)
