"""Bytes on the wire per container and minute, beside OTLP and pprof: ``python -m bench.wire``.

The same recorded windows (bench.recorded) go into each format, one window a minute:

* gotax: what an agent's stream sends, its dictionary included, findings, GOMAXPROCS, limits and
  throttling included. "first" is the first window of a stream, "then" the mean of those after it.
* OTLP profiles without gotax's own attributes, gzip, one request a window: OTLP has no memory.
  "lean": without addresses and lines, stacks that are the same by function joined, as in gotax's.
* pprof: one gzipped file a window, as `gotax record` writes it, and lean.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from gotax.exporters import pprof
from gotax.exporters.backends import otlp
from gotax.exporters.stream import encoding
from gotax.exporters.stream.interning import SentDictionary
from gotax.profile import Location, Profile, Stack
from gotax.window import Window
from gotax.wire.v1 import ingest_pb2

from bench import recorded


@dataclass(frozen=True)
class Size:
    """Bytes of each window."""

    name: str
    windows: tuple[int, ...]
    containers: int

    @property
    def first(self) -> float:
        return self.windows[0] / self.containers

    @property
    def then(self) -> float:
        return sum(self.windows[1:]) / (len(self.windows) - 1) / self.containers

    def over(self, minutes: int) -> float:
        """Mean of a stream of that length."""
        return (self.first + self.then * (minutes - 1)) / minutes


def gotax(windows: Sequence[Window]) -> list[int]:
    dictionary = SentDictionary()
    sizes = []
    for number, window in enumerate(windows, 1):
        report = encoding.encode(window)
        report.epoch, report.sequence = 2**63 + 12345, number
        data = zlib.compress(dictionary.intern(report).SerializeToString(), 6)
        sizes.append(ingest_pb2.StreamRequest(zlib_report=data).ByteSize())
    return sizes


def as_otlp(windows: Sequence[Window]) -> list[int]:
    return [
        sum(
            len(gzip.compress(batch.body, 6, mtime=0))
            for batch in otlp.export_batches(window, plain=True)
        )
        for window in windows
    ]


def as_pprof(windows: Sequence[Window]) -> list[int]:
    return [len(pprof.profile_bytes(window)) for window in windows]


def lean(window: Window) -> Window:
    """Go containers only, functions without addresses; samples that are then equal are combined."""
    names: dict[Stack, Stack] = {}
    samples: Counter[tuple[int, Stack, int]] = Counter()
    profile = window.profile
    for process, stack, category, count in zip(
        profile.process.tolist(),
        profile.stack.tolist(),
        profile.category.tolist(),
        profile.samples.tolist(),
        strict=True,
    ):
        if window.processes[process].is_go:
            original = profile.stacks[stack]
            short = names.get(original) or names.setdefault(original, _functions(original))
            samples[process, short, category] += count
    stacks = {stack: number for number, stack in enumerate(dict.fromkeys(s for _, s, _ in samples))}
    rows = [(process, stacks[stack], category) for process, stack, category in samples]
    columns = np.array(rows, np.int64).reshape(-1, 3)
    return replace(
        window,
        profile=Profile(
            process=columns[:, 0].astype(np.int32),
            stack=columns[:, 1].astype(np.int32),
            category=columns[:, 2].astype(np.uint8),
            samples=np.array(list(samples.values()), np.int64),
            stacks=tuple(stacks),
        ),
    )


def _functions(stack: Stack) -> Stack:
    return tuple(
        Location("", "", 0, (replace(frame, line=0, start_line=0, file="", inlined=False),))
        for location in stack
        for frame in location.frames
    )


def measure(windows: Sequence[Window]) -> list[Size]:
    leaned = [lean(window) for window in windows]
    ways: list[tuple[str, Callable[[Sequence[Window]], list[int]], Sequence[Window]]] = [
        ("gotax stream", gotax, windows),
        ("OTLP, gzip", as_otlp, windows),
        ("OTLP lean, gzip", as_otlp, leaned),
        ("pprof, gzip", as_pprof, windows),
        ("pprof lean, gzip", as_pprof, leaned),
    ]
    containers = len(windows[0].reports)
    return [Size(name, tuple(way(given)), containers) for name, way, given in ways]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.wire", description=__doc__)
    parser.add_argument("--minutes", type=int, default=30, help="length of a stream (30)")
    options = parser.parse_args()
    for name in ("usual", "dense"):
        windows = recorded.windows(name)
        samples = sum(report.samples for window in windows for report in window.reports)
        per_minute = samples / len(windows) / len(windows[0].reports)
        stacks = sum(len(window.profile.stacks) for window in windows) / len(windows)
        print(
            f"\n{name}: {len(windows[0].reports)} containers, {per_minute:.0f} samples per"
            f" container and minute, {stacks:.0f} distinct stacks a window"
        )
        print(f"{'bytes per container-minute':28}{'first':>8}{'then':>8}{'mean':>8}{'ratio':>8}")
        sizes = measure(windows)
        own = sizes[0].over(options.minutes)
        for size in sizes:
            mean = size.over(options.minutes)
            ratio = f"{own / mean:>8.2f}" if size is not sizes[0] else ""
            print(f"{size.name:28}{size.first:8.0f}{size.then:8.0f}{mean:8.0f}{ratio}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
