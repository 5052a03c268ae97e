"""An agent with known windows: the real exporter, spool and connection, without a kernel.

Every window has a number, in its ``period_ns``. A line of the ledger records its publication;
another line has the state of the stream, as in a scrape.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gotax.exporters.endpoint import Endpoint
from gotax.exporters.stream.exporter import StreamExporter
from gotax.exporters.stream.sender import AgentIdentity
from gotax.exporters.stream.spool import Bounds, Spool
from gotax.wire.addresses import parse_destination

from tests.patience import PATIENCE_S
from tests.unit.exporters.windows import story_window

FIRST = 1_000_000
"""The number of the first window."""


@dataclass(frozen=True)
class Task:
    """``folder`` has the ledger, ``clock`` (seconds that the wall clock is off), and ``stop``."""

    folder: str
    spool: str
    address: str
    name: str
    period_s: float
    spool_bytes: int = 64 << 20


def run(task: Task) -> None:
    folder = Path(task.folder)
    real = time.time
    time.time = lambda: real() + _offset(folder)  # used below, in spool and exporter
    ledger = os.open(folder / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    number = int((folder / "next").read_text()) if (folder / "next").exists() else FIRST
    exporter = StreamExporter(
        Endpoint(*parse_destination(task.address), is_secure=False),
        AgentIdentity(task.name, task.name),
        Spool(task.spool, Bounds(task.spool_bytes, 86_400)),
    )
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    window = story_window()
    process = os.getpid()
    while not stopping:
        start_ns = int(time.time() * 1e9)
        # The number is used before the window exists, so that a killed agent never uses it twice.
        (folder / "next").write_text(str(number + 1))
        exporter.publish(replace(window, start_unix_ns=start_ns, period_ns=number))
        statistics = asdict(exporter.statistics())
        line = json.dumps({"published": number, "process": process, "statistics": statistics})
        os.write(ledger, line.encode() + b"\n")
        number += 1
        time.sleep(task.period_s)
    end = time.monotonic() + PATIENCE_S
    while exporter.statistics().spool_records and time.monotonic() < end:
        time.sleep(0.1)
    statistics = asdict(exporter.statistics())
    os.write(ledger, json.dumps({"process": process, "statistics": statistics}).encode() + b"\n")
    exporter.close()


def _offset(folder: Path) -> float:
    try:
        return float((folder / "clock").read_text())
    except (OSError, ValueError):
        return 0.0


if __name__ == "__main__":
    run(Task(**json.loads(sys.argv[1])))
