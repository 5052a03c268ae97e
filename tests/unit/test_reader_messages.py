"""Messages between the agent and its readers: what is said arrives, and nothing else is taken."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gotax.errors import AccessError, GotaxError, ParseError, ProcessGoneError, Refusal
from gotax.golang.cgroupview import CgroupLayout, CgroupView
from gotax.golang.classmap import ClassMap
from gotax.golang.live import GomaxprocsAddresses, LiveGomaxprocs, StateAddresses
from gotax.golang.pclntab import Calls, Sizes
from gotax.linux.elf import PT_LOAD, Segment
from gotax.linux.mappings import FileId, MappedFile, Mapping, Maps
from gotax.process import GoBuild, Module, RuntimeState
from gotax.profile import Frame, FrameKind
from gotax.reader import message
from gotax.reader.facts import (
    BinaryFacts,
    BinaryPlace,
    CallColumns,
    ClassPart,
    Headers,
    Table,
    of_calls,
)
from gotax.reader.mapped import MapColumns, of_maps
from gotax.reader.message import pack, unpack
from gotax.reader.work import QUESTIONS, Work, signature
from gotax.reader.worker import answer_bytes, parse_answer, question_bytes
from hypothesis import given
from hypothesis import strategies as st

LOAD = Segment(PT_LOAD, 5, 0, 0x400000, 4096, 8192)
FACTS = BinaryFacts(
    problem="",
    headers=Headers(2, 62, 0x401000, 64, (64, 120), (LOAD,)),
    build=GoBuild(
        "go1.26.8",
        Module("m", "v1", Module("r", "v2")),
        "m/cmd",
        (Module("d", "v3"),),
        (("CGO_ENABLED", "1"),),
        cgo=True,
    ),
    build_id="abcd",
    table=Table(0x401000, 0x402000, 7),
    gomaxprocs=GomaxprocsAddresses(0x500000, None, "exchange", False, True, 0x500010),
    refused=("", False),
    state=StateAddresses(1, None, 3, 4),
    sigreturn=0x401800,
)
FRAMES = (Frame("main.f", "f.go", 3, 1, FrameKind.GO, True), Frame("main.g", "f.go", 9, 7))
CALLS = Calls(
    np.array([10, 20, 30], np.uint64),
    np.array([20, 30, 40], np.uint64),
    [FRAMES, FRAMES[:1], FRAMES],
)
SIZES = Sizes(np.array([10], np.uint64), np.array([40], np.uint64), np.array([-1], np.int32))
MAPS = Maps(
    (
        Mapping(0x400000, 0x401000, 0, 2049, 77, "/bin/x\n\udcff", deleted=True),
        Mapping(0x7FFF00000000, (1 << 64) - 1, 0, 0, 0, "[vdso]"),
    ),
    123,
)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (BinaryFacts, FACTS),
        (BinaryFacts, dataclasses.replace(FACTS, headers=None, build=None, table=None)),
        (BinaryPlace, BinaryPlace(FileId(1, 2, 3, 1 << 63), "/proc/1/exe", "/x\udcff")),
        (CgroupView, CgroupView(1, CgroupLayout.HOST, False)),
        (LiveGomaxprocs, LiveGomaxprocs(4, None, 8)),
        (RuntimeState, RuntimeState()),
        (MappedFile | None, None),
        (MappedFile | None, MappedFile("/x", FileId(1, 2, 3, 4), True)),
        (dict[tuple[int, int, str], int], {(1, 2, "x"): 3}),
        (frozenset[str], frozenset({"a", "b"})),
        (tuple[float, bool, bytes], (1.5, True, b"\0\xff")),
    ],
)
def test_a_value_arrives_as_it_is(kind: Any, value: object) -> None:
    assert unpack(kind, pack(kind, value)) == value


def test_calls_and_maps_arrive_as_they_are() -> None:
    columns = unpack(CallColumns, pack(CallColumns, of_calls(CALLS, SIZES, "x")))
    calls, sizes = columns.parse()
    assert calls.chains == CALLS.chains
    assert calls.chains[0] is calls.chains[2]  # a chain is one object, by which it is known
    for one, other in ((calls.starts, CALLS.starts), (calls.ends, CALLS.ends)):
        assert one.tolist() == other.tolist()
    assert sizes.values.tolist() == [-1]
    assert columns.problem == "x"
    assert unpack(MapColumns, pack(MapColumns, of_maps(MAPS))).parse() == MAPS


@pytest.mark.parametrize(
    "changed",
    [
        *({name: b"\0" * 7} for name in ("starts", "ends", "offsets", "devices", "inodes")),
        {"ends": b"\0" * 800},
        {"deleted": b""},
        {"paths": ()},
        {"length": -1},
    ],
)
def test_mappings_that_cannot_be(changed: dict[str, Any]) -> None:
    columns = of_maps(MAPS)
    assert columns.parse() == MAPS
    with pytest.raises(ParseError, match="reader-malformed"):
        dataclasses.replace(columns, **changed).parse()


def test_every_question_has_a_message() -> None:
    assert "exe_id" in QUESTIONS
    for question in QUESTIONS:
        arguments, answer = signature(question)
        message._codec(arguments)
        message._codec(answer)


def test_failures_arrive_with_their_reason() -> None:
    assert parse_answer("head", b"a" + pack(bytes, b"x")) == b"x"
    for kind, error, text in (
        (b"g", ProcessGoneError, "text"),
        (b"p", ParseError, "why: text"),
        (b"s", AccessError, "why: text"),
    ):
        with pytest.raises(error, match=text):
            parse_answer("head", kind + pack(tuple[str, str], ("why", "text")))
    with pytest.raises(MemoryError):
        parse_answer("head", b"m" + pack(tuple[str, str], ("", "")))
    for bad in (b"", b"x", b"z" + pack(tuple[str, str], ("", "")), b"a", b"p{}"):
        with pytest.raises(ParseError, match="reader-malformed"):
            parse_answer("head", bad)


def test_a_question_that_there_is_not(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    body = question_bytes("head", (str(tmp_path / "x"), 2))[4:]
    assert answer_bytes(Work(), body) == b"a" + pack(bytes, b"ab")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (int, "1.0"),
        (int, "true"),
        (int, '"1"'),
        (int, str(1 << 64)),
        (int, "1" * 5000),
        (float, "NaN"),
        (float, "1e999"),
        (str, "1"),
        (bool, "1"),
        (type(None), "0"),
        (bytes, "0"),
        (bytes, "-1"),
        (tuple[int, int], "[1]"),
        (tuple[int, ...], "{}"),
        (tuple[int, ...], "[" * 100_000),
        (FileId, "[1,2,3]"),
        (CgroupLayout, '"none"'),
        (int | None, "[2,1]"),
        (int | None, "[-1,1]"),
        (int | None, "1"),
        (dict[str, int], "[[1,1]]"),
        (str, "\x00"),
    ],
)
def test_what_does_not_fit_is_refused(kind: Any, said: str) -> None:
    data = struct.pack("<II", len(said), 0) + said.encode()
    with pytest.raises(ParseError, match="reader-malformed"):
        unpack(kind, data)


def test_lengths_must_be_those_that_are_said() -> None:
    good = pack(tuple[bytes, bytes], (b"abc", b"de"))
    assert unpack(tuple[bytes, bytes], good) == (b"abc", b"de")
    for bad in (good[:-1], good + b"x", good[:3], b"", good[:4] + b"\xff\xff\xff\xff" + good[8:]):
        with pytest.raises(ParseError, match="reader-malformed"):
            unpack(tuple[bytes, bytes], bad)
    column = pack(tuple[bytes], (b"abc",))
    kind = signature("calls")[0].__args__[1]
    with pytest.raises(ParseError, match="reader-malformed"):
        unpack(tuple[kind], column)  # type: ignore[valid-type]


_PACKED = (pack(BinaryFacts, FACTS), pack(CallColumns, of_calls(CALLS, SIZES, "")))


@given(st.sampled_from([0, 1]), st.data())
def test_whatever_a_reader_says_is_taken_or_refused(number: int, data: st.DataObject) -> None:
    """And what is taken can be used."""
    packed = bytearray(_PACKED[number])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(packed) - 1))
        packed[at] = data.draw(st.sampled_from([*b'0123456789-[]{},"enu. \0\xff']))
    try:
        found = unpack((BinaryFacts, CallColumns)[number], bytes(packed))
        if number:
            found.parse()
        else:
            found.check()
            if found.headers is not None:
                found.headers.parse_elf()
    except GotaxError:
        pass


_COLUMNS = of_calls(CALLS, SIZES, "")


@pytest.mark.parametrize(
    "changed",
    [
        {"chain": np.array([0, 1, 2], np.int32)},
        {"chain": np.array([0, -1, 0], np.int32)},
        {"chain": np.array([0, 1], np.int32)},
        {"cuts": np.array([0, 3, 2])},
        {"cuts": np.array([0, 0, 3])},
        {"cuts": np.array([0, 2, 9])},
        {"cuts": np.empty(0, np.int64)},
        {"function": np.array([0, 1, 9], np.int32)},
        {"file": np.array([0, 0, -1], np.int32)},
        {"kind": np.array([0, 0, 3], np.uint8)},
        {"line": np.array([1])},
        {"inlined": np.array([1], np.uint8)},
        {"sizes": np.array([1, 2], np.int32)},
        {"ends": np.array([1], np.uint64)},
    ],
)
def test_columns_that_do_not_fit_each_other(changed: dict[str, Any]) -> None:
    _COLUMNS.parse()
    with pytest.raises(ParseError, match="reader-malformed"):
        dataclasses.replace(_COLUMNS, **changed).parse()


def test_lines_stay_what_a_profile_can_say() -> None:
    lines = np.array([1 << 62, -(1 << 62), 5])
    calls, _ = dataclasses.replace(_COLUMNS, line=lines).parse()
    assert [frame.line for frame in calls.chains[0]] == [(1 << 31) - 1, -(1 << 31)]


@pytest.mark.parametrize(
    "changed",
    [
        {"table": Table(-1, 5, 1)},
        {"table": Table(9, 5, 1)},
        {"table": Table(0, 1 << 63, 1)},
        {"table": Table(0, 5, 1 << 40)},
        {"sigreturn": -1},
        {"build_id": "x" * 2000},
        {"build": None},
    ],
)
def test_facts_that_cannot_be(changed: dict[str, Any]) -> None:
    FACTS.check()
    with pytest.raises(ParseError, match="reader-malformed"):
        dataclasses.replace(FACTS, **changed).check()


@pytest.mark.parametrize(
    "load",
    [
        {"address": -1},
        {"address": (1 << 64) - 1},
        {"offset": 1 << 63},
        {"file_size": 1 << 63},
        {"memory_size": -1},
    ],
)
def test_segments_that_cannot_be(load: dict[str, int]) -> None:
    headers = FACTS.headers
    assert headers is not None
    assert headers.parse_elf().loads == (LOAD,)
    with pytest.raises(ParseError, match="reader-malformed"):
        dataclasses.replace(headers, loads=(dataclasses.replace(LOAD, **load),)).parse_elf()
    with pytest.raises(ParseError, match="reader-malformed"):
        dataclasses.replace(headers, loads=(LOAD,) * 257).parse_elf()


@pytest.mark.parametrize(
    ("starts", "values", "chains"),
    [
        ([0, 5], [0, 4], [(1,)]),
        ([0, 0], [0, 0], [(1,)]),
        ([1, 5], [0, 0], [(1,)]),
        ([], [], [(1,)]),
        ([0], [0, 0], [(1,)]),
        ([0], [0], [(1,) * 2000]),
    ],
)
def test_class_maps_that_cannot_be(
    starts: list[int], values: list[int], chains: list[tuple[int, ...]]
) -> None:
    good = ClassMap(10, 20, np.array([0, 5], "u4"), np.array([0, 1], "u2"), [(1,)])
    ClassPart(1, True, good, "").check()
    bad = ClassMap(10, 20, np.array(starts, "u4"), np.array(values, "u2"), chains)
    with pytest.raises(ParseError, match="reader-malformed"):
        ClassPart(1, True, bad, "").check()


def test_a_refusal_keeps_its_kind() -> None:
    for is_access, kind in ((True, AccessError), (False, ParseError)):
        facts = dataclasses.replace(FACTS, gomaxprocs=None, refused=("why", is_access))
        assert facts.addresses == Refusal("why", kind)
