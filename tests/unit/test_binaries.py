"""Which binaries are remembered."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from gotax.linux.mappings import FileId
from gotax.processes.binaries import Binary, BinaryTable
from gotax.reader.asking import InProcess, Subject

SEEN_LATELY = 128


class Counting(InProcess):
    def __init__(self) -> None:
        super().__init__()
        self.asked = Counter[str]()

    def ask(self, subject: Subject, question: str, *arguments: Any) -> Any:
        self.asked[question] += 1
        return super().ask(subject, question, *arguments)


def get_all(table: BinaryTable, paths: list[Path]) -> list[Binary]:
    found = []
    for path in paths:
        status = path.stat()
        file_id = FileId(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        found.append(table.get(file_id, str(path), "", partial(str, path)))
    return found


def test_a_binary_that_a_living_process_runs_is_read_once(tmp_path: Path) -> None:
    """On a node with more than 128 of them, the binary of each new process was read again."""
    paths = [tmp_path / f"program{number}" for number in range(4 * SEEN_LATELY)]
    for path in paths:
        path.write_text("#!/bin/sh\n")
    reader = Counting()
    table = BinaryTable(reader)
    held = get_all(table, paths)
    assert reader.asked["describe"] == len(paths)
    again = get_all(table, paths)
    assert reader.asked["describe"] == len(paths)
    assert all(one is other for one, other in zip(held, again, strict=True))
    assert len(table) <= 2 * SEEN_LATELY
    del held, again
    get_all(table, paths[-SEEN_LATELY:])
    assert reader.asked["describe"] == len(paths)  # seen lately
    get_all(table, paths[:SEEN_LATELY])
    assert reader.asked["describe"] == len(paths) + SEEN_LATELY
