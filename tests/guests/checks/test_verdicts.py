"""One `gotax check` of a host with many CPUs: exact values of GOMAXPROCS, the verdict, no loss."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.guests.checks.services import NEW, OLD, Cpuset, Service, check, online
from tests.kernel.load import Group, Load
from tests.toolchains import go_binary


@dataclass(frozen=True)
class Seen:
    document: dict[str, Any]
    values: dict[str, int]
    """What the services said of their own GOMAXPROCS."""
    oversized: str

    def container(self, name: str) -> dict[str, Any]:
        found = [c for c in self.document["containers"] if c["cgroup"].endswith(f"-{name}")]
        assert len(found) == 1, [c["cgroup"] for c in self.document["containers"]]
        container: dict[str, Any] = found[0]
        return container


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    with ExitStack() as stack:

        def limited(name: str, cores: float) -> Group:
            group = stack.enter_context(Group(name))
            group.limit(cores)
            return group

        two = stack.enter_context(Cpuset("cpuset", "0-1"))
        pinned = stack.enter_context(Group("pinned"))
        services = {
            "adapting": Service("container", NEW, group=limited("adapting", 1)),
            "stripped": Service("gomaxprocs", OLD, group=limited("stripped", 2), stripped=True),
            "cpuset": Service("gomaxprocs", OLD, group=two),
            "pinned": Service("gomaxprocs", OLD, group=pinned, cpus="1-3"),
        }
        for service in services.values():
            stack.enter_context(service)
        command = (go_binary("changing", OLD), "-rate", "20000")
        one = limited("oversized", 1)
        oversized = Load(*command, group=one)
        stack.enter_context(oversized)
        for load in (oversized, *(service.load for service in services.values())):
            load.wait_for_work(0.1)
        groups = (one, *(service.group for service in services.values()))
        document = check("-d", "12", "--hz", "49", groups=groups)
        values = {name: service.value for name, service in services.items()}
        yield Seen(document, values, "oversized")


def test_every_sample_has_its_place(seen: Seen) -> None:
    samples = seen.document["samples"]
    assert samples["drained"] == samples["attributed"] + sum(samples["lost"].values())
    assert samples["drained"] > 0
    assert not samples["lost"].get("stack-counts-full")
    assert seen.document["cpu_count"] == online()


def test_gomaxprocs_is_what_the_program_says(seen: Seen) -> None:
    expected = {"adapting": 2, "stripped": online(), "cpuset": 2, "pinned": 3}
    assert seen.values == expected
    read = {name: seen.container(name)["gomaxprocs"]["value"] for name in expected}
    assert read == expected


def test_a_cpuset_is_read(seen: Seen) -> None:
    assert seen.container("cpuset")["cpuset_cpus"] == 2


def test_as_many_ps_as_cpus_under_a_limit_of_one_is_a_finding(seen: Seen) -> None:
    """The value is the runtime's own default, the number of CPUs."""
    container = seen.container(seen.oversized)
    assert container["gomaxprocs"]["value"] == online()
    assert container["cpu_limit_cores"] == 1
    shown = [container["samples"], container["shares"], container["findings"]]
    assert container["verdict"] == "oversized", json.dumps(shown)
    finding = next(f for f in container["findings"] if f["code"] == "GT001")
    assert finding["cause"] == "go-before-1.25", finding["cause"]
    assert finding["remedy"]["gomaxprocs"] == 1
    assert finding["remedy"]["patch"]


def test_a_runtime_that_follows_its_limit_fits(seen: Seen) -> None:
    container = seen.container("adapting")
    assert container["cpu_limit_cores"] == 1
    assert "GT001" not in {f["code"] for f in container["findings"]}


def test_unlimited_by_the_cpuset_alone_fits(seen: Seen) -> None:
    codes = {f["code"] for f in seen.container("cpuset")["findings"]}
    assert not codes & {"GT001", "GT002"}, codes
