"""Who owns a workload: its namespace, or the value of a label that the user names.

Agents do not send labels. The user's own kubectl has them:

    kubectl get namespaces,deployments,statefulsets,daemonsets,cronjobs -A -o json
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gotax_collector.errors import CollectorError

UNLABELLED = "unlabelled"
_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class OwnersError(CollectorError):
    """The text is one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Owners:
    """``label`` "": the namespace owns it. ``values`` by (namespace, kind, name); a namespace is
    ("", "Namespace", name). The workload's own label counts before that of its namespace."""

    label: str = ""
    values: Mapping[tuple[str, str, str], str] = field(default_factory=dict)

    def of(self, namespace: str, kind: str, workload: str) -> str:
        if not self.label:
            return namespace
        own = self.values.get((namespace, kind, workload))
        return own or self.values.get(("", "Namespace", namespace)) or UNLABELLED


def parse_owners(label: str, text: str) -> Owners:
    """From what ``kubectl get -o json`` prints. OwnersError."""
    try:
        found = json.loads(text)
        items = found["items"] if found["kind"].endswith("List") else [found]
        pairs = (_labelled(label, item) for item in items)
        return Owners(label, {key: value for key, value in pairs if value})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise OwnersError(
            "--objects is not what `kubectl get namespaces,deployments,statefulsets,daemonsets,"
            "cronjobs -A -o json` prints"
        ) from error


def _labelled(label: str, item: Mapping[str, Any]) -> tuple[tuple[str, str, str], str]:
    metadata = item["metadata"]
    value = (metadata.get("labels") or {}).get(label) or ""
    is_valid = isinstance(value, str) and _LABEL_VALUE.fullmatch(value)
    key = (metadata.get("namespace") or "", item["kind"], metadata["name"])
    return key, value if is_valid else ""
