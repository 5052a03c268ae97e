"""A running OpenTelemetry Collector, and its output."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest as Request,
)

from tests.backends.receivers import command

GATE = "--feature-gates=service.profilesSupport"
CONFIG = """\
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:{port}{more}
exporters:
  file:
    path: {output}
    append: true
    flush_interval: 100ms
  debug:
    verbosity: detailed
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    {signal}:
      receivers: [otlp]
      exporters: [file, debug]
"""


class Collector:
    """``more`` is added to the receiver's configuration, indented by eight."""

    def __init__(self, folder: Path, *, signal: str = "profiles", more: str = "") -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._output = folder / "received.json"
        self._log = folder / "otelcol.log"
        self._config = folder / "otelcol.yaml"
        self._config.write_text(
            CONFIG.format(port=self.port, output=self._output, signal=signal, more=more)
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command("otelcol"), "--config", str(self._config), GATE],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < end, self._log.read_text()
                time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> list[Request]:
        """All data it has received, from its file."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
        if not self._output.exists():
            return []
        return [understood(json.loads(line)) for line in self._output.read_text().splitlines()]

    def log(self) -> str:
        return self._log.read_text()


def understood(document: dict[str, Any]) -> Request:
    """OTLP's JSON is protobuf's JSON, except that ids are in hex."""
    for added in document["resourceProfiles"]:
        for scope in added["scopeProfiles"]:
            for profile in scope["profiles"]:
                profile["profileId"] = base64.b64encode(
                    bytes.fromhex(profile["profileId"])
                ).decode()
    request: Request = json_format.ParseDict(document, Request())
    return request


@contextmanager
def collecting(folder: Path, **how: str) -> Iterator[Collector]:
    collector = Collector(folder, **how)
    collector.start()
    try:
        yield collector
    finally:
        collector.kill()
