"""Pages and queries of a fleet of 1,000 nodes and 30,000 Go containers over 7 days, on the embedded
engine.

python -m bench.fleet_queries build FOLDER creates the store; this takes minutes. python -m
bench.fleet_queries ask FOLDER loads the pages and runs the queries, and prints the time of each: by
the clock, and in CPU time of this process, which is the collector with its engine.

The hourly sums of the 7 days are generated inside ClickHouse: a row for each container and hour, as
the views would have created them. The last hour also has windows, a row per container and minute
with its stacks, which pass through the views as a report does. 7 days of windows would be 302
million rows; no query over 7 days reads them, except for one pod or for the stacks of one node. The
nodes' own rows, one a minute, exist for all 7 days: they show when agents reported. Every node has
its own second of the minute. Stacks are real ones (stacks.py): each workload has them with its own
package in place of main; those of the runtime alone are the same everywhere.

GOMAXPROCS of every third workload follows the node's CPUs, and each workload gets another image
after 90 hours: no GOMAXPROCS changes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_plus
from urllib.request import Request, urlopen

from gotax_collector.http.application import Served
from gotax_collector.http.site import Site
from gotax_collector.query.answers import Profile
from gotax_collector.query.flamegraph import NANOSECOND, tree
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import Selection, parse_selection
from gotax_collector.storage.clickhouse import Address, Connections
from gotax_collector.storage.schema import Retention
from gotax_collector.storage.store import prepare

from bench.stacks import COUNT as STACKS
from bench.stacks import stacks

STACKS_AN_HOUR, STACKS_A_MINUTE = 400, 40
FAMILIES = (4, 16, 64, 192)  # kinds of node by CPUs, which determine GOMAXPROCS
_CHUNK_HOURS = 12
_ASKED = 5
_EVERY = (1 << 32) - 1
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
    """A stack's hash. sipHash64 of a UInt16 differs from that of a UInt32 with the same value. One
    without a function of the program itself is the same in every workload."""
    own = [int(stack.is_own) for stack in stacks()]
    return (
        f"sipHash64(if({own}[toUInt32({number}) + 1], toUInt32({workload}), {_EVERY}),"
        f" toUInt32({number}))"
    )


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


_STACK_DAYS = """
INSERT INTO stack_days (day, namespace, kind, workload, stack, cpu_ns)
SELECT toDate(hour) AS day, namespace, kind, workload, stack, sum(cpu_ns) FROM stack_hours
GROUP BY day, namespace, kind, workload, stack"""


_REAL_STACKS = """
CREATE TABLE IF NOT EXISTS real_stacks
 (n UInt32, category String, group String, functions Array(String)) ENGINE = MergeTree ORDER BY n"""


def _real_stacks() -> bytes:
    return "".join(
        json.dumps([number, stack.category, stack.group, stack.functions]) + "\n"
        for number, stack in enumerate(stacks())
    ).encode()


def _stacks_query(fleet: Fleet) -> str:
    return f"""
INSERT INTO stacks (namespace, kind, workload, stack, category, group, functions, files, kinds,
 seen)
WITH intDiv(number, {STACKS}) AS w, number % {STACKS} AS number_,
 concat('service-', leftPad(toString(w), 3, '0')) AS workload
SELECT concat('ns-', toString(w % 20)), 'Deployment', workload, {_stack("w", "number_")},
 category, `group`,
 arrayMap(f -> if(startsWith(f, 'main.') AND f != 'main.main',
  concat('example.com/', workload, '/work.', substring(f, 6)), f), functions) AS named,
 arrayMap(f -> '', named), arrayMap(f -> 0, named), today()
FROM (SELECT number, toUInt32(number % {STACKS}) AS n FROM numbers({fleet.workloads * STACKS})) AS c
JOIN real_stacks AS r ON c.n = r.n"""


def _nodes_query(fleet: Fleet, day: int, end: int) -> str:
    """A day of the nodes' own rows, a minute each."""
    start = end - fleet.hours * 3600 + day * 86_400
    return f"""
INSERT INTO windows (stored, batch, agent, epoch, sequence, ordinal, node, version, start, received,
 duration_ns, period_ns, cpu_count, kind, name, samples)
WITH toUInt32(number % {fleet.nodes}) AS node_number, intDiv(number, {fleet.nodes}) AS minute,
 concat('node-', leftPad(toString(node_number), 4, '0')) AS node,
 toDateTime({start} + minute * 60 + node_number % 60) AS start
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
 '0.1.0', toDateTime({start} + node_number % 60), toDateTime({start} + node_number % 60 + 61),
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
    """With ``body`` it is an insert of these rows into a table."""

    name: str
    statement: str
    body: bytes = b""


def steps(end: int, fleet: Fleet) -> Iterator[Step]:
    for first in range(0, fleet.hours - 1, _CHUNK_HOURS):
        last = min(first + _CHUNK_HOURS, fleet.hours - 1)
        yield Step(f"hours {first} to {last}", _hours_query(fleet, first, last, end))
    yield Step("workload_hours", _WORKLOAD_HOURS)
    yield Step("table of real stacks", _REAL_STACKS)
    yield Step("real stacks", "real_stacks", _real_stacks())
    yield Step("stacks", _stacks_query(fleet))
    for first in range(0, fleet.workloads, 25):
        yield Step(f"stack_hours {first}", _stack_hours_query(first, first + 25))
    yield Step("stack_days", _STACK_DAYS)
    for day in range(fleet.days):
        yield Step(f"nodes {day}", _nodes_query(fleet, day, end))
    for minute in range(fleet.minutes):
        yield Step(f"windows {minute}", _windows_query(fleet, minute, end))
    for table in ("hours", "workload_hours", "stack_hours", "stack_days", "windows", "stacks"):
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
            if step.body:
                columns = ["n", "category", "group", "functions"]
                connections.insert(step.statement, columns, step.body, {"async_insert": 0})
            else:
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
    ask: Callable[[], int]


def queries(questions: Questions, end: int) -> tuple[Query, ...]:
    def selected(*terms: str) -> Selection:
        return parse_selection(terms, end)

    week, one = "since=7d", "workload=service-000"
    return (
        Query("top, 7 days", lambda: len(questions.top(selected(week)).rows)),
        Query(
            "top of one node, 7 days",
            lambda: len(questions.top(selected(week, "node=node-0007")).rows),
        ),
        Query("top, last hour", lambda: len(questions.top(selected("since=1h")).rows)),
        Query(
            "flame graph of one workload, 7 days",
            lambda: _drawn(questions.profile(selected(week, one))),
        ),
        Query(
            "flame graph of the whole fleet, 7 days",
            lambda: _drawn(questions.profile(selected(week))),
        ),
        Query(
            "functions of one workload, last hour",
            lambda: len(questions.functions(selected("since=1h", one)).rows),
        ),
        Query(
            "compare by GOMAXPROCS, 7 days",
            lambda: len(questions.compare(selected(week, one)).sides),
        ),
        Query("changes, 7 days", lambda: len(questions.changes(selected(week)).rows)),
        Query(
            "workload page's sums, 7 days",
            lambda: 1 if questions.workload(selected(week, one)) else 0,
        ),
    )


def named(questions: Questions, end: int) -> float:
    """The part of one workload's CPU time whose stacks have functions."""
    profile = questions.profile(parse_selection(["since=7d", "workload=service-000"], end))
    return sum(s.cpu_ns for s in profile.stacks if s.functions) / max(1, profile.cpu_ns)


@dataclass(frozen=True, slots=True)
class Page:
    name: str
    path: str
    bar_s: float


_WEEK, _ONE = "since=7d", quote_plus("workload=service-000")
PAGES = (
    Page("fleet page, 7 days", f"/?{_WEEK}", 0.5),
    Page("flame graph of one workload, 7 days", f"/flamegraph?{_WEEK}&q={_ONE}", 1.0),
    Page("flame graph of the whole fleet, 7 days", f"/flamegraph?{_WEEK}", 2.0),
)


def _loaded(url: str) -> int:
    """The size of a page as a browser has it."""
    with urlopen(Request(url, headers={"Accept-Encoding": "gzip"})) as answer:
        return len(gzip.decompress(answer.read()))


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of each run, by the clock and of CPU."""

    clock: tuple[float, ...]
    cpu: tuple[float, ...]

    def __str__(self) -> str:
        return "".join(
            f"{one[0]:>7.2f} s{statistics.median(one):>7.2f} s{max(one):>7.2f} s"
            for one in (self.clock, self.cpu)
        )

    def holds(self, bar_s: float) -> bool:
        return max(*self.clock, *self.cpu) <= bar_s


def timed(name: str, work: Callable[[], int]) -> Timing:
    clock, cpu = [], []
    for _ in range(_ASKED):
        start, used = time.perf_counter(), time.process_time()
        if not work():
            raise SystemExit(f"{name}: no answer")
        clock.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    return Timing(tuple(clock), tuple(cpu))


def ask(folder: Path, memory_bytes: int, only_pages: bool) -> int:
    with closing(Connections(Address(folder=folder, memory_bytes=memory_bytes))) as connections:
        for line in sizes(connections):
            print(line)
        newest = connections.rows("SELECT toUnixTimestamp(max(hour)) AS at FROM hours")[0]["at"]
        end = int(newest) + 3600
        questions = Questions(connections)
        if (part := named(questions, end)) < _NAMED_LEAST:
            raise SystemExit(f"only {part:.1%} of the time is in stacks whose functions are known")
        print(f"\n{'':<42}{'by the clock':>27}{'CPU':>27}")
        print(f"{'':<42}{'first   median    worst':>27}{'first   median    worst':>27}   bar")
        missed = 0
        served = Served(questions, lambda: b"", lambda: 0.0, clock=lambda: float(end))
        with closing(Site(("127.0.0.1", 0), served)) as site:
            for page in PAGES:
                url = f"http://127.0.0.1:{site.port}{page.path}"
                found = timed(page.name, lambda url=url: _loaded(url))  # type: ignore[misc]
                missed += not found.holds(page.bar_s)
                print(f"{page.name:<42}{found}   {page.bar_s:g} s", flush=True)
        for one in () if only_pages else queries(questions, end):
            print(f"{one.name:<42}{timed(one.name, one.ask)}", flush=True)
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
    parser.add_argument("--workloads", type=int, default=300, help="of building (300)")
    parser.add_argument("--pages", action="store_true", help="ask for pages only")
    parser.add_argument("--memory-mib", type=int, default=1024, help="of the engine (1024)")
    options = parser.parse_args()
    if options.what == "build":
        fleet = Fleet(nodes=options.nodes, workloads=options.workloads)
        build(options.folder, options.seconds, fleet)
        return 0
    return ask(options.folder, options.memory_mib << 20, options.pages)


if __name__ == "__main__":
    sys.exit(main())
