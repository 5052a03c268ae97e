"""Go code outside the executable: a library in a program of another language, a plugin."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field

import pytest
from gotax.category import Category
from gotax.process import Process
from gotax.window import Window

from tests.kernel.load import Load, Walk, wait_until
from tests.toolchains import VERSIONS, go_binary

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

SAMPLES = 60
each_version = pytest.mark.parametrize("version", [VERSIONS[1], VERSIONS[-1]])


@dataclass
class Watched:
    """Samples by the innermost function of the programs' own code, and the last state of the
    process."""

    functions: Counter[str] = field(default_factory=Counter)
    process: Process | None = None

    def add(self, window: Window, pid: int) -> None:
        columns = window.profile
        for number, stack, category, samples in zip(
            columns.process.tolist(),
            columns.stack.tolist(),
            columns.category.tolist(),
            columns.samples.tolist(),
            strict=True,
        ):
            if window.processes[number].pid != pid:
                continue
            self.process = window.processes[number]
            names = [f.function for place in columns.stacks[stack] for f in place.frames]
            own = next((name for name in names if "spinIn" in name or name.endswith(".Spin")), "")
            if category == Category.USER:
                self.functions[own] += samples


def watch(program: Load, wanted: tuple[str, ...]) -> Watched:
    """Until each of these functions has enough samples."""
    seen = Watched()
    with Walk(499) as walk:

        def often() -> bool:
            walk.drain_for(0.3)
            seen.add(walk.window(), program.pid)
            return all(seen.functions[name] > SAMPLES for name in wanted)

        wait_until(often, f"{SAMPLES} samples of {wanted}")
    return seen


@each_version
def test_a_go_library_in_a_program_that_is_not_go(version: str) -> None:
    """Python loads a c-shared library: its functions have names, and its runtime's GOMAXPROCS is
    read."""
    path = go_binary("library", version, "c-shared")
    code = f"import ctypes; spin = ctypes.CDLL({str(path)!r}).Spin\nwhile True: spin(100, 3)"
    with Load(sys.executable, "-c", code) as program:
        seen = watch(program, ("main.spinInLibrary",))
    assert seen.process is not None
    assert seen.process.build is not None
    assert seen.process.build.version == f"go{version}"
    assert seen.process.gomaxprocs is not None
    assert seen.process.gomaxprocs.value == 3


@each_version
def test_a_plugin_in_a_go_program(version: str) -> None:
    """Functions of both images have names, and GOMAXPROCS is that of the only runtime, the host's.

    The plugin also contains a runtime's code, whose variables are never set.
    """
    host, part = go_binary("pluginhost", version, "cgo"), go_binary("pluginpart", version, "plugin")
    with Load(host, part) as program:
        seen = watch(program, ("main.spinInHost", "pluginpart.spinInPlugin"))
    assert seen.process is not None
    assert seen.process.build is not None
    assert seen.process.build.package == "pluginhost"
    assert seen.process.gomaxprocs is not None
    assert seen.process.gomaxprocs.value == 3
