"""The parts of the sampler that need no kernel."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from gotax.errors import UserError
from gotax.profile import UInt64Array
from gotax.sampling import preflight, sampler
from gotax.sampling.cpus import by_number, online_cpus, possible_cpus
from gotax.sampling.loader import MAP_NAMES
from gotax.sampling.sampler import (
    MAX_FRAMES,
    NEW_PROCESS,
    STACK,
    STACK_COUNT,
    Counter,
    Sampler,
    Stacks,
)
from hypothesis import given
from hypothesis import strategies as st

PROGRAM = (Path(sampler.__file__).parents[1] / "bpf" / "profile.c").read_text()

WORDS = st.integers(1, 2**64 - 1)
TABLE = st.dictionaries(  # by hash: the caller word and the addresses
    WORDS, st.tuples(WORDS, st.lists(WORDS, max_size=6)), max_size=40
)


def merge(table: dict[int, tuple[int, list[int]]], batch_size: int) -> Stacks:
    """The table in the kernel's form: in batches, each with its own order."""
    entries = list(table.items())
    hashes, callers, depths, ips = [], [], [], []
    for start in range(0, max(len(entries), 1), batch_size):
        batch = sorted(entries[start : start + batch_size])
        hashes.append(np.array([h for h, _ in batch], np.uint64))
        callers.append(np.array([caller for _, (caller, _) in batch], np.uint64))
        depths.append(np.array([len(stack) for _, (_, stack) in batch], np.int64))
        flat = [ip for _, (_, stack) in batch for ip in stack]
        ips.append(np.array(flat, np.uint64))
    return sampler._merge(hashes, callers, depths, ips)


@given(TABLE, st.integers(1, 50), st.lists(WORDS, max_size=5))
def test_every_stack_is_found_with_any_batches(
    table: dict[int, tuple[int, list[int]]], batch_size: int, others: list[int]
) -> None:
    """find() leads to the caller word and the addresses stored under a hash; -1 if it is
    missing."""
    stacks = merge(table, batch_size)
    asked = [*table, *others, 0]
    found = stacks.find(np.array(asked, np.uint64)).tolist()
    for key, index in zip(asked, found, strict=True):
        if key not in table:
            assert index == -1
            continue
        caller, ips = table[key]
        assert int(stacks.callers[index]) == caller
        assert stacks.addresses(index).tolist() == ips
    assert len(stacks.hashes) == len(table)
    assert np.all(stacks.hashes[:-1] < stacks.hashes[1:])


def test_an_empty_list_has_an_empty_answer() -> None:
    """In an empty table too."""
    nothing: UInt64Array = np.zeros(0, np.uint64)
    assert merge({}, 1).find(nothing).shape == (0,)
    assert merge({7: (1, [1])}, 1).find(nothing).shape == (0,)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0\n", {0}),
        ("0-1\n", {0, 1}),
        ("0-2,5,8-9\n", {0, 1, 2, 5, 8, 9}),
        ("0,2-2\n", {0, 2}),
        ("64-127", set(range(64, 128))),
    ],
)
def test_cpu_lists_are_read_as_the_kernel_writes_them(
    tmp_path: Path, text: str, cpus: set[int]
) -> None:
    """Ranges include both ends, and numbers may be missing."""
    folder = tmp_path / "devices/system/cpu"
    folder.mkdir(parents=True)
    (folder / "online").write_text(text)
    (folder / "possible").write_text(text)
    assert online_cpus(str(tmp_path)) == cpus
    assert possible_cpus(str(tmp_path)) == sorted(cpus)


def test_a_gap_in_the_possible_cpus_shifts_no_counter() -> None:
    """The kernel writes one value per possible CPU without gaps (bpf_percpu_array_copy)."""
    values = np.array([10, 11, 18, 19], np.int64)
    assert by_number([0, 1, 8, 9], values).tolist() == [10, 11, *([0] * 6), 18, 19]


def test_names_and_layouts_are_those_of_the_bpf_program() -> None:
    """Counters, structs and map names of Python are those of bpf/profile.c, in its order."""
    enum = re.search(r"enum \{(.*?)COUNTERS", PROGRAM, re.S)
    assert enum
    assert re.findall(r"COUNTER_(\w+)", enum[1]) == [counter.name for counter in Counter]

    key = re.search(r"struct stack_count_key \{(.*?)\};", PROGRAM, re.S)
    assert key
    fields = re.findall(r"u(32|64) (\w+);", key[1])
    assert [(name, f"u{int(bits) // 8}") for bits, name in fields] == [
        (name, STACK_COUNT.fields[name][0].str[1:])
        for name in STACK_COUNT.names or ()
        if STACK_COUNT.fields
    ]
    assert _define("FLAG_STACK_LOST") == sampler.FLAG_STACK_LOST

    stack = re.search(r"struct stack \{(.*?)\};", PROGRAM, re.S)
    assert stack
    assert re.findall(r"u64 (\w+)", stack[1]) == list(STACK.names or ())
    assert STACK.itemsize == 8 * (2 + MAX_FRAMES)

    new_process = re.search(r"struct new_process \{(.*?)\};", PROGRAM, re.S)
    assert new_process
    assert re.findall(r"u64 (\w+)", new_process[1]) == list(NEW_PROCESS.names or ())
    assert NEW_PROCESS.itemsize == 16

    tables = re.findall(r"BPF_F_TABLE\(\"hash\", \w+ ?\w*, \w+ ?\w*, (\w+)", PROGRAM)
    arrays = re.findall(r"^BPF_(?:PERCPU_)?ARRAY\((\w+)", PROGRAM, re.M)
    rings = re.findall(r"BPF_RINGBUF_OUTPUT\((\w+)", PROGRAM)
    assert {*tables, *arrays, *rings} - {"scratch"} == set(MAP_NAMES)


def _define(name: str) -> int:
    found = re.search(rf"#define {name} (\d+)", PROGRAM)
    assert found
    return int(found[1])


@pytest.mark.parametrize("hz", [-1, 0, 1000, 10**6])
def test_frequencies_out_of_range_are_refused(hz: int) -> None:
    """1 to 999 Hz; the sentence has the bounds and the given value."""
    with pytest.raises(UserError, match=rf"1 to 999 Hz, not {hz}"):
        Sampler(hz, 1.0)


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.18.44-fc-v669", (6, 18)),
        ("5.8.0-1-amd64", (5, 8)),
        ("4.19", (4, 19)),
        ("5.10+", (5, 10)),
        ("rolling", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_kernel_releases(release: str, version: tuple[int, int]) -> None:
    """Two numbers at the start; (0, 0), which is too old, for an invalid release."""
    assert preflight.kernel_release(release) == version


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("[none] integrity confidentiality\n", "none"),
        ("none [integrity] confidentiality\n", "integrity"),
        ("none integrity [confidentiality]\n", "confidentiality"),
        ("", "none"),
        (None, "none"),
    ],
)
def test_lockdown_modes(tmp_path: Path, text: str | None, mode: str) -> None:
    """The mode in brackets; none if the file is missing or empty."""
    if text is not None:
        (tmp_path / "kernel/security").mkdir(parents=True)
        (tmp_path / "kernel/security/lockdown").write_text(text)
    assert preflight.lockdown(str(tmp_path)) == mode


REFUSALS: dict[str, tuple[dict[str, object], str]] = {
    "no capability": ({"effective_capabilities": lambda: 0}, "run it with sudo"),
    "BPF without PERFMON": ({"effective_capabilities": lambda: 1 << 39}, "PERFMON"),
    "old kernel": ({"kernel_release": lambda: (4, 19)}, "needs 5.8 or newer"),
    "lockdown": ({"lockdown": lambda: "confidentiality"}, "boot with lockdown=integrity"),
    "machine": ({"MACHINE": "riscv64"}, "x86_64 and arm64"),
}
ALLOWED: dict[str, object] = {
    "effective_capabilities": lambda: (1 << 39) | (1 << 38),
    "kernel_release": lambda: (6, 1),
    "lockdown": lambda: "integrity",
    "MACHINE": "aarch64",
}


@pytest.mark.parametrize("case", REFUSALS)
def test_each_refusal_is_one_sentence_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """A host that cannot be sampled gives the reason before anything is loaded."""
    changes, words = REFUSALS[case]
    for name, value in {**ALLOWED, **changes}.items():
        monkeypatch.setattr(preflight, name, value)
    with pytest.raises(UserError, match=words) as raised:
        preflight.require()
    assert "\n" not in str(raised.value)


def test_a_sufficient_host_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """CAP_BPF and CAP_PERFMON are enough without root, and lockdown=integrity is no obstacle."""
    for name, value in ALLOWED.items():
        monkeypatch.setattr(preflight, name, value)
    preflight.require()
