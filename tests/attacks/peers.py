"""Hostile peers of a collector: streams that never say who they are, and reports that swell."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any, Self

import grpc
import h2.config
import h2.connection
import h2.events
import h2.exceptions
from gotax.wire.v1 import ingest_pb2
from gotax.wire.v1 import report_pb2 as wire

from tests.patience import is_readable

METHOD = "/gotax.wire.v1.IngestService/Stream"
MESSAGE_BYTES = 4 << 20
_CHUNK = 16384


class UnfinishedStreams:
    """``count`` streams of gRPC over several connections, without a token. Each sends the head of a
    message of 4 MiB and all of it but the end, if ``bytes_each`` is not 0; what the collector ends
    is opened again."""

    def __init__(self, port: int, count: int, bytes_each: int, per_connection: int = 20) -> None:
        self._port, self._bytes_each = port, bytes_each
        self._threads = [
            threading.Thread(target=self._run, args=(per_connection,), daemon=True)
            for _ in range(-(-count // per_connection))
        ]
        self._enough = threading.Event()
        self.opened = 0
        self.sent = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        for thread in self._threads:
            thread.join()

    def _run(self, count: int) -> None:
        while not self._enough.is_set():
            try:
                self._connect(count)
            except (OSError, h2.exceptions.ProtocolError):
                self._enough.wait(0.1)

    def _connect(self, count: int) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
            protocol = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
            protocol.initiate_connection()
            left: dict[int, int] = {}
            while not self._enough.is_set():
                while len(left) < count:
                    left[self._open(protocol)] = self._bytes_each
                for stream in left:
                    left[stream] = self._send(protocol, stream, left[stream])
                connection.sendall(protocol.data_to_send())
                if not is_readable(connection, 0.1):
                    continue
                received = connection.recv(1 << 16)
                if not received:
                    return
                for event in protocol.receive_data(received):
                    if isinstance(event, h2.events.ConnectionTerminated):
                        return
                    if isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                        left.pop(event.stream_id or 0, None)

    def _open(self, protocol: h2.connection.H2Connection) -> int:
        stream = protocol.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "http"), (":path", METHOD)]
        headers += [(":authority", "x"), ("content-type", "application/grpc"), ("te", "trailers")]
        protocol.send_headers(stream, headers)
        if self._bytes_each:
            protocol.send_data(stream, struct.pack(">BI", 0, MESSAGE_BYTES))
        self.opened += 1
        return stream

    def _send(self, protocol: h2.connection.H2Connection, stream: int, left: int) -> int:
        while left:
            size = min(left, _CHUNK, protocol.local_flow_control_window(stream))
            if size <= 0:
                break
            protocol.send_data(stream, bytes(size))
            left -= size
            self.sent += size
        return left


def findings_bomb(containers: int) -> bytes:
    """Little that becomes much as rows: 64 findings a container, each of the same long texts."""
    report = wire.Report(epoch=random.getrandbits(63), sequence=1)
    dictionary = report.dictionary
    dictionary.reset = True
    dictionary.strings.extend(["c", '"' * 4096])
    _window(report.window)
    for number in range(containers):
        dictionary.strings.append(f"k{number}")
        dictionary.containers.add(name=3 + number, key=3 + number)
        one = report.window.containers.add(container=number + 1, cpu_ns=1)
        for _ in range(64):
            one.findings.add(code=2, title=2, remedy=2, severity=wire.SEVERITY_INFO)
    return zlib.compress(report.SerializeToString(), 9)


def wide_report(stacks: int, functions: int = 3000, depth: int = 40) -> bytes:
    """An honest report of a container with many different stacks."""
    report = wire.Report(epoch=random.getrandbits(63), sequence=1)
    dictionary = report.dictionary
    dictionary.reset = True
    dictionary.strings.extend(["c", "shop", "web", "Deployment"])
    first = len(dictionary.strings) + 1
    dictionary.strings.extend(f"example.com/p/{n}.(*Thing).Method{n}" for n in range(functions))
    dictionary.function_name.extend(first + n for n in range(functions))
    dictionary.categories.add(label="user", group="user")
    number = 0
    for _ in range(stacks):
        for level in range(depth):
            number += 1
            dictionary.frame_parent.append(1 if level else number)
            dictionary.frame_function.append(random.randrange(1, functions + 1))
        dictionary.stack_frame.append(number)
        dictionary.stack_category.append(1)
    dictionary.containers.add(
        name=1, key=1, namespace=2, workload_name=3, workload_kind=4, pod=3, container=1
    )
    window = _window(report.window)
    one = window.containers.add(container=1, cpu_ns=10**9)
    one.category.append(1)
    one.category_samples.append(stacks)
    one.stack.extend([1] * stacks)
    one.stack_samples.extend([1] * stacks)
    window.samples_drained = window.samples_attributed = stacks
    return zlib.compress(report.SerializeToString(), 6)


def _window(window: wire.Window) -> wire.Window:
    window.start_unix_ns = int((time.time() - 60) * 1e9)
    window.duration_ns = 15 * 10**9
    window.period_ns = 52631578
    window.cpu_count = 2
    return window


def send(port: int, packed: bytes, timeout_s: float) -> str:
    """The name of the status with which the collector ended the stream; OK once it is stored."""
    number = random.getrandbits(63)
    hello = ingest_pb2.Hello(agent=f"peer-{number}", node="peer", epoch=number)
    welcomed, answered = threading.Event(), threading.Event()

    def requests() -> Iterator[bytes]:
        yield ingest_pb2.StreamRequest(hello=hello).SerializeToString()
        welcomed.wait(timeout_s)
        yield ingest_pb2.StreamRequest(zlib_report=packed).SerializeToString()
        answered.wait(timeout_s)

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            call: Any = channel.stream_stream(METHOD)
            for answer in call(requests(), timeout=timeout_s, wait_for_ready=True):
                welcomed.set()
                if ingest_pb2.StreamResponse.FromString(answer).HasField("ack"):
                    return "OK"
        except grpc.RpcError as error:
            return str(error.code().name)
        finally:
            welcomed.set()
            answered.set()
    return "ENDED"
