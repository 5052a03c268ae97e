"""``gotax agent`` as deployed: in its own cgroup, scraped, with pod names and what it sends to.

The API server is the small one of the unit tests. A real one would take a core of the host that is
measured, and the agent asks it only once: the pods of a node are a watch.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from gotax.kubernetes.api import WATCH_S

from bench.cgroups import BenchError, Group, container_id, make_group, trees
from bench.fleet import CGROUP, PROCESSES, die_with_parent
from bench.spans import Reading, Span, times
from tests.unit.kubernetes.apiserver import END, ApiServer, api_server, bookmark, pod

SCRAPED, STREAMING, OTLP = "scraped", "streaming", "otlp"
FORMS = (SCRAPED, STREAMING, OTLP)
GROUP = f"{CGROUP}-agent"
SCRAPE_INTERVAL_S = 15.0
PROGRAM = str(Path(__file__).with_name("inpod.py"))
_NODE = "n1"  # of the API server of the tests
_BOOKMARK_S = 60
_START_WITHIN_S = 60.0
_END_WITHIN_S = 60.0


class Agent:
    """A context manager; ``arguments`` are further flags. ``scrapes`` are the answers so far."""

    def __init__(
        self,
        hz: int,
        log: Path,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-P", PROGRAM),
    ) -> None:
        self._port = free_port()
        listen = f"127.0.0.1:{self._port}"
        self._command = [sys.executable, *program, "agent", "--hz", str(hz)]
        self._command += ["--listen", listen, *arguments]
        self._environment = {**os.environ, **(environment or {})}
        self._log = log
        self._stop = threading.Event()
        self._scraper = threading.Thread(target=self._keep_scraping)
        self._stack = contextlib.ExitStack()
        self.scrapes: list[bytes] = []

    def __enter__(self) -> Agent:
        self.group = make_group(trees(), GROUP)
        self._stack.callback(self.group.remove)
        try:
            self.process = started(self._command, self.group, self._log, self._environment)
            self._stack.callback(end, self.process, signal.SIGTERM)
            self.began_s = time.monotonic()
            self._scraper.start()
            self._stack.callback(self._scraper.join)
            self._stack.callback(self._stop.set)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_ready(self) -> None:
        """Until it answers the first scrape."""
        end_s = time.monotonic() + _START_WITHIN_S
        while self.scrape() is None:
            self.check()
            if time.monotonic() > end_s:
                raise BenchError(f"the agent did not start: {self._last_words()}")
            time.sleep(0.2)

    def check(self) -> None:
        if self.process.poll() is not None:
            raise BenchError(f"the agent ended: {self._last_words()}")

    def _last_words(self) -> str:
        return " ".join(self._log.read_text(errors="replace").split())[-400:]

    def scrape(self) -> bytes | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as r:
                return bytes(r.read())
        except (urllib.error.URLError, OSError):
            return None

    def _keep_scraping(self) -> None:
        while not self._stop.wait(SCRAPE_INTERVAL_S):
            text = self.scrape()
            if text is not None:
                self.scrapes.append(text)

    def follow(self, spans: Sequence[Span]) -> list[Reading]:
        """What it used since its start, until the end of the last span."""
        return follow(self.group, spans, self.began_s, self.check)


def started(
    command: Sequence[str], group: Group, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """A process in the group; standard output and errors go to the log."""

    def prepare() -> None:
        die_with_parent()
        group.join()

    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            start_new_session=True,
            preexec_fn=prepare,
        )


def follow(
    group: Group, spans: Sequence[Span], began_s: float, check: Callable[[], None]
) -> list[Reading]:
    readings = []
    for at_s in times(spans):
        left_s = began_s + at_s - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
        elif at_s != spans[-1].end_s and left_s < -1.0:
            continue  # the host is busy: the readings that are due now suffice
        check()
        cpu_s, now_s = group.cpu_s(), time.monotonic() - began_s
        readings.append(Reading(now_s, cpu_s, group.pss_bytes()))
    return readings


def end(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# What the agent talks to.


@contextlib.contextmanager
def kubernetes(folder: Path, pods: int = PROCESSES) -> Iterator[dict[str, str]]:
    """The environment of an agent that gets the names of the pods of bench.fleet."""
    certificate, key = _certify(folder)
    account = folder / "account"
    account.mkdir(exist_ok=True)  # the agents of a series share a folder
    with api_server() as server:
        server.state = [pod(f"load-{number}", container_id(number)) for number in range(pods)]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.secure(context)
        (account / "token").write_text(server.token)
        (account / "ca.crt").write_bytes(certificate.read_bytes())
        done = threading.Event()
        thread = threading.Thread(target=_keep_watch, args=(server, done))
        thread.start()
        try:
            yield {
                "BENCH_ACCOUNT": str(account),
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "KUBERNETES_SERVICE_PORT": str(server.port),
                "NODE_NAME": _NODE,
            }
        finally:
            done.set()
            thread.join()


def _keep_watch(server: ApiServer, done: threading.Event) -> None:
    """As an API server does: a bookmark every minute, and the end of the watch when it was asked
    for. Without them the agent would connect again after a minute and a half."""
    for minute in itertools.count(1):
        if done.wait(_BOOKMARK_S):
            return
        if server.current is not None:
            is_end = minute % (WATCH_S // _BOOKMARK_S) == 0
            server.say(END if is_end else bookmark(server.version))


@contextlib.contextmanager
def receiving(form: str, folder: Path) -> Iterator[list[str]]:
    """What an agent of this form sends to, over TLS; yields the agent's flags."""
    if form == SCRAPED:
        yield []
        return
    certificate, key = _certify(folder)
    if form == OTLP:
        command = [sys.executable, "-m", "bench.receiver", str(certificate), str(key)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, start_new_session=True, preexec_fn=die_with_parent
        )
        try:
            assert process.stdout
            url = f"https://127.0.0.1:{process.stdout.readline().decode().strip()}"
            yield ["--otlp-endpoint", url, "--otlp-ca", str(certificate)]
        finally:
            end(process, signal.SIGTERM)
        return
    port, http = free_port(), free_port()
    command = [sys.executable, "-P", "-m", "gotax", "collector", "--store", str(folder / "store")]
    command += ["--listen", f"127.0.0.1:{port}", "--http", f"127.0.0.1:{http}"]
    command += ["--cert", str(certificate), "--key", str(key)]
    log = folder / "collector.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        end_s = time.monotonic() + _START_WITHIN_S
        while not _answers(f"http://127.0.0.1:{http}/readyz"):
            if process.poll() is not None or time.monotonic() > end_s:
                raise BenchError(f"the collector did not start: {log.read_text()[-400:]}")
            time.sleep(0.2)
        yield ["--collector", f"127.0.0.1:{port}", "--collector-ca", str(certificate)]
    finally:
        end(process, signal.SIGTERM)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _certify(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "tls.crt", folder / "tls.key"
    if not certificate.exists():
        line = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
            " -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout tls.key -out tls.crt"
        )
        done = subprocess.run(line.split(), cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"openssl cannot make a certificate: {done.stderr.strip()[-300:]}")
    return certificate, key
