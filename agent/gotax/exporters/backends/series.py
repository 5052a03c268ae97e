"""A window as labelled pprof profiles, one per Go container: the input of Pyroscope and Parca.

Both identify a profile by labels in Prometheus' form. Samples have ``category``, ``group`` and
``pid`` as labels of pprof; docs/backends.md lists all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gotax.exporters.backends.containerprofile import (
    ContainerProfile,
    container_profiles,
    window_of,
)
from gotax.exporters.pprof import profile_bytes
from gotax.exporters.text import bounded
from gotax.window import Window

NAME = "process_cpu"
"""The name of Go's own CPU profiles in these backends, so that they are shown in the same way."""

MAX_VALUE = 500
"""Characters, of at most four bytes: Pyroscope refuses values of more than 2,048 bytes."""


@dataclass(frozen=True, slots=True)
class Series:
    """``labels`` are sorted; ``profile`` is gzipped pprof; ``id`` has 16 bytes."""

    labels: tuple[tuple[str, str], ...]
    profile: bytes
    id: bytes

    @property
    def size(self) -> int:
        return len(self.profile) + sum(len(k) + 4 * len(v) + 8 for k, v in self.labels) + 64


def series_groups(window: Window, max_bytes: int) -> Iterator[list[Series]]:
    """All series of a window, in order, in as few groups of ``max_bytes`` as possible.

    A single sample that does not fit gives a group that is too large.
    """
    group: list[Series] = []
    size = 0
    for series in _all_series(window, container_profiles(window), max_bytes):
        if group and size + series.size > max_bytes:
            yield group
            group, size = [], 0
        group.append(series)
        size += series.size
    if group:
        yield group


def _all_series(
    window: Window, chosen: Iterable[ContainerProfile], max_bytes: int
) -> Iterator[Series]:
    for source in chosen:
        profile = profile_bytes(window_of(source, window), names_containers=False)
        series = Series(labels_of(window, source), profile, source.id(window))
        if series.size > max_bytes and len(source.rows) > 1:
            yield from _all_series(window, source.halves(), max_bytes)
        else:
            yield series


def labels_of(window: Window, source: ContainerProfile) -> tuple[tuple[str, str], ...]:
    """Sorted; labels without a value are omitted."""
    container, main = source.container, source.report.main_process
    pod, found = container.pod, main.gomaxprocs
    limit = source.report.limit.limit_cores
    named = {
        "__name__": NAME,
        "service_name": (pod.workload.name if pod else container.unit) or container.name,
        "namespace": pod.namespace if pod else "",
        "pod": pod.pod if pod else "",
        "container": container.label,
        "container_id": (container.container_id or "")[:12],
        "workload": str(pod.workload) if pod else "",
        "node": window.host,
        "go_version": main.build.version if main.build else "",
        "gomaxprocs": str(found.value) if found and found.value is not None else "",
        "cpu_limit": f"{limit:g}" if limit is not None else "",
        "profiler": "gotax",
    }
    named["service_name"] = named["service_name"] or "unknown"
    return tuple(sorted((k, bounded(v, MAX_VALUE)) for k, v in named.items() if v))
