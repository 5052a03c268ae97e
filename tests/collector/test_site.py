"""The web page and the HTTP API, over HTTP."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from gotax_collector.http.application import Served
from gotax_collector.http.site import Site
from gotax_collector.query.questions import Questions
from gotax_collector.security.tokens import Tokens

from tests.collector.fleet import filled
from tests.collector.reports import NOW, Sampled, Seen, report, sender, web
from tests.patience import PATIENCE_S

SERVED: list[Served] = []
HOSTILE = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = filled(tmp_path_factory.mktemp("fleet"))
    hostile = Seen(web(HOSTILE, image=HOSTILE), (Sampled(f"main.main;{HOSTILE}", 0, 99),))
    store.insert([report(sender(HOSTILE, HOSTILE), 1, [hostile], start_s=NOW)])
    samples = (Sampled("main.main", 0, 99),)
    unread = Seen(web("unread"), samples, 8, None, None, verdict="unreadable")
    free = Seen(web("free"), samples, 8, 8, None, verdict="unlimited")
    store.insert([report(sender("a9", "n9"), 1, [unread, free], start_s=NOW)])
    SERVED[:] = [Served(Questions(store.connections), lambda: b"up 1\n", lambda: 0.0)]
    served = Site(("127.0.0.1", 0), SERVED[0])
    yield f"http://127.0.0.1:{served.port}"
    served.close()
    store.close()


def get(url: str, authorization: str = "") -> tuple[int, Message, str]:
    request = urllib.request.Request(url, headers={"Authorization": authorization})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def api(site: str, name: str, **parameters: object) -> dict[str, object]:
    status, _, body = get(f"{site}/api/v1/{name}?{urlencode(parameters, doseq=True)}")
    assert status == 200, body
    found: dict[str, object] = json.loads(body)
    return found


class Page(HTMLParser):
    """Tags with their attributes, as a browser would see them, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


PAGES = (
    "/?since=7d",
    "/?q=workload%3Dweb&since=7d&price=0.04",
    f"/workload?since=7d&q={quote('workload=' + json.dumps(HOSTILE))}",
    "/workload?since=7d&q=workload%3Dweb",
    "/workload?q=workload%3Dnobody",
    "/changes?since=7d",
    "/flamegraph?since=7d",
    "/flamegraph.html?since=7d",
    "/flamegraph.html?a=gomaxprocs%3D4&b=gomaxprocs%3D192&since=7d",
    f"/?q={quote(HOSTILE)}",
    f"/{quote(HOSTILE)}",
)


@pytest.mark.parametrize("path", PAGES)
def test_names_of_strangers_are_text(site: str, path: str) -> None:
    """No tag, attribute or script of a page comes from a name, and the policy would stop it."""
    _, headers, body = get(site + path)
    page = Page(body)
    assert not any(tag == "img" for tag, _ in page.tags)
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    data = {"type": "application/json", "id": "profile"}
    assert all(set(attributes) <= {"src"} or attributes == data for attributes in scripts)
    assert "alert(1)" not in "".join(re.findall(r"<script>(.*?)</script>", body, re.S))
    assert all(
        "<" not in text
        for text in re.findall(r"application/json\"[^>]*>(.*?)</script>", body, re.S)
    )
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_main_page(site: str) -> None:
    status, _, body = get(f"{site}/?since=7d")
    page = Page(body)
    assert status == 200
    assert HOSTILE in page.text
    assert "GT001" in page.text
    links = {a["href"] for tag, a in page.tags if tag == "a" and "/workload?" in (a["href"] or "")}
    assert len(links) == 5
    for link in links:
        status, _, body = get(f"{site}{link}")
        assert status == 200
        assert "Time by category" in body


def test_the_workload_page_has_the_comparison(site: str) -> None:
    _, _, body = get(f"{site}/workload?since=7d&q=workload%3Dweb")
    text = " ".join(Page(body).text.split())
    assert "By GOMAXPROCS" in text
    assert re.search(r"47\.\d %\s*\+3\d\.\d pt", text)
    assert "runtime.findRunnable" in body


@pytest.mark.parametrize(("name", "limit"), [("unread", "unknown"), ("free", "none")])
def test_a_limit_that_is_not_known_is_not_none(site: str, name: str, limit: str) -> None:
    """The agent has no number for it, and none that would fit."""
    _, _, body = get(f"{site}/workload?since=7d&q=workload%3D{name}")
    assert f"<b>{limit}</b><span>CPU limit" in body


def test_a_file_of_its_own_needs_nothing_else(site: str) -> None:
    _, headers, body = get(f"{site}/flamegraph.html?since=7d")
    assert not any({"src", "href"} & attributes.keys() for _, attributes in Page(body).tags)
    assert "sha256-" in headers["Content-Security-Policy"]
    assert "runtime.findRunnable" in body


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip, deflate, br", True),
        ("br;q=1.0, GZIP;q=0.8", True),
        ("gzip ; q=1.000", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("xgzip", False),
        ("", False),
    ],
)
def test_pages_are_packed_for_clients_that_take_it(
    site: str, accepted: str, is_packed: bool
) -> None:
    """The same page; a short answer is sent as it is."""
    url = f"{site}/flamegraph?since=7d"
    request = urllib.request.Request(url, headers={"Accept-Encoding": accepted})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        body = response.read()
        assert int(response.headers["Content-Length"]) == len(body)
        assert (response.headers["Content-Encoding"] == "gzip") is is_packed
        assert response.headers["Vary"] == "Accept-Encoding"
    plain = get(url)[2].encode()
    assert (gzip.decompress(body) if is_packed else body) == plain
    assert (len(body) < len(plain) / 2) is is_packed
    short = urllib.request.Request(f"{site}/api/v1/x", headers={"Accept-Encoding": "gzip"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(short, timeout=PATIENCE_S)
    assert json.load(refused.value)["error"]


def test_folded(site: str) -> None:
    _, headers, body = get(f"{site}/flamegraph.folded?since=7d&q=workload%3Dapi")
    lines = sorted(body.splitlines())
    assert headers["Content-Type"].startswith("text/plain")
    assert [line.rsplit(" ", 1)[0] for line in lines] == [
        "main.main;main.serve;encoding/json.Marshal;[user]",
        "runtime.gcBgMarkWorker;[gc/mark-idle]",
        "runtime.mcall;runtime.schedule;runtime.findRunnable;[scheduler/find-work]",
    ]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("top", {"price": 0.04}),
        ("workload", {"q": "workload=web"}),
        ("compare", {"q": "workload=web", "by": "node"}),
        ("changes", {}),
        ("functions", {}),
        ("profile", {}),
        ("diff", {"a": "gomaxprocs=4", "b": "gomaxprocs=192"}),
    ],
)
def test_the_api(site: str, name: str, parameters: dict[str, object]) -> None:
    found = api(site, name, since="7d", **parameters)
    assert found["schema"] == f"gotax.fleet.{name}/v1"
    assert len(found) > 2


def test_price(site: str) -> None:
    found = api(site, "top", since="7d", price="0.04")
    total = found["total"]
    assert isinstance(total, dict)
    assert total["runtime_per_month"] == pytest.approx(total["runtime_cores"] * 0.04 * 730)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/v1/top?q=colour%3Dred", 400, "there is no field"),
        ("/api/v1/top?limit=0", 400, "limit is from 1 to 1000"),
        ("/api/v1/top?price=nan", 400, "price is a number above 0"),
        ("/api/v1/top?sort=name", 400, "sort is one of runtime"),
        ("/api/v1/nothing", 404, "there is no query"),
        ("/api/v1/changes?q=pod%3Dn1&since=7d", 400, "knows nothing of pod"),
        ("/api/v1/top?q=" + "x" * 20_000, 400, "at most 16384 characters"),
        ("/api/v1/compare?work_before=1", 200, "compare"),
        # Each parameter has one form, and comes once.
        ("/api/v1/top?limit=000000001" + "9" * 5000, 400, "limit is from 1 to 1000"),
        ("/api/v1/top?limit=007", 400, "limit is from 1 to 1000"),
        ("/api/v1/top?limit=%2B7", 400, "limit is from 1 to 1000"),
        ("/api/v1/top?limit=%207", 400, "limit is from 1 to 1000"),
        ("/api/v1/top?limit=%D9%A7", 400, "limit is from 1 to 1000"),  # a 7 of other digits
        ("/api/v1/top?limit=1001", 400, "limit is from 1 to 1000"),
        ("/api/v1/top?limit=1000", 200, "rows"),
        ("/api/v1/top?limit=1&limit=2", 400, "limit comes twice"),
        ("/api/v1/top?limt=5", 400, "there is no parameter 'limt'"),
        ("/api/v1/top?price=1_0", 400, "price is a number above 0"),
        ("/api/v1/top?price=inf", 400, "price is a number above 0"),
        ("/api/v1/top?price=0x10", 400, "price is a number above 0"),
        ("/api/v1/top?price=1e-05", 200, "price_per_core_hour"),
        ("/api/v1/changes?work_before=1&work_after=%20", 400, "work_after is a number"),
        ("/api/v1/top?since=24h%20workload=web", 400, "is no time"),
        ("/api/v1/top?since=%D9%A7d", 400, "is no time"),
        ("/api/v1/top?since=0001-01-01T00:00:00%2B23:59", 200, "rows"),
        ("/api/v1/top?q=gomaxprocs%3D%D9%A7", 400, "is no number"),
        ("/api/v1/changes?work_before=1", 400, "go together"),
    ],
)
def test_what_is_not_understood(site: str, path: str, status: int, says: str) -> None:
    found, headers, body = get(site + path)
    assert (found, headers["Content-Type"]) == (status, "application/json")
    assert says in body
    json.loads(body)


@pytest.mark.parametrize("path", ["/?sort=name", "/?since=never", "/?sort=cpu&sort=cpu"])
def test_a_page_refuses_the_same(site: str, path: str) -> None:
    status, _, body = get(site + path)
    assert (status, "<form" in body) == (400, True)


def test_a_page_ignores_the_parameters_of_others(site: str) -> None:
    assert get(f"{site}/?since=7d&utm_source=x")[0] == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("", 401),
        ("Bearer wrong-wrong-wrong", 401),
        ("Bearer good-good-good-good", 200),
        (f"Basic {base64.b64encode(b'me:good-good-good-good').decode()}", 200),
        (f"Basic {base64.b64encode(b'good-good-good-good:').decode()}", 401),
        ("Basic ***", 401),
    ],
)
def test_with_tokens_only_who_has_one_sees_the_fleet(
    site: str, tmp_path: Path, header: str, status: int
) -> None:
    assert site  # its store is the one of this process
    file = tmp_path / "tokens"
    file.write_text("good-good-good-good\n")
    tokens = Tokens(str(file), time.time)
    guarded = Site(
        ("127.0.0.1", 0),
        replace(SERVED[0], guard=tokens.admit),
    )
    try:
        url = f"http://127.0.0.1:{guarded.port}"
        found, headers, _ = get(f"{url}/api/v1/top", header)
        assert found == status
        assert ("Basic" in headers.get("WWW-Authenticate", "")) == (status == 401)
        assert get(f"{url}/healthz")[0] == 200
    finally:
        guarded.close()


def test_probes_and_metrics(site: str) -> None:
    assert get(f"{site}/metrics")[2] == "up 1\n"
    assert get(f"{site}/healthz")[0] == 200
    assert get(f"{site}/readyz")[0] == 200
    assert get(f"{site}/static/site.css")[0] == 200
    assert get(f"{site}/static/..%2Fdrawing.py")[0] == 404
