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
    Profile,
    Side,
    Span,
    Top,
    WorkloadAnswer,
)
from gotax_collector.query.changes import changes_of
from gotax_collector.query.comparisons import MIN_SAMPLES, compare, compare_one, compare_two
from gotax_collector.query.coverage import HOUR_S, coverage
from gotax_collector.query.database import Database
from gotax_collector.query.findings import findings, of_causes
from gotax_collector.query.fleet import Asked, top
from gotax_collector.query.functions import differences_of, functions_of
from gotax_collector.query.groups import groups_of
from gotax_collector.query.nodes import Name, Nodes, names, nodes
from gotax_collector.query.profiles import profile
from gotax_collector.query.remedies import Remedies, remedies
from gotax_collector.query.selection import (
    Selection,
    exactly,
)
from gotax_collector.query.sources import (
    HOURS,
    STEP_S,
    SUMS,
    WINDOWS,
    Source,
    ends_of,
    source_of,
    spanned,
    where_of,
)
from gotax_collector.query.steps import Gap, Hour
from gotax_collector.storage.clickhouse import Connections

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
        self,
        selection: Selection,
        limit: int = 30,
        sort: str = "runtime",
        skipped: int = 0,
        with_resolved: bool = False,
    ) -> Top:
        """See ``fleet.top``."""
        return top(self._rows, selection, Asked(limit, sort, skipped, with_resolved))

    def nodes(self, selection: Selection, limit: int = 100, skipped: int = 0) -> Nodes:
        """Those first whose runtime takes most."""
        return nodes(self._rows, selection, limit, skipped)

    def remedies(self, selection: Selection) -> Remedies:
        """See ``remedies.remedies``."""
        return remedies(self._rows, selection)

    def of_causes(self, selection: Selection) -> Selection:
        """With the workloads that have a finding of such a cause now, in place of the cause: only
        windows know causes. SelectionError."""
        return of_causes(self._rows, selection)

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
            f"SELECT toUnixTimestamp({start}) AS at, sum(cpu_ns) AS cpu, sumMap({labels}) AS parts,"
            f" {source.saving.format('saving_mid')} AS saving"
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
            cores, saving = row["cpu"] / 1e9 / seconds, row["saving"] / seconds
            found.append(Hour(at, since, max(until, since + 1), cores, parts, saving))
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
        """See ``profiles.profile``."""
        return profile(self._rows, self._columns, selection)

    def functions(self, selection: Selection, limit: int = 50) -> Functions:
        return functions_of(self.profile(selection), limit)

    def difference(self, first: Selection, second: Selection, limit: int = 50) -> Differences:
        return differences_of(self.profile(first), self.profile(second), limit)
