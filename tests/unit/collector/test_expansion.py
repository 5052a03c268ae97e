"""What a report becomes is known before it is built, and never too small."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip(
    "gotax_collector.ingest.expansion", reason="the extra [collector] is not installed"
)

from gotax.wire.v1 import report_pb2 as wire
from gotax_collector.ingest.decoding import Decoder
from gotax_collector.ingest.expansion import encoded_bytes
from gotax_collector.ingest.intake import footprint
from gotax_collector.ingest.limits import Limits, RateLimiter
from gotax_collector.refusal import Reason, RefusedError
from gotax_collector.report import Report, Sender
from gotax_collector.storage import rows
from gotax_collector.storage.columns import Batch, workload_of

from .hostile import honest, hostile_messages

SENDER = Sender("agent", "node", "1", "6.1", "amd64")
# Texts that a report may have: no control characters and no half of a character.
TEXTS = st.text(
    st.characters(blacklist_categories=("Cc", "Cf", "Cs", "Zl", "Zp")), min_size=1, max_size=40
)


def decoded(report: wire.Report) -> Report:
    return Decoder(SENDER).decode(report, 0, 10**18)


def written(report: Report) -> tuple[int, int]:
    """Bytes of its rows in either table."""
    batch = Batch("2026-01-01", (1 << 64) - 1)
    windows = sum(len(line) + 1 for line in rows.window_lines(report, batch))
    ids = rows.stack_ids(report)
    stacks = 0
    for index in range(len(report.stack_counts)):
        number, of = int(ids[index]), int(report.stack_counts.stack_hash[index])
        category = report.categories[int(report.stack_counts.category[index])]
        workload = workload_of(
            report.containers[int(report.stack_counts.container[index])].identity
        )
        line = rows.stack_line(report, workload, (number, of, category), batch.day)
        frames = json.loads(line)[6:9]
        stacks += sum(len(rows._encode(column)) - 2 for column in frames)
    return windows, stacks


@given(text=TEXTS)
def test_a_text_takes_what_json_makes_of_it(text: str) -> None:
    assert encoded_bytes(text) == len(rows._encode(text)) + 1


@given(texts=st.lists(TEXTS, min_size=3, max_size=3))
def test_no_report_becomes_more_than_was_counted(texts: list[str]) -> None:
    """With texts of every kind for a name, a finding and a function."""
    report = honest()
    strings = report.dictionary.strings
    first = len(strings) + 1
    strings.extend(texts)
    container = report.dictionary.containers[0]
    container.ClearField("workload_name")
    container.name, container.image, container.main_package = first, first + 1, first + 2
    report.window.containers[0].findings.add(
        code=first,
        title=first + 1,
        remedy=first + 2,
        cause=first,
        evidence=texts,
        patches=[f"{texts[0]}\n{texts[1]}\n"],
    )
    report.dictionary.function_name[0] = first + 2
    found = decoded(report)
    windows, stacks = written(found)
    assert windows <= found.rows_bytes <= 3 * windows + 4096 * (1 + len(found.containers))
    assert stacks <= found.stacks_bytes


@pytest.mark.parametrize("name", [name for name in hostile_messages() if name.startswith("a bomb")])
def test_a_bomb_is_small_on_the_wire(name: str) -> None:
    """Otherwise it would be no bomb, and its size would refuse it."""
    data, reason = hostile_messages()[name]
    assert reason is Reason.EXPANSION
    assert len(data) < 16_000


def test_what_waits_counts_as_what_it_becomes() -> None:
    """Rows of 15 MiB take 15 MiB of the queue, though the report had 1 kB."""
    report = honest()
    report.dictionary.strings.append("x" * 4000)
    for _ in range(50):
        report.window.containers[0].findings.add(code=len(report.dictionary.strings))
    found = decoded(report)
    assert len(zlib.compress(report.SerializeToString())) < 10_000
    assert footprint(found) >= found.rows_bytes > 50 * 4000


def test_an_agent_has_a_rate_for_what_its_reports_become() -> None:
    """A report of full expansion is always possible, and the next one after its time."""
    limiter = RateLimiter(Limits(bytes_per_s=1 << 20, burst_s=120), 0.0)
    limiter.take_expanded(480 << 20, 0.0)
    limiter.take(1, 0.0)
    with pytest.raises(RefusedError) as caught:
        limiter.take_expanded(17 << 20, 1.0)
    assert caught.value.reason is Reason.RATE
    limiter.take_expanded(16 << 20, 1.0)
