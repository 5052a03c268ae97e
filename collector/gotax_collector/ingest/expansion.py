"""What a report becomes: the bytes of its rows, before anything is built from it.

A report names a text by a number of one byte. A row has the text itself, once for each finding and
each frame. So neither the size of a report nor the number of its entries limits its rows: 1,200
bytes can become 68 GB. This module adds up the rows from the sizes of the texts.

Rows are JSON (storage/rows.py). The sums are upper bounds of their bytes, and of the memory of the
objects that are built for them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Protocol

from gotax.wire.v1 import report_pb2 as wire

from gotax_collector.refusal import Reason, RefusedError
from gotax_collector.report import ContainerIdentity, Int64Array, Sender

ROWS_BYTES_MAX = 16 << 20
"""Rows of one report in the table ``windows``. The agent's largest report has 50,000 samples, which
take 2 MB, and some kilobytes for each container."""

STACK_BYTES_MAX = 4 << 20
"""One stack: 1,024 frames with 4 kB of names each."""

STACKS_BYTES_MAX = 256 << 20
"""Stacks of one report in the table ``stacks``. They are built and inserted in small parts."""

EXPANDED_BYTES_MAX = ROWS_BYTES_MAX + STACKS_BYTES_MAX

FRAME_BYTES = 4  # the kind of a frame, and its separators
_ROW_BYTES = 1024  # numbers, short texts and separators
_CATEGORY_BYTES = 24
_FINDING_BYTES = 256
_SAMPLE_BYTES = 48
_LOSS_BYTES = 32


class Sizes(Protocol):
    """The sizes of a dictionary's entries in a row, by id."""

    def text_bytes(self, number: int) -> int:
        """RefusedError: REFERENCE."""

    def container_bytes(self, number: int) -> int:
        """RefusedError: REFERENCE."""

    def category_bytes(self, number: int) -> int:
        """RefusedError: REFERENCE."""


def encoded_bytes(text: str) -> int:
    """Bytes of a text in a row, with its quotes and a comma."""
    if text.isascii():
        return len(text) + 3 + text.count('"') + text.count("\\") + text.count("\n")
    return len(json.dumps(text)) + 1


def identity_bytes(identity: ContainerIdentity, texts: Iterable[str]) -> int:
    """``texts`` are all of its texts. Some stand in a row more than once: a name stands for a
    workload or a container that has none."""
    repeated = (
        *(identity.name, identity.name, identity.command),
        *(identity.main_package, identity.main_package, identity.main_module, identity.main_module),
    )
    return sum(map(encoded_bytes, texts)) + sum(map(encoded_bytes, repeated))


def rows_bytes(window: wire.Window, sizes: Sizes, sender: Sender) -> int:
    """RefusedError: EXPANSION, or REFERENCE for an id that was not introduced."""
    row = _ROW_BYTES + sum(
        map(
            encoded_bytes,
            (sender.agent, sender.node, sender.version, sender.kernel, sender.architecture),
        )
    )
    total = row + encoded_bytes(sender.node)
    for losses in (window.lost, window.dropped):
        total += sum(_LOSS_BYTES + sizes.text_bytes(loss.reason) for loss in losses)
    for seen in (*window.containers, *window.others):
        total += row + sizes.container_bytes(seen.container) + _SAMPLE_BYTES * len(seen.stack)
        for category in seen.category:
            total += _CATEGORY_BYTES + sizes.category_bytes(category)
        for finding in seen.findings:
            total += _FINDING_BYTES + sum(
                map(sizes.text_bytes, (finding.code, finding.title, finding.remedy, finding.cause))
            )
            total += sum(map(encoded_bytes, (*finding.evidence, *finding.patches)))
        if total > ROWS_BYTES_MAX:
            raise RefusedError(
                Reason.EXPANSION, f"a report whose rows take more than {ROWS_BYTES_MAX >> 20} MiB"
            )
    return total


def stacks_bytes(sizes: Int64Array) -> int:
    """``sizes`` has the bytes of each sample's stack. RefusedError: EXPANSION."""
    if not len(sizes):
        return 0
    if int(sizes.max()) > STACK_BYTES_MAX:
        raise RefusedError(
            Reason.EXPANSION, f"a stack whose names take more than {STACK_BYTES_MAX >> 20} MiB"
        )
    total = int(sizes.sum())
    if total > STACKS_BYTES_MAX:
        raise RefusedError(
            Reason.EXPANSION,
            f"a report whose stacks take more than {STACKS_BYTES_MAX >> 20} MiB",
        )
    return total
