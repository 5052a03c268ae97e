from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import toolchains


@pytest.fixture(scope="session")
def toolchain() -> Callable[[str], Path]:
    """toolchain("1.27.3") is the path of that release's go command."""
    return lambda version: toolchains.toolchain(version) / "bin" / "go"


@pytest.fixture(scope="session")
def go_binary() -> Callable[..., Path]:
    """go_binary("symbols", "1.27.3", "pie", "stripped") is the path of the built program."""
    return toolchains.go_binary
