"""Words for values of answers that the terminal and the page share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gotax_collector.query.answers import Compared, Contrast, Side, Variant

FIELD_NAMES = {
    "gomaxprocs": "GOMAXPROCS",
    "go": "Go",
    "image": "image",
    "limit_cores": "CPU limit",
}


def variant_text(value: object, field: str) -> str:
    if field == "limit_cores" and isinstance(value, float | int):
        return f"{value:g}" if value else "none"
    return str(value)


def why_not(row: Mapping[str, Any]) -> str:
    before, after = (_numbers(counts) for counts in row["cpu_counts"])
    if row["reason"] == "other-nodes":
        return f"it ran on nodes with {before} CPUs before, and with {after} CPUs after"
    return f"too few samples in an hour, on nodes with {before} CPUs"


def _numbers(counts: Sequence[int]) -> str:
    texts = [str(count) for count in counts]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)


def covered_of(seconds: float, whole: float) -> str:
    """How much time there is data of, and of how much where that is less."""
    if seconds > 0.98 * whole:
        return covered(seconds)
    return f"{covered(seconds)} of that time reported"


def covered(seconds: float) -> str:
    """``3 min``, ``23 h 50 min``, ``6 days 4 h``: how much time there is data of."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{round(seconds)} s"
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} {'day' if days == 1 else 'days'}" + (f" {hours} h" if hours else "")
    if hours:
        return f"{hours} h" + (f" {rest} min" if rest else "")
    return f"{rest} min"


def minute(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M")


def ago(seconds: float) -> str:
    """``7 min ago``."""
    return "just now" if seconds < 30 else f"{covered(seconds)} ago"


def change_text(what: Sequence[str], before: Variant, after: Variant) -> str:
    return ", ".join(
        f"{FIELD_NAMES[field]} {variant_text(getattr(before, field), field)}"
        f" → {variant_text(getattr(after, field), field)}"
        for field in what
    )


_ORIGINS = {
    "environment": "set by the environment variable GOMAXPROCS",
    "cri-o": "set by CRI-O to twice the CPU request",
    "automaxprocs": "set by automaxprocs",
    "call": "set by a call of runtime.GOMAXPROCS in the program",
    "container-default": "computed by Go from the CPU limit of the cgroup",
    "cpu-count": "the number of CPUs, Go's default",
    "fixed-default": "the fixed default of Go before 1.5",
}


def origin_text(origin: str) -> str:
    return _ORIGINS.get(origin, "of unknown origin")


_FORMS = (
    ("resourceFieldRef:", "Pod template, from the CPU limit (downward API)"),
    ("env:", "Pod template, a fixed value"),
    ("[Service]", "systemd drop-in"),
    ("[Container]", "Quadlet"),
    ("template:", "Pod template"),
    ("spec:", "Pod template"),
    ("-e GO", "Command that creates the container"),
    ("systemd-run", "Command that starts it"),
    ("GOMAXPROCS=", "Environment variable"),
    ("GOMEMLIMIT=", "Environment variable"),
    ("GOGC=", "Environment variable"),
    ("go 1.", "go.mod"),
)


def patch_form(patch: str) -> str:
    """What kind of file or command a patch of an agent belongs into."""
    lines = [line.strip() for line in patch.split("\n") if not line.startswith("#")]
    found = (name for start, name in _FORMS if any(start in line for line in lines))
    return next(found, "Patch")


def difference_sentence(compared: Compared) -> str:
    """What is different after, and how sure that is."""
    sides = {side.label: side for side in compared.sides}
    missing = [name for name in ("before", "after") if name not in sides]
    if missing:
        return f"There are too few samples {' and '.join(missing)}: nothing can be compared."
    before, after = sides["before"], sides["after"]
    shares = f"{_percent(before.runtime_share)} before and {_percent(after.runtime_share)} after"
    head = f"Scheduler and GC take {shares}"
    if after.runtime is None or after.runtime.low is None:
        return f"{head}, of too few samples to say whether that is chance.{_beside(before, after)}"
    if not after.runtime.is_sure:
        text = f"{head}: this may be chance ({_interval(after.runtime)} points)."
    else:
        points = abs(after.runtime.change) * 100
        way = "more" if after.runtime.change > 0 else "less"
        text = f"{head}: {points:.1f} points {way} (95 % interval {_interval(after.runtime)})."
    return text + _parts(before, after) + _beside(before, after)


def _parts(before: Side, after: Side) -> str:
    parts = (
        ("Scheduler", after.scheduler_share - before.scheduler_share),
        ("GC", after.gc_share - before.gc_share),
    )
    return " " + ", ".join(f"{name} {share * 100:+.1f}" for name, share in parts) + " points."


def _beside(before: Side, after: Side) -> str:
    """What else is different, which may be why."""
    others = [
        f"{name} {_numbers(first)} → {_numbers(second)}"
        for name, first, second in (
            ("GOMAXPROCS", before.gomaxprocs, after.gomaxprocs),
            ("CPUs of the node", (before.cpu_count,), (after.cpu_count,)),
        )
        if first != second
    ]
    text = f" Each container uses {before.cores:.3f} cores before and {after.cores:.3f} after."
    return text + (f" Different, too: {', '.join(others)}." if others else "")


def _interval(found: Contrast) -> str:
    return f"{(found.low or 0) * 100:+.1f} to {(found.high or 0) * 100:+.1f}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"
