"""The resources of the packaged agent, from its cgroup, compared with the chart's requests.

It runs last: by then the agent has seen the demo, the outage and everything between. Prints the
measured values for the comment in values.yaml.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from tests.e2e.agent import Agent
from tests.e2e.cluster.node import Cluster
from tests.e2e.cluster.programs import say
from tests.e2e.parts import CHART
from tests.e2e.truth import read_cpu_s, read_memory

MI = 1 << 20
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
ROOM = 1.25  # how much more than the peak the limit must be


def test_requests_and_limits_match_the_usage_of_the_agent(
    agent: Agent, cluster: Cluster, busy_shop: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The request covers the memory that cannot be reclaimed. The limit has headroom above the
    peak, which is that of the BPF compiler at the start. CPU: far below a core, and about the
    request."""
    del busy_shop, cluster
    (status,) = agent.pod()["status"]["containerStatuses"]
    container_id = status["containerID"].partition("://")[2]
    started = datetime.fromisoformat(status["state"]["running"]["startedAt"])
    agent.scrape_new()
    memory, cpu_s = read_memory(container_id), read_cpu_s(container_id)
    assert memory is not None
    assert cpu_s is not None
    minutes = (datetime.now(UTC) - started).total_seconds() / 60
    with capsys.disabled():
        say(
            f"the agent in {minutes:.1f} minutes: peak {memory.peak_bytes / MI:.0f} MiB with page"
            f" cache, {memory.anonymous_bytes / MI:.0f} MiB of its own now,"
            f" {cpu_s:.2f} CPU seconds with the start"
        )
    asked = VALUES["resources"]
    assert memory.anonymous_bytes < _bytes(asked["requests"]["memory"])
    assert ROOM * memory.peak_bytes < _bytes(asked["limits"]["memory"])


def _bytes(quantity: str) -> int:
    assert quantity.endswith("Mi")
    return int(quantity.removesuffix("Mi")) * MI
