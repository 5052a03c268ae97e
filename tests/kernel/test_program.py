"""The BPF program as the verifier of this kernel takes it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from gotax.sampling import compiled, kernel, preflight, sampler
from gotax.sampling.loader import Program, Watch, load_program
from gotax.sampling.sampler import EVERYTHING, Sampler, Target

from tests.compiled import FOLDER, compiler, definition_sets
from tests.kernel.load import ROOT

pytestmark = pytest.mark.kernel


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no compiled form."""
    monkeypatch.setattr(sampler, "load_compiled", lambda _: None)


@pytest.mark.usefixtures("text")
def test_nothing_is_left_out_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """On arm64 the verifier refused it, and without bpf_task_pt_regs() leaves in system calls had
    no caller. Linux has this function since 5.15."""
    if preflight.kernel_release() < (5, 15):
        pytest.skip("this kernel has no bpf_task_pt_regs()")
    loaded: list[bool] = []

    def load(definitions: Mapping[str, str], watch: Watch) -> Program:
        program = load_program(dict(definitions), watch)
        loaded.append("HAVE_TASK_PT_REGS" in definitions)
        return program

    monkeypatch.setattr(sampler, "load_program", load)
    with Sampler(99, 1.0):
        assert loaded == [True]


@pytest.mark.parametrize("with_kernel_stacks", [False, True])
@pytest.mark.parametrize("target", [EVERYTHING, Target(tgids=frozenset({1}))], ids=["all", "some"])
def test_this_kernel_takes_the_compiled_form(
    monkeypatch: pytest.MonkeyPatch, with_kernel_stacks: bool, target: Target
) -> None:
    """Whole where the kernel has bpf_task_pt_regs(), and no compiler is started."""
    loaded: list[str] = []

    def load(definitions: Mapping[str, str]) -> Program | None:
        program = compiled.load_compiled(definitions)
        if program is not None:
            loaded.append(compiled.variant(definitions))
        return program

    monkeypatch.setattr(sampler, "load_compiled", load)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Sampler(99, 1.0, target, with_kernel_stacks):
        (name,) = loaded
    assert ("HAVE_TASK_PT_REGS" in name) == (preflight.kernel_release() >= (5, 15))
    assert ("KERNEL_STACKS" in name) == with_kernel_stacks
    assert ("TARGET_TGIDS" in name) == (target is not EVERYTHING)


def test_a_refused_compiled_form_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = kernel.map_create

    def create(*columns: Any) -> int:
        made.append(real(*columns))
        return made[-1]

    def refuse(*_: Any) -> int:
        raise OSError(errno.EINVAL, "")

    monkeypatch.setattr(kernel, "map_create", create)
    monkeypatch.setattr(kernel, "program_load", refuse)
    assert compiled.load_compiled(definitions_of_all()) is None
    assert made
    assert not [fd for fd in made if Path(f"/proc/self/fd/{fd}").exists()]


def test_the_compiled_form_is_what_the_compiler_makes() -> None:
    """Its oracle: instruction by instruction where bcc is the one that made it, else the maps."""
    definitions = definitions_of_all()
    code = "import json, tests.compiled as c; print(json.dumps(c.program(json.loads(input()))))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(definitions),
        env={**os.environ, "BCC_KERNEL_SOURCE": str(FOLDER)},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    made, maps = json.loads(done.stdout)
    kept = json.loads((FOLDER / "compiled" / f"{kernel.MACHINE}.json").read_text())
    assert maps == {name: columns for name, columns in kept["maps"].items() if name in maps}
    if kept["compiler"] == compiler():
        assert made == kept["programs"][compiled.variant(definitions)]


def definitions_of_all() -> dict[str, str]:
    """Of the program with everything but a target, with the marks of tests.compiled."""
    return max(
        (each for each in definition_sets() if not {"TARGET_CGROUP", "TARGET_TGIDS"} & each.keys()),
        key=len,
    )
