"""Between two requests a reader has no file open."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gotax.config import Roots
from gotax.processes.resolver import Resolver
from gotax.processes.tracked_process import TrackedProcess

pytestmark = pytest.mark.toolchain


def times_open(path: Path) -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}") == str(path)
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return found


def test_an_executable_is_closed_after_every_question(go_binary: Callable[..., Path]) -> None:
    """Also after questions about new functions of a known process."""
    path = go_binary("symbols", "1.27.3")
    with subprocess.Popen(
        [path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "GOTAX_ANSWERS": "1"},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        before = times_open(path)  # opened by other tests
        table = Resolver(Roots())
        for number in range(3):
            table.begin_round()
            tracked = table.resolve(process.pid)
            assert isinstance(tracked, TrackedProcess)
            (mapping,) = [one for one in tracked.space.mappings() if one.path == str(path)]
            binary = tracked.space.binary(mapping)
            assert binary is not None
            assert binary.table is not None
            binary.calls(np.array([binary.table.text_start + 4096 * number], np.uint64), False)
            assert times_open(path) == before
        process.communicate()
