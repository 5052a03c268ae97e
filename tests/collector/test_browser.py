"""The pages in a real browser: they are drawn, nothing is refused, and no name becomes markup."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from gotax_collector.http.application import Served
from gotax_collector.http.site import Site
from gotax_collector.query.questions import Questions

from tests.collector import browser
from tests.collector.browser import CHROMIUM
from tests.collector.fleet import filled
from tests.collector.reports import NOW, Sampled, Seen, report, sender, web
from tests.patience import PATIENCE_S

# A new profile may open pages of the browser's own, whose policies refuse some of what is in them.
OF_THE_BROWSER = re.compile(r"source: (chrome|chrome-\w+|devtools)://")
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(autouse=True)
def browser_is_there() -> None:
    browser.needed()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = filled(tmp_path_factory.mktemp("fleet"))
    hostile = Seen(web(HOSTILE), (Sampled(f"main.main;{HOSTILE}", 0, 99),))
    store.insert([report(sender(HOSTILE, HOSTILE), 1, [hostile], start_s=NOW)])
    served = Site(("127.0.0.1", 0), Served(Questions(store.connections), lambda: b"", lambda: 0.0))
    yield f"http://127.0.0.1:{served.port}"
    served.close()
    store.close()


def browse(url: str, profile: Path, *options: str) -> tuple[str, str]:
    """(the document as the browser has it, what it complains of)."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={profile}", "--window-size=1280,1400", "--enable-logging=stderr"),
            *(*options, url),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, "\n".join(line for line in said if not OF_THE_BROWSER.search(line))


@pytest.mark.parametrize(
    "path",
    [
        "/?since=7d",
        "/workload?since=7d&q=workload%3Dweb",
        "/flamegraph?since=7d",
        "/changes",
        "/nodes?since=7d",
    ],
)
def test_pages_are_understood(site: str, path: str, tmp_path: Path) -> None:
    document, complaints = browse(site + path, tmp_path, "--dump-dom")
    assert not complaints
    assert "taken" not in re.findall(r"<title>(.*?)</title>", document)[0]
    assert "<img" not in document
    assert 'src="x"' not in document


def test_the_main_page_shows_the_fleet(site: str, tmp_path: Path) -> None:
    document, _ = browse(f"{site}/?since=7d", tmp_path, "--dump-dom")
    rows = re.findall(r"<tr[ >].*?</tr>", document, re.S)
    assert len(rows) == 4  # the head, and three workloads
    assert "web" in rows[1]
    assert "GT001" in rows[1]


def test_what_a_policy_refuses_is_noticed(tmp_path: Path) -> None:
    """The tests here would see it."""
    page = tmp_path / "page.html"
    policy = "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">"
    page.write_text(f"{policy}<title>page</title><script>document.title = 'run'</script>")
    document, complaints = browse(page.as_uri(), tmp_path / "profile", "--dump-dom")
    assert "<title>page</title>" in document
    assert "Content Security Policy" in complaints


def test_a_flame_graph_of_a_file_zooms(site: str, tmp_path: Path) -> None:
    """Its own script and style are let through, and the script runs: it zooms here."""
    text = urlopen(f"{site}/flamegraph.html?since=7d&q=workload%3Dweb").read().decode()
    page = tmp_path / "page.html"
    page.write_text(text)
    with browser.browsing("--force-prefers-reduced-motion") as window:
        window.open(page.as_uri())
        window.run(
            "const g = window.graph, t = g.tree; g.zoomTo(g.main, [...t.name].findIndex("
            "(n) => t.names[n] === 'runtime.schedule'))"
        )
        drawn = window.run(
            "const g = window.graph; return [...g.main.boxes(100)].map("
            "(b) => [g.tree.label(b.node), Math.round(b.w)])"
        )
        assert ["runtime.schedule", 100] in drawn
        assert len(drawn) == 4
        assert [entry for entry in window.complaints() if not OF_THE_BROWSER.search(entry)] == []


@pytest.mark.parametrize(("scheme", "expected"), [("light", "251"), ("dark", "20")])
def test_both_colour_schemes(site: str, tmp_path: Path, scheme: str, expected: str) -> None:
    """The page's own style sheet, asked by the browser for what it makes of the background."""
    page = tmp_path / "page.html"
    style = urlopen(f"{site}/static/theme.css").read().decode()
    say = "document.title = getComputedStyle(document.body).backgroundColor"
    page.write_text(f"<title></title><style>{style}</style><body><script>{say}</script>")
    options = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    document, _ = browse(page.as_uri(), tmp_path / "profile", "--dump-dom", *options)
    assert f"<title>rgb({expected}," in document
