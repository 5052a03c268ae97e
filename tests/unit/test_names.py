"""From a container's id to its pod, whenever Kubernetes has the name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from gotax import cli
from gotax.cli import explain, options
from gotax.config import Detail, Suppression, Thresholds
from gotax.errors import UserError
from gotax.names import NO_NAMES
from gotax.pipeline import Pipeline
from gotax.process import PodContainer, Workload
from gotax.processes.resolver import Resolver

from tests.toolchains import VERSIONS
from tests.unit.exporters.windows import build_window, oversized_load
from tests.unit.host import Host, Program
from tests.unit.test_pipeline import SPAN, StackCount, drain

pytestmark = pytest.mark.toolchain

OLD, NEW = "a" * 64, "b" * 64
PODS = "/kubepods/burstable/pod6a4ce4a0-ba47-11ea-b2a7-0cc47ac5979e"
POD = PodContainer(
    "shop",
    "web-5d-x2",
    "web",
    "uid",
    "n1",
    "shop/web:1",
    "container",
    Workload("Deployment", "web"),
)


class FakeNames:
    """Names that become known during the test."""

    def __init__(self) -> None:
        self.pods: dict[str, PodContainer] = {}
        self.counts: Mapping[str, int] = {"kubernetes-api": 3}

    def find(self, container_id: str) -> PodContainer | None:
        return self.pods.get(container_id)

    def __len__(self) -> int:
        return len(self.pods)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture(scope="module")
def program(go_binary: Callable[..., Path]) -> Program:
    path = go_binary("gomaxprocs", VERSIONS[-1])
    return Program(path, f"00400000-00401000 r-xp 00000000 00:00 {{inode}} {path}\n")


def pipeline(host: Host, names: FakeNames, suppressions: tuple[Suppression, ...] = ()) -> Pipeline:
    thresholds = Thresholds(suppressions=suppressions)
    return Pipeline(Resolver(host.roots), "host", thresholds, Detail(), names)


def test_names_are_used_as_soon_as_they_are_known(host: Host, program: Program) -> None:
    """Until then the id is the name; all processes of the container get the name in the same
    window."""
    names = FakeNames()
    host.cgroup(f"{PODS}/{OLD}")
    for pid in (7, 8):
        host.start(pid, 100, program, f"{PODS}/{OLD}")
    stages = pipeline(host, names)
    stages.absorb(drain([StackCount(7), StackCount(8)]), 0)
    (report,) = stages.window(SPAN).reports
    assert (report.container.name, report.container.pod) == (OLD[:12], None)
    names.pods[OLD] = POD
    stages.absorb(drain([StackCount(7)]), 0)
    window = stages.window(SPAN)
    (report,) = window.reports
    assert (report.container.name, report.container.pod) == (POD.path, POD)
    assert {process.container for process in report.processes} == {report.container}
    assert window.health.cache_entries["pod-containers"] == 1
    assert window.health.errors["kubernetes-api"] == 3


def test_a_container_that_ended_in_the_window_is_named(host: Host, program: Program) -> None:
    """Kubernetes reports a short-lived container late: the name is looked up at the end of the
    window."""
    names = FakeNames()
    host.cgroup(f"{PODS}/{OLD}")
    host.start(7, 100, program, f"{PODS}/{OLD}")
    stages = pipeline(host, names)
    stages.absorb(drain([StackCount(7, samples=3)]), 0)
    host.end(7)
    names.pods[OLD] = replace(POD, ended=True)
    (report,) = stages.window(SPAN).reports
    assert (report.container.name, report.samples) == (POD.path, 3)


def test_a_restarted_container_has_numbers_of_its_own(host: Host, program: Program) -> None:
    """The same pod and name, another id: two reports, each with its own samples."""
    names = FakeNames()
    names.pods = {OLD: replace(POD, ended=True), NEW: POD}
    for container in (OLD, NEW):
        host.cgroup(f"{PODS}/{container}")
    host.start(7, 100, program, f"{PODS}/{OLD}")
    stages = pipeline(host, names)
    stages.absorb(drain([StackCount(7, samples=5)]), 0)
    host.end(7)
    host.start(9, 200, program, f"{PODS}/{NEW}")
    stages.absorb(drain([StackCount(9, samples=2)]), 0)
    found = {r.container.container_id: r for r in stages.window(SPAN).reports}
    assert {i: r.samples for i, r in found.items()} == {OLD: 5, NEW: 2}
    assert {r.container.name for r in found.values()} == {POD.path}
    stages.absorb(drain([StackCount(9, samples=1)]), 0)
    (report,) = stages.window(SPAN).reports
    assert (report.container.container_id, report.samples) == (NEW, 1)


def test_a_pods_annotation_suppresses_its_own_findings_only(host: Host, program: Program) -> None:
    """An invalid annotation is counted, and suppresses nothing."""
    names = FakeNames()
    host.cgroup(f"{PODS}/{OLD}")
    host.start(7, 100, program, f"{PODS}/{OLD}")
    stages = pipeline(host, names)
    names.pods[OLD] = replace(POD, suppress="GT015")  # memory is zeros here: unreadable
    stages.absorb(drain([StackCount(7, samples=90)]), 0)
    (report,) = stages.window(SPAN).reports
    assert report.suppressed == ("GT015",)
    names.pods[OLD] = replace(POD, suppress="GT015@*, nonsense")
    stages.absorb(drain([StackCount(7, samples=90)]), 0)
    window = stages.window(SPAN)
    assert window.reports[0].suppressed == ()
    assert window.health.errors["suppression"] == 1


def test_kubernetes_is_optional(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A node's name in the environment is a hint; --node is a requirement, and fails with a
    remedy."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("NODE_NAME", raising=False)
    parse = cli.build_parser().parse_args
    assert options.names_of(parse(["agent"])) is NO_NAMES
    monkeypatch.setenv("NODE_NAME", "n1")
    assert options.names_of(parse(["check"])) is NO_NAMES
    with pytest.raises(UserError, match="omit --node"):
        options.names_of(parse(["agent", "--node", "n1"]))
    monkeypatch.delenv("NODE_NAME")
    with pytest.raises(UserError, match="--kubelet needs --node"):
        options.names_of(parse(["agent", "--kubelet", "https://n1:10250"]))


def test_the_kubelet_alone_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a service account, its read-only port may be available."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    arguments = ["agent", "--node", "n1", "--kubelet", "http://127.0.0.1:1"]
    names = options.names_of(cli.build_parser().parse_args(arguments))
    assert names.find(OLD) is None
    names.close()  # type: ignore[attr-defined]


def test_explain_accepts_the_usual_names() -> None:
    """The pod, with or without its namespace, and the workload."""
    assert {"shop/web-5d-x2", "web-5d-x2", "Deployment/web", "shop/web", POD.path} <= POD.names
    assert "web" not in POD.names  # a container, a pod and a workload of any namespace


def test_explain_can_print_only_the_patch() -> None:
    """Of the first finding with one; none is an error with a reason."""
    (report,) = build_window(oversized_load()).reports
    assert explain.patch_of([report]) == report.findings[0].remedy.patch != ""
    with pytest.raises(UserError, match="no finding has a patch"):
        explain.patch_of([replace(report, findings=())])
