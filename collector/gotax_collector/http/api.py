"""Questions by name and answers as JSON: the HTTP API, and what `gotax fleet` asks.

GET /api/v1/NAME?q=TERM&q=TERM&... answers with one document; docs/fleet.md lists names, parameters
and fields. Fields are only ever added.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gotax_collector.http.parameters import SORTS, Parameters, choice, limit, number, page, word
from gotax_collector.query.answers import Changed
from gotax_collector.query.documents import document
from gotax_collector.query.flamegraph import folded, folded_of_two
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import Selection, SelectionError, parse_selection

HOURS_PER_MONTH = 730


class Api:
    """Answers; SelectionError for parameters that it does not understand."""

    def __init__(self, questions: Questions, clock: Callable[[], float] = time.time) -> None:
        self.questions = questions
        self._clock = clock
        self._answers: dict[str, Callable[[Parameters], dict[str, Any]]] = {
            "top": self._top,
            "workload": self._workload,
            "compare": self._compare,
            "changes": self._changes,
            "functions": self._functions,
            "profile": self._profile,
            "diff": self._diff,
            "nodes": self._nodes,
            "names": self._names,
            "remedies": self._remedies,
        }

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._answers)

    def answer(self, name: str, parameters: Parameters) -> dict[str, Any]:
        """With its ``schema`` first. KeyError for a name that is not among ``names``."""
        return {"schema": f"gotax.fleet.{name}/v1", **self._answers[name](parameters)}

    def selection(self, parameters: Parameters, name: str = "q") -> Selection:
        terms = [term for term in parameters.get(name, ()) if term]
        return self.questions.of_causes(parse_selection(terms, self.now))

    @property
    def now(self) -> int:
        return int(self._clock())

    def price(self, parameters: Parameters) -> float | None:
        """Of a core-hour, None where it was not said."""
        return number(parameters, "price")

    def sides(self, parameters: Parameters) -> tuple[Selection, Selection] | None:
        """The two selections of a difference; None where one is asked for."""
        if not (parameters.get("a") or parameters.get("b")):
            return None
        return self.selection(parameters, "a"), self.selection(parameters, "b")

    def folded(self, parameters: Parameters) -> str:
        """Of one selection, or with two numbers a line of two."""
        if sides := self.sides(parameters):
            lines = folded_of_two(*(self.questions.profile(side) for side in sides))
        else:
            lines = folded(self.questions.profile(self.selection(parameters)))
        return "".join(line + "\n" for line in lines)

    def _top(self, parameters: Parameters) -> dict[str, Any]:
        sort = choice(parameters, "sort", SORTS)
        most = limit(parameters, 30)
        skipped = (page(parameters) - 1) * most
        top = self.questions.top(self.selection(parameters), most, sort, skipped)
        found: dict[str, Any] = document(top)
        price = self.price(parameters)
        if price is not None:
            found["price_per_core_hour"] = price
            for row in [*found["rows"], {"consumption": found["total"]}]:
                cost = row["consumption"]
                cost["runtime_per_month"] = cost["runtime_cores"] * price * HOURS_PER_MONTH
                saving = cost["saving_cores"]
                cost["saving_per_month"] = saving and saving[1] * price * HOURS_PER_MONTH
        return found

    def _workload(self, parameters: Parameters) -> dict[str, Any]:
        found = self.questions.workload(self.selection(parameters))
        return {"found": found is not None, **(document(found) if found else {})}

    def _compare(self, parameters: Parameters) -> dict[str, Any]:
        by = choice(parameters, "by", Questions.BY)
        most = limit(parameters, 20)
        compared = self.questions.compare(self.selection(parameters), by, most)
        return dict(document(compared))

    def _changes(self, parameters: Parameters) -> dict[str, Any]:
        work = number(parameters, "work_before"), number(parameters, "work_after")
        if (work[0] is None) != (work[1] is None):
            raise SelectionError("work_before and work_after go together")
        both = (work[0], work[1]) if work[0] and work[1] else None
        changes = self.questions.changes(self.selection(parameters), both, limit(parameters, 50))
        if both and len({_what_does_work(row) for row in changes.rows}) > 1:
            raise SelectionError(
                "work is of one container of one workload, on nodes of one size: say which with"
                " workload=NAME container=NAME cpus=NUMBER"
            )
        return dict(document(changes))

    def _functions(self, parameters: Parameters) -> dict[str, Any]:
        most = limit(parameters, 50)
        return dict(document(self.questions.functions(self.selection(parameters), most)))

    def _profile(self, parameters: Parameters) -> dict[str, Any]:
        return dict(document(self.questions.profile(self.selection(parameters))))

    def _diff(self, parameters: Parameters) -> dict[str, Any]:
        sides = self.selection(parameters, "a"), self.selection(parameters, "b")
        return dict(document(self.questions.difference(*sides, limit(parameters, 50))))

    def _nodes(self, parameters: Parameters) -> dict[str, Any]:
        most = limit(parameters, 100)
        skipped = (page(parameters) - 1) * most
        return dict(document(self.questions.nodes(self.selection(parameters), most, skipped)))

    def _remedies(self, parameters: Parameters) -> dict[str, Any]:
        return dict(document(self.questions.remedies(self.selection(parameters))))

    def _names(self, parameters: Parameters) -> dict[str, Any]:
        asked = self.selection(parameters)
        found = self.questions.names(word(parameters), asked.since, asked.until)
        return {"names": document(found)}


def _what_does_work(row: Changed) -> tuple[str, str, str, str, int]:
    return row.namespace, row.kind, row.workload, row.container, row.cpu_count
