"""What the dictionaries of all streams take: counted once, let go of, and kept within a bound."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

pytest.importorskip("gotax_collector.ingest.dictionary_pool", reason="[collector] is not installed")

from gotax.wire.v1 import report_pb2 as wire
from gotax_collector.ingest.decoding import Decoder
from gotax_collector.ingest.dictionary_pool import DictionaryPool, to_restart
from gotax_collector.refusal import RefusedError
from gotax_collector.report import Sender

from .hostile import honest

SENDER = Sender("agent", "node", "1", "6.1", "amd64")


class Owner:
    """An owner of texts."""


def test_a_text_is_kept_and_counted_once() -> None:
    pool = DictionaryPool()
    one, two = Owner(), Owner()
    first, second = pool.register(one), pool.register(two)
    kept = first.share(["".join(["a", "b"]), "c"])
    taken = pool.held_bytes
    assert taken == first.held_bytes > 0
    again = second.share(["".join(["a", "b"])])
    assert again[0] is kept[0]
    assert pool.held_bytes == taken
    assert second.held_bytes == 0
    del one
    assert (pool.texts, second.texts) == (1, ["ab"])
    assert 0 < pool.held_bytes < taken
    del two
    assert (pool.texts, pool.held_bytes) == (0, 0)


def test_what_a_stream_introduced_is_counted_until_nobody_needs_it() -> None:
    """A report that waits for the store keeps its dictionary, and a reset makes another."""
    pool = DictionaryPool()
    decoder = Decoder(SENDER, pool)
    report = decoder.decode(honest(1), 0, 0)
    one = pool.held_bytes
    assert one == decoder.dictionary_bytes > 1000
    decoder.decode(honest(2), 0, 0)  # which resets, and has the same texts
    assert one < pool.held_bytes < 2 * one
    del report
    assert pool.held_bytes == pytest.approx(one, rel=0.01)
    del decoder
    assert (pool.held_bytes, pool.texts) == (0, 0)


def test_a_refused_report_leaves_nothing_behind() -> None:
    pool = DictionaryPool()
    decoder = Decoder(SENDER, pool)
    report = honest(1)
    report.dictionary.frame_function[0] = 1 << 20
    with pytest.raises(RefusedError):
        decoder.decode(report, 0, 0)
    assert pool.texts > 0
    del decoder
    gc.collect()  # the exception has seen it
    assert (pool.held_bytes, pool.texts) == (0, 0)


def test_the_count_is_about_what_it_takes() -> None:
    """Of a stream with many functions, as Python's own account has it."""
    count = 20_000
    report = wire.Report()
    report.CopyFrom(honest(1))
    dictionary = report.dictionary
    first = len(dictionary.strings)
    frames, functions = len(dictionary.frame_parent), len(dictionary.function_name)
    dictionary.strings.extend(f"main.function{number:06}" for number in range(count))
    dictionary.function_name.extend(range(first + 1, first + 1 + count))
    for name in ("function_file", "function_kind"):
        if getattr(dictionary, name):
            getattr(dictionary, name).extend([0] * count)
    dictionary.frame_function.extend(range(functions + 1, functions + 1 + count))
    dictionary.frame_parent.extend(range(frames + 1, frames + 1 + count))  # of the root
    if dictionary.frame_line:
        dictionary.frame_line.extend([0] * count)
    pool = DictionaryPool()
    decoder = Decoder(SENDER, pool)
    tracemalloc.start()
    try:
        decoder.decode(report, 0, 0)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken > count * 100
    assert 0.7 < pool.held_bytes / taken < 1.4


def test_within_the_bound_nobody_begins_anew() -> None:
    assert to_restart([10, 20], 30, 30) == ()
    assert to_restart([], 100, 30) == ()


def test_who_was_used_longest_ago_begins_anew() -> None:
    """As many as it takes for an eighth of room, of agents that are alike."""
    assert to_restart([10] * 10, 100, 99) == (0, 1)
    assert to_restart([10] * 10, 100, 10) == tuple(range(10))


def test_one_that_grows_without_measure_does_not_push_out_the_others() -> None:
    assert to_restart([10, 10, 10, 900, 10], 940, 500) == (3,)


def test_who_has_nothing_is_left_alone() -> None:
    """Reports that wait for the store may take it all, with streams that have just begun."""
    assert to_restart([0, 0], 100, 30) == ()


def test_the_wire_of_an_honest_report_says_reset() -> None:
    """What the tests above rely on."""
    assert isinstance(honest(1), wire.Report)
    assert honest(1).dictionary.reset
