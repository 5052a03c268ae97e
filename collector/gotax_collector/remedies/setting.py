"""What a patch of an agent sets, read from its text.

An agent, or someone with its token, could send any patch: one that makes a pod privileged, for
example. So nothing of the text is passed on. It is read, anything but the variables of Go that
`gotax explain` sets is refused, and the patch is written again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gotax_collector.remedies.yamltext import parse_small

GOMAXPROCS = "GOMAXPROCS"
_TEXT_MAX = 4096
_CPUS_MAX = 65_536
_TEMPLATES = (
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
    ("spec",),
)
_UNITS = {"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
_MEMORY = re.compile(r"[1-9][0-9]{0,9}(KiB|MiB|GiB|TiB)")
_QUANTITY = re.compile(r"[1-9][0-9]{0,9}(Ki|Mi|Gi|Ti)")


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable of Go of one container of a pod.

    ``value``: None for the CPU limit of the container, by the downward API. ``memory_limit``: its
    new memory limit as Kubernetes writes it, "" for the present one. ``replaces``: the variable may
    be set already, in the other form.
    """

    variable: str
    value: str | None
    memory_limit: str = ""
    is_init: bool = False
    replaces: bool = False

    @property
    def is_from_limit(self) -> bool:
        return self.value is None

    @property
    def size(self) -> int:
        """To compare two values of one variable; bytes for GOMEMLIMIT."""
        if self.value is None:
            return 0
        unit = _UNITS.get(self.value[-3:], 0)
        return int(self.value[:-3]) << unit if unit else int(self.value)

    def __str__(self) -> str:
        text = f"{self.variable}={'the CPU limit' if self.value is None else self.value}"
        return f"{text}, limits.memory={self.memory_limit}" if self.memory_limit else text


def parse_setting(patch: str, container: str) -> Setting | None:
    """None if it is not a patch of Kubernetes for this container that sets one variable of Go."""
    if len(patch) > _TEXT_MAX or "spec:" not in patch:
        return None
    try:
        found = parse_small(patch)
        return next((s for path in _TEMPLATES if (s := _at(found, path, container))), None)
    except (ValueError, TypeError, KeyError):
        return None


def _at(found: Any, path: tuple[str, ...], container: str) -> Setting | None:
    for key in path:
        if not isinstance(found, Mapping) or list(found) != [key]:
            return None
        found = found[key]
    if not isinstance(found, Mapping) or len(found) != 1:
        return None
    (section,) = found
    if section not in ("containers", "initContainers") or len(found[section]) != 1:
        return None
    (item,) = found[section]
    if not {"name", "env"} <= set(item) <= {"name", "env", "resources"}:
        return None
    if item["name"] != container or len(item["env"]) != 1:
        return None
    memory_limit = _memory_limit(item.get("resources"))
    (variable,) = item["env"]
    if memory_limit is None or not {"name"} < set(variable) <= {"name", "value", "valueFrom"}:
        return None
    value = _value(variable)
    if value is None and not _is_from_limit(variable):
        return None
    return Setting(
        variable["name"], value, memory_limit, section == "initContainers", len(variable) == 3
    )


def _memory_limit(resources: Any) -> str | None:
    """None if it is anything else than a limit of memory."""
    if resources is None:
        return ""
    limit = resources["limits"]["memory"]
    is_alone = list(resources) == ["limits"] and list(resources["limits"]) == ["memory"]
    return limit if is_alone and _QUANTITY.fullmatch(limit) else None


def _value(variable: Mapping[str, Any]) -> str | None:
    value, name = variable.get("value"), variable["name"]
    if not isinstance(value, str) or variable.get("valueFrom") is not None:
        return None
    if name == GOMAXPROCS:
        return (
            value if re.fullmatch(r"[1-9][0-9]{0,4}", value) and int(value) <= _CPUS_MAX else None
        )
    if name == "GOGC":
        return value if re.fullmatch(r"[1-9][0-9]{0,4}", value) else None
    return value if name == "GOMEMLIMIT" and _MEMORY.fullmatch(value) else None


def _is_from_limit(variable: Mapping[str, Any]) -> bool:
    wanted = {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}
    is_alone = variable.get("value") is None and variable.get("valueFrom") == wanted
    return variable["name"] == GOMAXPROCS and is_alone
