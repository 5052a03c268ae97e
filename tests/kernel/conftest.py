from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from gotax.errors import UserError
from gotax.sampling import loader
from gotax.sampling.sampler import Sampler

from tests.kernel.load import Group, Load
from tests.patience import PATIENCE_S


@pytest.fixture(scope="session")
def _patient() -> Iterator[None]:
    """The compiler of the BPF program may need longer on a busy host."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "_LOAD_TIMEOUT_S", PATIENCE_S)
        yield


@pytest.fixture(scope="session", autouse=True)
def samples(_patient: None) -> None:
    """Skips these tests on a host that cannot be sampled; with CI=true they fail."""
    try:
        with Sampler(99, 1.0) as sampler:
            sampler.drain()
    except UserError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"this host must be able to run the kernel tests: {error}")
        pytest.skip(str(error))


@pytest.fixture
def group() -> Iterator[Callable[[str], Group]]:
    """group("a") is a new cgroup in every tree with counters; removed after the test."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(Group(name))


@pytest.fixture
def load(group: Callable[[str], Group]) -> Iterator[Callable[..., Load]]:
    """load(path, *arguments, group=None) starts a program that is killed after the test."""
    del group  # ends before it: a cgroup with a process cannot be removed
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Load(*arguments, **options))
