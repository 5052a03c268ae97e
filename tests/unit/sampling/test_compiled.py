"""The compiled form of the BPF program: which one is loaded, and what is filled in."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gotax.sampling import compiled, kernel
from gotax.sampling.sampler import MAX_FRAMES, STACK, STACK_COUNT

from tests.compiled import ARCHITECTURES, FOLDER, MAP_FD, MARKS, definition_sets

ALL = list(definition_sets())
SEED = 0xFEDCBA9876543210


class Kernel:
    """Takes whatever it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.maps: dict[str, tuple[int, ...]] = {}
        self.instructions = b""
        monkeypatch.setattr(kernel, "map_create", self._create)
        monkeypatch.setattr(kernel, "program_load", self._load)
        monkeypatch.setattr(compiled.os, "close", lambda _: None)  # type: ignore[attr-defined]

    def _create(self, name: str, layout: kernel.MapLayout) -> int:
        self.maps[name] = layout
        return 1000 + len(self.maps)

    def _load(self, _: str, instructions: bytes, licence: str) -> int:
        assert licence == "GPL"
        self.instructions = instructions
        return 999

    def wide_values(self) -> list[int]:
        """Of all 64-bit constants that are no map."""
        code, found, place = self.instructions, [], 0
        while place < len(code):
            is_wide = code[place] == compiled.LOAD_WIDE
            if is_wide and not code[place + 1] >> 4:
                low, high = struct.unpack_from("<I4xI", code, place + 4)
                found.append(low | high << 32)
            place += 16 if is_wide else 8
        return found


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_it_was_compiled_from_the_text_as_it_is(machine: str) -> None:
    """If not: `make bpf`."""
    found = json.loads((FOLDER / "compiled" / f"{machine}.json").read_text())
    assert found["text"] == compiled.fingerprint(FOLDER)
    assert found["constants"] == {"MAX_FRAMES": str(MAX_FRAMES)}
    assert found["maps"]["stack_counts_0"][1] == STACK_COUNT.itemsize
    assert found["maps"]["user_stacks_0"][2] == STACK.itemsize
    assert set(found["programs"]) == {compiled.variant(each) for each in ALL}


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("definitions", ALL, ids=compiled.variant)
def test_numbers_and_maps_are_filled_in(
    monkeypatch: pytest.MonkeyPatch, taken: Kernel, machine: str, definitions: dict[str, str]
) -> None:
    monkeypatch.setattr(kernel, "MACHINE", machine)
    numbers = {"STACK_COUNTS_MAX": "70000", "HASH_SEED": f"{SEED}ULL"}
    if "TARGET_CGROUP" in definitions:
        numbers |= {"TARGET_CGROUP": "12345ULL", "TARGET_CGROUP_LEVEL": "3"}
    program = compiled.load_compiled({**definitions, **numbers})
    assert program is not None
    assert program.fd == 999
    assert taken.maps["stack_counts_0"] == (1, 32, 8, 70000, 1)
    assert ("targets" in program.maps) == ("TARGET_TGIDS" in definitions)
    assert "scratch" not in program.maps
    values = taken.wide_values()
    assert SEED in values
    assert (12345 in values) == ("TARGET_CGROUP" in definitions)
    assert not set(values) & set(MARKS.values())
    given = {
        struct.unpack_from("<i", taken.instructions, place + 4)[0]
        for place in range(0, len(taken.instructions), 8)
        if taken.instructions[place] == compiled.LOAD_WIDE
        and taken.instructions[place + 1] & 0xF0 == MAP_FD
    }
    used = {name for name in program.maps if "KERNEL_STACKS" in definitions or "kernel" not in name}
    assert given == {1001, *(program.maps[name] for name in used)}  # 1001: scratch


@pytest.mark.parametrize(
    "other",
    [
        {"MAX_FRAMES": "64"},
        {"PID_NAMESPACE": "4026531836"},
        {"TARGET_TGIDS": "1", "TARGET_CGROUP": "1"},
    ],
    ids=["constant", "unknown", "combination"],
)
def test_what_was_not_compiled_is_not_loaded(taken: Kernel, other: Mapping[str, str]) -> None:
    assert compiled.load_compiled({**ALL[0], **other}) is None
    assert not taken.maps


@pytest.mark.parametrize("change", ["profile.c", "include/linux/sched.h", "compiled"])
def test_a_changed_text_is_compiled(
    monkeypatch: pytest.MonkeyPatch, taken: Kernel, tmp_path: Path, change: str
) -> None:
    """And so is that of an architecture that has no compiled form."""
    folder = tmp_path / "bpf"
    shutil.copytree(FOLDER, folder)

    @contextmanager
    def source() -> Any:
        yield folder

    monkeypatch.setattr(compiled, "source_directory", source)
    assert compiled.load_compiled(ALL[0]) is not None
    taken.maps.clear()
    if change == "compiled":
        shutil.rmtree(folder / change)
    else:
        path = folder / change
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + "\n")
    assert compiled.load_compiled(ALL[0]) is None
    assert not taken.maps
