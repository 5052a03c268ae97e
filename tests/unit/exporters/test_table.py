from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from gotax.exporters.style import MIN_WIDTH, Style, dash, percent, seconds
from gotax.exporters.terminal.check import render_check
from gotax.exporters.terminal.explain import render_explain
from gotax.exporters.terminal.other import render_other
from gotax.exporters.terminal.table import Sort, apportioned
from gotax.exporters.terminal.view import sorted_reports
from gotax.exporters.text import bounded, columns, elided, printable
from gotax.findings import Confidence, Finding, Remedy, Severity, Verdict
from gotax.process import CpuLimit, CpuResources
from gotax.window import Window
from hypothesis import given
from hypothesis import strategies as st

from .strategies import names, unhurried, windows
from .windows import (
    Setting,
    build_window,
    fitting_load,
    hostile_load,
    named,
    native_load,
    other_report,
    oversized_load,
    pod_container,
    story_window,
)

Golden = Callable[[str, str], None]
SGR = re.compile(r"\x1b\[[\d;]+m")
styles = st.builds(
    Style, st.integers(0, 200), st.booleans(), st.booleans(), st.just(0) | st.integers(1, 60)
)


@pytest.mark.parametrize("width", [80, 100, 120, 150])
def test_check_matches_its_golden_file(golden: Golden, width: int) -> None:
    """Every verdict, two findings and the totals, at common widths of a terminal."""
    golden(f"check-{width}.txt", render_check(story_window(), Style(width)))


def test_check_in_ascii_and_in_colour_matches_its_golden_file(golden: Golden) -> None:
    """Without Unicode only ASCII; with colour the same columns."""
    text = render_check(story_window(), Style(100, unicode=False))
    assert text.isascii()
    golden("check-100-ascii.txt", text)
    golden("check-100-colour.txt", render_check(story_window(), Style(100, colour=True)))


def test_check_of_a_host_without_go_matches_its_golden_file(golden: Golden) -> None:
    """It says so, and still gives the totals."""
    golden("check-no-go.txt", render_check(build_window(native_load()), Style(80)))


def test_check_of_hostile_names_matches_its_golden_file(golden: Golden) -> None:
    """Escape sequences, line breaks and bidirectional marks are escaped."""
    golden("check-hostile.txt", render_check(build_window(hostile_load()), Style(120)))


@pytest.mark.parametrize("verdict", [Verdict.OVERSIZED, Verdict.MISMATCH, Verdict.UNREADABLE])
def test_explain_matches_its_golden_file(golden: Golden, verdict: Verdict) -> None:
    """All evidence, and the remedy with its complete YAML."""
    window = story_window()
    report = next(r for r in window.reports if r.verdict is verdict)
    golden(f"explain-{verdict.value}.txt", render_explain(report, window, Style(80)))


@unhurried
@given(windows(), styles)
def test_no_line_is_wider_than_the_terminal(window: Window, style: Style) -> None:
    """With any names: columns are omitted, names lose their middle, lines never wrap."""
    texts = [render_check(window, style)]
    texts += [render_explain(report, window, style) for report in window.reports]
    for line in "\n".join(texts).split("\n"):
        assert columns(SGR.sub("", line)) <= max(style.width, MIN_WIDTH), line


@unhurried
@given(windows(), styles)
def test_text_is_always_printable(window: Window, style: Style) -> None:
    """The only control characters are our own colours, and only if requested."""
    texts = [render_check(window, style)]
    texts += [render_explain(report, window, style) for report in window.reports]
    for line in "\n".join(texts).split("\n"):
        plain = SGR.sub("", line) if style.colour else line
        assert plain.isprintable()
        assert style.unicode or plain.isascii()


def test_a_limit_that_was_not_read_is_not_drawn_as_none() -> None:
    report = build_window(fitting_load()).reports[0]
    window = build_window(fitting_load())
    unread = replace(report, limit=CpuLimit(problem="cgroup-unreadable"))
    none = replace(report, limit=CpuLimit())
    for limit, text in (
        ("?", "could not be read (cgroup-unreadable)"),
        (dash(Style(140)), "none"),
    ):
        seen = unread if limit == "?" else none
        (row,) = (
            line
            for line in render_check(replace(window, reports=(seen,)), Style(140)).splitlines()
            if seen.container.name in line and " fits " in line
        )
        assert f" {limit} " in row
        (line,) = (
            line
            for line in render_explain(seen, window, Style(140)).splitlines()
            if line.strip().startswith("Limit")
        )
        assert text in line


@pytest.mark.parametrize(
    ("severity", "label", "mark"),
    [(Severity.WARNING, "✗ warning", "✗"), (Severity.INFO, "✓ fits", "·")],
)
def test_a_warning_about_something_else_is_no_tick(
    severity: Severity, label: str, mark: str
) -> None:
    """A memory limit that makes the collector run all the time, at a GOMAXPROCS that fits."""
    window = build_window(fitting_load())
    found = Finding(
        *("GT016", "The memory limit is near", severity, Confidence.HIGH, ()), Remedy("Raise it.")
    )
    window = replace(window, reports=(replace(window.reports[0], findings=(found,)),))
    checked = render_check(window, Style(120))
    explained = render_explain(window.reports[0], window, Style(120))
    assert label in checked.split("THROTTLED")[1].splitlines()[1]
    name = window.reports[0].container.name
    assert f"{mark} {name}: The memory limit is near [GT016]" in checked
    assert explained.splitlines()[0].endswith(label)
    is_first = explained.splitlines()[1].startswith("The memory limit is near.")
    assert is_first is (severity is Severity.WARNING)


def test_a_container_without_a_kind_is_explained() -> None:
    """The kind of a pod's container is unknown, as with a kubelet of another version."""
    window = build_window(named(fitting_load(), "payments-1", kind=""))
    (report,) = window.reports
    assert "shop/payments-1 of Deployment/payments" in render_explain(report, window, Style(120))


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        (Sort.CPU, "ledger"),
        (Sort.RUNTIME, "payments-api"),
        (Sort.THROTTLED, "payments-api"),
        (Sort.VERDICT, "payments-api"),
        (Sort.SAVING, "payments-api"),
        (Sort.NAME, "containerd.service"),
    ],
)
def test_orders_of_top(sort: Sort, first: str) -> None:
    """Each order puts its own container first, and all containers stay."""
    reports = story_window().reports
    ordered = sorted_reports(reports, sort)
    assert ordered[0].container.name == first
    assert sorted(map(id, ordered)) == sorted(map(id, reports))


def test_colours_change_only_colours() -> None:
    """Without the escape sequences it is the plain text."""
    window = story_window()
    for width in (80, 150):
        coloured = render_check(window, Style(width, colour=True))
        assert coloured != render_check(window, Style(width))
        assert SGR.sub("", coloured) == render_check(window, Style(width))


def test_names_keep_their_ends() -> None:
    """Both ends of a long pod name stay, so that similar names remain distinguishable."""
    container = pod_container("payments-settlement-worker-7f9c6d5b48-x2x5b", 1)
    load = oversized_load()
    load = replace(load, process=replace(load.process, container=container))
    row = render_check(build_window(load), Style(80)).splitlines()[3]
    assert re.search(r"payments-\S*…\S*-x2x5b", row)


@unhurried
@given(windows())
def test_check_shows_the_worst_container_first(window: Window) -> None:
    """Warnings before other findings before none, then by the saving; the last line counts them.

    The order of the window's reports does not matter.
    """
    text = render_check(window, Style(200))
    assert text == render_check(replace(window, reports=window.reports[::-1]), Style(200)) or len(
        {(r.container.name, r.samples) for r in window.reports}
    ) < len(window.reports)
    findings = [finding for report in window.reports for finding in report.findings]
    affected = sum(bool(report.findings) for report in window.reports)
    last = text.splitlines()[-1]
    if findings:
        s = "" if len(findings) == 1 else "s"
        assert last.startswith(f"{len(findings)} finding{s} in {affected} of ")
    elif window.reports:
        assert last.startswith("No finding in ")


def test_the_worst_container_is_that_of_the_greatest_saving_among_warnings() -> None:
    window = story_window()
    ranks = [
        (
            any(f.severity is Severity.WARNING for f in report.findings),
            bool(report.findings),
            max((f.saving.mid for f in report.findings if f.saving), default=0.0),
            report.samples,
            report.container.name,
        )
        for report in window.reports
    ]
    rows = render_check(replace(window, reports=window.reports[::-1]), Style(200)).splitlines()[3:]
    worst_first = [rank[-1] for rank in sorted(ranks, reverse=True)]
    assert len(worst_first) > 2
    assert all(name in row for name, row in zip(worst_first, rows, strict=False))


def test_the_last_line_adds_the_largest_saving_of_each_container() -> None:
    """Two findings of one container save the same CPU, so only the larger one counts."""
    window = build_window(oversized_load())
    (report,) = window.reports
    (finding, *_) = report.findings
    saving = finding.saving
    assert saving is not None
    less = replace(finding, saving=replace(saving, mid=saving.mid / 2), severity=Severity.INFO)
    both = replace(window, reports=(replace(report, findings=(less, finding), suppressed=()),))
    last = render_check(both, Style(200)).splitlines()[-1]
    assert last == f"2 findings in 1 of 1 container, {saving.mid:.2f} cores to save."
    assert render_check(build_window(fitting_load()), Style(200)).splitlines()[-1] == (
        "No finding in 1 container."
    )
    codes = replace(report, findings=(), suppressed=("GT001", "GT009"))
    hidden = render_check(replace(window, reports=(codes,)), Style(200)).splitlines()[-1]
    assert hidden == "No finding in 1 container (GT001, GT009 suppressed)."


def test_losses_are_shown_by_reason() -> None:
    """The totals name every reason with its number, most first."""
    lost = {"no-process": 2, "map-full": 40, "none": 0}
    text = render_check(build_window(native_load(), setting=Setting(lost=lost)), Style(100))
    assert "360 drained · 318 attributed · 42 lost (11.67%): map-full 40, no-process 2" in text


@unhurried
@given(names)
def test_printable_text_keeps_harmless_characters(text: str) -> None:
    """One line, ASCII if requested; plain text is unchanged."""
    assert printable(text).isprintable()
    assert printable(text, unicode=False).isascii()
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain-name_1.2", "plain-name_1.2"),
        ("größe/δ", "größe/δ"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc\x7f", "a\\x0ab\\x09c\\x7f"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\u05d0\u05d1", "\\u05d0\\u05d1"),
        ("e\u0301", "e\\u0301"),
        ("\ud800", "\\ud800"),
        ("\u200b\u2066", "\\u200b\\u2066"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_escaped_characters(text: str, shown: str) -> None:
    """Controls, bidirectional marks, right-to-left letters, joining marks, surrogates."""
    assert printable(text) == shown


@unhurried
@given(names.map(printable), st.integers(0, 50), st.sampled_from(["…", ".."]))
def test_elided_text_fits_and_short_text_stays(text: str, width: int, mark: str) -> None:
    """At most the given columns; wide characters count twice."""
    short = elided(text, width, mark)
    assert columns(short) <= width
    assert columns(text) > width or short == text


@unhurried
@given(names, st.integers(3, 50))
def test_bounded_text_is_valid_utf8(text: str, length: int) -> None:
    """At most the given number of characters, and it can be encoded."""
    assert len(bounded(text, length)) <= length
    bounded(text, length).encode()


@unhurried
@given(st.lists(st.floats(0, 1), max_size=6), st.integers(0, 60))
def test_bars_have_the_given_length(shares: list[float], length: int) -> None:
    """Rounding neither adds nor removes a column."""
    parts = apportioned(shares, length)
    assert sum(parts) == (length if sum(shares) > 0 else 0)
    assert all(part >= 0 for part in parts)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 s"),
        (1e-4, "<1 ms"),
        (0.012, "12 ms"),
        (0.9996, "1.0 s"),
        (3.2, "3.2 s"),
        (1e4, "10,000 s"),
    ],
)
def test_seconds_change_their_unit(value: float, shown: str) -> None:
    """Milliseconds below a second; a value above zero is never shown as zero."""
    assert seconds(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0%"), (0.001, "<1%"), (0.005, "<1%"), (0.48, "48%"), (1, "100%")]
)
def test_percent_is_whole(share: float, shown: str) -> None:
    """With few samples, decimals would be noise."""
    assert percent(share) == shown


def test_a_pod_is_shown_with_its_workload_and_a_pending_resize() -> None:
    """The most important facts first; a container of a special kind is labelled with its kind."""
    load = named(
        oversized_load(),
        "payments-5d-x2",
        desired=CpuResources(0.5, 2.0),
        current=CpuResources(0.5, 1.0),
    )
    window = build_window(load)
    text = " ".join(render_explain(window.reports[0], window, Style(200)).split())
    assert "shop/payments-5d-x2 of Deployment/payments on node-17" in text
    assert "request 0.50, limit 1.00, a resize to request 0.50, limit 2.00 is pending" in text
    pod = load.process.container.pod
    assert pod is not None
    sidecar = replace(load.process.container, pod=replace(pod, kind="sidecar"))
    window = build_window(replace(load, process=replace(load.process, container=sidecar)))
    text = " ".join(render_explain(window.reports[0], window, Style(200)).split())
    assert "app is a sidecar container" in text


def test_check_shows_findings_of_containers_without_go() -> None:
    """With their own result, and without a row in the table of Go containers."""
    silent = replace(other_report(), findings=())
    window = replace(build_window(), others=(other_report(), silent))
    text = render_check(window, Style(100))
    assert "✗ numbers: Throttled: OpenBLAS runs more threads at once than the limit" in text
    assert text.endswith("1 finding in 1 of 2 containers without Go.")
    hidden = replace(silent, suppressed=("GT020",))
    text = render_check(replace(build_window(), others=(hidden,)), Style(100))
    assert text.endswith("No finding in 1 container without Go (GT020 suppressed).")
    assert "without Go" not in render_check(replace(window, others=(silent,)), Style(100))


def test_explain_of_a_container_without_go() -> None:
    """All that is known of it, with the patch."""
    window = replace(build_window(), others=(other_report(),))
    text = render_other(other_report(), window, Style(100))
    for line in (
        "It is throttled, because too many of its threads run at once.",
        "Processes   77 (python)",
        "Throttled   in 120 of 150 periods, 60.0 s in all on all CPUs",
        "Threads     65; 64 of 65 ran, 40.5 at once on average",
        "Settings    OpenBLAS: OPENBLAS_NUM_THREADS is 64",
        "OPENBLAS_NUM_THREADS=1",
    ):
        assert line in text, text
