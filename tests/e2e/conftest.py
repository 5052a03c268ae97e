"""One cluster for all tests of this folder; it is removed when they end, however they end."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator

import pytest

from tests.e2e.agent import Agent
from tests.e2e.cluster.node import Cluster
from tests.e2e.cluster.programs import cache
from tests.e2e.cluster.traces import read_traces
from tests.e2e.objects import SHOP, namespace, shop
from tests.e2e.parts import Parts, make_parts


@pytest.fixture(scope="session")
def parts() -> Parts:
    return make_parts()


@pytest.fixture(scope="session")
def cluster(parts: Parts) -> Iterator[Cluster]:
    """Also checks that the host is in its earlier state afterwards."""
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one cluster at a time
        before = read_traces()
        cluster = Cluster(
            parts.kubernetes,
            parts.helm,
            (parts.pause, parts.service, parts.gotax),
            cache() / "logs",
        )
        try:
            yield cluster
        finally:
            cluster.close()
        changed = before ^ read_traces()
        assert not changed, f"left behind, or taken away: {sorted(changed)}"


@pytest.fixture(scope="session")
def agent(cluster: Cluster) -> Agent:
    """The chart with its default values."""
    agent = Agent(cluster, "gotax")
    agent.install()
    return agent


@pytest.fixture(scope="session")
def busy_shop(cluster: Cluster, agent: Agent) -> str:
    """The namespace of the demo's Deployments, seen by the agent from their start."""
    agent.wait_until_ready()
    cluster.apply(namespace(SHOP), *shop())
    return SHOP
