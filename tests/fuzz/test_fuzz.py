"""Inputs that fuzzing found, and a few hundred new mutations at each run of the tests."""

from __future__ import annotations

import base64
import functools
from pathlib import Path

import numpy as np
import pytest
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.pclntab import parse_pclntab
from gotax.linux.elf import BytesReader, parse_elf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import limits, targets
from tests.fuzz.bombs import BOMBS
from tests.fuzz.limits import LimitError, judge
from tests.fuzz.mutation import mutate_words
from tests.fuzz.seeds import FIXTURES, by_hand, seeds
from tests.fuzz.specimens import LAYOUTS
from tests.fuzz.targets import TARGETS

FINDINGS = sorted((FIXTURES / "fuzz").glob("*/*.b64"))


@pytest.mark.parametrize("path", FINDINGS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_earlier_findings_are_survived(path: Path) -> None:
    """Refused with a reason, or answered; within the limits."""
    judge(TARGETS[path.parent.name], base64.b64decode(path.read_bytes()))


@pytest.mark.parametrize("name", BOMBS)
def test_expensive_inputs_are_refused_or_cheap(name: str) -> None:
    """Sizes that are allowed one by one do not multiply."""
    write, target = BOMBS[name]
    judge(getattr(targets, target), write())


@functools.cache
def starts(target: str) -> tuple[bytes, ...]:
    # What is cut out of real binaries needs toolchains: `make fuzz` has it.
    return (
        tuple(by_hand())
        if target in ("elf", "buildinfo", "pclntab", "holes")
        else tuple(seeds(target))
    )


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_are_valid(target: str) -> None:
    """Fuzzing starts after the first checks of a parser: no seed is refused."""
    for seed in starts(target):
        assert not judge(TARGETS[target], seed)


def test_specimens_contain_their_parts() -> None:
    """A specimen of each layout is read back: version, function, file, lines."""
    for layout, data in zip(LAYOUTS, by_hand(), strict=True):
        elf = parse_elf(BytesReader(data))
        build = parse_buildinfo(elf)
        assert build is not None
        assert build.version == layout.version
        table = parse_pclntab(elf, build.version)
        (low, high) = table.function_ranges(frozenset(("main.main",)))["main.main"]
        lines = {
            (frame.function, frame.file, frame.line)
            for chain in table.frames(np.uint64(low) + layout.pcs(high - low))
            for frame in chain
        }
        assert lines == {("main.main", "/src/main.go", 10), ("main.main", "/src/main.go", 12)}


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutations_are_survived(target: str, data: st.DataObject) -> None:
    """With any values in one to eight words of a valid input: an answer or a reason, within
    limits."""
    mutated = data.draw(st.sampled_from(starts(target)))
    for seed in data.draw(st.lists(st.integers(0, 1 << 32), min_size=1, max_size=8)):
        mutated = mutate_words(mutated, seed)
    judge(TARGETS[target], mutated)


def _burn(_: bytes) -> None:
    while True:
        pass


@pytest.mark.parametrize(
    ("breach", "error"),
    [
        (_burn, LimitError),
        # Blocks too large for memory that the process has freed before.
        (lambda _: [bytearray(1 << 26) for _ in range(4)], MemoryError),
        (lambda data: data[0], IndexError),
    ],
)
def test_a_violation_of_a_limit_is_detected(
    monkeypatch: pytest.MonkeyPatch, breach: object, error: type[BaseException]
) -> None:
    """Endless loops, more than 64 MB, and exceptions that are not gotax's own."""
    monkeypatch.setattr(limits, "CPU_SECONDS", 0.1)
    with pytest.raises(error):
        judge(breach, b"")  # type: ignore[arg-type]
