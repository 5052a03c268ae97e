"""The BPF program as the verifier of this kernel takes it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from gotax.sampling import preflight, sampler
from gotax.sampling.loader import Program, Watch, load_program
from gotax.sampling.sampler import Sampler

pytestmark = pytest.mark.kernel


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
