"""Reads recordings: the output of ``gotax record -o FILE.json`` and ``check --json``.

A recording is untrusted: sizes are bounded, and every number is checked.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from gotax.category import CATEGORY_COUNT, Category
from gotax.comparison import Observation
from gotax.diagnosis.comparison import Subject, Tuned, tuned_of
from gotax.errors import ParseError, UserError
from gotax.findings import Saving
from gotax.process import NO_MEMORY_LIMIT, CpuUsage

MAX_BYTES = 256 << 20
MAX_CONTAINERS = 10_000
MAX_BLOCKS = 100_000
_SCHEMAS = {"gotax.record": 2, "gotax.check": 3, "gotax.explain": 3}
_BEFORE = {"samples": "hits", "drain_samples": "drain_hits"}
"""Keys of a container, and their names one version earlier, which is read too."""
_COUNT_MAX = 1 << 62
_SETTING = re.compile(r"GOMEMLIMIT=[0-9]{1,15}MiB|GOGC=[0-9]{1,9}")

Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Recording:
    """``subjects``: the Go containers in it, at least one."""

    host: str
    cpu_count: int
    start_unix_s: float
    duration_s: float
    subjects: tuple[Subject, ...]


def read_recording(path: str) -> Recording:
    """Raises UserError with the path if the file cannot be used."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MB: record for a shorter time")
    try:
        return parse_recording(data)
    except ParseError as error:
        raise UserError(f"{path} {error.args[0].partition(': ')[2]}") from error


def parse_recording(data: bytes) -> Recording:
    """Reads gotax.record/v2, gotax.check/v3 and gotax.explain/v3, and the version before each.

    ParseError: ``recording-syntax`` (not JSON, or truncated), ``recording-schema`` (another schema
    or version), ``recording-old`` (without containers), ``recording-empty`` (no Go container),
    ``recording-value`` (an invalid number).
    """
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ParseError(
            "recording-syntax", "is not a recording: not JSON, or truncated"
        ) from error
    name, is_before = _schema(document)
    if name == "gotax.explain":
        found = [_get(document, "container", dict)]
    elif "containers" not in document:
        raise ParseError(
            "recording-old", "was recorded by an older gotax, without containers: record again"
        )
    else:
        found = _get(document, "containers", list)
    if not found:
        raise ParseError("recording-empty", "contains no Go container")
    if len(found) > MAX_CONTAINERS:
        _bad(f"more than {MAX_CONTAINERS} containers")
    if is_before:
        found = [_renamed(each) for each in found]
    duration_s = _number(document, "duration_s")
    if duration_s <= 0:
        _bad("duration_s is not above 0")
    start = _number(document, "start_unix_s" if "start_unix_s" in document else "start_unix_ns")
    return Recording(
        host=_get(document, "host", str),
        cpu_count=_count(document, "cpu_count"),
        start_unix_s=start if "start_unix_s" in document else start / 1e9,
        duration_s=duration_s,
        subjects=tuple(_subject(each, duration_s) for each in found),
    )


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)  # NaN and Infinity are not JSON


def _renamed(container: Any) -> Any:
    """A container of the version before, with the keys of this one."""
    if not isinstance(container, dict):
        return container
    names = {old: new for new, old in _BEFORE.items()}
    return {names.get(key, key): value for key, value in container.items()}


def _schema(document: object) -> tuple[str, bool]:
    """The name of the schema, and whether it is the version before this gotax's.

    ParseError if its version is not supported.
    """
    text = document.get("schema") if isinstance(document, dict) else None
    name, _, version = text.partition("/v") if isinstance(text, str) else ("", "", "")
    if name not in _SCHEMAS or not (version.isascii() and version.isdigit()):
        raise ParseError(
            "recording-schema",
            "is not a recording: `gotax record -o FILE.json` writes one",
        )
    if len(version) > 4 or int(version) > _SCHEMAS[name]:
        raise ParseError(
            "recording-schema",
            f"has a newer schema ({name}/v{version[:8]}) than this gotax supports"
            f" (v{_SCHEMAS[name]}): use the gotax that wrote it",
        )
    if int(version) < _SCHEMAS[name] - 1:
        raise ParseError(
            "recording-schema", f"has an older schema ({name}/v{version}): record again"
        )
    return name, int(version) < _SCHEMAS[name]


def _subject(container: object, duration_s: float) -> Subject:
    if not isinstance(container, dict):
        _bad("a container is not an object")
    processes = _get(container, "processes", list)
    commands = tuple(_get(each, "command", str) for each in processes if isinstance(each, dict))
    return Subject(
        name=_get(container, "name", str),
        cgroup=_get(container, "cgroup", str),
        observation=_observation(container, duration_s),
        container_id=_text(container, "container_id"),
        unit=_text(container, "unit"),
        program=_text(container, "main_module") or next(iter(commands), ""),
        version=_text(container, "main_version") or "",
        commands=commands,
        predicted=_predicted(container),
        tuned=_tuned(container),
    )


def _observation(container: dict[str, Any], duration_s: float) -> Observation:
    samples = _count(container, "samples")
    gomaxprocs = _get(container, "gomaxprocs", dict) if container.get("gomaxprocs") else {}
    cpu_s = _number(container, "cpu_seconds")
    blocks = _blocks(container, cpu_s / duration_s)
    runtime = _runtime(container)
    limit = container.get("cpu_limit_cores")
    throttled = container.get("throttled_s")
    return Observation(
        duration_s=duration_s,
        cpu_ns=round(cpu_s * 1e9),
        category_samples=_category_samples(_get(container, "shares", dict), samples),
        usage=CpuUsage(
            periods=_optional_count(container, "periods"),
            throttled_periods=_optional_count(container, "throttled_periods"),
            throttled_ns=None if throttled is None else round(_finite(throttled, "") * 1e9),
        ),
        limit_cores=None if limit is None else _finite(limit, "cpu_limit_cores"),
        gomaxprocs=_optional_count(gomaxprocs, "value"),
        recommended=_optional_count(gomaxprocs, "recommended"),
        go_version=_text(container, "go_version") or "",
        blocks=max(len(blocks), 1),
        cores_variance=_variance(blocks),
        gogc=None if runtime.get("gogc") is None else round(_signed(runtime["gogc"], "gogc")),
        memory_limit_bytes=_limit_of(runtime),
    )


def _runtime(container: dict[str, Any]) -> dict[str, Any]:
    """Of the main process; {} in a recording without it."""
    for process in _get(container, "processes", list)[:1]:
        runtime = process.get("runtime") if isinstance(process, dict) else None
        if isinstance(runtime, dict):
            return runtime
    return {}


def _limit_of(runtime: dict[str, Any]) -> int | None:
    """No limit is larger than any other count of a recording."""
    if runtime.get("memory_limit_bytes") == NO_MEMORY_LIMIT:
        return NO_MEMORY_LIMIT
    return _optional_count(runtime, "memory_limit_bytes")


def _blocks(container: dict[str, Any], cores: float) -> list[float]:
    """The mean CPU of blocks of about the same length, in proportion to their samples."""
    samples = container.get("drain_samples") or []
    if not isinstance(samples, list) or len(samples) > MAX_BLOCKS:
        _bad("drain_samples is not an array, or too long")
    counts = [_finite(each, "drain_samples") for each in samples]
    return [cores * count * len(counts) / sum(counts) for count in counts] if sum(counts) else []


def _variance(values: list[float]) -> float:
    """Variance of a sample; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    found = sum((value - mean) * (value - mean) for value in values) / (len(values) - 1)
    return _finite(found, "drain_samples")


def _category_samples(shares: dict[str, Any], samples: int) -> tuple[int, ...]:
    """Shares are not rounded, so this gives the exact counts."""
    of_label = {category.label: category for category in Category}
    counts = [0] * CATEGORY_COUNT
    for label, share in shares.items():
        ratio = _finite(share, "shares")
        if ratio > 1:
            _bad("a share is above 1")
        counts[of_label.get(label, Category.UNKNOWN)] += round(ratio * samples)
    return tuple(counts)


def _predicted(container: dict[str, Any]) -> Saving | None:
    """The largest predicted saving of the findings about GOMAXPROCS."""
    found = [saving for setting, saving in _savings(container) if not setting]
    return max(found, key=lambda saving: saving.mid, default=None)


def _tuned(container: dict[str, Any]) -> Tuned | None:
    return tuned_of([(setting, saving) for setting, saving in _savings(container) if setting])


def _savings(container: dict[str, Any]) -> Iterator[tuple[str, Saving]]:
    """(setting, "" for GOMAXPROCS; saving) of each finding that predicts one."""
    for finding in _get(container, "findings", list):
        saving = finding.get("saving_cores") if isinstance(finding, dict) else None
        if not isinstance(saving, dict):
            continue
        remedy = finding.get("remedy")
        setting = remedy.get("setting") if isinstance(remedy, dict) else None
        low, mid, high = (_signed(saving.get(end)) for end in ("low", "mid", "high"))
        if not isinstance(setting, str) or not _SETTING.fullmatch(setting):
            setting = ""
        yield setting, Saving(low, mid, high)


def _get(document: dict[str, Any], key: str, kind: type[Kind]) -> Kind:
    value = document.get(key)
    if not isinstance(value, kind):
        _bad(f"{key} is missing, or not of type {kind.__name__}")
    return value


def _text(document: dict[str, Any], key: str) -> str | None:
    return None if document.get(key) is None else _get(document, key, str)


def _number(document: dict[str, Any], key: str) -> float:
    return _finite(document.get(key), key)


def _finite(value: object, key: str) -> float:
    number = _signed(value, key)
    if number < 0:
        _bad(f"{key} is negative")
    return number


def _signed(value: object, key: str = "saving_cores") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _bad(f"{key} is not a number")
    if not (abs(value) <= _COUNT_MAX and math.isfinite(value)):
        _bad(f"{key} is too large")
    return float(value)


def _count(document: dict[str, Any], key: str) -> int:
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _COUNT_MAX:
        _bad(f"{key} is not a count")
    return value


def _optional_count(document: dict[str, Any], key: str) -> int | None:
    return None if document.get(key) is None else _count(document, key)


def _bad(what: str) -> NoReturn:
    raise ParseError("recording-value", f"is damaged: {what}")
