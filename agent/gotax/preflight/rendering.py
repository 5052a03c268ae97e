"""``gotax inspect`` and ``gotax lint`` on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from gotax.exporters.style import (
    BOLD,
    BOLD_RED,
    DIM,
    YELLOW,
    Style,
    block,
    dash,
    dot,
    labelled,
    painted,
    paragraph,
    plural,
    word,
)
from gotax.exporters.text import columns
from gotax.findings import Finding, Severity
from gotax.preflight.forecast import Forecast
from gotax.preflight.inspecting import Inspected, Inspection
from gotax.preflight.linting import Linted
from gotax.preflight.located import Located, name_of

_LABEL = 12


def render_inspection(found: Inspection, style: Style) -> str:
    lines: list[str] = []
    for each in found.programs:
        lines += [*_program(each, style), ""]
    for broken in found.unreadable:
        text = f"{broken.path}: could not be read: {broken.text}"
        lines += paragraph(text, style.room, style)
    return "\n".join(lines).rstrip("\n")


def render_lint(found: Linted, style: Style) -> str:
    lines: list[str] = []
    for each in found.findings:
        lines += [*_finding(each, style), ""]
    for broken in found.unparsed:
        text = f"{broken.file}: could not be read: {broken.text}"
        lines += [*paragraph(text, style.room, style), ""]
    warnings = sum(each.finding.severity is Severity.WARNING for each in found.findings)
    notes = len(found.findings) - warnings
    lines.append(
        f"{plural(found.containers, 'container')} of Go in {plural(found.files, 'file')}:"
        f" {plural(warnings, 'warning')}, {plural(notes, 'note')}"
    )
    return "\n".join(lines)


def _program(each: Inspected, style: Style) -> Iterator[str]:
    found = each.forecast
    build = found.program.build
    parts = [word(build.version or "Go of unknown version", style)]
    if build.main.path:
        parts.append(word(f"{build.main.path} {build.main.version}".strip(), style))
    if each.image:
        role = "its entry point" if each.is_entry else "not its entry point"
        parts.append(word(f"image {each.image} ({role})", style))
    yield (
        painted(word(found.program.path, style), BOLD, style) + dot(style) + dot(style).join(parts)
    )
    yield painted(word(_setting(found), style), DIM, style)
    yield ""
    yield from _table(found, style)
    limit = found.memory.limit_bytes
    size = dash(style) if limit is None else f"{limit / (1 << 20):,.0f} MiB"
    yield f"GOMEMLIMIT  {size}{dot(style)}{word(found.memory.rule, style)}"
    for located in each.findings:
        yield ""
        yield from _finding(located, style)
    if not each.is_judged:
        yield painted("No findings for programs that are not the entry point: --all", DIM, style)


def _setting(found: Forecast) -> str:
    spec = found.spec
    parts = [name_of(spec)] if spec.name else []
    limit, request, memory = spec.cpu_limit, spec.cpu_request, spec.resources.memory_limit
    parts.append(f"CPU limit {limit:g}" if limit is not None else "no CPU limit")
    if request is not None:
        parts.append(f"request {request:g}")
    parts.append(f"memory limit {memory.text}" if memory is not None else "no memory limit")
    parts.append(f"cgroup v{spec.view.version}")
    if spec.min_injected is not None:
        parts.append("CRI-O injects GOMAXPROCS")
    if spec.hidden:
        parts.append(f"variables of {', '.join(spec.hidden[:3])} are not known")
    return ", ".join(parts)


def _table(found: Forecast, style: Style) -> Iterator[str]:
    """A row for each kind of node, and the values after each change."""
    rows = [("CPUs of the node", "GOMAXPROCS", "fits", "rule")]
    for node in found.nodes:
        value = node.gomaxprocs.value
        rows.append(
            (
                str(node.cpus),
                dash(style) if value is None else str(value),
                str(node.gomaxprocs.recommended),
                word(node.gomaxprocs.rule or node.gomaxprocs.reason, style),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for number, row in enumerate(rows):
        cells = [f"{cell:>{width}}" for cell, width in zip(row, widths, strict=False)]
        line = "  ".join((*cells, row[3]))
        yield painted(line, DIM, style) if number == 0 else line
    for change in found.alternatives:
        values = ", ".join(dash(style) if v is None else str(v) for v in change.values)
        if len(set(change.values)) == 1:
            values = values.partition(",")[0] + (" everywhere" if len(change.values) > 1 else "")
        lines = paragraph(f"{values} {change.text}", style.room - _LABEL, style)
        yield from labelled("with change", lines, _LABEL, style)


def _finding(each: Located, style: Style) -> Iterator[str]:
    finding: Finding = each.finding
    is_warning = finding.severity is Severity.WARNING
    paint = BOLD_RED if is_warning else YELLOW
    where = ""
    if each.place.file:
        line = f":{each.place.line}" if each.place.line is not None else ""
        where = f"{each.place.file}{line}: "
    name = f"{each.container}: " if each.container and where else ""
    kind = "warning" if is_warning else "note"
    head = f"{kind}: {name}{finding.title} [{finding.code}]"
    if columns(where) > style.room // 2:  # whole: terminals and editors make links of it
        yield painted(word(where, style).rstrip(), paint, style)
    else:
        head = where + head
    yield from (painted(line, paint, style) for line in paragraph(head, style.room, style))
    room = style.room - _LABEL
    for number, evidence in enumerate(finding.evidence):
        label = "" if number else "  Evidence"
        yield from labelled(label, paragraph(evidence.text, room, style), _LABEL, style)
    if finding.remedy.text:
        yield from labelled("  Remedy", paragraph(finding.remedy.text, room, style), _LABEL, style)
    if finding.remedy.patch:
        patch = block(finding.remedy.patch.rstrip("\n"), room, style)
        yield from labelled("  Patch", patch, _LABEL, style)
