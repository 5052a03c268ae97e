"""Every view with axe-core: light and dark, on a desktop and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from urllib.parse import quote_plus

import pytest
from gotax_collector.http.application import Served
from gotax_collector.http.site import Site
from gotax_collector.query.questions import Questions

from tests.collector import axe, browser, story
from tests.collector.browser import Browser

WEEK = "since=7d"
VIEWS = {
    "codes": "/codes",
    "fleet": f"/?{WEEK}",
    "fleet-money": f"/?{WEEK}&price=0.04&sort=saving",
    "nodes": f"/nodes?{WEEK}",
    "workload-warned": f"/workload?{WEEK}&q=workload%3Dthrottled",
    "workload-mended": f"/workload?{WEEK}&q=workload%3Dmended",
    "workload-of-nodes": f"/workload?{WEEK}&q=workload%3Dcatalog",
    "changes": f"/changes?{WEEK}",
    "flamegraph": f"/flamegraph?{WEEK}",
    "difference": f"/flamegraph?{WEEK}&a={quote_plus('node=n4a')}&b={quote_plus('node=n192a')}",
    "one-file": f"/flamegraph.html?{WEEK}",
    "refused": "/?q=colour%3Dred",
    "nothing": "/?q=nosuchname",
    "no-page": "/nosuchpage",
}
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    browser.needed()
    axe.needed()
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
    with browser.browsing("--force-prefers-reduced-motion") as opened:
        yield opened


REACHABLE = """
const seen = (e) => e.checkVisibility({visibilityProperty: true}) && !e.closest('[hidden]');
const groups = new Set();
return [...document.querySelectorAll(
  'a[href], button, input:not([type=hidden]), summary, [tabindex="0"]')].filter((e) => {
  if (!seen(e) || e.disabled) return false;
  if (e.type !== 'radio') return true;
  const chosen = document.querySelector(`input[name=${e.name}]:checked`);
  if (chosen ? chosen !== e : groups.has(e.name)) return false;
  groups.add(e.name);
  return true;
}).map((e, i) => { e.dataset.number ??= i; return e.dataset.number; });
"""
FOCUSED = """
const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
return [e.dataset.number ?? e.tagName,
  style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
  box.bottom > 0 && box.top < innerHeight && box.width > 0, e.outerHTML.slice(0, 120)];
"""
OPEN = "for (const one of document.querySelectorAll('details')) one.open = true"


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(site: str, window: Browser, view: str) -> None:
    """Colours are all that differs between the schemes."""
    found = []
    for size, scheme, rules in (
        (DESKTOP, "light", ()),
        (DESKTOP, "dark", ("color-contrast",)),
        (PHONE, "dark", ()),
        (PHONE, "light", ("color-contrast",)),
    ):
        window.set_size(*size)
        window.set_scheme(scheme)
        if not rules:
            window.open(site + VIEWS[view])
            window.run(OPEN)
        found += [f"{scheme} {size[0]}: {line}" for line in axe.violations(window, *rules)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "view", ["fleet-money", "nodes", "workload-warned", "workload-of-nodes", "difference"]
)
def test_the_tab_key_reaches_everything_and_shows_where_it_is(
    site: str, window: Browser, view: str
) -> None:
    window.set_size(*DESKTOP)
    window.open(site + VIEWS[view])
    browser.wait(window, "return document.readyState === 'complete'")
    reachable = set(window.run(REACHABLE))
    assert len(reachable) > 20
    reached: set[str] = set()
    for _ in range(len(reachable) + 10):
        window.press("Tab")
        number, has_outline, is_in_view, element = window.run(FOCUSED)
        if number == "BODY" or number in reached:
            break
        assert has_outline, element
        assert is_in_view, element
        reached.add(number)
    assert reachable <= reached


def test_the_first_key_skips_to_the_content(site: str, window: Browser) -> None:
    window.open(site + VIEWS["fleet"])
    window.press("Tab")
    assert window.run("return document.activeElement.textContent") == "Skip to the content"
    assert window.run("return document.activeElement.getBoundingClientRect().top") >= 0
    window.press("Enter", "Tab")
    assert window.run("return document.activeElement.closest('main') !== null")


def test_a_wide_table_scrolls_with_the_arrows(site: str, window: Browser) -> None:
    window.set_size(*PHONE)
    window.open(site + VIEWS["fleet"])
    window.run("document.querySelector('.card[tabindex]').focus()")
    assert window.run("return document.activeElement.getAttribute('aria-label')").startswith("What")
    window.press("ArrowRight", "ArrowRight")
    browser.wait(window, "return document.activeElement.scrollLeft > 0")
    window.set_size(*DESKTOP)


def test_two_sides_are_chosen_and_compared_with_keys(site: str, window: Browser) -> None:
    window.open(site + VIEWS["nodes"])
    window.run("document.querySelector('input[name=a]:checked').focus()")
    before = window.run("return document.querySelector('input[name=a]:checked').value")
    window.press("ArrowUp")
    assert window.run("return document.activeElement.value") != before
    window.press("Enter")
    browser.wait(window, "return document.querySelector('#changed') !== null")
