"""Suppression of findings by flags and annotations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.config import Suppression
from gotax.diagnosis.findings import judge
from gotax.diagnosis.suppression import (
    covers,
    matches,
    names,
    parse_annotation,
    parse_suppression,
    suppressed,
)
from gotax.errors import ParseError
from gotax.process import GoBuild, Module
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.diagnosis.test_context import CONTAINER, POD, context


@pytest.mark.parametrize(
    ("pattern", "name", "is_whole"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("**", "", True),
        ("?", "", False),
        ("a", "a", True),
        ("a", "b", False),
        ("a", "ab", False),
        ("a", "ba", False),
        ("ab", "a", False),
        ("a*", "a", True),
        ("a*", "ab", True),
        ("*b", "aab", True),
        ("*b", "aba", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("*ab", "aaaab", True),
        ("*ba", "bba", True),
        ("*aab", "aaab", True),  # goes back after having matched too early
        ("*ab*ab", "abab", True),
        ("*ab*ab", "aab", False),
        ("pay-*-web", "pay-eu-web", True),
        ("[a]", "a", False),  # nothing but * and ? is special
        ("[a]", "[a]", True),
        ("a.c", "abc", False),
        ("*", "?", True),
        ("?*", "a", True),
        ("a*?", "a", False),
    ],
)
def test_a_pattern_matches_the_whole_name(pattern: str, name: str, is_whole: bool) -> None:
    """* is any text, ? one character."""
    assert matches(pattern, name) is is_whole


@given(st.text("ab*?", max_size=6), st.text("ab", max_size=6))
def test_patterns_follow_their_definition(pattern: str, name: str) -> None:
    """Compared with a recursive definition by the first character."""

    def defined(p: str, n: str) -> bool:
        if not p:
            return not n
        if p[0] == "*":
            return defined(p[1:], n) or (bool(n) and defined(p, n[1:]))
        return bool(n) and p[0] in ("?", n[0]) and defined(p[1:], n[1:])

    assert matches(pattern, name) is defined(pattern, name)


@pytest.mark.parametrize(
    ("text", "suppression"),
    [
        ("GT002", Suppression("GT002", "", "*")),
        (" GT001/environment ", Suppression("GT001", "environment", "*")),
        ("GT001@pay-*", Suppression("GT001", "", "pay-*")),
        ("GT001@x", Suppression("GT001", "", "x")),
        ("GT001/call@a@b", Suppression("GT001", "call", "a@b")),
        ("GT001@" + "x" * 4096, Suppression("GT001", "", "x" * 4096)),
    ],
)
def test_valid_suppressions(text: str, suppression: Suppression) -> None:
    """CODE, /CAUSE and @NAME."""
    assert parse_suppression(text) == suppression


@pytest.mark.parametrize(
    "text",
    ["", "GT999", "gt001", "GT001/", "GT001/none", "GT001@", "GT001@" + "x" * 4097, "/call"],
)
def test_invalid_suppressions(text: str) -> None:
    """Each is refused, not ignored."""
    with pytest.raises(ParseError):
        parse_suppression(text)


def test_an_annotation_is_a_list_for_its_own_pod() -> None:
    """Empty items are ignored; a name, or a text that is too long, is refused."""
    both = (Suppression("GT002", "", "*"), Suppression("GT001", "call", "*"))
    assert parse_annotation("GT002, GT001/call") == both
    assert parse_annotation(" , GT002,, GT001/call,") == both
    assert parse_annotation("") == ()
    assert parse_annotation("GT002" + " " * 4091) == both[:1]
    for text in ("GT002@web", "GT002, GT001@web", "GT002" + " " * 4092, "GT999"):
        with pytest.raises(ParseError):
            parse_annotation(text)


def test_a_container_matches_each_of_its_names() -> None:
    """For a pod also the pod's path and its workload."""
    container = replace(
        CONTAINER, unit="api.service", container_id="0123", pod=POD, name="shop/api-1/api"
    )
    seen = context(container=container).report
    build = GoBuild("go1.24", Module("example.com/api", "v1"))
    seen = replace(seen, processes=(replace(seen.main_process, build=build, command="server"),))
    usual = ["shop/api-1/api", "api.service", "/kubepods/pod1/c", "0123", "1", "server"]
    assert names(seen) == [*usual, "example.com/api", "shop/api-1/api", "Deployment/api"]
    assert names(context().report) == ["api", "/kubepods/pod1/c", "1", "api"]


def test_findings_are_suppressed_by_code_cause_and_name() -> None:
    """The codes of the suppressed ones are kept, sorted and unique."""
    seen = context(SCHED_FIND_WORK=500, CGO=500)
    judged = replace(seen.report, findings=judge(seen)[1])
    assert [finding.code for finding in judged.findings] == ["GT001", "GT013"]
    costly, cgo = judged.findings
    assert covers(Suppression("GT001"), costly, judged)
    assert covers(Suppression("GT001", "environment"), costly, judged)
    assert not covers(Suppression("GT001", "call"), costly, judged)
    assert not covers(Suppression("GT013", "call"), cgo, judged)
    assert not covers(Suppression("GT013"), costly, judged)
    assert covers(Suppression("GT001", "", "ap?"), costly, judged)
    assert not covers(Suppression("GT001", "", "web"), costly, judged)

    without = suppressed(judged, [Suppression("GT013")])
    assert (without.findings, without.suppressed) == ((costly,), ("GT013",))
    again = suppressed(without, [Suppression("GT013"), Suppression("GT001")])
    assert (again.findings, again.suppressed) == ((), ("GT001", "GT013"))
    many = tuple(f"GT{number:03}" for number in range(2, 13))
    more = suppressed(replace(judged, suppressed=many[::-1]), [Suppression("GT013")])
    assert more.suppressed == (*many, "GT013")
    assert suppressed(judged, []) is judged
    assert suppressed(judged, [Suppression("GT002")]) is judged
    quiet = replace(judged, findings=())
    assert suppressed(quiet, [Suppression("GT001")]) is quiet
