"""Must show 4: a minute without the API server, pods that come and go, a container that crashes,
a pod of three, a resize in place. No CPU time is lost, nothing has another's name.
"""

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
KUBELET_WITHIN_S = 120  # client-go asks again after a minute at the latest
NAMED_WITHIN_S = 75  # the agent asks again after 30 s at the latest, and a window takes 15
TRIO = {"first": "1600", "second": "1600", "third": "3200"}  # requests a second
RUN_S = 5  # less than a window of 15 s: most of the runs start and end between two drains
CRASHING, RESIZED = "crashing", "resized"
EXACT = 0.05  # of the kernel's account: the two are read some tenths of a second apart
ESTIMATED = 0.25  # of runs of seconds: some hundred samples
LOST = 0.02  # of the samples; the tests themselves start some short programs every second

WINDOW = "gotax_last_window_timestamp_seconds"


@dataclass(slots=True)
class Record:
    """Scrapes one after the other, each held to what must hold for all of them."""

    agent: Agent
    last: Scrape | None = None
    named: dict[str, Name] = field(default_factory=dict)  # by container id
    windows: set[float | None] = field(default_factory=set)
    cpu_s: dict[str, float] = field(default_factory=dict)
    """By the label ``id``, as last seen: the counters of who ended stay for some minutes only."""
    counted: dict[str, Name] = field(default_factory=dict)
    """By the label ``id``, once named: these counters have names also of runs that no window's end
    has seen alive, which ``gotax_container_info`` leaves out."""

    def look(self, new: bool = False) -> Scrape:
        scrape = self.agent.scrape_new() if new else self.agent.scrape()
        if self.last is not None:
            _require_monotonic(self.last, scrape)
        for labels, _ in scrape.select("gotax_container_info", namespace=SHOP):
            name = (labels["namespace"], labels["pod"], labels["container"])
            known = self.named.setdefault(labels["container_id"], name)
            assert known == name, f"{labels['container_id']} was {known} and is now {name}"
        self.windows.add(scrape.value(WINDOW))
        cpu_s = defaultdict[str, float](float)  # before it is named its series is another
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
    """A window, and the kernel's accounts right after it."""

    scrape: Scrape
    kernel_s: dict[str, float | None]  # by container id


@dataclass(frozen=True, slots=True)
class Story:
    """What was seen before, during and after the outage."""

    names: Names
    record: Record
    before: Moment
    after: Moment
    windows_in_outage: int
    killed: str  # id of a container that the kubelet replaced while nobody could be told
    replacement: str
    deleted: str  # name of a pod that was deleted after the outage
    successor: str
    crashes: Runs
    resized: tuple[float | None, float | None]  # limit before and after
    resize_refused: str


@pytest.fixture(scope="module")
def story(agent: Agent, cluster: Cluster, busy_shop: str) -> Story:
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
        """The runs that crash come and go meanwhile."""

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
    return Story(
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
    """Halve the limit of a running container; returns why not, where that cannot be done."""
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


def test_nothing_is_misnamed(story: Story) -> None:
    """All names that gotax ever gave, by container id, are those that the kubelet gave."""
    assert story.record.named.items() <= story.names.by_id.items()
    assert len(story.record.named) > len(TRIO) + 3


def test_agent_works_through_the_outage(story: Story) -> None:
    """A window every 15 s, and not one restart."""
    assert story.windows_in_outage >= OUTAGE_S // 15
    (state,) = story.record.agent.pod()["status"]["containerStatuses"]
    assert "running" in state["state"]


def test_no_cpu_time_is_lost(story: Story) -> None:
    """Containers that lived throughout: gotax's growth is the kernel's growth."""
    for container_id, kernel_before_s in story.before.kernel_s.items():
        kernel_after_s = story.after.kernel_s[container_id]
        assert kernel_before_s is not None
        assert kernel_after_s is not None
        _, name, part = story.names.by_id[container_id]
        series = {"namespace": SHOP, "pod": name, "container": part}
        grown = story.after.scrape.total(CPU, **series) - story.before.scrape.total(CPU, **series)
        assert grown == pytest.approx(kernel_after_s - kernel_before_s, rel=EXACT), part


def test_no_time_goes_unprofiled(story: Story) -> None:
    def growth(name: str) -> float:
        return story.after.scrape.total(name) - story.before.scrape.total(name)

    assert growth("gotax_profiled_seconds_total") == pytest.approx(growth(WINDOW), rel=0.01)
    assert growth("gotax_lost_samples_total") <= LOST * growth("gotax_samples_total")


def test_container_replaced_in_the_outage_is_named_afterwards(story: Story) -> None:
    assert story.replacement != story.killed
    assert story.record.named[story.replacement] == (SHOP, "trio", "second")


def test_restarted_container_does_not_inherit(story: Story) -> None:
    """Its CPU time is its own: no more than it can have used, by the kernel."""
    used_s = read_cpu_s(story.replacement)
    assert used_s is not None
    found = story.after.scrape.total(CPU, namespace=SHOP, pod="trio", id=story.replacement[:12])
    assert 0 < found <= used_s


def test_successor_of_a_deleted_pod_is_named(story: Story) -> None:
    assert story.successor != story.deleted
    for name in (story.deleted, story.successor):
        assert (SHOP, name, "service") in story.record.named.values()


def test_crashing_container_keeps_its_account(story: Story) -> None:
    """All of its runs, by the program's own getrusage; what nobody could name goes by its id."""
    assert len(story.crashes) >= 3
    story.record.look(new=True)
    story.crashes.look()
    story.names.look()
    runs = [i for i, name in story.names.by_id.items() if name == (SHOP, CRASHING, "service")]
    found = sum(story.record.cpu_s.get(container_id[:12], 0.0) for container_id in runs)
    assert found == pytest.approx(story.crashes.cpu_s, rel=ESTIMATED)
    own = {container_id[:12] for container_id in runs}
    named = {i: name for i, name in story.record.counted.items() if i in own or name[1] == CRASHING}
    assert set(named.values()) == {(SHOP, CRASHING, "service")}
    assert named.keys() <= own


def test_resize_in_place_shows(story: Story) -> None:
    if story.resize_refused:
        pytest.skip(f"this kubelet does not resize in place: {story.resize_refused}")
    assert story.resized == (1.0, 0.5)
