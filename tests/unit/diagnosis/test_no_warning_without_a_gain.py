"""A finding whose saving may be a loss is no warning, and has the commands of an experiment."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gotax.category import CATEGORY_COUNT
from gotax.config import Thresholds
from gotax.diagnosis import rules
from gotax.diagnosis.context import Context
from gotax.diagnosis.findings import judge
from gotax.diagnosis.rules.experiment import with_experiment
from gotax.exporters.style import Style
from gotax.exporters.terminal.finding import finding_lines
from gotax.findings import Confidence, Finding, Remedy, Saving, Severity, Verdict
from gotax.process import (
    NO_MEMORY_LIMIT,
    Automaxprocs,
    Container,
    CpuLimit,
    CpuUsage,
    Gomaxprocs,
    Memory,
    Origin,
    Process,
    RuntimeState,
    Workload,
)
from gotax.window import Collections, ContainerReport
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.unit.diagnosis.test_context import POD

MIB = 1 << 20
ID = "a" * 64
SIZES = st.integers(0, 1 << 34)
LIMITS = st.none() | st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.5, 4.0, 8.0, 16.0, 32.0])


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    """What a window may show, whether or not a real program is like that."""
    cpus = draw(st.sampled_from([1, 2, 4, 8, 16, 64, 192]))
    cores = draw(LIMITS)
    fits = cpus if cores is None else max(1, min(cpus, -int(-cores // 1)))
    value = draw(st.none() | st.integers(1, 256) | st.just(fits))
    found = Gomaxprocs(
        value,
        draw(st.sampled_from(Origin)),
        fits,
        variable=draw(st.none() | st.just(8)),
        automaxprocs=draw(st.sampled_from(Automaxprocs)),
    )
    state = RuntimeState(
        *(0, draw(st.sampled_from([-1, 0, 50, 100, 200])), draw(SIZES | st.just(NO_MEMORY_LIMIT))),
        *(9, draw(st.none() | SIZES), draw(st.none() | SIZES), 1 << 40, draw(SIZES), draw(SIZES)),
    )
    size = draw(st.none() | SIZES)
    kills = draw(st.integers(0, 2))
    memory = Memory(size, "/c", size, working_set_bytes=draw(SIZES), oom_kills=kills)
    container = draw(
        st.sampled_from(
            [
                Container("c", "api", "/c"),
                Container("c", "api.service", "/system.slice/api.service", unit="api.service"),
                Container(ID, POD.path, f"/kubepods/{ID}", ID, "1", pod=POD),
            ]
        )
    )
    counts = draw(st.lists(st.integers(0, 2000), min_size=CATEGORY_COUNT, max_size=CATEGORY_COUNT))
    periods = draw(st.integers(0, 600))
    report = ContainerReport(
        container=container,
        processes=(Process(7, 1, "api", container, gomaxprocs=found, runtime=state),),
        category_samples=np.array(counts, np.int64),
        functions=(),
        limit=CpuLimit(cores, "/c", cores),
        usage=CpuUsage(None, periods, draw(st.integers(0, 600)), 10**9),
        verdict=Verdict.UNREADABLE,
        cpu_ns=draw(st.none() | st.integers(0, 60 * 10**9 * cpus)),
        process_samples=(sum(counts),),
        memory=draw(st.none() | st.just(memory)),
        collections=draw(st.none() | st.builds(Collections, st.integers(0, 99), SIZES)),
    )
    return Context(
        *(report, 60.0, cpus, Thresholds()),
        peak_cores=draw(st.floats(0, cpus)),
        earlier_limit=draw(LIMITS),
        earlier_memory=draw(st.none() | SIZES),
        lenient=draw(st.booleans()),
    )


@settings(max_examples=150)
@given(contexts())
def test_what_may_cost_cpu_is_no_warning(context: Context) -> None:
    """Of all codes, in any window. Without a predicted saving a warning has another gain: less
    throttling (GT007), no more kills (GT017), or it has no kernel's CPU time (GT001, GT003)."""
    verdict, _ = judge(context)
    for finding in rules.find_each(context):
        event(finding.code)
        if finding.saving is None:
            if finding.severity is Severity.WARNING:
                assert finding.code in {"GT007", "GT017"} or context.report.cpu_ns is None
            continue
        assert finding.saving.low <= finding.saving.mid <= finding.saving.high
        if finding.saving.low >= 0:
            continue
        assert finding.severity is Severity.INFO
        is_tried = bool(finding.remedy.patch) and finding.code != rules.HARMLESS
        assert bool(finding.remedy.experiment) is is_tried
        assert ("an experiment can" in finding.remedy.text) is is_tried
        if finding.code == rules.COSTLY:
            assert verdict is not Verdict.OVERSIZED


# The commands


def commands_of(container: Container) -> list[str]:
    """Of a GT004 without a limit, whose gain is never known."""
    found = Gomaxprocs(1, Origin.CPU_COUNT, 4)
    report = ContainerReport(
        container=container,
        processes=(Process(7, 1, "api", container, gomaxprocs=found),),
        category_samples=np.full(CATEGORY_COUNT, 50, np.int64),
        functions=(),
        limit=CpuLimit(),
        usage=CpuUsage(),
        verdict=Verdict.UNREADABLE,
        cpu_ns=60 * 10**9,
        process_samples=(50 * CATEGORY_COUNT,),
    )
    (finding,) = (
        each
        for each in rules.find_all(Context(report, 60.0, 4, Thresholds()))
        if each.code == rules.BELOW_LIMIT
    )
    assert "an experiment can" in finding.remedy.text
    lines = finding.remedy.experiment.splitlines()
    for width in (40, 80, 120):  # copied from any terminal, they are the same words for a shell
        narrow = finding_lines(finding, report, Style(width=width), whole=True)
        first = next(i for i, line in enumerate(narrow) if line.startswith("  Try it"))
        copied = "\n".join(line[12:] for line in narrow[first:-1])
        copied = copied.replace("\\\n", "")
        assert shlex.split(copied, comments=True) == shlex.split("\n".join(lines), comments=True)
    return lines


def of_kind(workload: str, **changes: Any) -> Container:
    pod = replace(POD, workload=Workload(workload, "api"), **changes)
    return Container(ID, pod.path, f"/kubepods/{ID}", ID, "1", pod=pod)


def patches(lines: list[str]) -> list[Any]:
    """The JSON that the commands pass to kubectl patch -p."""
    words = [shlex.split(line.removeprefix("# to go on: ")) for line in lines]
    return [json.loads(each[each.index("-p") + 1]) for each in words if "-p" in each]


def test_one_replica_of_a_deployment_has_the_new_value() -> None:
    lines = commands_of(of_kind("Deployment"))
    rolling = {"maxSurge": 1, "maxUnavailable": 0}
    assert patches(lines) == [
        {"spec": {"strategy": {"rollingUpdate": rolling, "type": "RollingUpdate"}}}
    ]
    assert lines[2] == (
        "kubectl -n shop patch deployment api --patch-file FILE && sleep 2 &&"
        " kubectl -n shop rollout pause deployment api"
    )
    assert lines[3:-2] == [
        "# an hour later, of the collector: CPU and throttling by value, with a test",
        "gotax fleet compare Deployment/api namespace=shop container=api since=1h",
        "# or without a collector, on the nodes of the new replica and of another one:",
        "gotax record -d 300 -o NODE.json",
        "gotax compare OTHER.json NEW.json --container shop/POD/api --container shop/POD/api",
    ]
    assert lines[-2] == "# to go on: kubectl -n shop rollout resume deployment api"
    assert lines[-1] == "# to go back, after that: kubectl -n shop rollout undo deployment api"
    assert commands_of(of_kind("Deployment", kind="sidecar")) == lines


def test_one_replica_of_a_stateful_set_or_daemon_set() -> None:
    lines = commands_of(of_kind("StatefulSet"))
    text = lines[1].replace('"partition": N', '"partition": 2')
    assert patches([text]) == [
        {"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}}
    ]
    assert '"partition": 0' in lines[-2]
    assert lines[2] == "kubectl -n shop patch statefulset api --patch-file FILE"
    lines = commands_of(of_kind("DaemonSet"))
    assert patches(lines) == [
        {"spec": {"updateStrategy": {"type": "OnDelete"}}},
        {"spec": {"updateStrategy": {"type": "RollingUpdate"}}},
    ]
    assert lines[0] == "# only pods that you delete get the new value"
    assert lines[2] == "kubectl -n shop patch daemonset api --patch-file FILE"
    assert lines[3] == "kubectl -n shop delete pod api-1"
    assert lines[-1] == ("# to go back, before that: kubectl -n shop rollout undo daemonset api")
    for kind in ("StatefulSet", "DaemonSet"):
        assert f"gotax fleet compare {kind}/api namespace=shop container=api since=1h" in (
            commands_of(of_kind(kind))
        )


@pytest.mark.parametrize(
    ("container", "name"),
    [
        (Container("c", "a service", "/c"), "'a service'"),
        (Container("c", "x", "/system.slice/api.service", unit="api.service"), "api.service"),
        (of_kind("Job"), "shop/api-1/api"),
        (of_kind("Deployment", kind="init"), "shop/api-1/api"),
        (replace(of_kind("Deployment"), nested="docker/1"), "shop/api-1/api"),
    ],
)
def test_what_has_no_replicas_is_compared_with_itself(container: Container, name: str) -> None:
    lines = commands_of(container)
    assert lines[0] == "gotax record -d 300 -o before.json"
    assert lines[2] == "gotax record -d 300 -o after.json"
    assert lines[-1] == (
        f"gotax compare before.json after.json --container {name} --throughput BEFORE AFTER"
    )


def test_hostile_names_stay_in_their_word_and_line() -> None:
    """A name of a cgroup may have any character but a slash."""
    lines = commands_of(Container("c", "a'; rm -rf /\n# b", "/c"))
    assert len(lines) == 5
    assert shlex.split(lines[-1])[5] == "a'; rm -rf /?# b"


@pytest.mark.parametrize(
    ("low", "patch", "code", "is_tried"),
    [
        (-0.001, "GOMAXPROCS=1\n", rules.COSTLY, True),
        (0.0, "GOMAXPROCS=1\n", rules.COSTLY, False),
        (-0.001, "", rules.COSTLY, False),
        (-0.001, "GOMAXPROCS=1\n", rules.HARMLESS, False),
        (0.1, "", rules.BELOW_LIMIT, False),
        (0.1, "GOMAXPROCS=1\n", rules.BELOW_LIMIT, True),
    ],
)
def test_an_experiment_needs_a_doubt_and_a_patch(
    low: float, patch: str, code: str, is_tried: bool
) -> None:
    finding = Finding(
        *(code, "", Severity.INFO, Confidence.LOW, (), Remedy("Text.", patch)),
        saving=Saving(low, 1.0, 2.0),
    )
    made = with_experiment(Container("c", "api", "/c"), finding)
    assert bool(made.remedy.experiment) is is_tried
    assert (made == finding) is not is_tried


def test_a_known_gain_needs_no_experiment() -> None:
    plain: Finding = replace(
        next(
            each
            for each in rules.find_all(
                Context(_costly(), 60.0, 2, Thresholds()),
            )
            if each.code == rules.COSTLY
        )
    )
    assert plain.severity is Severity.WARNING
    assert plain.remedy.experiment == ""
    assert "experiment" not in plain.remedy.text


def _costly() -> ContainerReport:
    container = Container("c", "api", "/c")
    samples = np.zeros(CATEGORY_COUNT, np.int64)
    samples[:] = 10
    samples[1:8] = 900
    return ContainerReport(
        container=container,
        processes=(
            Process(7, 1, "api", container, gomaxprocs=Gomaxprocs(64, Origin.ENVIRONMENT, 1)),
        ),
        category_samples=samples,
        functions=(),
        limit=CpuLimit(1.0, "/c", 1.0),
        usage=CpuUsage(),
        verdict=Verdict.UNREADABLE,
        cpu_ns=12 * 10**9,
        process_samples=(int(samples.sum()),),
    )
