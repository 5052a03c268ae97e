"""Clients on the network that keep the agent's port busy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.attacks.clients import BEGINNING, SlowClients, many_addresses, one_address
from tests.attacks.contained import Agent, check_it_ends, check_it_is_well
from tests.kernel.load import Group, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.timing, pytest.mark.toolchain]

PROBES = 5


def is_answered(agent: Agent, path: str) -> bool:
    try:
        return agent.get(path).status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    ("count", "source", "beginning"),
    [
        pytest.param(16, one_address, BEGINNING, id="16-slow-ones-of-one-pod"),
        pytest.param(200, many_addresses, BEGINNING, id="200-slow-ones"),
        pytest.param(200, one_address, b"", id="200-silent-ones", marks=pytest.mark.slow),
        pytest.param(200, many_addresses, b"", id="silent-ones-of-all", marks=pytest.mark.slow),
    ],
)
def test_slow_clients(
    agent: Agent,
    neighbour: Group,
    count: int,
    source: Callable[[int], str],
    beginning: bytes,
) -> None:
    """Each probe is answered, and scrapes come through."""
    with SlowClients(agent.port, count, source, beginning, beginning and b"a"):
        assert [is_answered(agent, "/healthz") for _ in range(PROBES)] == [True] * PROBES
        assert is_answered(agent, "/readyz")
        wait_until(lambda: is_answered(agent, "/metrics"), "a scrape")
    assert agent.metrics().total("gotax_http_dropped_connections_total") > 0
    check_it_is_well(agent, neighbour)
    check_it_ends(agent)
