"""The tables of the store, and the upgrades of older stores.

``windows`` has a row per container and report, and one per report for the node (``ordinal`` 0). One
insert into one partition makes one part on disk, so it is atomic, and so is every report in it.
Materialized views fill all other tables from ``windows``, except ``stacks``. ``stacks`` has the
frames of the hashes in ``windows``, and is written first.

``windows`` is partitioned by the day of the insert, by the collector's clock. So a batch has one
day, even if the clocks of nodes are wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gotax_collector.storage.columns import EXPLAINED, STACKS, WINDOWS, definitions

VERSION = 4
"""The version of the schema. To change a table, add 1 here and a step to MIGRATIONS."""

COARSE_VERSION = 4
"""Since when there are COARSE tables. An upgrade does not fill them: in a store that was upgraded
they know what was inserted since then."""

REPORTED_STEP_S = 15
"""How exactly ``reported`` knows when agents reported."""

DEDUPLICATION_WINDOW = 10_000
"""How many inserted blocks each table remembers, to ignore a repeated insert."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Days after which data expires: windows with their stacks, and hourly sums."""

    windows_days: int = 14
    hours_days: int = 365


@dataclass(frozen=True, slots=True)
class Layout:
    """``cluster`` "" is one server or the embedded engine; else a name in remote_servers."""

    retention: Retention = Retention()
    cluster: str = ""
    database: str = "gotax"

    @property
    def on_cluster(self) -> str:
        return f" ON CLUSTER `{self.cluster}`" if self.cluster else ""


@dataclass(frozen=True, slots=True)
class Table:
    """``merge`` is the start of the engine's name. ``shard`` is the sharding key of a cluster."""

    name: str
    columns: str
    order: str
    partition: str
    shard: str
    merge: str = ""
    ttl: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """``select`` reads ``{source}``; its columns go into the table ``target`` by name."""

    target: str
    select: str


_TEXT = "LowCardinality(String)"
_SUM = "SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1))"

_LEDGER = f"""
  agent {_TEXT},
  epoch UInt64,
  sequence UInt64 CODEC(Delta, ZSTD(1)),
  stored Date"""

_SUMS = f"""
  windows {_SUM},
  duration_ns {_SUM},
  cpu_ns {_SUM},
  scheduler_ns {_SUM},
  gc_ns {_SUM},
  service_ns {_SUM},
  user_ns {_SUM},
  samples {_SUM},
  periods {_SUM},
  throttled_periods {_SUM},
  throttled_ns {_SUM},
  saving_low SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
  saving_mid SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
  saving_high SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
  limit_cores SimpleAggregateFunction(max, Float32) CODEC(ZSTD(1)),
  recommended SimpleAggregateFunction(max, UInt32) CODEC(ZSTD(1)),
  target SimpleAggregateFunction(max, UInt32) CODEC(ZSTD(1)),
  cpu_count SimpleAggregateFunction(max, UInt32) CODEC(ZSTD(1)),
  findings SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD(1)),
  category_ns SimpleAggregateFunction(sumMap, Map(String, UInt64)) CODEC(ZSTD(1))"""

_WORKLOAD_KEYS = ("namespace", "kind", "workload")
_BUILD_KEYS = ("gomaxprocs", "go", "image")
_HOUR_KEYS = (*_WORKLOAD_KEYS, "container", "program", *_BUILD_KEYS, "node")
_SUM_KEYS = (*_WORKLOAD_KEYS, *_BUILD_KEYS)

_SUMS_SELECT = """
  count() AS windows,
  sum(w.duration_ns) AS duration_ns,
  sum(w.cpu_ns) AS cpu_ns,
  sum(w.scheduler_ns) AS scheduler_ns,
  sum(w.gc_ns) AS gc_ns,
  sum(w.service_ns) AS service_ns,
  sum(w.user_ns) AS user_ns,
  sum(w.samples) AS samples,
  sum(w.periods) AS periods,
  sum(w.throttled_periods) AS throttled_periods,
  sum(w.throttled_ns) AS throttled_ns,
  sum(w.saving_low * w.duration_ns / 1e9) AS saving_low,
  sum(w.saving_mid * w.duration_ns / 1e9) AS saving_mid,
  sum(w.saving_high * w.duration_ns / 1e9) AS saving_high,
  max(w.limit_cores) AS limit_cores,
  max(w.recommended) AS recommended,
  max(w.target) AS target,
  max(w.cpu_count) AS cpu_count,
  groupUniqArrayArray(arrayMap(f -> toString(f), w.finding)) AS findings,
  sumMap(mapFromArrays(arrayMap(c -> toString(c), w.category), w.category_ns)) AS category_ns"""


def _typed(keys: tuple[str, ...]) -> str:
    types = {"gomaxprocs": "UInt32"}
    return "".join(f"\n  {key} {types.get(key, _TEXT)}," for key in keys)


def _sums_view(target: str, keys: tuple[str, ...]) -> View:
    columns = ", ".join(f"w.{key} AS {key}" for key in keys)
    return View(
        target,
        f"SELECT toStartOfHour(w.start) AS hour, {columns},{_SUMS_SELECT}"
        f" FROM {{source}} AS w WHERE w.ordinal > 0 GROUP BY hour, {', '.join(keys)}",
    )


def tables(retention: Retention) -> tuple[Table, ...]:
    """All tables, in the order of their creation."""
    raw, hourly = retention.windows_days, retention.hours_days
    hour = "hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),"
    return (
        Table(
            "windows",
            f"{definitions(WINDOWS)},\n  INDEX start_range start TYPE minmax GRANULARITY 1",
            "namespace, workload, kind, node, container, start",
            "stored",
            "cityHash64(agent)",
            ttl=f"stored + toIntervalDay({raw})",
        ),
        Table(
            "stacks",
            definitions(STACKS),
            "namespace, workload, kind, stack",
            "tuple()",
            "cityHash64(workload)",
            merge="Replacing",
            arguments="seen",
            ttl=f"seen + toIntervalDay({max(raw, hourly) + 31})",
        ),
        Table(
            "ledger",
            _LEDGER,
            "agent, epoch, sequence",
            "toYYYYMM(stored)",
            "cityHash64(agent)",
            merge="Replacing",
            ttl=f"stored + toIntervalDay({max(raw, 31)})",
        ),
        Table(
            "hours",
            f"\n  {hour}{_typed(_HOUR_KEYS)}{_SUMS}",
            f"{', '.join(_HOUR_KEYS)}, hour",
            "toYYYYMM(hour)",
            "cityHash64(node)",
            merge="Aggregating",
            ttl=f"hour + toIntervalDay({hourly})",
        ),
        Table(
            "workload_hours",
            f"\n  {hour}{_typed(_SUM_KEYS)}{_SUMS}",
            f"{', '.join(_SUM_KEYS)}, hour",
            "toYYYYMM(hour)",
            "cityHash64(workload)",
            merge="Aggregating",
            ttl=f"hour + toIntervalDay({hourly})",
        ),
        Table(
            "stack_hours",
            f"\n  {hour}{_typed(_SUM_KEYS)}\n  stack UInt64,\n  samples {_SUM},\n  cpu_ns {_SUM}",
            f"{', '.join(_SUM_KEYS)}, hour, stack",
            "toYYYYMM(hour)",
            "cityHash64(workload)",
            merge="Aggregating",
            ttl=f"hour + toIntervalDay({hourly})",
        ),
        Table(
            "stack_days",
            f"\n  day Date CODEC(DoubleDelta, ZSTD(1)),{_typed(_WORKLOAD_KEYS)}\n  stack UInt64,"
            f"\n  cpu_ns {_SUM}",
            f"{', '.join(_WORKLOAD_KEYS)}, day, stack",
            "toYYYYMM(day)",
            "cityHash64(workload)",
            merge="Aggregating",
            ttl=f"day + toIntervalDay({hourly})",
        ),
        Table(
            "reported",
            "\n  at DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),"
            "\n  since SimpleAggregateFunction(min, DateTime('UTC')),"
            "\n  until SimpleAggregateFunction(max, Float64)",
            "at",
            "toYYYYMM(at)",
            "cityHash64(at)",
            merge="Aggregating",
            ttl=f"at + toIntervalDay({raw})",
        ),
    )


COARSE = ("stack_days", "reported")


def views() -> tuple[View, ...]:
    keys = ", ".join(f"w.{key} AS {key}" for key in _SUM_KEYS)
    return (
        View(
            "ledger",
            "SELECT w.agent AS agent, w.epoch AS epoch, w.sequence AS sequence, w.stored AS stored"
            " FROM {source} AS w WHERE w.ordinal = 0",
        ),
        _sums_view("hours", _HOUR_KEYS),
        _sums_view("workload_hours", _SUM_KEYS),
        View(
            "stack_hours",
            # cpu_ns is measured by the kernel. Each sample gets an equal part of it.
            f"SELECT toStartOfHour(w.start) AS hour, {keys}, stack_count.1 AS stack,"
            " sum(stack_count.2) AS samples,"
            " sum(toUInt64(stack_count.2 * (w.cpu_ns / w.samples))) AS cpu_ns"
            " FROM {source} AS w ARRAY JOIN arrayZip(w.stack, w.stack_samples) AS stack_count"
            f" WHERE w.ordinal > 0 AND w.samples > 0 GROUP BY hour, {', '.join(_SUM_KEYS)}, stack",
        ),
        View(
            "stack_days",
            "SELECT toDate(w.start) AS day, w.namespace AS namespace, w.kind AS kind,"
            " w.workload AS workload, stack_count.1 AS stack,"
            " sum(toUInt64(stack_count.2 * (w.cpu_ns / w.samples))) AS cpu_ns"
            " FROM {source} AS w ARRAY JOIN arrayZip(w.stack, w.stack_samples) AS stack_count"
            " WHERE w.ordinal > 0 AND w.samples > 0 GROUP BY day, namespace, kind, workload, stack",
        ),
        View(
            "reported",
            f"SELECT toStartOfInterval(w.start, INTERVAL {REPORTED_STEP_S} SECOND) AS at,"
            " min(w.start) AS since, max(toUnixTimestamp(w.start) + w.duration_ns / 1e9) AS until"
            " FROM {source} AS w WHERE w.ordinal = 0 GROUP BY at",
        ),
    )


def statements(layout: Layout) -> Iterator[str]:
    """Create the tables and views of VERSION. Each statement is idempotent."""
    yield (
        f"CREATE TABLE IF NOT EXISTS {layout.database}.schema_versions{layout.on_cluster}"
        f" (version UInt32, applied DateTime DEFAULT now())"
        f" ENGINE = {_engine(layout, 'schema_versions', 'Replacing', 'applied', everywhere=True)}"
        " ORDER BY version"
    )
    for table in tables(layout.retention):
        yield from _create(table, layout)
    for view in views():
        yield _create_view(view, layout)


def _rename_hits(layout: Layout) -> Iterator[str]:
    """A *hit* is called *sample* now. Until a view has its new query, inserts fail and come again:
    none is missing in a sum."""
    renamed = {"windows": {"hits": "samples", "stack_hits": "stack_samples"}}
    renamed |= {sums: {"hits": "samples"} for sums in ("hours", "workload_hours", "stack_hours")}
    for table, columns in renamed.items():
        # On a cluster, the Distributed table has columns of its own.
        for name in dict.fromkeys((local(table, layout), f"{layout.database}.{table}")):
            for old, new in columns.items():
                yield (
                    f"ALTER TABLE {name}{layout.on_cluster} RENAME COLUMN IF EXISTS {old} TO {new}"
                )
    for view in views():
        if view.target in COARSE:
            continue
        query = view.select.format(source=local("windows", layout))
        yield (
            f"ALTER TABLE {layout.database}.{view.target}_view{layout.on_cluster}"
            f" MODIFY QUERY {query}"
        )


def _explain_findings(layout: Layout) -> Iterator[str]:
    for name in dict.fromkeys((local("windows", layout), f"{layout.database}.windows")):
        for column in EXPLAINED:
            yield (
                f"ALTER TABLE {name}{layout.on_cluster}"
                f" ADD COLUMN IF NOT EXISTS {column.name} {column.definition}"
            )


def _add_coarse(layout: Layout) -> Iterator[str]:
    for table in tables(layout.retention):
        if table.name in COARSE:
            yield from _create(table, layout)
    for view in views():
        if view.target in COARSE:
            yield _create_view(view, layout)


MIGRATIONS = {2: _rename_hits, 3: _explain_findings, COARSE_VERSION: _add_coarse}
"""By version: what makes the statements that upgrade from the version before."""


def migrations(version: int, layout: Layout) -> Iterator[str]:
    """Upgrade from ``version`` to VERSION. Each statement is idempotent."""
    for step in range(version + 1, VERSION + 1):
        yield from MIGRATIONS[step](layout)


def local(table: str, layout: Layout) -> str:
    """The table that has the rows. On a cluster the table itself is only Distributed."""
    suffix = "_local" if layout.cluster else ""
    return f"{layout.database}.{table}{suffix}"


def _create(table: Table, layout: Layout) -> Iterator[str]:
    settings = ["ttl_only_drop_parts = 1"]
    if not layout.cluster:
        # Sync to disk before the agent gets its acknowledgement. A cluster has replicas instead.
        settings += ["fsync_after_insert = 1", "fsync_part_directory = 1"]
        settings.append(f"non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}")
    yield (
        f"CREATE TABLE IF NOT EXISTS {local(table.name, layout)}{layout.on_cluster}"
        f" ({table.columns})"
        f" ENGINE = {_engine(layout, table.name, table.merge, table.arguments)}"
        f" PARTITION BY {table.partition} ORDER BY ({table.order})"
        f" TTL {table.ttl} SETTINGS {', '.join(settings)}"
    )
    if layout.cluster:
        yield (
            f"CREATE TABLE IF NOT EXISTS {layout.database}.{table.name}{layout.on_cluster}"
            f" AS {local(table.name, layout)}"
            f" ENGINE = Distributed('{layout.cluster}', '{layout.database}',"
            f" '{table.name}_local', {table.shard})"
        )


def _create_view(view: View, layout: Layout) -> str:
    return (
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS"
        f" {layout.database}.{view.target}_view{layout.on_cluster}"
        f" TO {local(view.target, layout)}"
        f" AS {view.select.format(source=local('windows', layout))}"
    )


def _engine(
    layout: Layout, name: str, merge: str, arguments: str = "", everywhere: bool = False
) -> str:
    """``everywhere``: the same rows on all shards."""
    if not layout.cluster:
        return f"{merge}MergeTree({arguments})"
    shard = "all" if everywhere else "{shard}"
    path = f"'/clickhouse/tables/{layout.database}/{name}/{shard}', '{{shard}}-{{replica}}'"
    return f"Replicated{merge}MergeTree({path}{', ' + arguments if arguments else ''})"


def expiry(layout: Layout) -> Iterator[tuple[str, str]]:
    """(local table, its TTL), to apply a changed retention."""
    for table in tables(layout.retention):
        yield local(table.name, layout), table.ttl
