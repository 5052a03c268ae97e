"""Code outside Go: generated code belongs to the program, C code comes from a C file."""

from __future__ import annotations

from collections import Counter

import pytest
from gotax.category import Category
from gotax.diagnosis.rules import CGO_HEAVY
from gotax.window import Window

from tests.kernel.load import Load, Walk, wait_until
from tests.toolchains import VERSIONS, go_binary

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

SAMPLES = 150
CATEGORIES = tuple(Category)
GENERATED = "[generated code]"
Stacks = Counter[tuple[tuple[str, ...], Category]]


def watch(program: Load) -> tuple[Stacks, Window]:
    """Samples by functions, leaf first, and category; and the last window."""
    found: Stacks = Counter()
    with Walk(499) as walk:

        def enough() -> bool:
            walk.drain_for(0.3)
            window = walk.window()
            columns = window.profile
            for process, stack, category, samples in zip(
                columns.process.tolist(),
                columns.stack.tolist(),
                columns.category.tolist(),
                columns.samples.tolist(),
                strict=True,
            ):
                if window.processes[process].pid == program.pid:
                    names = [f.function for place in columns.stacks[stack] for f in place.frames]
                    found[tuple(names), CATEGORIES[category]] += samples
            return found.total() > SAMPLES

        wait_until(enough, f"{SAMPLES} samples")
        program.wait_for_work(0.4)  # enough for a finding
        walk.drain()
        return found, walk.window()


def codes(window: Window, pid: int) -> set[str]:
    (report,) = [r for r in window.reports if any(p.pid == pid for p in r.processes)]
    return {finding.code for finding in report.findings}


@pytest.mark.parametrize("how", ["anonymous", "shared", "memfd", "file", "deleted"])
def test_generated_code_is_the_programs_own_work(how: str) -> None:
    """With a frame and without, in any kind of memory; with the Go functions that called it."""
    with Load(go_binary("generated", VERSIONS[-1]), how) as program:
        assert program.line() == "ready"
        stacks, window = watch(program)
    assert not {category for _, category in stacks} & {Category.CGO}
    within = {category for frames, category in stacks if GENERATED in frames}
    assert not within & {Category.UNKNOWN}
    leaves = Counter({k: h for k, h in stacks.items() if k[0][:1] == (GENERATED,)})
    assert leaves.total() > stacks.total() // 2
    assert {category for _, category in leaves} <= {Category.USER, Category.SYSCALL}
    # Code without a frame hides its caller.
    callers = Counter(frames[1] for frames, _ in leaves)
    assert set(callers) <= {"main.callGenerated", "main.main"}, callers
    assert callers["main.callGenerated"]
    assert {frames[-1] for frames, _ in leaves} == {"runtime.goexit"}
    assert CGO_HEAVY not in codes(window, program.pid)


@pytest.mark.parametrize("variant", ["cgo", "internal"])
def test_c_code_is_cgo_with_any_linker(variant: str) -> None:
    """Go's linker lists C functions beside Go's in the table, without a package."""
    binary = go_binary("findings", VERSIONS[-1], variant)
    with Load(binary, "-kind", "c", "-work", "10", "-rest", "0") as program:
        stacks, window = watch(program)

    def is_ours(frames: tuple[str, ...]) -> bool:
        return frames[:1] != () and frames[0].startswith("spend")

    in_c = sum(samples for (frames, _), samples in stacks.items() if is_ours(frames))
    assert in_c > stacks.total() // 2
    of_c = {category for frames, category in stacks if is_ours(frames)}
    assert of_c == {Category.CGO}
    assert CGO_HEAVY in codes(window, program.pid)
