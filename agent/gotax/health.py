"""What the agent knows of itself at the end of a window: its caches, errors and costs."""

from __future__ import annotations

from gotax.names import Names
from gotax.processes.resolver import Resolver
from gotax.symbols.symbolizer import Symbolizer
from gotax.window import Health


def health_of(
    processes: Resolver, symbolizer: Symbolizer, names: Names, drain_s: float, work_s: float
) -> Health:
    caches = symbolizer.caches()
    binaries = processes.binaries
    return Health(
        drain_s=drain_s,
        work_s=work_s,
        cache_entries={
            **{name: len(cache) for name, cache in caches.items()},
            "processes": len(processes),
            "binaries": len(binaries),
            "cgroup-ids": len(processes.cgroups),
            "pod-containers": len(names),
            "hostile-subjects": processes.reader.hostile,
        },
        cache_evictions={
            **{name: cache.evictions for name, cache in caches.items()},
            "binaries": binaries.evictions,
            "cgroup-ids": processes.cgroups.evictions,
        },
        errors={**processes.errors, **names.counts},
        reader_restarts=dict(processes.reader.restarts),
        reader_cpu_s=processes.reader.cpu_s(),
        readers_stuck=processes.reader.abandoned,
    )
