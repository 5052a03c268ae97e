"""The web page under clients that are silent, slow, many, gone, or of another site."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gotax_collector.http.application import Served
from gotax_collector.http.site import PAGES, Site, SiteOptions
from gotax_collector.http.tls import WebCertificate, WebCertificateError, WebTls
from gotax_collector.http.turns import TurnLimits
from gotax_collector.query import database as database_module
from gotax_collector.query.database import (
    CURRENT,
    Budget,
    BusyError,
    CancelledError,
    Database,
    Question,
)
from gotax_collector.query.questions import Questions
from gotax_collector.storage.clickhouse import QueryError
from gotax_collector.storage.store import ClickHouseStore

from tests.collector.fleet import filled
from tests.collector.test_site import get
from tests.patience import PATIENCE_S
from tests.stream.collecting import eventually

trustme = pytest.importorskip("trustme")

BEGINNINGS = (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nA: ")
ENDLESS = "SELECT count() FROM numbers(1000000000000) WHERE cityHash64(number) = 1"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseStore]:
    store = filled(tmp_path_factory.mktemp("fleet"))
    yield store
    store.close()


@contextmanager
def serving(
    store: ClickHouseStore, options: SiteOptions | None = None, **changed: Any
) -> Iterator[Site]:
    served = Served(Questions(store.connections), lambda: b"up 1\n", lambda: 0.0)
    site = Site(("127.0.0.1", 0), replace(served, **changed), options)
    try:
        yield site
    finally:
        site.close()


def url(site: Site, path: str = "/healthz") -> str:
    return f"http://127.0.0.1:{site.port}{path}"


def connected(site: Site) -> socket.socket:
    return socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE_S)


def test_a_hundred_silent_connections_keep_no_probe_away(fleet: ClickHouseStore) -> None:
    """Silent, with half a header, and with a header that never ends."""
    with serving(fleet) as site, ExitStack() as stack:
        for number in range(150):
            held = stack.enter_context(connected(site))
            held.sendall(
                (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nA: ")[number % 3]
            )
        for _ in range(3):
            assert get(url(site))[0] == 200
            assert get(url(site, "/api/v1/top"))[0] == 200
        assert site.relay.connections <= PAGES.per_peer
        assert site.relay.counters.closed["full"] >= 80


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"POST / HTTP/1.1\r\n"])
def test_a_header_has_a_deadline(fleet: ClickHouseStore, sent: bytes) -> None:
    options = SiteOptions(limits=replace(PAGES, new_s=0.3))
    with serving(fleet, options) as site, connected(site) as held:
        held.sendall(sent)
        assert held.recv(1) == b""
        assert site.relay.counters.closed["new"] == 1


def test_a_connection_that_waits_for_another_request_has_the_same_deadline(
    fleet: ClickHouseStore,
) -> None:
    """Though it has asked before. The first request has to arrive in time."""
    options = SiteOptions(limits=replace(PAGES, new_s=3.0))
    with serving(fleet, options) as site:
        kept = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE_S)
        kept.request("GET", "/healthz")
        assert kept.getresponse().read() == b"ok\n"
        assert kept.sock.recv(1) == b""
        kept.close()


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/top"])
def test_a_body_that_never_ends_is_cut_off(fleet: ClickHouseStore, path: str) -> None:
    """No page has a use for one."""
    with serving(fleet) as site, connected(site) as held:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
        held.sendall(head.encode())
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 100 << 20:
                sent += held.send(bytes(1 << 16))
        assert sent < 16 << 20  # and most of it is in buffers of the kernel


def test_who_does_not_take_the_answer_is_closed(fleet: ClickHouseStore) -> None:
    """An answer of 30 MB that is not read holds its memory for so long at most."""
    options = SiteOptions(limits=replace(PAGES, idle_write_s=0.3))
    with (
        serving(fleet, options, metrics=lambda: b"x" * (30 << 20)) as site,
        connected(site) as held,
    ):
        held.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: site.relay.counters.closed["stalled"] == 1)
        eventually(lambda: site.relay.connections == 0)


def test_answers_that_wait_to_be_taken_have_a_bound(fleet: ClickHouseStore) -> None:
    """The oldest goes for a newer one."""
    options = SiteOptions(unsent_bytes=50 << 20)
    with (
        serving(fleet, options, metrics=lambda: b"x" * (20 << 20)) as site,
        ExitStack() as stack,
    ):
        for _ in range(4):
            held = stack.enter_context(connected(site))
            held.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert held.recv(1) == b"H"
        eventually(lambda: site.relay.counters.closed["stalled"] == 2)


def test_a_whole_request_has_a_deadline(
    fleet: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The query that it waits for is stopped."""
    monkeypatch.setattr(Questions, "top", lambda self, *_: self.database.rows(ENDLESS, {}))
    with (
        serving(fleet, SiteOptions(request_s=0.5)) as site,
        pytest.raises((OSError, http.client.HTTPException)),
    ):
        get(url(site, "/api/v1/top"))
    eventually(lambda: not running(fleet))


def running(store: ClickHouseStore) -> list[str]:
    """Of the endless query. The library may keep the handle of one that was stopped."""
    rows = store.connections.rows("SELECT query FROM system.processes WHERE is_cancelled = 0")
    return [row["query"] for row in rows if "numbers(1000000000000)" in row["query"]]


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_a_query_ends_with_its_client(
    fleet: ClickHouseStore, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """And its turn goes to the next."""
    monkeypatch.setattr(Questions, "functions", lambda self, *_: self.database.rows(ENDLESS, {}))
    with serving(fleet, turns=TurnLimits(at_once=1)) as site:
        held = connected(site)
        held.sendall(b"GET /api/v1/functions HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: len(running(fleet)) == 1)
        if how == "half":
            held.shutdown(socket.SHUT_WR)
        elif how == "reset":
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if how != "half":
            held.close()
        eventually(lambda: not running(fleet))
        assert get(url(site, "/api/v1/top"))[0] == 200
        held.close()


class Blocked:
    """Questions that wait until ``free``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = threading.Event()
        self.most = self.now = 0
        self._lock = threading.Lock()
        usual = Questions.top

        def top(questions: Questions, *arguments: Any) -> Any:
            with self._lock:
                self.now += 1
                self.most = max(self.most, self.now)
            try:
                assert self.free.wait(PATIENCE_S)
                return usual(questions, *arguments)
            finally:
                with self._lock:
                    self.now -= 1

        monkeypatch.setattr(Questions, "top", top)


def test_sixty_questions_at_once_wait_or_are_refused(
    fleet: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two run. Sixteen of one address wait. The others hear when to come again."""
    blocked = Blocked(monkeypatch)
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        status, headers, body = get(url(site, "/api/v1/top"))
        answers.append((status, str(headers["Retry-After"])))
        json.loads(body)

    with serving(fleet, turns=TurnLimits(wait_s=PATIENCE_S)) as site:
        threads = [threading.Thread(target=ask, daemon=True) for _ in range(60)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(answers) == 60 - 2 - 16)
        assert set(answers) == {(503, "5")}
        assert get(url(site))[0] == get(url(site, "/metrics"))[0] == 200
        status, _, page = get(url(site, "/"))
        assert (status, "Other questions are being answered" in page) == (503, True)
        blocked.free.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert sorted(answers)[:18] == [(200, "None")] * 18
        assert blocked.most == 2
        assert get(url(site, "/api/v1/top"))[0] == 200


def test_who_waits_too_long_is_refused(
    fleet: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked(monkeypatch)
    with serving(fleet, turns=TurnLimits(at_once=1, wait_s=0.2)) as site, connected(site) as first:
        first.sendall(b"GET /api/v1/top HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: blocked.now == 1)
        assert get(url(site, "/api/v1/top"))[0] == 503
        blocked.free.set()
        assert first.recv(12) == b"HTTP/1.1 200"


def test_a_refused_parameter_needs_no_turn(
    fleet: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = Blocked(monkeypatch)
    with serving(fleet, turns=TurnLimits(at_once=1)) as site, connected(site) as first:
        first.sendall(b"GET /api/v1/top HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: blocked.now == 1)
        assert get(url(site, "/api/v1/top?colour=red"))[0] == 400
        blocked.free.set()


# --- memory -------------------------------------------------------------------------------------


def test_the_budget_is_waited_for_and_not_for_ever() -> None:
    budget = Budget(wait_s=0.05)
    with budget.take(1, None), budget.take(1, None), pytest.raises(BusyError), budget.take(1, None):
        pass
    with budget.take(2, None), pytest.raises(BusyError), budget.take(1, None):
        pass
    with budget.take(2, None):
        pass


def test_who_has_left_waits_for_no_memory() -> None:
    question = Question()
    budget = Budget()
    with budget.take(2, None):
        question.cancel()
        with pytest.raises(CancelledError), budget.take(1, question):
            pass


def test_a_query_that_needs_more_memory_runs_again_alone(
    fleet: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the whole budget, and not a third time."""
    asked: list[int] = []

    def rows(_: str, __: object, settings: dict[str, int]) -> list[dict[str, Any]]:
        asked.append(settings["max_memory_usage"])
        raise QueryError("Code: 241. DB::Exception: memory limit exceeded")

    monkeypatch.setattr(fleet.connections, "rows", rows)
    with pytest.raises(QueryError):
        Database(fleet.connections).rows("SELECT 1", {})
    memory = fleet.connections.address.memory_bytes
    assert asked == [memory // 4, memory // 2]


def test_an_answer_has_a_bound_too(fleet: ClickHouseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the engine, so that not all of it comes here first."""
    monkeypatch.setattr(database_module, "RESULT_BYTES_MAX", 1000)
    with pytest.raises(QueryError, match="Limit for result"):
        Database(fleet.connections).rows("SELECT number FROM numbers(100000)", {})


def test_a_cancelled_question_asks_nothing_more(fleet: ClickHouseStore) -> None:
    question = Question()
    question.cancel()
    token = CURRENT.set(question)
    try:
        with pytest.raises(CancelledError):
            Database(fleet.connections).rows("SELECT 1", {})
    finally:
        CURRENT.reset(token)


# --- names and certificates ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9747", 200),
        ("[::1]:9747", 200),
        ("10.1.2.3", 200),
        ("localhost:1", 200),
        ("LOCALHOST.", 200),
        ("gotax.localhost", 200),
        ("fleet.example.com:9747", 200),
        ("evil.example.com", 421),
        ("fleet.example.com.evil.com", 421),
        ("127.0.0.1.evil.com", 421),
        ("evil.com:127", 421),
        ("", 421),
    ],
)
def test_without_a_token_only_own_names_are_answered(
    fleet: ClickHouseStore, host: str, status: int
) -> None:
    """A page of evil.example.com whose name has this address now could read the fleet."""
    with serving(fleet, hosts=("Fleet.Example.com",)) as site:
        for path, expected in (("/api/v1/top", status), ("/", status), ("/healthz", 200)):
            request = urllib.request.Request(url(site, path), headers={"Host": host})
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                    found = response.status
            except urllib.error.HTTPError as error:
                found = error.code
            assert found == expected, path


def test_with_a_token_every_name_is_answered(fleet: ClickHouseStore) -> None:
    """A browser does not send it to another name."""
    accept: Callable[[str], None] = lambda _: None  # noqa: E731
    with serving(fleet, guard=accept) as site:
        request = urllib.request.Request(url(site, "/api/v1/top"), headers={"Host": "any.name"})
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            assert response.status == 200


def certificate(folder: Path, authority: Any) -> WebCertificate:
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "key")
    (folder / "chain").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    return WebCertificate(str(folder / "chain"), str(folder / "key"))


def test_tls_for_the_page_and_a_renewed_certificate(fleet: ClickHouseStore, tmp_path: Path) -> None:
    """A chain without its key changes nothing."""
    old, new = trustme.CA(), trustme.CA()

    def reads(authority: Any) -> bool:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        place = f"https://127.0.0.1:{site.port}/healthz"
        try:
            with urllib.request.urlopen(place, timeout=PATIENCE_S, context=context) as response:
                return bool(response.status == 200)
        except urllib.error.URLError:
            return False

    tls = WebTls(certificate(tmp_path, old))
    with serving(fleet, SiteOptions(tls=tls)) as site:
        assert reads(old)
        key = (tmp_path / "key").read_bytes()
        certificate(tmp_path, new)
        new_key = (tmp_path / "key").read_bytes()
        (tmp_path / "key").write_bytes(key)
        tls.refresh()
        assert (reads(old), reads(new)) == (True, False)
        (tmp_path / "key").write_bytes(new_key)
        tls.refresh()
        assert (reads(old), reads(new)) == (False, True)
        with connected(site) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert plain.recv(100)[:4] != b"HTTP"


def test_certificates_of_the_page_that_cannot_be_used(tmp_path: Path) -> None:
    files = certificate(tmp_path, trustme.CA())
    (tmp_path / "key").write_text("no key")
    with pytest.raises(WebCertificateError, match="cannot use"):
        WebTls(files)
    (tmp_path / "key").unlink()
    with pytest.raises(WebCertificateError, match="cannot read"):
        WebTls(files)


def test_probes_have_a_port_of_their_own(fleet: ClickHouseStore) -> None:
    with serving(fleet, SiteOptions(is_of_probes=True), store_failing_s=lambda: 99.0) as site:
        assert get(url(site))[0] == 200
        assert get(url(site, "/readyz"))[0] == 503
        assert get(url(site, "/metrics"))[2] == "up 1\n"
        assert get(url(site, "/"))[0] == get(url(site, "/api/v1/top"))[0] == 404
