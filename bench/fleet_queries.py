"""Queries of a fleet of 1,000 nodes and 30,000 Go containers over 7 days, on the embedded engine.

python -m bench.fleet_queries build FOLDER creates the store; this takes minutes. python -m
bench.fleet_queries ask FOLDER runs the queries, and prints the time of each.

The hourly sums of the 7 days are generated inside ClickHouse: a row for each container and hour, as
the views would have created them. The last hour also has windows, a row per container and minute
with its stacks, which pass through the views as a report does. 7 days of windows would be 302
million rows; no query over 7 days reads them, except for one pod or for the stacks of one node. The
nodes' own rows, one a minute, exist for all 7 days: they show when agents reported.

GOMAXPROCS of every third workload follows the node's CPUs, and each workload gets another image
after 90 hours: no GOMAXPROCS changes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gotax_collector.query.answers import Profile
from gotax_collector.query.flamegraph import NANOSECOND, tree
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import Selection, parse_selection
from gotax_collector.storage.clickhouse import Address, Connections
from gotax_collector.storage.schema import Retention
from gotax_collector.storage.store import prepare

STACKS, STACKS_AN_HOUR, STACKS_A_MINUTE = 2000, 400, 40
FAMILIES = (4, 16, 64, 192)  # kinds of node by CPUs, which determine GOMAXPROCS
_CHUNK_HOURS = 12
_ASKED = 5
_NAMED_LEAST = 0.999


@dataclass(frozen=True, slots=True)
class Fleet:
    """``minutes`` of its last hour have windows."""

    nodes: int = 1000
    per_node: int = 30
    workloads: int = 300
    days: int = 7
    minutes: int = 60

    @property
    def hours(self) -> int:
        return self.days * 24

    @property
    def containers(self) -> int:
        return self.nodes * self.per_node


_LABELS = """['user', 'scheduler/find-work', 'scheduler/wake', 'scheduler/park', 'scheduler/switch',
 'gc/mark-background', 'gc/assist', 'gc/sweep', 'alloc', 'chan', 'syscall', 'netpoll']"""
_PARTS = "[34, s * 0.5, s * 0.2, s * 0.15, s * 0.1, g * 0.7, g * 0.2, g * 0.1, 9, 4, 8, s * 0.05]"


def _drawn(profile: Profile) -> int:
    """The size of its flame graph, as the page has it."""
    document = tree(profile).document(title="", seconds_per_unit=NANOSECOND)
    return len(json.dumps(document))


def _stack(workload: str, number: str) -> str:
    """A stack's hash. sipHash64 of a UInt16 differs from that of a UInt32 with the same value."""
    return f"sipHash64(toUInt32({workload}), toUInt32({number}))"


def _container(fleet: Fleet) -> str:
    """The properties of container c; s and g are the weights of scheduler and GC in its time."""
    return f"""
 toUInt32(c % {fleet.nodes}) AS node_number,
 toUInt32(intHash32(c) % {fleet.workloads}) AS w,
 {list(FAMILIES)}[1 + intHash32(node_number + 77) % {len(FAMILIES)}] AS cpus,
 concat('ns-', toString(w % 20)) AS namespace,
 concat('service-', leftPad(toString(w), 3, '0')) AS workload,
 if(w % 3 = 0, cpus, 2) AS gomaxprocs,
 if(w % 3 = 0, 3 + 4 * log2(cpus), 6) * (0.8 + 0.4 * (intHash32(w) % 100) / 100) AS s,
 4 + 0.08 * gomaxprocs AS g,
 multiIf(w % 4 = 0, 'go1.22.5', w % 4 = 1, 'go1.24.1', 'go1.25.3') AS go,
 concat('registry.local/service-', toString(w), ':', toString(1 + hour_number > 90)) AS image,
 concat('node-', leftPad(toString(node_number), 4, '0')) AS node
"""


def _hours_query(fleet: Fleet, first: int, last: int, end: int) -> str:
    """Rows of ``hours`` for [first, last) hours; hour 0 is the oldest."""
    count = (last - first) * fleet.containers
    start = end - fleet.hours * 3600
    return f"""
INSERT INTO hours (hour, namespace, kind, workload, container, program, gomaxprocs, go, image, node,
 windows, duration_ns, cpu_ns, scheduler_ns, gc_ns, service_ns, user_ns, samples, periods,
 throttled_periods, throttled_ns, saving_low, saving_mid, saving_high, limit_cores, recommended,
 target, cpu_count, findings, category_ns)
WITH {first} + number % {last - first} AS hour_number, intDiv(number, {last - first}) AS c,
 {_container(fleet)},
 {_PARTS} AS weights, arraySum(weights) AS total,
 toUInt64(3600e9 * 0.35 * (0.6 + 0.4 * sin(hour_number / 24 * 6.283))
  * (0.9 + 0.2 * (intHash32(number) % 1000) / 1000)) AS cpu,
 arrayMap(x -> toUInt64(cpu * x / total * (0.95 + 0.1 * (intHash32(number + 5) % 100) / 100)),
  weights) AS ns
SELECT toDateTime({start} + hour_number * 3600), namespace, 'Deployment', workload, 'app',
 concat('example.com/', workload), gomaxprocs, go, image, node,
 60, 3600000000000, cpu, arraySum(arraySlice(ns, 2, 4)) + ns[12], arraySum(arraySlice(ns, 6, 3)),
 arraySum(arraySlice(ns, 9, 3)), ns[1], toUInt64(cpu / 52.6e6), 36000, 300, 60000000000,
 if(gomaxprocs > 2, 60, 0), if(gomaxprocs > 2, 90, 0), if(gomaxprocs > 2, 130, 0),
 1, 1, 1, cpus, if(gomaxprocs > 8, ['GT001'], []), mapFromArrays({_LABELS}, ns)
FROM numbers({count})"""


_WORKLOAD_HOURS = """
INSERT INTO workload_hours (hour, namespace, kind, workload, gomaxprocs, go, image, windows,
 duration_ns, cpu_ns, scheduler_ns, gc_ns, service_ns, user_ns, samples, periods, throttled_periods,
 throttled_ns, saving_low, saving_mid, saving_high, limit_cores, recommended, target, cpu_count,
 findings, category_ns)
SELECT hour, namespace, kind, workload, gomaxprocs, go, image, sum(windows),
 sum(duration_ns), sum(cpu_ns), sum(scheduler_ns), sum(gc_ns), sum(service_ns), sum(user_ns),
 sum(samples), sum(periods), sum(throttled_periods), sum(throttled_ns), sum(saving_low),
 sum(saving_mid), sum(saving_high), max(limit_cores), max(recommended), max(target),
 max(cpu_count), groupUniqArrayArray(findings), sumMap(category_ns)
FROM hours GROUP BY hour, namespace, kind, workload, gomaxprocs, go, image"""


def _stack_hours_query(first: int, last: int) -> str:
    """A distribution like that of real samples: few stacks have most of the time."""
    return f"""
INSERT INTO stack_hours (hour, namespace, kind, workload, gomaxprocs, go, image, stack, samples,
 cpu_ns)
SELECT hour, namespace, kind, workload, gomaxprocs, go, image,
 {_stack("substring(workload, 9)", f"rank % {STACKS}")} AS stack, samples, cpu_ns FROM (
 SELECT hour, namespace, kind, workload, gomaxprocs, go, image,
  n + if(n > 150, intHash32(n + toUInt32(hour)) % {STACKS}, 0) AS rank,
  greatest(1, toUInt64(samples / 6 / (1 + n))) AS samples, toUInt64(cpu_ns / 6 / (1 + n)) AS cpu_ns
 FROM workload_hours ARRAY JOIN range({STACKS_AN_HOUR}) AS n
 WHERE toUInt32(substring(workload, 9)) BETWEEN {first} AND {last - 1})"""


def _stacks_query(fleet: Fleet) -> str:
    return f"""
INSERT INTO stacks (namespace, kind, workload, stack, category, group, functions, files, kinds,
 seen)
WITH intDiv(number, {STACKS}) AS w, number % {STACKS} AS n
SELECT concat('ns-', toString(w % 20)), 'Deployment',
 concat('service-', leftPad(toString(w), 3, '0')), {_stack("w", "n")},
 multiIf(n % 6 = 1, 'scheduler/find-work', n % 6 = 2, 'gc/mark-background', n % 6 = 3, 'alloc',
  'user') AS category, '',
 arrayConcat(
  multiIf(n % 6 = 1, ['runtime.mcall', 'runtime.park_m', 'runtime.schedule',
    'runtime.findRunnable'],
   n % 6 = 2, ['runtime.gcBgMarkWorker', 'runtime.systemstack', 'runtime.gcDrain'],
   ['net/http.(*conn).serve', 'net/http.serverHandler.ServeHTTP', 'net/http.HandlerFunc.ServeHTTP',
    concat('example.com/service/', toString(w), '.(*Server).handle')]),
  arrayMap(d -> concat('example.com/service/', toString(w), '/part', toString(intHash32(n * 31 + d)
   % 40), '.(*Worker).step', toString(intHash32(n + d * 7) % 9)), range(3 + n % 14))),
 arrayMap(d -> '', range(30)), arrayMap(d -> 0, range(30)), today()
FROM numbers({fleet.workloads * STACKS})"""


def _nodes_query(fleet: Fleet, day: int, end: int) -> str:
    """A day of the nodes' own rows, a minute each."""
    start = end - fleet.hours * 3600 + day * 86_400
    return f"""
INSERT INTO windows (stored, batch, agent, epoch, sequence, ordinal, node, version, start, received,
 duration_ns, period_ns, cpu_count, kind, name, samples)
WITH toUInt32(number % {fleet.nodes}) AS node_number, intDiv(number, {fleet.nodes}) AS minute,
 concat('node-', leftPad(toString(node_number), 4, '0')) AS node,
 toDateTime({start} + minute * 60) AS start
SELECT toDate(start), {day}, node, 0, {day} * 1440 + minute + 1, 0, node, '0.1.0',
 start, start + 61, 60000000000, 52631578,
 {list(FAMILIES)}[1 + intHash32(node_number + 77) % {len(FAMILIES)}], 'Node',
 node, 570 FROM numbers({fleet.nodes * 1440})"""


def _windows_query(fleet: Fleet, minute: int, end: int) -> str:
    """One minute of the whole fleet, inserted like a batch."""
    start = end - fleet.minutes * 60 + minute * 60
    return f"""
INSERT INTO windows (stored, batch, agent, epoch, sequence, ordinal, node, version, start, received,
 duration_ns, period_ns, cpu_count, namespace, kind, workload, pod, container, container_id, name,
 image, go, program, process_count, gomaxprocs, origin, expected, recommended, limit_cores,
 usage_ns, periods, throttled_periods, throttled_ns, samples, cpu_ns, scheduler_ns, gc_ns,
 service_ns, user_ns, category, category_ns, verdict, finding, finding_severity, finding_title,
 finding_remedy, saving_low, saving_mid, saving_high, target, stack, stack_samples)
WITH number AS c, {fleet.hours} - 1 AS hour_number, {minute} AS minute, {_container(fleet)},
 {_PARTS} AS weights, arraySum(weights) AS total, cityHash64(c, minute) AS noise,
 toUInt64(60e9 * 0.35 * (0.8 + 0.4 * (noise % 1000) / 1000)) AS cpu,
 arrayMap(x -> toUInt64(cpu * x / total), weights) AS ns,
 arrayDistinct(arrayMap(i -> toUInt32(pow(2000, (cityHash64(noise, i) % 10000) / 10000)),
  range({STACKS_A_MINUTE}))) AS ranks
SELECT today(), {minute}, node, 1, {minute} + 1, toUInt16(1 + intDiv(c, {fleet.nodes})), node,
 '0.1.0', toDateTime({start}), toDateTime({start} + 61),
 60000000000, 52631578, cpus, namespace, 'Deployment', workload,
 concat(workload, '-', lower(hex(intHash32(w))), '-', lower(hex(intHash32(c)))), 'app',
 concat(lower(hex(cityHash64(c, 1))), lower(hex(cityHash64(c, 2)))),
 concat(namespace, '/', workload, '/app'), image, go,
 concat('example.com/', workload), 1, gomaxprocs, 'cpu-count', gomaxprocs, 1, 1,
 cpu, 600, noise % 20, noise % 1000000000, toUInt64(cpu / 52631578), cpu,
 arraySum(arraySlice(ns, 2, 4)) + ns[12], arraySum(arraySlice(ns, 6, 3)),
 arraySum(arraySlice(ns, 9, 3)), ns[1], {_LABELS}, ns,
 if(gomaxprocs > 8, 'oversized', 'fits'), if(gomaxprocs > 8, ['GT001'], []),
 if(gomaxprocs > 8, ['warning'], []),
 if(gomaxprocs > 8, ['GOMAXPROCS is above the CPU limit, and the runtime pays for it'], []),
 if(gomaxprocs > 8, ['start it with GOMAXPROCS=1 in its environment'], []),
 if(gomaxprocs > 2, 0.016, 0), if(gomaxprocs > 2, 0.025, 0), if(gomaxprocs > 2, 0.036, 0), 1,
 arrayMap(r -> {_stack("w", f"r % {STACKS}")}, ranks),
 arrayMap(r -> toUInt64(1 + intDiv(300, 1 + r)), ranks)
FROM numbers({fleet.containers})"""


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    statement: str


def steps(end: int, fleet: Fleet) -> Iterator[Step]:
    for first in range(0, fleet.hours - 1, _CHUNK_HOURS):
        last = min(first + _CHUNK_HOURS, fleet.hours - 1)
        yield Step(f"hours {first} to {last}", _hours_query(fleet, first, last, end))
    yield Step("workload_hours", _WORKLOAD_HOURS)
    yield Step("stacks", _stacks_query(fleet))
    for first in range(0, fleet.workloads, 25):
        yield Step(f"stack_hours {first}", _stack_hours_query(first, first + 25))
    for day in range(fleet.days):
        yield Step(f"nodes {day}", _nodes_query(fleet, day, end))
    for minute in range(fleet.minutes):
        yield Step(f"windows {minute}", _windows_query(fleet, minute, end))
    for table in ("hours", "workload_hours", "stack_hours", "windows", "stacks"):
        yield Step(f"optimize {table}", f"OPTIMIZE TABLE {table}")


def build(folder: Path, seconds: float, fleet: Fleet) -> None:
    """Runs for about ``seconds``; the next call continues."""
    deadline = time.monotonic() + seconds
    folder.mkdir(parents=True, exist_ok=True)
    progress = folder / "progress"
    if not progress.exists():
        progress.write_text(f"{int(time.time()) // 3600 * 3600}\n")
    end, *done = progress.read_text().splitlines()
    with closing(Connections(Address(folder=folder, memory_bytes=4 << 30))) as connections:
        prepare(connections, Retention())
        for step in steps(int(end), fleet):
            if step.name in done:
                continue
            if time.monotonic() > deadline:
                _say(f"not done yet: {step.name} is next, call again")
                return
            connections.command(step.statement, {"max_insert_threads": 2, "async_insert": 0})
            with progress.open("a") as file:
                file.write(f"{step.name}\n")
            _say(step.name)
    _say("done")


def sizes(connections: Connections) -> Iterator[str]:
    rows = connections.rows(
        "SELECT table, sum(rows) AS n, sum(bytes_on_disk) AS bytes, count() AS parts"
        " FROM system.parts WHERE active AND database = 'gotax' GROUP BY table ORDER BY n DESC"
    )
    for row in rows:
        each = row["bytes"] / row["n"]
        yield (
            f"{row['table']:<16}{row['n']:>14,} rows {row['bytes'] / 1e6:>10,.1f} MB"
            f" {each:>8.1f} bytes each {row['parts']:>4} parts"
        )


@dataclass(frozen=True, slots=True)
class Query:
    name: str
    bar_s: float | None
    ask: Callable[[], int]


def queries(questions: Questions, end: int) -> tuple[Query, ...]:
    def selected(*terms: str) -> Selection:
        return parse_selection(terms, end)

    week, one = "since=7d", "workload=service-000"
    return (
        Query("top, 7 days", 1.0, lambda: len(questions.top(selected(week)).rows)),
        Query(
            "top of one node, 7 days",
            None,
            lambda: len(questions.top(selected(week, "node=node-0007")).rows),
        ),
        Query("top, last hour", None, lambda: len(questions.top(selected("since=1h")).rows)),
        Query(
            "flame graph of one workload, 7 days",
            2.0,
            lambda: _drawn(questions.profile(selected(week, one))),
        ),
        Query(
            "flame graph of the whole fleet, 7 days",
            None,
            lambda: _drawn(questions.profile(selected(week))),
        ),
        Query(
            "functions of one workload, last hour",
            None,
            lambda: len(questions.functions(selected("since=1h", one)).rows),
        ),
        Query(
            "compare by GOMAXPROCS, 7 days",
            None,
            lambda: len(questions.compare(selected(week, one)).sides),
        ),
        Query("changes, 7 days", None, lambda: len(questions.changes(selected(week)).rows)),
        Query(
            "workload page's sums, 7 days",
            None,
            lambda: 1 if questions.workload(selected(week, one)) else 0,
        ),
    )


def named(questions: Questions, end: int) -> float:
    """The part of one workload's CPU time whose stacks have functions."""
    profile = questions.profile(parse_selection(["since=7d", "workload=service-000"], end))
    return sum(s.cpu_ns for s in profile.stacks if s.functions) / max(1, profile.cpu_ns)


def ask(folder: Path, memory_bytes: int) -> int:
    with closing(Connections(Address(folder=folder, memory_bytes=memory_bytes))) as connections:
        for line in sizes(connections):
            print(line)
        newest = connections.rows("SELECT toUnixTimestamp(max(hour)) AS at FROM hours")[0]["at"]
        questions = Questions(connections)
        if (part := named(questions, newest + 3600)) < _NAMED_LEAST:
            raise SystemExit(f"only {part:.1%} of the time is in stacks whose functions are known")
        missed = 0
        print(f"\n{'question':<42}{'first':>9}{'median':>9}{'worst':>9}   bar")
        for one in queries(questions, newest + 3600):
            times = []
            for _ in range(_ASKED):
                start = time.perf_counter()
                answers = one.ask()
                times.append(time.perf_counter() - start)
                if not answers:
                    raise SystemExit(f"{one.name}: no answer")
            bar = f"{one.bar_s:g} s" if one.bar_s else ""
            missed += one.bar_s is not None and max(times) > one.bar_s
            print(
                f"{one.name:<42}{times[0]:>7.2f} s{statistics.median(times):>7.2f} s"
                f"{max(times):>7.2f} s   {bar}"
            )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"\npeak memory of this process {peak:,.0f} MiB (engine bound {memory_bytes >> 20} MiB)"
        )
    return 1 if missed else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet_queries", description=__doc__)
    parser.add_argument("what", choices=("build", "ask"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=1e9, help="of building, then stop")
    parser.add_argument("--nodes", type=int, default=1000, help="of building (1000)")
    parser.add_argument("--memory-mib", type=int, default=1024, help="of the engine (1024)")
    options = parser.parse_args()
    if options.what == "build":
        build(options.folder, options.seconds, Fleet(nodes=options.nodes))
        return 0
    return ask(options.folder, options.memory_mib << 20)


if __name__ == "__main__":
    sys.exit(main())
