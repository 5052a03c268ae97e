"""Must show 4: a minute without the API server, pods that start and end, a container that crashes,
a pod of three, an in-place resize. No CPU time is lost, and no container has another's name."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.e2e.agent import Agent
from tests.e2e.cluster.node import Cluster
from tests.e2e.objects import RIGHT_SIZED, SHOP, container, pod
from tests.e2e.scrape import CPU, Scrape
from tests.e2e.truth import Name, Names, Runs, pids_of, read_cpu_s

OUTAGE_S = 60
KUBELET_WITHIN_S = 120  # client-go retries after a minute at the latest
NAMED_WITHIN_S = 75  # the agent retries after 30 s at the latest, and a window takes 15
TRIO = {"first": "1600", "second": "1600", "third": "3200"}  # requests a second
RUN_S = 5  # less than a window of 15 s: most of the runs start and end between two drains
CRASHING, RESIZED = "crashing", "resized"
EXACT = 0.05  # of the kernel's CPU time: the two are read some tenths of a second apart
ESTIMATED = 0.25  # of runs of seconds: some hundred samples
LOST = 0.02  # of the samples; the tests themselves start some short programs every second

WINDOW = "gotax_last_window_timestamp_seconds"


@dataclass(slots=True)
class Record:
    """A sequence of scrapes; each has to satisfy the general conditions."""

    agent: Agent
    last: Scrape | None = None
    named: dict[str, Name] = field(default_factory=dict)  # by container id
    windows: set[float | None] = field(default_factory=set)
    cpu_s: dict[str, float] = field(default_factory=dict)
    """By the label ``id``, the last values: the counters of ended containers stay only for some
    minutes."""
    counted: dict[str, Name] = field(default_factory=dict)
    """By the label ``id``, once named: these counters also have names of runs that had ended before
    each window's end, which ``gotax_container_info`` does not include."""

    def look(self, new: bool = False) -> Scrape:
        scrape = self.agent.scrape_new() if new else self.agent.scrape()
        if self.last is not None:
            _require_monotonic(self.last, scrape)
        for labels, _ in scrape.select("gotax_container_info", namespace=SHOP):
            name = (labels["namespace"], labels["pod"], labels["container"])
            known = self.named.setdefault(labels["container_id"], name)
            assert known == name, f"{labels['container_id']} was {known} and is now {name}"
        self.windows.add(scrape.value(WINDOW))
        cpu_s = defaultdict[str, float](float)  # before it is named it has another series
        for labels, value in scrape.select(CPU):
            cpu_s[labels["id"]] += value
            if labels["pod"]:
                name = (labels["namespace"], labels["pod"], labels["container"])
                known = self.counted.setdefault(labels["id"], name)
                assert known == name, f"{labels['id']} was {known} and is now {name}"
        self.cpu_s |= cpu_s
        self.last = scrape
        return scrape


def _require_monotonic(before: Scrape, after: Scrape) -> None:
    now = {(name, *sorted(labels.items())): value for name, labels, value in after.samples}
    for name, labels, value in before.samples:
        if name.endswith("_total"):
            later = now.get((name, *sorted(labels.items())))
            assert later is None or later >= value, f"{name}{labels} fell: {value} to {later}"


@dataclass(frozen=True, slots=True)
class Moment:
    """A window, and the kernel's CPU times right after it."""

    scrape: Scrape
    kernel_s: dict[str, float | None]  # by container id


@dataclass(frozen=True, slots=True)
class Timeline:
    """The data before, during and after the outage."""

    names: Names
    record: Record
    before: Moment
    after: Moment
    windows_in_outage: int
    killed: str  # id of a container that the kubelet replaced during the outage
    replacement: str
    deleted: str  # name of a pod that was deleted after the outage
    successor: str
    crashes: Runs
    resized: tuple[float | None, float | None]  # limit before and after
    resize_refused: str


@pytest.fixture(scope="module")
def outage(agent: Agent, cluster: Cluster, busy_shop: str) -> Timeline:
    names, record = Names(cluster), Record(agent)
    cluster.apply(
        pod("trio", [container(name, "-rate", rate) for name, rate in TRIO.items()]),
        pod(CRASHING, [container("service", "-rate", "6000", "-duration", f"{RUN_S}s")]),
        pod(RESIZED, [container("service", "-rate", "1600")]),
    )
    crashes = Runs(cluster, CRASHING)

    def look() -> None:
        record.look()
        names.look()
        crashes.look()

    def wait_for(what: str, is_true: Callable[[], object], timeout_s: float = 60) -> None:
        """The crashing runs start and end in the meantime."""

        def look_and_see() -> object:
            look()
            return is_true()

        cluster.wait_for(what, look_and_see, timeout_s)

    def wait_until_seen(ids: set[str]) -> None:
        wait_for("gotax names them", lambda: ids <= record.named.keys(), NAMED_WITHIN_S)

    wait_for("the three run", lambda: len(names.running("trio")) == len(TRIO))
    wait_for("the one to be resized runs", lambda: names.running(RESIZED))
    wait_until_seen({*names.running("trio").values(), *names.running(RESIZED).values()})
    limit_before = record.look().value("gotax_cpu_limit_cores", namespace=busy_shop, pod=RESIZED)
    refused = _resize(cluster)

    killed = names.running("trio")["second"]
    followed = {names.running("trio")[name] for name in ("first", "third")}
    before = _moment(record, followed)
    cluster.kill_control_plane()
    killed_s = time.monotonic()
    for pid in pids_of(killed):
        os.kill(pid, signal.SIGKILL)
    record.windows.clear()
    while time.monotonic() - killed_s < OUTAGE_S:
        look()
        time.sleep(1)
    windows = len(record.windows)

    cluster.start_control_plane()
    (deleted,) = names.pods(RIGHT_SIZED)
    cluster.kubectl("delete", "pod", deleted, "--namespace", busy_shop, "--wait=false")

    def has_recovered() -> bool:
        pods = names.pods(RIGHT_SIZED)
        is_replaced = len(pods) == 1 and pods[0] != deleted and bool(names.running(pods[0]))
        return is_replaced and names.running("trio").get("second", killed) != killed

    wait_for("the kubelet follows again", has_recovered, KUBELET_WITHIN_S)
    (successor,) = names.pods(RIGHT_SIZED)
    replacement = names.running("trio")["second"]
    wait_until_seen({replacement, *names.running(successor).values()})
    after = _moment(record, followed)
    names.look()
    crashes.look()
    return Timeline(
        names,
        record,
        before,
        after,
        windows,
        killed,
        replacement,
        deleted,
        successor,
        crashes,
        (
            limit_before,
            after.scrape.value("gotax_cpu_limit_cores", namespace=busy_shop, pod=RESIZED),
        ),
        refused,
    )


def _moment(record: Record, followed: set[str]) -> Moment:
    scrape = record.look(new=True)
    return Moment(scrape, {container_id: read_cpu_s(container_id) for container_id in followed})


def _resize(cluster: Cluster) -> str:
    """Halves the limit of a running container; returns the reason if that is impossible."""
    resources = {"limits": {"cpu": "500m", "memory": "128Mi"}}
    patch = {"spec": {"containers": [{"name": "service", "resources": resources}]}}
    where = ("--namespace", SHOP)
    cluster.kubectl(
        "patch", "pod", RESIZED, *where, "--subresource=resize", "--patch", json.dumps(patch)
    )

    def outcome() -> str:
        status = cluster.get("pod", RESIZED, *where)["status"]
        for condition in status.get("conditions", ()):
            if condition["type"] == "PodResizePending":
                return str(condition.get("message") or condition.get("reason"))
        (state,) = status["containerStatuses"]
        return "done" if state["resources"]["limits"]["cpu"] == "500m" else ""

    cluster.wait_for("the resize is done or refused", outcome)
    found = outcome()
    return "" if found == "done" else found


def test_no_container_has_a_wrong_name(outage: Timeline) -> None:
    """All names in gotax, by container id, are those of the kubelet."""
    assert outage.record.named.items() <= outage.names.by_id.items()
    assert len(outage.record.named) > len(TRIO) + 3


def test_the_agent_works_during_the_outage(outage: Timeline) -> None:
    """A window every 15 s, and no restart."""
    assert outage.windows_in_outage >= OUTAGE_S // 15
    (state,) = outage.record.agent.pod()["status"]["containerStatuses"]
    assert "running" in state["state"]


def test_no_cpu_time_is_lost(outage: Timeline) -> None:
    """For containers that ran all the time, gotax's CPU time is the kernel's."""
    for container_id, kernel_before_s in outage.before.kernel_s.items():
        kernel_after_s = outage.after.kernel_s[container_id]
        assert kernel_before_s is not None
        assert kernel_after_s is not None
        _, name, part = outage.names.by_id[container_id]
        series = {"namespace": SHOP, "pod": name, "container": part}
        grown = outage.after.scrape.total(CPU, **series) - outage.before.scrape.total(CPU, **series)
        assert grown == pytest.approx(kernel_after_s - kernel_before_s, rel=EXACT), part


def test_no_time_is_without_a_window(outage: Timeline) -> None:
    def growth(name: str) -> float:
        return outage.after.scrape.total(name) - outage.before.scrape.total(name)

    assert growth("gotax_profiled_seconds_total") == pytest.approx(growth(WINDOW), rel=0.01)
    assert growth("gotax_lost_samples_total") <= LOST * growth("gotax_samples_total")


def test_container_replaced_in_the_outage_is_named_afterwards(outage: Timeline) -> None:
    assert outage.replacement != outage.killed
    assert outage.record.named[outage.replacement] == (SHOP, "trio", "second")


def test_a_restarted_container_has_its_own_counters(outage: Timeline) -> None:
    """Its CPU time is at most what it can have used, by the kernel."""
    used_s = read_cpu_s(outage.replacement)
    assert used_s is not None
    found = outage.after.scrape.total(CPU, namespace=SHOP, pod="trio", id=outage.replacement[:12])
    assert 0 < found <= used_s


def test_successor_of_a_deleted_pod_is_named(outage: Timeline) -> None:
    assert outage.successor != outage.deleted
    for name in (outage.deleted, outage.successor):
        assert (SHOP, name, "service") in outage.record.named.values()


def test_the_cpu_time_of_a_crashing_container_is_complete(outage: Timeline) -> None:
    """All its runs, by the program's own getrusage; runs without a name are counted by their
    ids."""
    assert len(outage.crashes) >= 3
    outage.record.look(new=True)
    outage.crashes.look()
    outage.names.look()
    runs = [i for i, name in outage.names.by_id.items() if name == (SHOP, CRASHING, "service")]
    found = sum(outage.record.cpu_s.get(container_id[:12], 0.0) for container_id in runs)
    assert found == pytest.approx(outage.crashes.cpu_s, rel=ESTIMATED)
    own = {container_id[:12] for container_id in runs}
    named = {
        i: name for i, name in outage.record.counted.items() if i in own or name[1] == CRASHING
    }
    assert set(named.values()) == {(SHOP, CRASHING, "service")}
    assert named.keys() <= own


def test_an_in_place_resize_is_reported(outage: Timeline) -> None:
    if outage.resize_refused:
        pytest.skip(f"this kubelet does not resize in place: {outage.resize_refused}")
    assert outage.resized == (1.0, 0.5)
