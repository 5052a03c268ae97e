"""Queries of the store. This is the Python API. Results are in answers.py.

sources.py chooses the table for a query.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from gotax_collector.query.answers import (
    Changes,
    Compared,
    Differences,
    Functions,
    Gap,
    Hour,
    Profile,
    Side,
    Span,
    StackTime,
    Top,
    WorkloadAnswer,
    drawn_group,
)
from gotax_collector.query.changes import changes_of
from gotax_collector.query.comparisons import MIN_SAMPLES, compare, compare_one, compare_two
from gotax_collector.query.coverage import HOUR_S, coverage
from gotax_collector.query.database import Database
from gotax_collector.query.findings import findings
from gotax_collector.query.fleet import top
from gotax_collector.query.functions import differences_of, functions_of
from gotax_collector.query.groups import groups_of
from gotax_collector.query.nodes import Name, Nodes, names, nodes
from gotax_collector.query.remedies import Remedies, remedies
from gotax_collector.query.selection import (
    Selection,
    conditions_only,
    exactly,
)
from gotax_collector.query.sources import (
    HOURS,
    STACK_HOURS,
    STEP_S,
    SUMS,
    WINDOWS,
    Source,
    ends_of,
    source_of,
    span_of,
    spanned,
    where_of,
)
from gotax_collector.storage.clickhouse import Connections

STACKS_MAX = 20_000
"""How many stacks of a selection are fetched, those with most CPU time first."""

NAMES_BYTES_MAX = 64 << 20
"""Memory of the names of these stacks. Rarer ones beyond it are not fetched either."""

_NAME_BYTES = 57  # of a Python string, beside its characters, and of a reference to it

_BOX = "if(namespace = '', '', container) AS box"  # outside Kubernetes a name may have a number
_CHANGING = f"""
SELECT namespace, kind, workload, box, program, cpus, gomaxprocs, go, image,
 groupArray(hour_) AS at, groupArray(cpu_) AS cpu, groupArray(duration_) AS duration,
 groupArray(runtime_) AS runtime, groupArray(samples_) AS samples, groupArray(limit_) AS limit
FROM (
 SELECT namespace, kind, workload, {_BOX}, program, cpu_count AS cpus, gomaxprocs, go, image,
  toUnixTimestamp(hour) AS hour_, sum(cpu_ns) AS cpu_, sum(duration_ns) AS duration_,
  sum(scheduler_ns) + sum(gc_ns) AS runtime_, sum(hours.samples) AS samples_, max(limit_cores) AS
  limit_
 FROM hours WHERE {{condition}} AND (namespace, kind, workload, box) IN (
  SELECT namespace, kind, workload, box FROM (
   SELECT namespace, kind, workload, {_BOX}, cpu_count,
    min(gomaxprocs) != max(gomaxprocs) OR min(limit_cores) != max(limit_cores) AS differs,
    min(go) AS go_min, max(go) AS go_max, min(image) AS image_min, max(image) AS image_max
   FROM hours WHERE {{condition}} GROUP BY namespace, kind, workload, box, cpu_count)
  GROUP BY namespace, kind, workload, box
  HAVING max(differs) OR min(go_min) != max(go_max) OR min(image_min) != max(image_max))
 GROUP BY namespace, kind, workload, box, program, cpus, gomaxprocs, go, image, hour_)
GROUP BY namespace, kind, workload, box, program, cpus, gomaxprocs, go, image"""
"""Hours of containers that were not the same all the time on nodes of one size: those of one
variant in a row."""


class Questions:
    """Queries a store. Thread-safe.

    SelectionError: no table knows a field that was asked for. QueryError: the database failed.
    StoreUnavailableError: there is none. BusyError, CancelledError (database.py).
    """

    def __init__(self, connections: Connections) -> None:
        self.database = Database(connections)
        self._rows, self._columns = self.database.rows, self.database.columns

    # --- the list ---------------------------------------------------------------------------

    def top(
        self, selection: Selection, limit: int = 30, sort: str = "runtime", skipped: int = 0
    ) -> Top:
        """See ``fleet.top``."""
        return top(self._rows, selection, limit, sort, skipped)

    def nodes(self, selection: Selection, limit: int = 100, skipped: int = 0) -> Nodes:
        """Those first whose runtime takes most."""
        return nodes(self._rows, selection, limit, skipped)

    def remedies(self, selection: Selection) -> Remedies:
        """See ``remedies.remedies``."""
        return remedies(self._rows, selection)

    def names(self, word: str, since: int, until: int) -> tuple[Name, ...]:
        """See ``nodes.names``."""
        return names(self._rows, word, since, until)

    def workload(self, selection: Selection) -> WorkloadAnswer | None:
        """Details of the first workload of the selection; None if there is none."""
        top = self.top(selection, 1)
        if not top.rows:
            return None
        row = top.rows[0]
        one = selection.with_(
            exactly("namespace", row.namespace),
            exactly("kind", row.kind),
            exactly("workload", row.workload),
        )
        source = source_of(one, SUMS)
        hours, gaps, categories = self._hours(one, source, top.span)
        return WorkloadAnswer(
            row,
            top.span,
            hours,
            gaps,
            categories,
            findings(self._rows, one),
            self._images(one, source),
            groups_of(self._rows, one, categories),
        )

    def _hours(
        self, selection: Selection, source: Source, span: Span
    ) -> tuple[tuple[Hour, ...], tuple[Gap, ...], dict[str, float]]:
        """In their order; and cores by category over the whole span, the largest first."""
        condition = where_of(selection, source)
        if source is WINDOWS:
            step, start = STEP_S, "toStartOfFiveMinutes(start)"
            labels = "mapFromArrays(arrayMap(c -> toString(c), category), category_ns)"
        else:
            step, start, labels = HOUR_S, "hour", "category_ns"
        rows = self._rows(
            f"SELECT toUnixTimestamp({start}) AS at, sum(cpu_ns) AS cpu, sumMap({labels}) AS parts"
            f" FROM {source.table} WHERE {condition.text} GROUP BY at ORDER BY at",
            condition.parameters,
        )
        covered = coverage(self._rows, selection, (span.since, span.until), step)
        found = []
        totals: defaultdict[str, float] = defaultdict(float)
        for row in rows:
            at = int(row["at"])
            seconds = max(1.0, covered.seconds.get(at, float(step)))
            # The first and the last step may have begun earlier than the data, or not be over yet;
            # a window may be longer than a step.
            since, until = max(span.since, at), min(span.until, at + max(step, int(seconds)))
            parts = {label: ns / 1e9 / seconds for label, ns in row["parts"].items()}
            found.append(Hour(at, since, max(until, since + 1), row["cpu"] / 1e9 / seconds, parts))
            for label, ns in row["parts"].items():
                totals[label] += ns / 1e9 / span.seconds
        gaps = tuple(covered.gaps(span.since, span.until))
        return tuple(found), gaps, dict(sorted(totals.items(), key=lambda item: -item[1]))

    def _images(self, selection: Selection, source: Source) -> tuple[str, ...]:
        condition = where_of(selection, source)
        rows = self._rows(
            f"SELECT image FROM {source.table} WHERE {condition.text} AND image != ''"
            " GROUP BY image ORDER BY sum(duration_ns) DESC LIMIT 10",
            condition.parameters,
        )
        return tuple(row["image"] for row in rows)

    # --- comparisons ------------------------------------------------------------------------

    BY = ("gomaxprocs", "node", "cpus", "go", "image", "pod")

    def compare(
        self,
        selection: Selection,
        by: str = "gomaxprocs",
        limit: int = 20,
        span: Span | None = None,
    ) -> Compared:
        """See ``comparisons.compare``."""
        return compare(self._rows, selection, by, limit, span)

    def compare_two(self, sides: tuple[Selection, Selection], spans: tuple[Span, Span]) -> Compared:
        """See ``comparisons.compare_two``."""
        return compare_two(self._rows, sides, spans)

    def compare_one(self, selection: Selection, label: str, span: Span) -> Side | None:
        """See ``comparisons.compare_one``."""
        return compare_one(self._rows, selection, label, span)

    def changes(
        self, selection: Selection, work: tuple[float, float] | None = None, limit: int = 50
    ) -> Changes:
        """Containers of which one GOMAXPROCS, limit, Go version or image gave way to another,
        newest first. ``work`` is units of work per second of one of them, before and after."""
        source = source_of(selection, (HOURS,))
        ends = ends_of(self._rows, selection, source)
        covered = coverage(self._rows, selection, ends, HOUR_S)
        span = spanned(ends, source, covered)
        condition = where_of(selection, source)
        by_container: defaultdict[tuple[str, str, str, str], list[dict[str, Any]]] = defaultdict(
            list
        )
        for row in self._rows(_CHANGING.format(condition=condition.text), condition.parameters):
            key = row["namespace"], row["kind"], row["workload"], row["box"]
            by_container[key].append(row)
        found = [
            changes_of(key, rows, covered.seconds, work, MIN_SAMPLES)
            for key, rows in by_container.items()
        ]
        rows = sorted((row for one in found for row in one.rows), key=lambda row: -row.at)
        others = sorted((row for one in found for row in one.uncompared), key=lambda row: -row.at)
        return Changes(span, tuple(rows[:limit]), tuple(others[:limit]))

    # --- profiles ---------------------------------------------------------------------------

    def profile(self, selection: Selection) -> Profile:
        """Stacks of all that the selection holds, those with most CPU time first."""
        source = source_of(selection, (STACK_HOURS, WINDOWS))
        condition = where_of(selection, source)
        if source is WINDOWS:
            times = (
                "SELECT stack_count.1 AS stack,"
                " sum(toUInt64(stack_count.2 * (cpu_ns / samples))) AS ns"
                " FROM windows ARRAY JOIN arrayZip(windows.stack, stack_samples) AS stack_count"
                f" WHERE {condition.text} AND samples > 0 GROUP BY stack"
            )
        else:
            times = (
                "SELECT stack, sum(cpu_ns) AS ns FROM stack_hours"
                f" WHERE {condition.text} GROUP BY stack"
            )
        named = conditions_only(selection.only(frozenset({"namespace", "kind", "workload"})), "n")
        parameters = {
            **condition.parameters,
            **named.parameters,
            "most": STACKS_MAX,
            "bytes": NAMES_BYTES_MAX,
        }
        most = f"SELECT stack, ns FROM ({times}) ORDER BY ns DESC, stack LIMIT {{most:UInt32}}"
        columns = self._columns(
            "SELECT ns, category, group_, functions FROM ("
            " SELECT t.ns AS ns, t.stack AS stack, d.category AS category, d.group_ AS group_,"
            "  d.functions AS functions,"
            f"  sum(arraySum(f -> length(f) + {_NAME_BYTES}, d.functions)) OVER"
            "   (ORDER BY t.ns DESC, t.stack ROWS UNBOUNDED PRECEDING) AS bytes"
            f" FROM ({most}) AS t LEFT JOIN"
            " (SELECT stack, any(category) AS category, any(`group`) AS group_,"
            "  any(functions) AS functions FROM stacks"
            f"  WHERE {named.text} AND stack IN (SELECT stack FROM ({most})) GROUP BY stack) AS d"
            " ON t.stack = d.stack) WHERE bytes <= {bytes:UInt64} ORDER BY ns DESC, stack",
            parameters,
        )
        total = self._rows(
            f"SELECT sum(ns) AS ns, count() AS n FROM ({times})", condition.parameters
        )[0]
        stacks = (
            tuple(
                StackTime(tuple(functions), category or "unknown", int(ns), drawn_group(group))
                for ns, category, group, functions in zip(*columns, strict=True)
            )
            if columns
            else ()
        )
        rest = int(total["ns"]) - sum(stack.cpu_ns for stack in stacks)
        return Profile(
            span_of(self._rows, selection, source), stacks, int(total["n"]), max(0, rest)
        )

    def functions(self, selection: Selection, limit: int = 50) -> Functions:
        return functions_of(self.profile(selection), limit)

    def difference(self, first: Selection, second: Selection, limit: int = 50) -> Differences:
        return differences_of(self.profile(first), self.profile(second), limit)
