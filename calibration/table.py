"""The table of runs: CSV, one run a line, its samples by category in the last columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path

from gotax.category import Category

from calibration.measure import Row

DATA = Path(__file__).parent / "data"
_PLAIN = tuple(field.name for field in fields(Row) if field.name != "samples")
HEADER = (*_PLAIN, *(category.label for category in Category))
_WHOLE = frozenset({"fits", "procs", "periods", "throttled_periods"})


def append(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(HEADER)
        for row in rows:
            plain, samples = astuple(row)[:-1], row.samples
            writer.writerow([*(_cell(value) for value in plain), *samples])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


def read(path: Path) -> list[Row]:
    """All rows; none if the table does not exist yet."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    if tuple(lines[0]) != HEADER:
        raise ValueError(f"{path} has other columns than {HEADER}")
    return [_row(line) for line in lines[1:]]


def _row(line: list[str]) -> Row:
    plain = dict(zip(_PLAIN, line, strict=False))
    samples = tuple(int(text) for text in line[len(_PLAIN) :])
    values: dict[str, object] = {}
    for name, text in plain.items():
        if name in ("workload", "version"):
            values[name] = text
        elif name in _WHOLE:
            values[name] = int(text)
        else:
            values[name] = None if text == "none" else float(text)
    return Row(**values, samples=samples)  # type: ignore[arg-type]
