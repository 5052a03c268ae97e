"""The plan as CSV (RFC 4180), one line for each finding of each container name."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from gotax_collector.query.remedies import Wanted
from gotax_collector.remedies.plan import Change, Plan, WorkloadPlan

COLUMNS = (
    *("owner", "namespace", "kind", "workload", "container", "code", "severity", "confidence"),
    *("cause", "variable", "value", "memory_limit", "how", "containers", "nodes", "gomaxprocs"),
    *("limit_cores", "saving_low_cores", "saving_cores", "saving_high_cores", "images", "title"),
    *("remedy", "note"),
)
FROM_LIMIT = "limits.cpu"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def spreadsheet(plan: Plan) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for workload in plan.workloads:
        for line in _lines(workload):
            writer.writerow([cell(text) for text in line])
    return file.getvalue()


def cell(text: str) -> str:
    """A spreadsheet takes a text that begins like this for a formula; a quote prevents that.

    Numbers stay as they are.
    """
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _lines(workload: WorkloadPlan) -> Iterator[list[str]]:
    reasons = {id(finding): why for finding, why in workload.by_hand}
    changed = {}
    for change in workload.changes:
        for finding in change.findings:
            changed[id(finding)] = change
            yield _line(workload, finding, change, reasons.get(id(finding), ""))
    for finding, why in workload.by_hand:
        if id(finding) not in changed:
            yield _line(workload, finding, None, why)


def _line(workload: WorkloadPlan, finding: Wanted, change: Change | None, why: str) -> list[str]:
    setting = None if change is None else change.setting
    least, most = finding.limit_cores
    saving = finding.saving_cores
    value = "" if setting is None else FROM_LIMIT if setting.value is None else setting.value
    return [
        *(workload.owner, workload.namespace, workload.kind, workload.name, finding.container),
        *(finding.code, finding.severity, finding.confidence, finding.cause),
        *("" if setting is None else setting.variable, value),
        "" if setting is None else setting.memory_limit,
        "by hand" if why else "patch",
        *(str(finding.containers), str(finding.nodes)),
        " ".join(str(number) for number in finding.gomaxprocs),
        f"{least:g}" if least == most else f"{least:g} to {most:g}",
        *(("", "", "") if saving is None else (f"{part:.3f}" for part in saving)),
        " ".join(finding.images),
        *(finding.title, finding.remedy),
        why or ("" if change is None else change.note),
    ]
