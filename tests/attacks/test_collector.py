"""Hostile agents and visitors of a collector at 2 GiB."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("gotax_collector.ingest.server")

from gotax.exporters.credentials import Credentials
from gotax.exporters.endpoint import Endpoint
from gotax.exporters.stream.exporter import StreamExporter
from gotax.exporters.stream.sender import AgentIdentity
from gotax.exporters.stream.spool import Bounds, Spool

from tests.attacks import peers
from tests.attacks.clients import SlowClients, one_address
from tests.attacks.contained import COLLECTOR_BYTES, Box, Contained, Metrics, free_port
from tests.kernel.load import GUARD_S, wait_until
from tests.kernel.test_leftovers import ENDS_WITHIN_S
from tests.unit.exporters.windows import story_window

pytestmark = [pytest.mark.kernel, pytest.mark.timing]

CORES = 2.0
TOKEN = "0123456789abcdef0123456789abcdef"
STREAMS_MAX = 60


class Collector(Contained):
    """`gotax collector` with its embedded store, in a box."""

    def __init__(self, box: Box, folder: Path, *options: str) -> None:
        self.stream_port = free_port()
        port = free_port()
        command = (
            *(sys.executable, "-m", "gotax", "collector", "--plaintext"),
            *("--listen", f"127.0.0.1:{self.stream_port}", "--http", f"127.0.0.1:{port}"),
            *("--store", str(folder), "--max-agents", str(STREAMS_MAX), "--batch-seconds", "0.1"),
            *options,
        )
        super().__init__(box, port, command, writable=True)

    def metric(self, name: str) -> float:
        return Metrics(self.get("/metrics", GUARD_S).body).total(f"gotax_collector_{name}")

    def check_it_is_well(self, token: str = "") -> None:
        """A report of an honest agent is stored, and the probe is answered."""
        endpoint = Endpoint(
            *("127.0.0.1", self.stream_port, False), credentials=Credentials(token_file=token)
        )
        agent = StreamExporter(endpoint, AgentIdentity("h", "h"), Spool("", Bounds(1 << 20, 60)))
        try:
            agent.publish(story_window())
            wait_until(lambda: agent.statistics().acknowledged == 1, "an honest report's Ack")
        finally:
            agent.close()
        assert self.get("/healthz").status == 200
        assert self.box.killed() == 0
        assert self.process.poll() is None

    def check_it_ends(self) -> None:
        took_s = self.terminate()
        assert self.process.returncode == 0
        assert took_s < ENDS_WITHIN_S, took_s


Start = Callable[..., Collector]


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        box = stack.enter_context(Box("collector", COLLECTOR_BYTES, CORES))

        def start(*options: str) -> Collector:
            found = stack.enter_context(Collector(box, tmp_path / "store", *options))
            wait_until(found.is_up, "the collector")
            return found

        yield start


def token_file(folder: Path) -> str:
    path = folder / "token"
    path.write_text(TOKEN + "\n")
    return str(path)


def test_a_report_that_becomes_gigabytes(collector: Start) -> None:
    """A kilobyte on the wire, a gigabyte as rows."""
    running = collector()
    bomb = peers.findings_bomb(4096)
    assert len(bomb) < 64 << 10
    statuses = {peers.send(running.stream_port, bomb, GUARD_S) for _ in range(3)}
    assert statuses <= {"RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"}
    running.check_it_is_well()
    assert running.metric("refused_total") > 0
    running.check_it_ends()


@pytest.mark.parametrize(
    "bytes_each", [0, peers.MESSAGE_BYTES - 64], ids=["silent", "hellos-that-never-end"]
)
def test_streams_without_a_token(collector: Start, tmp_path: Path, bytes_each: int) -> None:
    """More than there may be agents, of which none says who it is."""
    token = token_file(tmp_path)
    running = collector("--token-file", token)
    with peers.UnfinishedStreams(running.stream_port, 320, bytes_each) as streams:
        wait_until(lambda: streams.opened >= 320, "the streams")
        running.check_it_is_well(token)
        running.check_it_is_well(token)
        running.check_it_ends()


def test_silent_connections_to_the_page(collector: Start) -> None:
    running = collector()
    with SlowClients(running.port, 200, one_address, b"", b""):
        running.check_it_is_well()
        assert running.get("/healthz").status == 200
        running.check_it_ends()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Where the collector of this test has its store and its journal."""
    folder = tmp_path / "store"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_without_room(small_disk: Path, collector: Start) -> None:
    """The agent keeps what the collector cannot store, and it is stored once there is room."""
    running = collector()
    running.check_it_is_well()
    filler = small_disk / "filler"
    fill(filler)
    endpoint = Endpoint("127.0.0.1", running.stream_port, False)
    agent = StreamExporter(endpoint, AgentIdentity("f", "f"), Spool("", Bounds(1 << 20, 3600)))
    try:
        for _ in range(3):
            agent.publish(story_window())
        wait_until(lambda: running.metric("store_failures_total") > 1, "the store to fail")
        fill(filler)
        assert running.get("/healthz").status == 200
        assert agent.statistics().acknowledged == 0
        filler.unlink()
        wait_until(lambda: agent.statistics().acknowledged == 3, "the Acks")
        assert sum(agent.statistics().dropped.values()) == 0
    finally:
        agent.close()
    assert running.metric("store_failing_seconds") == 0
    assert running.metric("quarantined_batches_total") == 0
    running.check_it_is_well()
    running.check_it_ends()


def fill(path: Path) -> None:
    """To the last page of its disk."""
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


@pytest.mark.slow
def test_many_flame_graphs_at_once(collector: Start) -> None:
    """Questions wait for memory rather than use it up, and end with those who asked."""
    running = collector()
    for _ in range(8):
        assert peers.send(running.stream_port, peers.wide_report(6000), GUARD_S) == "OK"
    url = f"http://127.0.0.1:{running.port}/flamegraph.folded?since=1h"
    answers: list[int] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=GUARD_S) as answer:
                answer.read()
                answers.append(answer.status)
        except OSError:
            answers.append(0)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(60)]
    for thread in threads:
        thread.start()
    running.check_it_is_well()
    for thread in threads:
        thread.join(GUARD_S)
    assert 200 in answers
    running.check_it_is_well()
    running.check_it_ends()
