"""The load that a collector can take: ``python -m bench.collector --agents 1000 --minutes 10``.

Simulated agents on this machine stream to `gotax collector` with its embedded store, each over its
own connection. Their reports are those of recorded windows (bench.recorded), interned as in an
agent; each agent has its own names, counts, epoch and phase. Measured: how long a report waits for
its acknowledgement, whether any is missing in the acknowledgements or the store, and the resources
of the collector.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
from gotax.exporters.stream import encoding
from gotax.exporters.stream.interning import SentDictionary
from gotax.window import Window
from gotax.wire.v1 import ingest_pb2
from gotax.wire.v1 import report_pb2 as wire

from bench import recorded

METHOD = "/gotax.wire.v1.IngestService/Stream"
_ROUNDS = 2  # of the recorded windows: the second finds all its entries in the dictionary
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Load:
    """``every_s``: between two reports of an agent. ``replicas``: collectors, each with its own
    store.

    ``dictionary_bytes``: the collectors' limit for all dictionaries, 0 for the default.
    """

    agents: int
    containers: int
    minutes: float
    every_s: float
    replicas: int
    recording: str
    port: int  # of the first collector; the others have the next ones
    dictionary_bytes: int = 0


@dataclass
class Tally:
    """The counts of the agents; latencies in seconds."""

    sent: int = 0
    acknowledged: int = 0
    bytes: int = 0
    streams: int = 0
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class Script:
    """The reports of a stream, interned once: the agents' reports differ only in names."""

    def __init__(self, windows: Sequence[Window], offset: int, containers: int) -> None:
        dictionary = SentDictionary()
        turned = [*windows[offset:], *windows[:offset]]
        self._reports = []
        for window in turned * _ROUNDS:
            whole = encoding.encode(window)
            del whole.window.containers[containers:]
            whole.epoch, whole.sequence = 1, 1
            self._reports.append(dictionary.intern(whole))
        self._steady = len(turned)
        names = wire.Container.DESCRIPTOR.fields_by_name
        self._own = {names[name].number for name in ("name", "cgroup", "key", "container_id")}
        self._own_strings = self._strings_of_containers()

    def _strings_of_containers(self) -> set[int]:
        """Strings that name one container: each agent has its own."""
        return {
            value
            for report in self._reports
            for container in report.dictionary.containers
            for descriptor, value in container.ListFields()
            if descriptor.number in self._own
        }

    def request(self, agent: int, epoch: int, sequence: int) -> bytes:
        count = len(self._reports)
        index = sequence - 1
        if index >= count:
            index = self._steady + (index - count) % (count - self._steady)
        report = wire.Report()
        report.CopyFrom(self._reports[index])
        report.epoch, report.sequence = epoch, sequence
        report.window.start_unix_ns = time.time_ns() - report.window.duration_ns
        if report.dictionary.strings:
            self._rename(report, index, agent)
        data = zlib.compress(report.SerializeToString(), 6)
        return ingest_pb2.StreamRequest(zlib_report=data).SerializeToString()

    def _rename(self, report: wire.Report, index: int, agent: int) -> None:
        first = 1 + sum(len(earlier.dictionary.strings) for earlier in self._reports[:index])
        for place, text in enumerate(report.dictionary.strings):
            if first + place in self._own_strings:
                report.dictionary.strings[place] = f"{text}-{agent}"


async def agent(number: int, load: Load, script: Script, tally: Tally, end_s: float) -> None:
    port = load.port + number % load.replicas
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        await asyncio.sleep(random.uniform(0, load.every_s))
        due = time.monotonic()
        while due < end_s:
            due = await stream(channel, number, load, script, tally, (due, end_s))


async def stream(
    channel: grpc.aio.Channel,
    number: int,
    load: Load,
    script: Script,
    tally: Tally,
    times: tuple[float, float],
) -> float:
    """Streams until the end, or until the collector says goodbye: then another stream follows, in a
    new epoch. Returns when the next report is due."""
    call: Any = channel.stream_stream(
        METHOD, response_deserializer=ingest_pb2.StreamResponse.FromString
    )()
    tally.streams += 1
    epoch, name = random.getrandbits(63), f"node-{number:05}"
    hello = ingest_pb2.Hello(agent=name, node=name, epoch=epoch, version="bench")
    await call.write(ingest_pb2.StreamRequest(hello=hello).SerializeToString())
    sent: list[float] = []
    reader = asyncio.create_task(_read(call, sent, tally))
    due, end_s = times
    while due < end_s and not reader.done():
        data = script.request(number, epoch, len(sent) + 1)
        sent.append(time.monotonic())
        tally.sent += 1
        tally.bytes += len(data)
        try:
            await call.write(data)
        except asyncio.InvalidStateError:  # it ended in the meantime
            break
        due += load.every_s
        await asyncio.sleep(max(0.0, min(due, end_s) - time.monotonic()))
    if not reader.done():
        await call.done_writing()
    acknowledged = await asyncio.wait_for(reader, 60)
    # Reports that the collector did not read belong to the next stream, which interns them again.
    tally.sent -= len(sent) - acknowledged
    return due


async def _read(call: Any, sent: list[float], tally: Tally) -> int:
    """The number of acknowledged reports at the end of the stream."""
    acknowledged, has_goodbye = 0, False
    try:
        async for response in call:
            kind = response.WhichOneof("message")
            has_goodbye = has_goodbye or kind == "goodbye"
            if kind == "ack":
                now = time.monotonic()
                tally.latencies.extend(now - at for at in sent[acknowledged : response.ack.reports])
                tally.acknowledged += response.ack.reports - acknowledged
                acknowledged = response.ack.reports
    except grpc.RpcError as error:
        tally.failures.append(str(error.details())[:100])
    if not has_goodbye and acknowledged < len(sent):
        tally.failures.append("the stream ended without its acknowledgements")
    return acknowledged


async def drive(load: Load, scripts: Sequence[Script]) -> Tally:
    tally = Tally()
    end_s = time.monotonic() + load.minutes * 60
    tasks = [
        asyncio.create_task(agent(number, load, scripts[number % len(scripts)], tally, end_s))
        for number in range(load.agents)
    ]
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException):
            tally.failures.append(repr(result)[:100])
    return tally


class Watch:
    """CPU and memory of the collectors, read every second."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self._pids = [process.pid for process in processes]
        self.most_bytes = 0
        self.series: list[int] = []

    async def run(self) -> None:
        while True:
            resident = max(_resident(pid) for pid in self._pids)
            self.most_bytes = max(self.most_bytes, resident)
            self.series.append(resident)
            await asyncio.sleep(1)

    def cpu_s(self) -> float:
        return sum(_cpu_s(pid) for pid in self._pids)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def collectors(folder: Path, load: Load) -> Iterator[list[subprocess.Popen[bytes]]]:
    running = []
    for number in range(load.replicas):
        with (folder / f"collector-{number}.log").open("wb") as log:
            command = [
                *(sys.executable, "-m", "gotax", "collector", "--plaintext"),
                *("--listen", f"127.0.0.1:{load.port + number}", "--http", "127.0.0.1:0"),
                *("--store", str(folder / f"store-{number}"), "--log-level", "warning"),
            ]
            if load.dictionary_bytes:
                command += ["--max-dictionary-bytes", str(load.dictionary_bytes)]
            running.append(subprocess.Popen(command, stdout=log, stderr=log))
    try:
        for number in range(load.replicas):
            with grpc.insecure_channel(f"127.0.0.1:{load.port + number}") as channel:
                grpc.channel_ready_future(channel).result(60)
        yield running
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(60)


def stored(folder: Path) -> tuple[int, int]:
    """Reports and rows of containers in a store."""
    from gotax_collector.storage.clickhouse import Address, Connections

    connections = Connections(Address(folder=folder))
    try:
        (row,) = connections.rows(
            "SELECT uniqExact(agent, epoch, sequence) AS reports, count() AS rows"
            " FROM gotax.windows"
        )
        return int(row["reports"]), int(row["rows"])
    finally:
        connections.close()


def _folder_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


async def measured(load: Load, scripts: Sequence[Script], watch: Watch) -> tuple[Tally, float]:
    """The counts, and the collectors' CPU time while the agents ran."""
    watching = asyncio.create_task(watch.run())
    before = watch.cpu_s()
    tally = await drive(load, scripts)
    spent = watch.cpu_s() - before
    watching.cancel()
    return tally, spent


def run(load: Load) -> dict[str, object]:
    windows = recorded.windows(load.recording)
    scripts = [Script(windows, offset, load.containers) for offset in range(len(windows))]
    folder = Path(tempfile.mkdtemp(prefix="gotax-bench-collector-"))
    try:
        with collectors(folder, load) as running:
            watch = Watch(running)
            own = time.process_time()
            began = time.monotonic()
            tally, cpu_s = asyncio.run(measured(load, scripts, watch))
            took_s = time.monotonic() - began
            own = time.process_time() - own
        stores = [folder / f"store-{number}" for number in range(load.replicas)]
        found = [stored(store) for store in stores]
        disk = sum(map(_folder_bytes, stores))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    reports = sum(count for count, _ in found)
    tenth = max(1, len(watch.series) // 10)
    return {
        "load": asdict(load),
        "seconds": round(took_s, 1),
        "streams": tally.streams,
        "sent": tally.sent,
        "acknowledged": tally.acknowledged,
        "in_store": reports,
        "lost": tally.sent - reports,
        "container_windows_in_store": sum(rows for _, rows in found),
        "reports_per_s": round(tally.acknowledged / took_s, 1),
        "ack_s": {
            name: round(quantile(tally.latencies, q), 3)
            for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        },
        "wire_bytes_per_container_window": round(tally.bytes / tally.sent / load.containers),
        "collector_cores": round(cpu_s / took_s, 3),
        "agents_cores": round(own / took_s, 3),
        "collector_most_mb": round(watch.most_bytes / 1e6),
        "collector_mb_by_tenth": [
            round(max(watch.series[at : at + tenth]) / 1e6)
            for at in range(0, len(watch.series), tenth)
        ],
        "store_mb": round(disk / 1e6, 1),
        "failures": tally.failures[:10],
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.collector", description=__doc__)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--containers", type=int, default=30, help="of each agent, 30 at most")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=60, help="seconds between reports (60)")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--port", type=int, default=19746, help="of the collector (19746)")
    parser.add_argument("--max-dictionary-bytes", type=int, default=0, help="of the collector")
    parser.add_argument("--recording", choices=("usual", "dense"), default="usual")
    options = parser.parse_args()
    result = run(
        Load(
            options.agents,
            options.containers,
            options.minutes,
            options.every,
            options.replicas,
            options.recording,
            options.port,
            options.max_dictionary_bytes,
        )
    )
    print(json.dumps(result, indent=2))
    return 1 if result["lost"] or result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
