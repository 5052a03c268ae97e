"""A collector that answers anything but what it should: the agent counts it, and tries again.

Each is a real gRPC server. Afterwards an honest collector takes its place, and gets the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from gotax.exporters.endpoint import Endpoint
from gotax.exporters.stream import sender as module
from gotax.exporters.stream.connection import _ended
from gotax.exporters.stream.exporter import StreamExporter
from gotax.exporters.stream.sender import AgentIdentity
from gotax.exporters.stream.spool import Bounds, Spool
from gotax.wire.v1 import ingest_pb2

from tests.unit.exporters.windows import story_window

from .collecting import MemoryStore, Setup, collecting, eventually

Answers = Callable[[Any], Iterator[bytes]]


def answer(**kind: Any) -> bytes:
    return ingest_pb2.StreamResponse(**kind).SerializeToString()


WELCOME = answer(welcome=ingest_pb2.Welcome(collector="evil", reports_in_flight=2**32 - 1))


def garbage(_: Any) -> Iterator[bytes]:
    yield b"\xff" * 1000


def garbage_later(_: Any) -> Iterator[bytes]:
    yield WELCOME
    yield b"\x0a\x05\xff"  # a welcome that is cut off


def not_text(_: Any) -> Iterator[bytes]:
    """A name of a collector in bytes that are no UTF-8."""
    yield b"\x0a\x03\x0a\x01\xff"


def many_empty_answers(_: Any) -> Iterator[bytes]:
    yield WELCOME
    while True:
        yield b""


def many_acknowledgements(_: Any) -> Iterator[bytes]:
    """Of reports that were never sent."""
    yield WELCOME
    while True:
        yield answer(ack=ingest_pb2.Ack(reports=2**64 - 1))


def many_welcomes(_: Any) -> Iterator[bytes]:
    while True:
        yield WELCOME


def too_long(_: Any) -> Iterator[bytes]:
    yield answer(welcome=ingest_pb2.Welcome(collector="x" * (1 << 20)))


def refusing(*metadata: tuple[str, str | bytes]) -> Answers:
    def answers(context: Any) -> Iterator[bytes]:
        context.set_trailing_metadata(metadata)
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "\N{SNOWMAN}" * 1000)
        yield b""

    return answers


HOSTILE: dict[str, tuple[Answers, str]] = {
    "garbage": (garbage, "malformed"),
    "garbage after a welcome": (garbage_later, "malformed"),
    "a name that is no text": (not_text, "malformed"),
    "empty answers without end": (many_empty_answers, "flooded"),
    "welcomes without end": (many_welcomes, "flooded"),
    "an answer of a megabyte": (too_long, "resource-exhausted"),
    "a number of 5,000 digits": (
        refusing(("gotax-refused-report", "9" * 5000)),
        "invalid-argument",
    ),
    "a number of other digits": (refusing(("gotax-refused-report", "-1")), "invalid-argument"),
    "bytes for a reason": (refusing(("gotax-refused-reason-bin", b"\xff\x00")), "invalid-argument"),
    "a number that was never sent": (
        refusing(("gotax-refused-report", "999999999999999")),
        "invalid-argument",
    ),
    "a reason twice": (
        refusing(("gotax-refused-reason", "a"), ("gotax-refused-reason", "b" * 4000)),
        "invalid-argument",
    ),
}


@contextmanager
def hostile(answers: Answers) -> Iterator[int]:
    """The port of such a collector."""

    def stream(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        next(requests)
        yield from answers(context)

    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=(("grpc.so_reuseport", 0),))
        method: grpc.RpcMethodHandler[bytes, bytes]
        method = grpc.stream_stream_rpc_method_handler(stream)
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "gotax.wire.v1.IngestService", {"Stream": method}
                ),
            )
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield port
        server.stop(0).wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits for tests."""
    monkeypatch.setattr(module, "_RETRY_FIRST_S", 0.05)
    monkeypatch.setattr(module, "_RETRY_MAX_S", 0.2)
    monkeypatch.setattr(module, "_IDLE_S", 0.1)


def streaming(port: int) -> StreamExporter:
    endpoint = Endpoint("127.0.0.1", port, is_secure=False)
    return StreamExporter(endpoint, AgentIdentity("a", "a"), Spool("", Bounds(8 << 20, 3600)))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_collector_does_not_stop_the_stream(name: str) -> None:
    """Two failures say that the agent came again, and so that no thread of it had ended."""
    answers, reason = HOSTILE[name]
    with hostile(answers) as port:
        agent = streaming(port)
        eventually(lambda: agent.statistics().failures.get(reason, 0) >= 2)
        agent.publish(story_window())
    store = MemoryStore()
    with collecting(store, Setup(port=port)):
        eventually(lambda: agent.statistics().acknowledged == 1)
        agent.close()
    assert len(store.kept) == 1
    # A call that was open when the server stopped was cancelled.
    assert set(agent.statistics().failures) <= {reason, "unavailable", "cancelled"}


def test_acknowledgements_of_nothing_settle_nothing() -> None:
    """And a flood of them ends the stream."""
    with hostile(many_acknowledgements) as port:
        agent = streaming(port)
        eventually(lambda: agent.statistics().failures.get("flooded", 0) >= 2)
        assert agent.statistics().acknowledged == 0
        agent.close()


def test_a_status_that_cannot_be_read_ends_the_stream_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever a library makes of a status: the thread that reads ends with an ``Ended``."""
    monkeypatch.setattr("gotax.exporters.stream.connection._answer", lambda _: int("x"))
    with collecting(MemoryStore()) as running:
        agent = streaming(running.port)
        eventually(lambda: agent.statistics().failures.get("malformed", 0) >= 2)
        agent.close()


def test_what_a_status_says_is_cut_off() -> None:
    class Status:
        def trailing_metadata(self) -> list[tuple[object, object]]:
            return [("gotax-refused-report", "1" * 16), (b"gotax-x", 1), ("gotax-x-bin", b"\xff")]

        def code(self) -> None:
            return None

        def details(self) -> str:
            return "x" * 10_000

    ended = _ended(Status())
    assert (ended.status, len(ended.text), ended.refused_report) == ("unknown", 256, None)
