"""Kernel symbols: the format, and the running kernel's own file parsed in a second way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gotax.linux.kallsyms import Kallsyms, parse_kallsyms, read_kallsyms
from hypothesis import given
from hypothesis import strategies as st

TEXT = b"""\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000000 T startup_64
ffffffff81001000 t __pfx_schedule
ffffffff81001010 T schedule
ffffffff81002000 W __weak_one
ffffffff81003000 D jiffies
ffffffff81004000 t finish_task_switch.isra.0
ffffffffc0201000 t ext4_read\t[ext4]
ffffffffc0200000 t bpf_prog_6deef7357e7b4530_sd_fw_egress\t[bpf]
"""


def table(text: bytes) -> Kallsyms:
    return parse_kallsyms([text])


def lookup(text: bytes, *addresses: int) -> list[str]:
    return table(text).lookup(np.array(addresses, np.uint64))


def test_names_of_addresses() -> None:
    """The nearest text symbol below counts; data symbols do not, modules are named."""
    assert lookup(
        TEXT,
        0xFFFFFFFF81000004,
        0xFFFFFFFF81001010,
        0xFFFFFFFF81001FFF,
        0xFFFFFFFF81002001,
        0xFFFFFFFF81003001,
        0xFFFFFFFF81004001,
        0xFFFFFFFFC0201004,
        0xFFFFFFFFC0200004,
    ) == [
        "startup_64",
        "schedule",
        "schedule",
        "__weak_one",
        "__weak_one",
        "finish_task_switch.isra.0",
        "ext4_read [ext4]",
        "bpf_prog_6deef7357e7b4530_sd_fw_egress [bpf]",
    ]


def test_addresses_out_of_the_kernel_have_no_name() -> None:
    """User addresses, and those far behind the last symbol of a section, are unknown."""
    assert lookup(TEXT, 0, 0x401000, 0xFFFFFFFF90000000, 0xFFFFFFFFFFFFFFFF) == [""] * 4
    assert lookup(TEXT) == []


def test_padding_is_no_function() -> None:
    """A __pfx_ or __cfi_ name does not cut the function before it."""
    assert lookup(TEXT, 0xFFFFFFFF81001004) == ["startup_64"]


def test_hidden_addresses_are_reported_as_hidden() -> None:
    """kptr_restrict shows zeros: the table is empty and has the reason."""
    hidden = table(b"0000000000000000 T _stext\n0000000000000000 t x\n")
    assert (len(hidden), hidden.reason) == (0, "kallsyms-hidden")
    assert hidden.lookup(np.array([1, 2], np.uint64)) == ["", ""]


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"ffffffff81003000 D jiffies\n", b"c0008000 T _text\n"]
)
def test_a_table_without_functions_is_empty(text: bytes) -> None:
    """No lines, no text symbols, or a 32-bit kernel's lines."""
    assert table(text).reason == "kallsyms-empty"


def test_a_missing_file_is_a_reason(tmp_path: Path) -> None:
    """It is not an exception."""
    assert read_kallsyms(str(tmp_path)).reason == "kallsyms-unreadable"


def test_a_file_longer_than_a_block(tmp_path: Path) -> None:
    """Lines that lie across the reading blocks are whole; a cut last line is dropped."""
    lines = [b"%016x t f%d\n" % (0xFFFFFFFF81000000 + 16 * i, i) for i in range(20_000)]
    (tmp_path / "kallsyms").write_bytes(b"".join(lines) + b"ffffffffff000000 t cut")
    symbols = read_kallsyms(str(tmp_path))
    assert len(symbols) == 20_000
    names = symbols.lookup(np.arange(20_000, dtype=np.uint64) * 16 + 0xFFFFFFFF81000007)
    assert names == [f"f{i}" for i in range(20_000)]


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_parse_never_raises(lines: list[bytes]) -> None:
    """Any lines make a table, and every address in it can be looked up."""
    head = b"ffffffff81001010 T "
    symbols = table(b"\n".join([head + line for line in lines] + lines) + b"\n")
    assert len(symbols.lookup(symbols.addresses)) == len(symbols)


def test_the_running_kernels_symbols_parsed_in_a_second_way() -> None:
    """Every function address has one of the names that a plain reading of the file gives it.

    The kernel's own, that is: modules and BPF programs may come and go between the two readings.
    """
    plain: dict[int, set[str]] = {}
    for line in Path("/proc/kallsyms").read_text().splitlines():
        address, kind, *words = line.split()
        if kind in "tTwW" and len(words) == 1 and not words[0].startswith(("__pfx_", "__cfi_")):
            plain.setdefault(int(address, 16), set()).add(words[0])
    if not any(plain):
        assert read_kallsyms("/proc").reason == "kallsyms-hidden"
        return
    symbols = read_kallsyms("/proc")
    assert symbols.reason == ""
    named = zip(symbols.addresses.tolist(), symbols.lookup(symbols.addresses), strict=True)
    own = {address: name for address, name in named if " [" not in name}
    assert sorted(own) == sorted(address for address in plain if address)
    for address, name in own.items():
        assert name in plain[address]
    assert symbols.size_bytes < 50 * len(symbols) + 100
