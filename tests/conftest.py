from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests import toolchains

# A job in the background of a script ignores these, and so would every program that the tests start
# and then interrupt.
for _number, _default in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)

# An example may take as long as the host needs. In CI every run uses the same ones.
settings.register_profile(
    "gotax",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gotax"))

SAMPLING = ("tests/kernel/", "tests/attacks/")
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/")
    parser.addoption("--runslow", action="store_true", help="run the tests that take minutes, too")
    parser.addoption(
        "--timing",
        choices=("with", "without", "only"),
        default="with",
        help="the tests that judge by the clock and need a quiet host (with)",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """With -n 2: divides the tests by file, and runs only one at a time of those that sample the
    host."""
    return SideBySide(config, log)


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "sampling" if path.startswith(SAMPLING) else path


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--runslow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="takes a minute or more: --runslow"))
    if (timing := config.getoption("--timing")) != "with":
        others = [i for i in items if ("timing" in i.keywords) != (timing == "only")]
        config.hook.pytest_deselected(items=others)
        items[:] = [i for i in items if ("timing" in i.keywords) == (timing == "only")]


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """golden("check-80.txt", text) compares the text with that file of tests/golden/."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text + "\n", encoding="utf-8")
        assert text + "\n" == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture(scope="session")
def toolchain() -> Callable[[str], Path]:
    """toolchain("1.27.3") is the path of that release's go command."""
    return lambda version: toolchains.toolchain(version) / "bin" / "go"


@pytest.fixture(scope="session")
def go_binary() -> Callable[..., Path]:
    """go_binary("symbols", "1.27.3", "pie", "stripped") is the path of the built program."""
    return toolchains.go_binary
