"""What a person reads on the pages, in a real browser, of a fleet with a story (story.py)."""

from __future__ import annotations

import re
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from urllib.parse import quote_plus
from urllib.request import urlopen

import pytest
from gotax_collector.http.application import Served
from gotax_collector.http.site import Site
from gotax_collector.query.questions import Questions

from tests.collector import browser, story
from tests.collector.browser import Browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    browser.needed()
    with ExitStack() as stack:
        store = stack.enter_context(closing(story.filled(tmp_path_factory.mktemp("story"))))
        served = Served(
            Questions(store.connections), lambda: b"", lambda: 0.0, clock=lambda: story.UNTIL + 5.0
        )
        page = stack.enter_context(closing(Site(("127.0.0.1", 0), served)))
        yield f"http://127.0.0.1:{page.port}"


@pytest.fixture(scope="module")
def window(site: str) -> Iterator[Browser]:
    assert site
    with browser.browsing() as opened:
        yield opened


def minute(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M")


def workload(name: str, since: str = "7d") -> str:
    return f"/workload?since={since}&q=workload%3D{name}"


def test_a_roll_out_over_sizes_of_nodes_is_no_change_of_gomaxprocs(
    site: str, window: Browser
) -> None:
    """The image came with other nodes: most containers had 4 CPUs before and 192 after."""
    window.open(f"{site}/changes?since=7d")
    rows = [row for row in window.texts("table.changes tbody tr") if "shop/catalog" in row]
    assert sorted(row.split("catalog:2 ")[1].split(" CPUs")[0] for row in rows) == ["192", "4"]
    for row in rows:
        assert "image registry/catalog:1 → registry/catalog:2" in row
        assert "GOMAXPROCS" not in row
        change = re.search(r"([+-]\d+\.\d) pt", row)
        assert change is not None
        assert abs(float(change[1])) < 1
        assert "< 0.001" not in row


def test_what_ran_on_other_nodes_is_not_compared(site: str, window: Browser) -> None:
    window.open(f"{site}/changes?since=7d")
    (row,) = (row for row in window.texts("table.changes tbody tr") if "shop/moved" in row)
    assert "image registry/moved:1 → registry/moved:2" in row
    assert "Not compared: it ran on nodes with 4 CPUs before, and with 192 CPUs after." in row
    assert " pt" not in row


def test_a_change_of_gomaxprocs_on_the_same_node_is_one(site: str, window: Browser) -> None:
    window.open(f"{site}/changes?since=7d")
    (row,) = (row for row in window.texts("table.changes tbody tr") if "GOMAXPROCS" in row)
    assert row.startswith(minute(story.ROLLED_OUT // 3600 * 3600))
    assert re.search(r"shop/tuned app GOMAXPROCS 192 → 4 192 CPUs .* -2[67]\.\d pt < 0\.001", row)


def test_a_gap_is_a_gap_and_half_an_hour_no_hill(site: str, window: Browser) -> None:
    """Every container uses half a core all the time, whatever part of an hour was reported."""
    window.open(site + workload("mended"))
    text = window.text("main")
    assert "The highest point is 0.50 cores." in text
    since, until = story.STOPPED // 3600 * 3600, story.RETURNED // 3600 * 3600
    assert f"Grey: no agent reported from {minute(since)} to {minute(until)} UTC." in text
    (gap,) = window.boxes(".chart .gap")
    assert gap["width"] > 700
    (top,) = window.run(
        "return [...document.querySelectorAll('.chart path')].slice(0, 1)"
        ".map(p => p.getAttribute('d'))"
    )
    blocks = [block for block in top.split("M") if block]
    assert len(blocks) == 2
    for block in blocks:
        heights = {float(height) for height in re.findall(r"V([\d.]+)H", block)}
        assert heights <= {0.0, 0.1, 0.2}  # of 180: all as high as the highest
    ends = [
        (float(block.split()[0]), float(re.findall(r"H([\d.]+)", block)[-1])) for block in blocks
    ]
    assert (ends[0][0], ends[1][1]) == (0, 1000)
    assert ends[1][0] - ends[0][1] > 700  # nothing is drawn between them


def test_averages_are_over_what_was_reported(site: str, window: Browser) -> None:
    window.open(site + workload("catalog"))
    assert window.texts(".tile b")[:2] == ["8.00", "4.00"]
    assert re.search(r"UTC, \d+ h( \d+ min)? of that time reported", window.text("h1"))


def findings(window: Browser) -> list[str]:
    return window.texts(".finding h3, table.findings tr")


def test_a_finding_that_was_mended_has_ended(site: str, window: Browser) -> None:
    """Seven minutes ago, in a container that still runs."""
    window.open(site + workload("mended"))
    assert window.texts("h2")[0] == "Findings that ended"
    (row,) = findings(window)
    assert row.startswith("GT001 ")
    assert re.search(r"fixed 7 min ago, saved 0\.13\d cores of 0\.2 predicted", row)
    assert re.search(r"0\.1[78]\d? → 0\.04\d+ cores\)", row)
    assert row.endswith(f"last seen {minute(story.MENDED)}")
    assert "Set" not in row
    assert "saving" not in window.text("main")


def test_a_finding_ends_with_its_containers(site: str, window: Browser) -> None:
    window.open(site + workload("gone"))
    (row,) = findings(window)
    assert "none of the containers that had it runs any more" in row
    assert row.endswith(f"last seen {minute(story.GONE)}")


def test_too_few_samples_do_not_stand_beside_what_they_replaced(site: str, window: Browser) -> None:
    window.open(site + workload("restarted"))
    held, ended = findings(window)
    assert held.startswith("GT014 ")
    assert held.endswith("now, 1 container")
    assert ended.startswith("GT001 ")
    assert "too few samples since then to tell" in ended


def test_a_finding_links_to_what_its_code_means(site: str, window: Browser) -> None:
    window.open(site + workload("throttled"))
    links = window.run(
        "return [...document.querySelectorAll('.finding h3 a')].map(a => a.getAttribute('href'))"
    )
    assert links == ["/codes#GT007", "/codes#GT009"]
    window.open(site + links[0])
    assert window.texts(":target") == ["GT007: throttled by bursts"]
    assert window.text("h1") == "Findings by code"
    targets = window.run(
        "return [...document.querySelectorAll('main a')].filter("
        "a => !document.getElementById(a.getAttribute('href').slice(1))).map(a => a.outerHTML)"
    )
    assert targets == []  # all links are to other places of this page


def test_every_warning_is_drawn_as_one(site: str, window: Browser) -> None:
    window.open(f"{site}/?since=7d")
    assert window.texts(".badge.warning") == ["GT007"]
    assert sorted(window.texts(".badge:not(.warning):not(.ended)")) == ["GT009", "GT014"]
    assert window.texts(".fleet .badge.ended") == ["GT001"] * 3
    window.open(site + workload("throttled"))
    assert [row.split()[0] for row in findings(window)] == ["GT007", "GT009"]
    assert window.texts(".badge.warning") == ["GT007"]


def test_the_list_says_in_words_what_holds(site: str, window: Browser) -> None:
    """The title of the first finding, warnings in colour; badges explain themselves."""
    window.open(f"{site}/?since=7d")
    names = window.texts("table.fleet td.name")
    said = dict(zip(names, window.texts("table.fleet td.what > :first-child"), strict=True))
    assert said["shop/throttled"] == "throttled by bursts"
    assert said["shop/mended"] == "✓ mended or gone"
    assert said["gateway.service"] == "✓ nothing to do"
    assert window.texts("td.what .sure") == ["throttled by bursts"]
    titles = window.run("return [...document.querySelectorAll('a .badge')].map(b => b.title)")
    assert "throttled by bursts (warning, holds now). wait" in titles
    assert window.run("return document.querySelector('a:has(.badge.warning)').href") == window.run(
        "return [...document.links].find(a => a.textContent.endsWith('throttled')).href"
    )


def test_the_difference_is_of_its_two_selections(site: str, window: Browser) -> None:
    """Its functions and its folded stacks are not those of the whole fleet."""
    before, after = "workload=mended gomaxprocs=192", "workload=mended gomaxprocs=1"
    window.open(f"{site}/flamegraph?since=7d&a={quote_plus(before)}&b={quote_plus(after)}")
    rows = window.texts(".fg-table tbody tr")
    shares = {row.split()[0]: re.findall(r"(\d+\.\d+) %", row)[:2] for row in rows}
    flat = {
        name: [float(part) for part in both] for name, both in shares.items() if both[0] != "0.00"
    }
    assert flat == {
        "main.serve": pytest.approx([64, 91], abs=1),
        "runtime.findRunnable": pytest.approx([36, 9], abs=1),
    }
    folded = urlopen(window.run("return [...document.links].find(a => a.text == 'folded').href"))
    lines = sorted(folded.read().decode().splitlines())
    assert [line.rsplit(" ", 2)[0] for line in lines] == [
        "main.main;main.serve;[user]",
        "runtime.mcall;runtime.schedule;runtime.findRunnable;[scheduler/find-work]",
    ]
    cpu_s = [sum(int(line.split()[side]) for line in lines) / 1e6 for side in (1, 2)]
    assert cpu_s[1] == pytest.approx((story.UNTIL - story.MENDED) * story.EACH, rel=1e-3)
    assert cpu_s[0] > 100 * cpu_s[1]
    assert [window.run(f"return document.querySelector('[name={s}]').value") for s in "ab"] == [
        before,
        after,
    ]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("gateway", ["gateway.service"]),
        ("GATE", ["gateway.service"]),
        ("shop/gon", ["shop/gone"]),
        ("shop n192", []),
        ("unit/gate*service", ["gateway.service"]),
        ("100%_", []),
    ],
)
def test_words_search(site: str, window: Browser, words: str, found: list[str]) -> None:
    window.open(f"{site}/?since=7d")
    window.submit("q", words)
    assert window.texts("table.fleet td.name") == found
    if not found:
        assert "No Go container was seen in that selection and time." in window.text("main")


@pytest.mark.parametrize(
    ("path", "typed", "says"),
    [
        ("/", "colour=red", "There is no field 'colour': there are namespace, kind, workload"),
        ("/changes", "gomaxprocs>8", "'gomaxprocs>8' is not understood: a field takes = or !="),
        ("/changes", "pod=web-1", "This question knows nothing of pod"),
        ("/flamegraph", 'workload="web', "has no closing quote"),
    ],
)
def test_what_is_not_understood_can_be_typed_again(
    site: str, window: Browser, path: str, typed: str, says: str
) -> None:
    """A sentence, with what was typed and the way on; and no success for programs."""
    window.open(f"{site}{path}?since=7d")
    window.submit("q", typed)
    assert says in window.text("main")
    assert window.run("return document.querySelector('[name=q]').value") == typed
    assert window.texts("nav a") == ["Workloads", "Nodes", "Changes", "Flame graph", "Codes"]
    address = window.run("return location.href")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urlopen(address)
    assert refused.value.code == 400
    window.submit("q", "tuned")
    assert "not understood" not in window.text("main")


def test_a_time_that_is_none_does_not_stay_in_the_form(site: str, window: Browser) -> None:
    window.open(f"{site}/?since=yesterday")
    assert "'yesterday' is no time: say 90m, 24h" in window.text("main")
    window.submit("q", "gateway")
    assert window.texts("td.name") == ["gateway.service"]


def test_no_page_is_refused_anything(site: str, window: Browser) -> None:
    window.complaints()
    for path in ("/?since=7d", "/changes?since=7d", workload("mended"), workload("tuned", "1h")):
        window.open(site + path)
    assert [text for text in window.complaints() if "favicon" not in text] == []


def test_a_finding_has_its_evidence_and_its_patches(site: str, window: Browser) -> None:
    """One click from the list: cause, evidence, and the patch in each form, with a button."""
    window.open(f"{site}/?since=7d")
    window.run("document.querySelector('a[title$=\" throttled\"]').click()")
    browser.wait(window, "return document.querySelector('.finding.warning') !== null")
    (found, _) = window.texts(".finding")
    assert "throttled in 40 of 600 periods <b>GOMAXPROCS</b> is 192" in found
    assert "192, the number of CPUs, Go's default; 1 would fit" in found
    assert "shop/throttled-n192a/app on node n192a (192 CPUs)" in found
    assert window.texts(".patch figcaption") == [
        "Pod template, from the CPU limit (downward API) Copy",
        "systemd drop-in Copy",
        "go.mod Copy",
    ]
    window.run("document.execCommand = () => true; document.querySelector('.copy').click()")
    browser.wait(window, "return document.querySelector('.copy').textContent === 'Copied'")
    assert str(window.run("return getSelection().toString()")).startswith("# apply it\nspec:")


def test_nodes_are_side_by_side_and_their_difference_one_click_further(
    site: str, window: Browser
) -> None:
    window.open(site + workload("catalog"))
    rows = window.texts("table.sides:first-of-type tbody tr")
    assert sorted(row.split()[0] for row in rows[:4]) == ["n192a", "n192b", "n4a", "n4b"]
    assert any(row.startswith("catalog-2-n4a-0 4 4 0.500 ") for row in rows)
    window.run("document.querySelector('form.compare button').click()")
    browser.wait(window, "return document.querySelector('#changed') !== null")
    (says,) = window.texts("#changed")
    assert re.search(
        r"take (7\.9|8\.0) % before and 3[56]\.\d % after: 2[78]\.\d points more"
        r" \(95 % interval \+2[78]\.\d to \+2[89]\.\d\)",
        says,
    )
    assert "Different, too: GOMAXPROCS 4 → 192, CPUs of the node 4 → 192." in says
    assert [row.split()[0] for row in window.texts(".two-sides tbody tr")] == ["before", "after"]
    kept = window.run(
        "return [...document.querySelectorAll('.end a, nav a:nth-child(4)')].map(a => a.href)"
    )
    assert len(kept) == 4
    assert all("a=" in link and "b=" in link and "node%3Dn4" in link for link in kept)


def test_a_roll_out_is_marked_in_the_chart(site: str, window: Browser) -> None:
    """Once, though it came to nodes of two sizes; and times are local where that is asked for."""
    window.open(site + workload("catalog"))
    assert window.texts(".marks text") == ["1"]
    (mark,) = window.texts(".marked li")
    at = minute(story.ROLLED_OUT // 3600 * 3600)
    assert mark == f"{at} image registry/catalog:1 → registry/catalog:2"
    window.open(site + workload("tuned"))
    assert window.texts(".marked li") == [f"{at} GOMAXPROCS 192 → 4"]
    assert window.texts(".scale text") == ["0.25", "0.5"]
    window.run("document.getElementById('zone').click()")
    assert "local time" in window.text(".plot + .note")
    offset = window.run("return new Date().getTimezoneOffset()")
    local = minute(story.ROLLED_OUT // 3600 * 3600 - int(offset) * 60)
    assert window.texts(".marked li") == [f"{local} GOMAXPROCS 192 → 4"]
    window.run("document.getElementById('zone').click()")


def test_nodes_of_every_size(site: str, window: Browser) -> None:
    window.open(f"{site}/nodes?since=7d")
    rows = window.texts("table.nodes tbody tr")
    assert [row.split()[:2] for row in rows[:2]] == [["n192a", "192"], ["n192b", "192"]]
    assert sorted(row.split()[0] for row in rows[2:]) == ["n4a", "n4b"]
    assert all("0.1.0 6.1.0 1 min ago" in row for row in rows)
    assert window.texts(".facets a") == ["4 CPUs 2", "192 CPUs 2"]
    window.run("document.querySelector('.facets a').click()")
    browser.wait(window, "return document.querySelectorAll('table.nodes tbody tr').length === 2")


def test_facets_narrow_the_list(site: str, window: Browser) -> None:
    window.open(f"{site}/?since=7d&price=0.04")
    assert window.texts(".facets a")[:3] == ["GT007 1", "GT009 1", "GT014 1"]
    window.run("document.querySelector('.facets a').click()")
    browser.wait(window, "return document.querySelectorAll('table.fleet tbody tr').length === 1")
    assert window.texts("table.fleet td.name") == ["shop/throttled"]
    assert window.run("return document.querySelector('input[name=price]').value") == "0.04"


def test_the_search_box_completes_with_the_keyboard(site: str, window: Browser) -> None:
    window.open(f"{site}/?since=7d")

    def type_(text: str) -> None:
        window.run(
            "const box = document.querySelector('input[name=q]'); box.focus();"
            "box.value = arguments[0]; box.dispatchEvent(new Event('input'))",
            text,
        )
        browser.wait(window, "return !document.querySelector('.names').hidden")

    def press(key: str) -> None:
        window.run(
            "document.activeElement.dispatchEvent(new KeyboardEvent('keydown',"
            " {key: arguments[0], bubbles: true, cancelable: true}))",
            key,
        )

    type_("namespace=shop CATA")
    assert window.texts(".names li") == ["workload catalog"]
    press("ArrowDown")
    chosen = window.run("return document.activeElement.getAttribute('aria-activedescendant')")
    assert window.texts(f"#{chosen}") == ["workload catalog"]
    press("Enter")
    value = window.run("return document.activeElement.value")
    assert value == "namespace=shop workload=catalog "
    type_("n19")
    assert window.texts(".names li") == ["node n192a", "node n192b"]
    press("ArrowUp")
    press("Escape")
    assert window.run("return document.querySelector('.names').hidden")


@pytest.mark.parametrize("path", ["/", "/nodes", "/workload", "/flamegraph", "/changes"])
def test_a_phone_shows_all_of_it(site: str, window: Browser, path: str) -> None:
    """Tables scroll by themselves; the page does not."""
    query = "&q=workload%3Dthrottled" if path == "/workload" else ""
    window.set_size(390, 844)
    window.open(f"{site}{path}?since=7d{query}")
    assert window.run("return document.documentElement.scrollWidth") <= window.run(
        "return innerWidth"
    )
    window.set_size(1280, 1600)


def visible_again(window: Browser) -> None:
    """A page asks at once when its tab is shown, and every half a minute as long as it is."""
    window.run("document.dispatchEvent(new Event('visibilitychange'))")


def updated(window: Browser) -> None:
    browser.wait(window, "return document.querySelector('main').dataset.updated === '1'")


def test_numbers_stay_up_to_date_and_nothing_else_moves(site: str, window: Browser) -> None:
    window.set_size(800, 500)
    window.open(f"{site}/?since=7d")
    tile, names = window.texts(".tile b"), window.texts("table.fleet td.name")
    window.run(
        """
        const rows = document.querySelectorAll('table.fleet tbody tr');
        document.querySelector('.tile b').textContent = 'old';
        rows[1].remove();
        rows[5].after(rows[2]);
        window.kept = rows[3].querySelector('td.name a');
        window.kept.focus();
        rows[4].querySelector('input[name=a]').click();
        window.chosen = document.querySelector('input[name=a]:checked');
        document.querySelector('.card').scrollLeft = 40;
        scrollTo(0, 150);
        """
    )
    visible_again(window)
    updated(window)
    assert window.texts(".tile b") == tile
    assert window.texts("table.fleet td.name") == names
    state = window.run(
        "return [document.activeElement === window.kept, window.chosen.checked, scrollY,"
        " document.querySelector('.card').scrollLeft,"
        " document.querySelector('.card').getAttribute('tabindex')]"
    )
    assert state == [True, True, 150, 40, "0"]
    window.set_size(1280, 1600)


def test_updates_stop_in_a_hidden_tab_and_when_paused(site: str, window: Browser) -> None:
    window.open(f"{site}/?since=7d")
    hide = "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true})"
    asked = (
        "return performance.getEntriesByType('resource')"
        ".filter(e => e.name.includes('live=1')).length"
    )
    window.run(hide, True)
    visible_again(window)
    window.run(hide, False)
    window.run("document.getElementById('live').click()")
    assert window.texts("#live") == ["paused"]
    visible_again(window)
    window.run("document.getElementById('live').click()")
    assert window.texts("#live") == ["live"]
    visible_again(window)
    updated(window)
    assert window.run(asked) == 1


def test_an_update_keeps_the_graph_and_does_not_ask_for_it(site: str, window: Browser) -> None:
    window.open(site + workload("throttled"))
    window.run("window.canvas = document.querySelector('canvas')")
    visible_again(window)
    updated(window)
    assert window.run("return window.canvas === document.querySelector('canvas')")
    assert window.texts(".copy") == ["Copy"] * 3
    update = urlopen(f"{site}{workload('throttled')}&live=1").read().decode()
    assert "data-flamegraph" not in update
    assert "live=1" not in update


def test_a_time_in_the_past_is_not_live(site: str, window: Browser) -> None:
    window.open(f"{site}/?q=until%3D1h")
    assert window.run("return document.getElementById('live')") is None


def test_what_ended_is_apart_from_what_holds(site: str, window: Browser) -> None:
    window.open(f"{site}/?since=7d")
    rows = {row.split()[0]: row for row in window.texts("table.resolved tbody tr")}
    assert list(rows) == ["shop/gone", "shop/mended", "shop/restarted"]
    assert re.search(r"fixed 7 min ago, saved 0\.13\d cores of 0\.2 predicted", rows["shop/mended"])
    assert "none of the containers that had it runs any more" in rows["shop/gone"]
    assert "too few samples since then to tell" in rows["shop/restarted"]


def test_two_workloads_are_compared_from_the_list(site: str, window: Browser) -> None:
    window.open(f"{site}/?since=7d")
    names = [name.removeprefix("shop/") for name in window.texts("table.fleet td.name")]
    window.run("document.querySelector('form.compare button').click()")
    browser.wait(window, "return document.querySelector('#changed') !== null")
    sides = window.texts(".two-sides tbody tr")
    assert names[1] in sides[0]
    assert names[0] in sides[1]


def test_facets_of_causes_and_sizes(site: str, window: Browser) -> None:
    """A cause selects the workloads that have it now, for every question."""
    window.open(f"{site}/?since=7d")
    assert window.texts(".facet > span") == ["Finding", "Cause", "Node size, CPUs"]
    assert window.texts(".facets a")[3:] == ["cpu-count 1", "4 2", "192 2"]
    for path in ("/nodes", "/changes", "/flamegraph"):
        window.open(f"{site}{path}?since=7d&q=cause%3Dcpu-count")
        assert "not understood" not in window.text("main")
    assert "cause=cpu-count" in window.text("h1")
    names = {}
    for term in ("cause=cpu-count", "cause!=cpu-count", "cause=nosuch", "cpus=4"):
        window.open(f"{site}/?since=7d&q={quote_plus(term)}")
        names[term] = window.texts("table.fleet td.name")
    assert names["cause=cpu-count"] == ["shop/throttled"]
    assert names["cause=nosuch"] == []
    assert len(names["cause!=cpu-count"]) == 7
    assert "shop/throttled" not in names["cause!=cpu-count"]
    assert sorted(names["cpus=4"]) == ["shop/catalog", "shop/moved"]


def test_a_mended_finding_is_mended_within_a_minute(site: str, window: Browser) -> None:
    """The first window without it ended a second ago."""
    at = datetime.fromtimestamp(story.MENDED + 61, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    window.open(f"{site}/?since=1h&q=until%3D{quote_plus(at)}")
    said = dict(
        zip(
            window.texts("table.fleet td.name"),
            window.texts("table.fleet td.what > :first-child"),
            strict=True,
        )
    )
    assert said["shop/mended"] == "✓ mended or gone"
    assert said["shop/gone"].startswith("GOMAXPROCS is above the CPU limit")
    window.open(f"{site}/workload?since=1h&q=until%3D{quote_plus(at)}+workload%3Dmended")
    assert window.texts("h2")[0] == "Findings that ended"


def test_the_prediction_is_drawn_beside_what_came(site: str, window: Browser) -> None:
    """0.2 of 0.5 cores were predicted; the containers of the story use as much as before."""
    window.open(site + workload("mended", "1h"))
    (says,) = window.texts("#predicted")
    assert says == (
        "What the agents predicted with the remedy: 0.3 cores instead of 0.5. Since the finding"
        " ended it uses 0.5 cores on average; the load may have changed, too."
    )
    path = window.run("return document.querySelector('.chart .predicted').getAttribute('d')")
    heights = {float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)}
    assert heights == {72.0}  # of 180, for 0.5 cores: 0.3
    assert path.endswith("H1000.00")
    window.open(site + workload("mended"))
    gaps = window.run("return document.querySelector('.chart .predicted').getAttribute('d')")
    assert gaps.count("M") == 2  # nothing is predicted where nothing was reported
    window.open(site + workload("tuned"))
    assert window.texts("#predicted") == []
