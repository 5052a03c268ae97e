"""Results as text for a terminal. Names are untrusted: control characters are replaced."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gotax_collector.query.findings import TOO_FEW_SAMPLES
from gotax_collector.query.wording import FIELD_NAMES, covered_of, variant_text, why_not

Document = Mapping[str, Any]

_GAP = 2
_NAME_MAX = 44
_NO_THROUGHPUT = (
    "Without a throughput (--throughput BEFORE AFTER) a change of load looks like a change of CPU;"
    " the runtime's share depends on it less."
)
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # controls, and what turns the line around


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    is_number: bool = True


def printable(text: str, most: int = _NAME_MAX) -> str:
    """Each character that is not plainly visible as ?, and not more than ``most``."""
    shown = "".join("?" if unicodedata.category(c) in _HIDDEN else c for c in text)
    return shown if len(shown) <= most else f"{shown[: most // 2 - 1]}…{shown[-(most // 2) :]}"


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    lines = [[column.title for column in columns], *(list(row) for row in rows)]
    widths = [max(_width(line[index]) for line in lines) for index in range(len(columns))]
    found = []
    for line in lines:
        cells = [
            " " * (width - _width(cell)) + cell
            if column.is_number
            else cell + " " * (width - _width(cell))
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        found.append((" " * _GAP).join(cells).rstrip())
    return "\n".join(found)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def top(found: Document) -> str:
    rows = found["rows"]
    if not rows:
        return "No Go container was seen in that selection and time."
    price = found.get("price_per_core_hour")
    columns = [
        Column("WORKLOAD", False),
        *(Column("CONTAINERS"), Column("CPU"), Column("RUNTIME"), Column("SHARE")),
        *(Column("SCHED"), Column("GC"), Column("SAVING"), Column("GOMAXPROCS"), Column("LIMIT")),
        *((Column("COST/MONTH"),) if price else ()),
        Column("FINDINGS", False),
    ]
    total = found["total"]
    lines = [
        (
            f"gotax fleet · {_span(found['span'])} · {found['workloads']} workloads ·"
            f" {total['containers']:.0f} containers · {total['cores']:.1f} cores, of which the"
            f" runtime takes {total['runtime_cores']:.1f} ({_percent(total['runtime_share'])})"
        ),
        "",
        table(columns, (_top_cells(row, bool(price)) for row in rows)),
    ]
    if price:
        text = f"The runtime's CPU at {price:g} per core-hour, a month of 730 hours:"
        lines += ["", f"{text} {total['runtime_per_month']:,.0f} for all."]
    return "\n".join(lines)


def _top_cells(row: Document, priced: bool) -> list[str]:
    use = row["consumption"]
    saving = use["saving_cores"]
    return [
        name_of(row),
        f"{use['containers']:.1f}",
        f"{use['cores']:.2f}",
        f"{use['runtime_cores']:.2f}",
        _percent(use["runtime_share"]),
        _percent(use["scheduler_share"]),
        _percent(use["gc_share"]),
        f"{saving[1]:.2f}" if saving else "",
        values(row["gomaxprocs"]),
        f"{row['limit_cores']:g}" if row["limit_cores"] else "none",
        *((f"{use['runtime_per_month']:,.0f}",) if priced else ()),
        printable(_findings(row)),
    ]


def _findings(row: Document) -> str:
    """Those that hold; in brackets those that were seen in that time and ended."""
    if row.get("open_findings") is None:
        return " ".join(row["findings"])
    held = [found["code"] for found in row["open_findings"]]
    ended = [code for code in row["findings"] if code not in (*held, TOO_FEW_SAMPLES)]
    return " ".join([*held, *([f"(ended: {' '.join(ended)})"] if ended else [])])


def compare(found: Document) -> str:
    sides = found["sides"]
    if not sides:
        return "No Go container was seen in that selection and time, or with too few samples."
    columns = [
        Column(found["by"].upper(), False),
        *(Column("NODES"), Column("CONTAINERS"), Column("SAMPLES"), Column("CPU"), Column("LIMIT")),
        *(Column("SCHED"), Column("GC"), Column("RUNTIME"), Column("±"), Column("DIFFERENCE")),
        *(Column("95 % INTERVAL"), Column("p")),
    ]
    rows = [
        [
            printable(side["label"]),
            *(str(side["nodes"]), f"{side['containers']:.1f}", str(side["samples"])),
            f"{side['cores']:.3f}",
            f"{side['limit_cores']:g}" if side["limit_cores"] else "none",
            *(_percent(side["scheduler_share"]), _percent(side["gc_share"])),
            *(_percent(side["runtime_share"]), _percent(side["runtime_deviation"])),
            *_contrast(side["runtime"], 100, " pt"),
        ]
        for side in sides
    ]
    lines = [_span(found["span"]), "", table(columns, rows), ""]
    lines += [f"  {text}" for text in verdicts(found)]
    lines.append(
        f"One sample is one {found['unit']}; CPU is cores per container; p by Welch's t test,"
        " corrected for several comparisons (Holm)."
    )
    return "\n".join(lines)


def verdicts(found: Document) -> list[str]:
    """A sentence for each difference."""
    by, reference = found["by"], found["reference"]
    first = found["sides"][0]
    sentences = []
    for side in found["sides"][1:]:
        contrast, name = side["runtime"], printable(side["label"])
        what = f"{by} {name} beside {printable(reference)}"
        shares = f"{_percent(side['runtime_share'])} against {_percent(first['runtime_share'])}"
        if contrast["p"] is None:
            sentences.append(f"{what}: the runtime takes {shares}; too few samples to say more.")
        elif contrast["is_sure"]:
            more = "more" if contrast["change"] > 0 else "less"
            cost = side["runtime_cost"]
            sentences.append(
                f"{what}: the runtime takes {more}, {shares}"
                f" ({cost['change']:+.3f} cores per container, {_p(contrast['p'])})."
            )
        else:
            sentences.append(
                f"{what}: no difference beyond chance, {shares} ({_p(contrast['p'])})."
            )
    return sentences


def changes(found: Document) -> str:
    if not found["rows"] and not found["uncompared"]:
        return (
            "No GOMAXPROCS, CPU limit, Go version or image gave way to another in that selection"
            " and time."
        )
    lines = [_span(found["span"])]
    for row in found["rows"]:
        lines += _changed(row)
        lines[-len(row["what"]) - 1] += f", on nodes with {row['cpu_count']} CPUs"
        lines.append(_pair("CPU", row["cores"], row["cores_change"], "cores per container"))
        lines.append(_pair("runtime", row["runtime_share"], row["runtime_change"], "of its CPU"))
        if row["cpu_per_unit"]:
            both = [value * 1000 for value in row["cpu_per_unit"]]
            lines.append(_pair("per unit", both, row["cpu_per_unit_change"], "ms of CPU", 1000))
        before_h, after_h = row["hours"]
        lines.append(f"  {before_h} hours before, {after_h} after")
    for row in found["uncompared"]:
        lines += [*_changed(row), f"  not compared: {why_not(row)}"]
    if found["rows"] and not any(row["work"] for row in found["rows"]):
        lines += ["", _NO_THROUGHPUT]
    return "\n".join(lines)


def _changed(row: Document) -> list[str]:
    name = name_of(row)
    if row["container"] not in ("", row["workload"]):
        name += f" {printable(row['container'])}"
    lines = ["", f"{_time(row['at'])}  {name}"]
    for what in row["what"]:
        before, after = (variant_text(row[side][what], what) for side in ("before", "after"))
        lines.append(f"  {FIELD_NAMES[what]:<12}{printable(before)} → {printable(after)}")
    return lines


def _pair(
    name: str, values_: Sequence[float], contrast: Document, unit: str, scale: float = 1
) -> str:
    as_share = unit.startswith("of ")
    first, second = (_percent(v) if as_share else f"{v:.3f}" for v in values_)
    change, interval, p = _contrast(contrast, 100 if as_share else scale, " pt" if as_share else "")
    tail = f"  ({change}, 95 % {interval}, p {p})" if interval else f"  ({change})"
    return f"  {name:<12}{first} → {second} {unit}{tail}"


def functions(found: Document) -> str:
    if not found["rows"]:
        return "No samples in that selection and time."
    total = max(1, found["cpu_ns"])
    columns = [Column("FLAT"), Column("CUMULATIVE"), Column("CPU s"), Column("FUNCTION", False)]
    rows = (
        [
            _percent(row["flat_ns"] / total),
            _percent(row["cumulative_ns"] / total),
            f"{row['flat_ns'] / 1e9:,.1f}",
            printable(row["function"], 90),
        ]
        for row in found["rows"]
    )
    return f"{_span(found['span'])} · {total / 1e9:,.0f} CPU seconds\n\n{table(columns, rows)}"


def diff(found: Document) -> str:
    if not found["rows"]:
        return "No samples in those selections and times."
    columns = [
        *(Column("A"), Column("B"), Column("CHANGE"), Column("A CUM"), Column("B CUM")),
        Column("FUNCTION", False),
    ]
    rows = (
        [
            *(_percent(row["flat"][0]), _percent(row["flat"][1])),
            f"{(row['flat'][1] - row['flat'][0]) * 100:+.1f} pt",
            *(_percent(row["cumulative"][0]), _percent(row["cumulative"][1])),
            printable(row["function"], 80),
        ]
        for row in found["rows"]
    )
    spans = [_span(span) for span in found["spans"]]
    return f"A {spans[0]}\nB {spans[1]}\n\n{table(columns, rows)}"


def name_of(row: Document) -> str:
    parts = (row["namespace"], row["workload"])
    return printable("/".join(part for part in parts if part))


def values(numbers: Sequence[int]) -> str:
    """GOMAXPROCS of several: the first and the last where they are many."""
    shown = [str(number) if number else "?" for number in numbers]
    return ",".join(shown) if len(shown) <= 3 else f"{shown[0]}…{shown[-1]}"


def _contrast(contrast: Document | None, scale: float, unit: str) -> tuple[str, str, str]:
    if contrast is None:
        return "", "", ""
    digits = 1 if scale == 100 else 3
    change = f"{contrast['change'] * scale:+.{digits}f}{unit}"
    if contrast["low"] is None:
        return change, "", ""
    low, high = contrast["low"] * scale, contrast["high"] * scale
    p = contrast["p"]
    return change, f"{low:+.{digits}f} to {high:+.{digits}f}", "<0.001" if p < 0.001 else f"{p:.3f}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f}%"


def _span(span: Document) -> str:
    whole = span["until"] - span["since"]
    return (
        f"{_time(span['since'])} to {_time(span['until'])} UTC"
        f" ({covered_of(span['seconds'], whole)})"
    )


def _time(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M")
