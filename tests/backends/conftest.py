from __future__ import annotations

import os

import pytest

from tests.backends.receivers import is_built


def require(request: pytest.FixtureRequest, name: str) -> None:
    """Runs only if they are built, or with --runslow: the first build takes minutes."""
    if not is_built(name) and not request.config.getoption("--runslow"):
        pytest.skip(f"{name} is not built yet: make backends")


@pytest.fixture
def otelcol(request: pytest.FixtureRequest) -> None:
    require(request, "otelcol")


@pytest.fixture
def pyroscope(request: pytest.FixtureRequest) -> None:
    require(request, "pyroscope")


@pytest.fixture
def parca(request: pytest.FixtureRequest) -> None:
    require(request, "parca")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
