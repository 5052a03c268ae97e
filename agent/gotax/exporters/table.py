"""Tables for people: ``gotax check``, the live ``gotax top``, and ``gotax explain``.

Everything a stranger may have named passes ``text.printable``; what does not fit loses whole
columns, the least important first, then the middle of its names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from gotax.confidence import interval
from gotax.exporters.comparison import headline
from gotax.exporters.style import (
    BOLD,
    DIM,
    GROUP_PAINTS,
    MAX_TEXT,
    ORIGINS,
    SHORT_ORIGINS,
    VERDICTS,
    YELLOW,
    Cell,
    arrow,
    block,
    cores,
    dash,
    dot,
    ellipsis,
    labelled,
    padded,
    painted,
    paragraph,
    percent,
    plural,
    seconds,
    shortened,
    span,
    unabridged,
    word,
)
from gotax.exporters.style import Style as Style  # part of what the functions below take
from gotax.exporters.text import columns, elided
from gotax.findings import Finding, Saving, Severity, Verdict
from gotax.process import (
    Binding,
    Container,
    CpuLimit,
    CpuResources,
    Gomaxprocs,
    PodContainer,
    Process,
)
from gotax.profile import Category, Group
from gotax.window import ContainerReport, Window

GAP = "  "
LABEL_WIDTH = 12
NAME_WIDTH = 16
LONG_NAME_WIDTH = 28
"""Before a name is made shorter than the first, a column of any rank goes; shorter than the
second, a column above ``DETAIL_RANK``."""
DETAIL_RANK = 2
BAR_WIDTH = 23
EXPLAINED_FUNCTIONS = 12
NOTABLE_SOURCE = 0.05
"""Share of a saving below which its source is left out of the text."""

Row = ContainerReport


class Sort(Enum):
    """The orders of ``gotax top``; the value is the word on the command line."""

    CPU = "cpu"
    RUNTIME = "runtime"
    THROTTLED = "throttled"
    VERDICT = "verdict"
    NAME = "name"


def render_check(window: Window, style: Style) -> str:
    """The whole answer: a table, a paragraph per finding, the totals."""
    lines = [_headline("gotax check", window, style), ""]
    if window.reports:
        lines += _table(window, window.reports, style)
    else:
        lines.append(f"No Go program was on a CPU in these {window.duration_s:.1f} s.")
    cut = False
    for report in window.reports:
        for finding in report.findings:
            lines += ["", *_finding(finding, report, style)]
            cut = cut or bool(finding.remedy.patch)
    if cut:
        lines += ["", painted("gotax explain NAME shows the lines to copy.", DIM, style)]
    lines += ["", *_totals(window, style)]
    return "\n".join(lines)


def render_top(window: Window, style: Style, sort: Sort | str = Sort.CPU) -> str:
    """One screen of at most ``style.height`` lines. ValueError if ``sort`` is no Sort."""
    sort = Sort(sort)
    reports = sorted_reports(window.reports, sort)
    head = [_headline("gotax top", window, style), ""]
    foot = ["", *_totals(window, style)]
    room = style.height - len(head) - len(foot) - 1 if style.height else len(reports)
    if room < 3:  # a screen this low shows the table alone
        head, foot, room = [], [], style.height - 1
    shown = reports if len(reports) <= room else reports[: max(room - 1, 0)]
    lines = list(head)
    if reports:
        lines += _table(window, shown, style, sort)
        if len(shown) < len(reports):
            rest = plural(len(reports) - len(shown), "more container")
            lines.append(painted(f"{dash(style)} {rest}", DIM, style))
        lines += _headlines_of_findings(shown, room - len(shown) - 1, style)
        left = room - (len(lines) - len(head)) if style.height else len(window.changes)
        lines += [headline(change, style) for change in window.changes[: max(left, 0)]]
    else:
        lines.append(f"No Go program was on a CPU in these {window.duration_s:.1f} s.")
    lines += foot
    return "\n".join(lines[: style.height] if style.height else lines)


def sorted_reports(reports: Iterable[Row], sort: Sort) -> list[Row]:
    order = list(Verdict)
    keys: dict[Sort, Callable[[Row], tuple[float | str, ...]]] = {
        Sort.CPU: lambda r: (-r.hits,),
        Sort.RUNTIME: lambda r: (-r.runtime_share, -r.hits),
        Sort.THROTTLED: lambda r: (-(r.usage.throttled_ns or 0), -r.hits),
        Sort.VERDICT: lambda r: (order.index(r.verdict), -r.hits),
        Sort.NAME: lambda r: (r.container.name, r.container.key),
    }
    return sorted(reports, key=keys[sort])


def render_explain(report: ContainerReport, window: Window, style: Style) -> str:
    """The chain of evidence for one container."""
    verdict = VERDICTS[report.verdict]
    label = verdict.label(style)
    name = shortened(report.container.name, style.room - columns(label) - 2, style)
    gap = " " * max(2, min(style.room, MAX_TEXT) - columns(name) - columns(label))
    lines = [painted(name, BOLD, style) + gap + painted(label, verdict.paint, style)]
    lines += paragraph(verdict.sentence, style.room, style)
    lines += ["", *_facts(report, window, style)]
    lines += ["", *_category_bars(report, window, style)]
    lines += ["", *_function_rows(report, style)]
    for finding in report.findings:
        lines += ["", *_finding(finding, report, style, whole=True)]
    return "\n".join(lines)


# The table


@dataclass(frozen=True, slots=True)
class _Column:
    """``rank`` 0 always stays; of the others the highest goes first when the width is short."""

    title: str
    rank: int
    right: bool
    cell: Callable[[Row, Window, Style], Cell]
    sort: Sort | None = None


def _table(
    window: Window, reports: Sequence[Row], style: Style, sort: Sort | None = None
) -> list[str]:
    cells = [[column.cell(row, window, style) for column in COLUMNS] for row in reports]
    cells = [_align_gomaxprocs(row, cells, style) for row in cells]
    titles = [_title(column, sort, style) for column in COLUMNS]
    widths = [
        max(columns(cell.text) for cell in (titles[i], *(row[i] for row in cells)))
        for i in range(len(COLUMNS))
    ]
    kept = _kept(widths, style.room)
    spare = style.room - sum(widths[i] + len(GAP) for i in kept if i != NAME) + len(GAP)
    widths[NAME] = min(widths[NAME], max(spare - len(GAP), 8))
    lines = []
    for row in (titles, *cells):
        row[NAME] = Cell(elided(row[NAME].text, widths[NAME], ellipsis(style)), row[NAME].paint)
        lines.append(GAP.join(_padded(row[i], widths[i], i, style) for i in kept).rstrip())
    return lines


def _kept(widths: Sequence[int], room: int) -> list[int]:
    """The columns to show, in their order."""
    kept = [i for i, column in enumerate(COLUMNS) if column.rank == 0]
    used = sum(widths[i] + len(GAP) for i in kept) - widths[NAME] - len(GAP)
    for i in sorted((i for i in range(len(COLUMNS)) if i not in kept), key=_rank):
        name = min(widths[NAME], LONG_NAME_WIDTH if _rank(i) > DETAIL_RANK else NAME_WIDTH)
        if used + len(GAP) + widths[i] + name > room:
            break
        used += len(GAP) + widths[i]
        kept.append(i)
    return sorted(kept)


def _rank(column: int) -> int:
    return COLUMNS[column].rank


def _title(column: _Column, sort: Sort | None, style: Style) -> Cell:
    if column is COLUMNS[BAR]:
        return _legend(style)
    if sort is None or column.sort is not sort:
        return Cell(column.title, DIM)
    mark = "▾" if style.unicode else "*"
    return Cell(mark + column.title if column.right else column.title + mark, BOLD)


def _padded(cell: Cell, width: int, column: int, style: Style) -> str:
    gap = " " * (width - columns(cell.text))
    shown = cell.shown(style)
    return gap + shown if COLUMNS[column].right else shown + gap


def _verdict_cell(report: Row, _: Window, style: Style) -> Cell:
    verdict = VERDICTS[report.verdict]
    return Cell(verdict.label(style), verdict.paint)


def _name_cell(report: Row, _: Window, style: Style) -> Cell:
    return Cell(word(report.container.name, style) or dash(style), BOLD)


def _go_cell(report: Row, _: Window, style: Style) -> Cell:
    build = report.main_process.build
    version = build.version.removeprefix("go") if build else ""
    return Cell(shortened(version, 12, style) or "?")


def _cpu_cell(report: Row, window: Window, _: Style) -> Cell:
    return Cell(cores(window.cores_of(report)))


def _limit_cell(report: Row, _: Window, style: Style) -> Cell:
    limit = report.limit.limit_cores
    return Cell(dash(style), DIM) if limit is None else Cell(cores(limit))


def _gomaxprocs_cell(report: Row, _: Window, style: Style) -> Cell:
    found = report.main_process.gomaxprocs
    if found is None:
        return Cell("?", DIM)
    value = "?" if found.value is None else str(found.value)
    settled = report.verdict in (Verdict.FITS, Verdict.UNLIMITED)
    if settled or found.recommended in (None, found.value):
        return Cell(value)
    return Cell(f"{value} {arrow(style)} {found.recommended}", VERDICTS[report.verdict].paint)


def _align_gomaxprocs(row: list[Cell], cells: list[list[Cell]], style: Style) -> list[Cell]:
    """Values stand flush right under one another, the arrows after them."""
    separator = f" {arrow(style)} "
    parts = [other[GOMAXPROCS].text.partition(separator) for other in cells]
    left = max(len(value) for value, _, _ in parts)
    right = max(len(mark + fitting) for _, mark, fitting in parts)
    value, mark, fitting = row[GOMAXPROCS].text.partition(separator)
    text = f"{value:>{left}}{mark + fitting:<{right}}"
    return [Cell(text, cell.paint) if i == GOMAXPROCS else cell for i, cell in enumerate(row)]


def _origin_cell(report: Row, _: Window, style: Style) -> Cell:
    found = report.main_process.gomaxprocs
    return Cell(SHORT_ORIGINS[found.origin] if found else dash(style))


def _runtime_cell(report: Row, _: Window, __: Style) -> Cell:
    paint = VERDICTS[report.verdict].paint if report.verdict is Verdict.OVERSIZED else ""
    return Cell(percent(report.runtime_share), paint)


def _share_cell(*categories: Category) -> Callable[[Row, Window, Style], Cell]:
    return lambda report, _, __: Cell(percent(report.share(*categories)))


def _group_cell(group: Group) -> Callable[[Row, Window, Style], Cell]:
    return lambda report, _, __: Cell(percent(report.group_share(group)))


def _throttled_cell(report: Row, _: Window, style: Style) -> Cell:
    throttled = report.usage.throttled_ns
    if throttled is None:
        return Cell(dash(style), DIM)
    return Cell(seconds(throttled / 1e9), "" if throttled else DIM)


_BAR_PARTS = (
    ("SCHED", (Group.SCHEDULER,), "█", "#"),
    ("GC", (Group.GC,), "▓", "%"),
    ("OTHER", (Group.SERVICE,), "▒", "+"),
    ("USER", (Group.USER, Group.NATIVE, Group.UNKNOWN), "░", "."),
)


def _bar_cell(report: Row, _: Window, style: Style) -> Cell:
    shares = [report.group_share(*groups) for _, groups, _, _ in _BAR_PARTS]
    lengths = apportioned(shares, BAR_WIDTH)
    return _spans(
        ((mark if style.unicode else plain) * length, GROUP_PAINTS[groups[0]])
        for (_, groups, mark, plain), length in zip(_BAR_PARTS, lengths, strict=True)
    )


def _legend(style: Style) -> Cell:
    """The bars' title says what their parts are."""
    return _spans(
        (text, paint)
        for i, (name, groups, mark, plain) in enumerate(_BAR_PARTS)
        for text, paint in (
            ((" " if i else "") + (mark if style.unicode else plain), GROUP_PAINTS[groups[0]]),
            (name, DIM),
        )
    )


def _spans(spans: Iterable[tuple[str, str]]) -> Cell:
    parts = tuple(spans)
    return Cell("".join(text for text, _ in parts), spans=parts)


def apportioned(shares: Sequence[float], length: int) -> list[int]:
    """``length`` divided in proportion by the largest remainders; all 0 if the shares are."""
    total = sum(shares)
    if total <= 0:
        return [0] * len(shares)
    exact = [share / total * length for share in shares]
    parts = [math.floor(x) for x in exact]
    for i in sorted(range(len(exact)), key=lambda i: parts[i] - exact[i])[: length - sum(parts)]:
        parts[i] += 1
    return parts


COLUMNS = (
    _Column("VERDICT", 0, False, _verdict_cell, Sort.VERDICT),
    _Column("CONTAINER", 0, False, _name_cell, Sort.NAME),
    _Column("GO", 5, False, _go_cell),
    _Column("CPU", 0, True, _cpu_cell, Sort.CPU),
    _Column("LIMIT", 0, True, _limit_cell),
    _Column("GOMAXPROCS", 0, True, _gomaxprocs_cell),
    _Column("FROM", 7, False, _origin_cell),
    _Column("RUNTIME", 0, True, _runtime_cell, Sort.RUNTIME),
    _Column("SCHED", 1, True, _group_cell(Group.SCHEDULER)),
    _Column("GC", 2, True, _group_cell(Group.GC)),
    _Column("ALLOC", 6, True, _share_cell(Category.ALLOC)),
    _Column("USER", 4, True, _group_cell(Group.USER)),
    _Column("THROTTLED", 3, True, _throttled_cell, Sort.THROTTLED),
    _Column("", 8, False, _bar_cell),
)
NAME, GOMAXPROCS, BAR = 1, 5, 13


# Around the table


def _headline(command: str, window: Window, style: Style) -> str:
    facts = (
        shortened(window.host, 30, style),
        f"{window.duration_s:.1f} s at {window.hz:.0f} Hz",
        plural(window.cpu_count, "CPU"),
        plural(window.hits.drained, "hit"),
    )
    rest = dot(style) + dot(style).join(fact for fact in facts if fact)
    return painted(command, BOLD, style) + elided(rest, style.room - len(command), ellipsis(style))


def _totals(window: Window, style: Style) -> list[str]:
    go_cores = sum(window.cores_of(report) for report in window.reports)
    containers = plural(len(window.reports), "container")
    cpu = (
        f"Go {cores(go_cores)} cores in {containers}",
        f"other programs {cores(window.cpu_cores(window.native_hits))} cores",
        f"of {plural(window.cpu_count, 'CPU')}",
    )
    hits = window.hits
    lost = sum(hits.lost.values())
    counts = [f"{hits.drained:,} drained", f"{hits.attributed:,} attributed"]
    if lost:
        reasons = ", ".join(
            f"{word(reason, style)} {number:,}"
            for reason, number in sorted(hits.lost.items(), key=lambda item: -item[1])
            if number
        )
        counts.append(f"{lost:,} lost ({100 * lost / max(hits.drained, 1):.2f}%): {reasons}")
    else:
        counts.append("none lost")
    room = style.room - 6
    return [
        *labelled("CPU", paragraph(dot(style).join(cpu), room, style), 6, style),
        *labelled("Hits", paragraph(dot(style).join(counts), room, style), 6, style),
        *(line for text in unjudged(window) for line in paragraph(text, style.room, style)),
    ]


_WHY = {
    "procfs-denied": "gotax needs to be root or CAP_SYS_PTRACE for them",
    "procfs-hidden": "/proc is mounted with hidepid, and gotax lacks CAP_SYS_PTRACE",
    "process-gone": "they ended before anybody looked",
    "elf-packed": "packed by UPX",
}


def unjudged(window: Window) -> list[str]:
    """A sentence for each reason why programs could not be read.

    On every host some end before they are looked at: that is told where it is 1 % of the hits.
    """
    texts = []
    for found in window.unjudged:
        if found.reason == "process-gone" and found.hits * 100 < window.hits.drained:
            continue
        are = "it is Go is" if found.processes == 1 else "they are Go is"
        why = f"{found.reason}: {_WHY[found.reason]}" if found.reason in _WHY else found.reason
        texts.append(
            f"{plural(found.processes, 'program')} ({cores(window.cpu_cores(found.hits))} cores)"
            f" could not be read ({why}): whether {are} not known."
        )
    return texts


def _headlines_of_findings(reports: Sequence[Row], room: int, style: Style) -> list[str]:
    """One line per finding as far as ``room`` goes, behind an empty line."""
    lines = []
    for report in reports:
        for finding in report.findings:
            verdict = VERDICTS[report.verdict]
            text = f"{report.container.name}: {finding.title}"
            lines.append(
                painted(verdict.label(style)[0], verdict.paint, style)
                + " "
                + shortened(text, style.room - 2, style)
            )
    return ["", *lines[: room - 1]] if lines and room > 1 else []


def _finding(finding: Finding, report: Row, style: Style, whole: bool = False) -> list[str]:
    """What, evidence, remedy; of a remedy of several lines the first, unless ``whole``."""
    paint = VERDICTS[Verdict.OVERSIZED].paint if finding.severity is Severity.WARNING else YELLOW
    mark = VERDICTS[report.verdict].label(style)[0]
    code = word(finding.code, style)
    name = "" if whole else shortened(report.container.name, style.room // 2, style) + ": "
    head = paragraph(f"{name}{finding.title} [{code}]", style.room - 2, style)
    lines = [painted(f"{mark} {head[0]}", paint, style)]
    lines += [painted(f"  {line}", paint, style) for line in head[1:]]
    room = style.room - LABEL_WIDTH - 2
    for number, evidence in enumerate(finding.evidence):
        label = "" if number else "  Evidence"
        lines += labelled(label, paragraph(evidence.text, room, style), LABEL_WIDTH, style)
    if whole and finding.saving is not None:
        lines += _saving(finding.saving, room, style)
    lines += labelled("  Remedy", paragraph(finding.remedy.text, room, style), LABEL_WIDTH, style)
    if whole and finding.remedy.patch:
        patch = block(finding.remedy.patch.rstrip("\n"), room, style)
        lines += labelled("  Patch", patch, LABEL_WIDTH, style)
    if whole:
        sure = f"{finding.confidence.value} confidence"
        if finding.held_s:
            sure += f", held for {span(finding.held_s)}"
        lines += labelled("  How sure", [sure], LABEL_WIDTH, style)
    return lines


def _saving(saving: Saving, room: int, style: Style) -> list[str]:
    """The predicted range, and where it comes from."""
    text = (
        f"{saving.mid:.2f} cores, between {saving.low:.2f} and {saving.high:.2f}, at the same work"
    )
    parts = [s for s in saving.sources if abs(s.cores) >= NOTABLE_SOURCE * abs(saving.mid)]
    if parts:
        text += ": " + ", ".join(f"{source.name} {source.cores:.2f}" for source in parts)
    return labelled("  Saving", paragraph(text, room, style), LABEL_WIDTH, style)


# One container explained


def _facts(report: Row, window: Window, style: Style) -> list[str]:
    room = style.room - LABEL_WIDTH
    facts = [
        ("Program", _program(report.main_process)),
        ("Processes", _processes(report.processes)),
        ("Pod", _pod(report.container.pod)),
        ("Container", _identity(report.container)),
        ("Cgroup", report.container.cgroup),
        ("CPU", _cpu(report, window)),
        ("Limit", _limit(report.limit, report.container)),
        ("Throttled", _throttled(report)),
    ]
    lines: list[str] = []
    for label, text in facts:
        if text:
            lines += labelled(label, unabridged(text, room, style), LABEL_WIDTH, style)
    steps = _gomaxprocs_steps(report.main_process.gomaxprocs)
    for i, step in enumerate(steps):
        label = "" if i else "GOMAXPROCS"
        lines += labelled(label, paragraph(step, room, style), LABEL_WIDTH, style)
    return lines


def _program(process: Process) -> str:
    build = process.build
    if build is None:
        return process.command
    module = " ".join(part for part in (build.main.path, build.main.version) if part)
    return f"{module or process.command}, built with {build.version or 'an unknown Go version'}"


def _processes(processes: Sequence[Process]) -> str:
    shown = ", ".join(f"{process.pid} ({process.command})" for process in processes[:4])
    rest = len(processes) - 4
    return f"{shown} and {rest} more" if rest > 0 else shown


def _identity(container: Container) -> str:
    parts = (
        f"systemd unit {container.unit}" if container.unit else "",
        f"{container.runtime or 'container'} {container.container_id[:12]}"
        if container.container_id
        else "",
        f"pod {container.pod_uid}" if container.pod_uid else "",
        f"of it the part {container.nested}, which has a limit of its own"
        if container.nested
        else "",
    )
    return ", ".join(part for part in parts if part)


def _pod(pod: PodContainer | None) -> str:
    if pod is None:
        return ""
    text = f"{pod.namespace}/{pod.pod} of {pod.workload} on {pod.node}"
    if pod.kind != "container":
        article = "an" if pod.kind.startswith(("e", "i")) else "a"
        text += f"; {pod.container} is {article} {pod.kind} container"
    text += f"; {_resources(pod.current)}"
    if pod.desired != pod.current:
        text += f", a resize to {_resources(pod.desired)} is pending"
    return text


def _resources(resources: CpuResources) -> str:
    request, limit = resources.request_cores, resources.limit_cores
    return (
        f"request {'none' if request is None else cores(request)},"
        f" limit {'none' if limit is None else cores(limit)}"
    )


def _cpu(report: Row, window: Window) -> str:
    text = (
        f"{cores(window.cores_of(report))} cores: {window.cpu_ns_of(report) / 1e9:.1f} s of CPU"
        f" time in {window.duration_s:.1f} s ({plural(report.hits, 'hit')})"
    )
    if report.usage.usage_ns is not None:
        text += f"; the kernel's own account says {report.usage.usage_ns / 1e9:.1f} s"
    return text


def _limit(limit: CpuLimit, container: Container) -> str:
    if limit.limit_cores is None:
        text = "none"
    elif limit.limit_cgroup in (None, container.cgroup):
        text = f"{cores(limit.limit_cores)} cores, set on its own cgroup"
    else:
        own = (
            "has none"
            if limit.leaf_limit_cores is None
            else f"allows {cores(limit.leaf_limit_cores)}"
        )
        text = (
            f"{cores(limit.limit_cores)} cores, set above it on {limit.limit_cgroup}; its own"
            f" cgroup {own}, and Go looks at no other"
        )
    if limit.cpuset_cpus is not None:
        text += f"; it may use {plural(limit.cpuset_cpus, 'CPU')}"
        if limit.cpuset_cgroup is not None:
            text += f" (cpuset of {limit.cpuset_cgroup})"
    if limit.weight is not None:
        text += f"; cpu.weight {limit.weight}"
    if limit.shares is not None:
        text += f"; cpu.shares {limit.shares}"
    return text


def _throttled(report: Row) -> str:
    usage = report.usage
    if usage.periods is None or usage.throttled_periods is None:
        return ""
    if not usage.throttled_periods:
        return f"never in {plural(usage.periods, 'period')}"
    text = f"in {usage.throttled_periods:,} of {plural(usage.periods, 'period')}"
    if usage.throttled_ns is not None:
        text += f", {seconds(usage.throttled_ns / 1e9)} in all"
    return text


def _gomaxprocs_steps(found: Gomaxprocs | None) -> list[str]:
    """From where the value came to what it should be."""
    if found is None:
        return ["unknown: no Go process was read"]
    if found.value is None:
        steps = [f"unreadable: {found.reason or 'no reason given'}"]
    else:
        steps = [f"{found.value}: {ORIGINS[found.origin]}"]
    if found.expected is not None:
        rule = f": {found.rule}" if found.rule else ""
        steps.append(f"{found.expected} is what the rules of its runtime give here{rule}")
    if found.recommended is not None:
        steps.append(f"{found.recommended} fits: {_bound(found)}")
    return steps


_BOUNDS = {
    Binding.QUOTA: "the CPU limit, rounded up to whole CPUs",
    Binding.CPUSET: "the CPUs of its cpuset",
    Binding.AFFINITY: "the CPUs that its affinity allows",
    Binding.HOST: "the CPUs of the host",
}


def _bound(found: Gomaxprocs) -> str:
    if not found.bound_by:
        return "the CPU it may use, rounded up to whole CPUs"
    return ", and as many: ".join(_BOUNDS[binding] for binding in found.bound_by)


def _category_bars(report: Row, window: Window, style: Style) -> list[str]:
    """Categories with hits, most first: bar, hits, CPU, share and its interval."""
    total = report.hits
    rows = sorted(
        ((int(report.category_hits[c]), c) for c in Category if report.category_hits[c]),
        key=lambda row: (-row[0], row[1]),
    )
    most = max((hits for hits, _ in rows), default=0)
    names = max((len(category.label) for _, category in rows), default=0)
    figures = 8 + 7 + 9 + 13
    length = max(0, min(style.room, MAX_TEXT) - 2 - names - 2 - figures)
    title = f"  {'Where the time goes':<{names + 2 + length}}"
    head = (
        f"{title[: 2 + names + 2 + length]}{'hits':>8}{'share':>7}{'cores':>9}{'95% interval':>13}"
    )
    lines = [painted(head, DIM, style)]
    for hits, category in rows:
        low, high = interval(hits, total)
        bar = _bar(hits / most * length, style)
        between = f"{100 * low:.0f}{dash(style)}{100 * high:.0f}%"
        lines.append(
            f"  {category.label:<{names}}  "
            + painted(bar, GROUP_PAINTS[category.group], style)
            + " " * (length - len(bar))
            + f"{hits:>8,}{percent(hits / total):>7}"
            + f"{cores(window.cores_of(report) * hits / total):>9}{between:>13}"
        )
    groups = (
        f"{group.value} {percent(report.group_share(group))}"
        for group in Group
        if report.group_share(group)
    )
    summary = f"runtime {percent(report.runtime_share)} = scheduler + gc; " + ", ".join(groups)
    return [*lines, "", *(f"  {line}" for line in paragraph(summary, style.room - 2, style))]


def _bar(length: float, style: Style) -> str:
    """In eighths of a column where the terminal can."""
    if not style.unicode:
        return "#" * round(length)
    whole, eighths = divmod(round(length * 8), 8)
    return "█" * whole + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths]


def _function_rows(report: Row, style: Style) -> list[str]:
    functions = report.functions[:EXPLAINED_FUNCTIONS]
    width = min(
        max((columns(word(f.function, style)) for f in functions), default=9),
        style.room - 2 - 8 - 12,
    )
    width = max(width, 9)
    lines = [painted(f"  {'Functions':<{width}}{'flat':>8}{'cumulative':>12}", DIM, style)]
    for function in functions:
        name = padded(shortened(function.function, width, style), width, right=False)
        total = report.hits or 1
        flat = percent(function.flat_hits / total)
        lines.append(f"  {name}{flat:>8}{percent(function.cumulative_hits / total):>12}")
    return lines
