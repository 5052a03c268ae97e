"""The metrics of a container's memory and of its Go runtime."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gotax.exporters.metrics.family import Family, Labels, per_container
from gotax.process import NO_MEMORY_LIMIT
from gotax.window import ContainerReport

GOGC = per_container("gotax_gogc", "gauge", "GOGC of that process, -1 for off.")
GO_MEMORY_LIMIT = per_container(
    "gotax_go_memory_limit_bytes", "gauge", "GOMEMLIMIT of that process; absent without a limit."
)
IDLE = per_container(
    "gotax_idle_processors", "gauge", "Ps of that process without work when it was read."
)
HEAP_GOAL = per_container(
    "gotax_heap_goal_bytes", "gauge", "Size that its heap might reach in the last GC cycle."
)
LIVE_HEAP = per_container(
    "gotax_live_heap_bytes", "gauge", "Heap of that process that its last GC cycle found in use."
)
GC_CYCLES = per_container(
    "gotax_gc_cycles", "counter", "GC cycles of the main process of each window."
)
MEMORY_LIMIT = per_container(
    "gotax_memory_limit_bytes",
    "gauge",
    "Tightest memory limit of the cgroup and its ancestors; absent without a limit.",
)
METRICS = (GOGC, GO_MEMORY_LIMIT, IDLE, HEAP_GOAL, LIVE_HEAP, GC_CYCLES, MEMORY_LIMIT)


def families(now: Sequence[tuple[Labels, ContainerReport]]) -> Iterator[Family]:
    states = [(k, state) for k, r in now if (state := r.main_process.runtime) is not None]
    limits = [(k, state.memory_limit_bytes) for k, state in states]
    yield Family(GOGC, ((k, state.gogc) for k, state in states))
    yield Family(
        GO_MEMORY_LIMIT, ((k, limit if limit != NO_MEMORY_LIMIT else None) for k, limit in limits)
    )
    yield Family(IDLE, ((k, state.idle_ps) for k, state in states))
    yield Family(HEAP_GOAL, ((k, state.heap_goal_bytes) for k, state in states))
    yield Family(LIVE_HEAP, ((k, state.live_heap_bytes) for k, state in states))
    yield Family(MEMORY_LIMIT, ((k, r.memory.limit_bytes if r.memory else None) for k, r in now))
