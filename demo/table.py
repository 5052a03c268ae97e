"""The demo's table: both runs beside the production figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """One run as measured by gotax and the service itself. Shares are ratios; None is "not
    listed"."""

    gomaxprocs: int | None
    recommended: int | None
    limit_cores: float | None
    go_version: str
    cpu_s_per_min: float  # by gotax's samples
    kernel_s_per_min: float  # by the kernel's counters of the cgroup
    throttled_s_per_min: float
    requests_per_cpu_s: float
    requests_per_s: float
    live_heap_mb: float
    neighbours_cores: float  # usage of all other processes on the host
    schedule: float | None
    mark_worker: float | None
    scheduler: float
    gc: float
    verdict: str
    findings: tuple[tuple[str, str], ...]  # code, title
    flagged_after_s: float | None = None  # since the service started, None if it was not
    cause: str | None = None  # of the first warning
    predicted_s_per_min: tuple[float, float, float] | None = None
    """CPU after its patch: the low end, the middle and the high end."""

    @property
    def flagged(self) -> bool:
        return self.flagged_after_s is not None


@dataclass(frozen=True, slots=True)
class Style:
    """Escape sequences, empty if colour is off."""

    bold: str = ""
    red: str = ""
    green: str = ""
    dim: str = ""
    off: str = ""


COLOURED = Style("\033[1m", "\033[31m", "\033[32m", "\033[2m", "\033[0m")

# The production figures, by row: oversized, right-sized. There are no others.
_STORY = {
    "CPU seconds a minute": ("30", "17"),
    "requests per CPU second": ("6,700", "12,000"),
    "runtime.schedule": ("30 %", "5 %"),
    "runtime.gcBgMarkWorker": ("20 %", "6 %"),
    "GOMAXPROCS": ("192", "1"),
    "CPU limit (cores)": ("1", "1"),
    "cores of the host": ("192", "192"),
}
_LABEL, _CELL = 30, 12
_BUSY_NEIGHBOURS_CORES = 0.5


def render_table(oversized: Result, fitting: Result, cores: int, style: Style) -> str:
    """The table as text without a line feed at the end; ``cores`` is this host's count."""
    pair = (oversized, fitting)
    rows: list[tuple[str, list[str]]] = [
        ("CPU seconds a minute", [f"{r.cpu_s_per_min:.1f}" for r in pair]),
        ("  by the kernel's account", [f"{r.kernel_s_per_min:.1f}" for r in pair]),
        ("  predicted with the patch", [_predicted(r) for r in pair]),
        ("requests per CPU second", [f"{r.requests_per_cpu_s:,.0f}" for r in pair]),
        ("runtime.schedule", [_percent(r.schedule) for r in pair]),
        ("  all of the scheduler", [_percent(r.scheduler) for r in pair]),
        ("runtime.gcBgMarkWorker", [_percent(r.mark_worker) for r in pair]),
        ("  all of the collector", [_percent(r.gc) for r in pair]),
        ("GOMAXPROCS", [_number(r.gomaxprocs) for r in pair]),
        ("  what fits the limit", [_number(r.recommended) for r in pair]),
        ("CPU limit (cores)", [_number(r.limit_cores) for r in pair]),
        ("cores of the host", [str(cores)] * 2),
        ("throttled, seconds a minute", [f"{r.throttled_s_per_min:.1f}" for r in pair]),
        ("requests a second", [f"{r.requests_per_s:,.0f}" for r in pair]),
    ]
    half = _CELL * 2
    rule = style.dim + "─" * (_LABEL + 2 * half + 3) + style.off
    lines = [
        f"{'':{_LABEL}}{style.bold}{'oversized':>{half}}   {'right-sized':>{half}}{style.off}",
        f"{'':{_LABEL}}" + f"{'here':>{_CELL}}{'production':>{_CELL}}   " * 2,
        rule,
    ]
    for label, cells in rows:
        production = _STORY.get(label, ("", ""))
        halves = [
            f"{cell:>{_CELL}}{style.dim}{figure:>{_CELL}}{style.off}"
            for cell, figure in zip(cells, production, strict=True)
        ]
        lines.append(f"{label:{_LABEL}}" + "   ".join(halves))
    lines.append(rule)
    words = [_verdict(result, style) for result in pair]
    lines.append(f"{'verdict':{_LABEL}}" + "   ".join(words))
    return "\n".join(line.rstrip() for line in lines)


def render_summary(oversized: Result, fitting: Result, style: Style) -> str:
    """The result in a sentence or two; then the findings."""
    if not fitting.kernel_s_per_min:
        return "The right-sized run used no CPU: there is nothing to compare."
    ratio = oversized.kernel_s_per_min / fitting.kernel_s_per_min
    times = f"{style.bold}{ratio:.1f} times the CPU{style.off}"
    lines = [
        f"The same service and the same requests cost {times} when oversized (production: 1.8)."
    ]
    lines += _flag(oversized)
    if oversized.predicted_s_per_min is not None:
        lines.append(_promise(oversized.predicted_s_per_min, oversized, fitting))
    for name, result in (("oversized", oversized), ("right-sized", fitting)):
        lines += [f"{name}: {code} {title}" for code, title in result.findings]
    neighbours = max(oversized.neighbours_cores, fitting.neighbours_cores)
    if neighbours >= _BUSY_NEIGHBOURS_CORES:
        # Threads that find the other cores busy neither wake nor spin: the scheduler looks cheap.
        lines.append(
            f"Other processes used {neighbours:.1f} cores meanwhile; on a quiet host the oversized"
            " run's scheduler share is higher."
        )
    return "\n".join(lines)


def predicted_use(
    cores: float, warnings: list[dict[str, Any]]
) -> tuple[float, float, float] | None:
    """CPU seconds a minute after the patch of the first warning that predicts a saving."""
    for finding in warnings:
        saving = finding["saving_cores"]
        if saving is not None:
            low, middle, high = ((cores - saving[end]) * 60 for end in ("high", "mid", "low"))
            return low, middle, high
    return None


def _flag(result: Result) -> list[str]:
    if result.flagged_after_s is None:
        return ["gotax did not flag the oversized run."]
    cause = f", cause: {result.cause}" if result.cause else ""
    return [f"Flagged {result.flagged_after_s:.0f} s after the service had started{cause}."]


def _promise(predicted: tuple[float, float, float], oversized: Result, fitting: Result) -> str:
    """The prediction from the oversized run alone, beside the usage of the other run at the same
    work."""
    low, middle, high = predicted
    used, before = fitting.cpu_s_per_min, oversized.cpu_s_per_min
    if fitting.requests_per_s:
        used *= oversized.requests_per_s / fitting.requests_per_s
    where = "within" if low <= used <= high else "outside"
    return (
        f"Predicted from the oversized run alone: the patch saves {before - middle:.1f} of"
        f" {before:.1f} CPU seconds a minute ({before - high:.1f} to {before - low:.1f});"
        f" it saved {before - used:.1f}, {where} the range."
    )


def _predicted(result: Result) -> str:
    return "-" if result.predicted_s_per_min is None else f"{result.predicted_s_per_min[1]:.1f}"


def _verdict(result: Result, style: Style) -> str:
    colour = style.red if result.flagged else style.green
    word = result.verdict or "-"
    if result.findings:
        word = f"{word} ({result.findings[0][0]})"
    return f"{colour}{word:>{_CELL * 2}}{style.off}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
