"""The group of each category, as agents sent it with their stacks."""

from __future__ import annotations

from collections.abc import Collection

from gotax_collector.query.answers import drawn_group
from gotax_collector.query.coarse import Ask
from gotax_collector.query.selection import Selection, conditions_only

_WORKLOAD = frozenset({"namespace", "kind", "workload"})


def groups_of(ask: Ask, selection: Selection, categories: Collection[str]) -> dict[str, str]:
    """By category. A category without a stack in the whole store is left out."""
    found = _asked(ask, selection.only(_WORKLOAD), categories)
    if rest := set(categories) - set(found):
        # An agent cuts off rare stacks: another workload has one.
        everything = Selection((), selection.since, selection.until)
        found |= _asked(ask, everything, rest)
    return found


def _asked(ask: Ask, selection: Selection, categories: Collection[str]) -> dict[str, str]:
    """The group that most stacks have: one agent cannot change it for all."""
    condition = conditions_only(selection, "g")
    rows = ask(
        "SELECT label, argMax(kind_, n) AS kind FROM"
        " (SELECT toString(category) AS label, toString(`group`) AS kind_, count() AS n FROM stacks"
        f"  WHERE {condition.text} AND category IN {{labels:Array(String)}}"
        "  GROUP BY label, kind_) GROUP BY label",
        {**condition.parameters, "labels": sorted(categories)},
    )
    return {row["label"]: drawn_group(row["kind"]) for row in rows}
