"""The samples of a window and of an OTLP message, in a form that can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from gotax.category import Category
from gotax.window import Window
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest as Request,
)

Key = tuple[str, str, Any, tuple[tuple[int, tuple[tuple[str, str, int], ...]], ...]]
"""Container, category, PID and the stack as addresses with their functions."""


def value(any_value: Any, texts: Sequence[str] = ()) -> Any:
    """Resolves texts: Collectors move even the texts of a resource into the dictionary."""
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(item, texts) for item in any_value.array_value.values]
    if kind == "string_value_strindex":
        return texts[any_value.string_value_strindex]
    return getattr(any_value, kind)


def resource(added: Any, texts: Sequence[str] = ("",)) -> dict[str, Any]:
    return {
        item.key or texts[item.key_strindex]: value(item.value, texts)
        for item in added.resource.attributes
    }


def attributes(request: Request, indices: Sequence[int]) -> dict[str, Any]:
    tables = request.dictionary
    found = [tables.attribute_table[index] for index in indices]
    named = {
        tables.string_table[item.key_strindex]: value(item.value, tables.string_table)
        for item in found
    }
    assert len(named) == len(indices), "a key twice"
    return named


def samples_received(request: Request) -> Counter[Key]:
    """The samples of a message, with all indices resolved."""
    tables = request.dictionary
    text = tables.string_table
    found: Counter[Key] = Counter()
    for added in request.resource_profiles:
        named = resource(added, text)
        for profile in added.scope_profiles[0].profiles:
            for sample in profile.samples:
                labels = attributes(request, sample.attribute_indices)
                stack = []
                for index in tables.stack_table[sample.stack_index].location_indices:
                    location = tables.location_table[index]
                    lines = tuple(
                        (
                            text[tables.function_table[line.function_index].name_strindex],
                            text[tables.function_table[line.function_index].filename_strindex],
                            line.line,
                        )
                        for line in location.lines
                    )
                    stack.append((location.address, lines))
                pid = labels.get("process.pid", named.get("process.pid"))
                key = (named["process.linux.cgroup"], labels["gotax.category"], pid, tuple(stack))
                [count] = sample.values
                found[key] += count
    return found


def samples_sent(window: Window) -> Counter[Key]:
    found: Counter[Key] = Counter()
    columns = window.profile
    with_go = {report.container.key for report in window.reports}
    for row in range(len(columns)):
        process = window.processes[columns.process[row]]
        if not process.is_go or process.container.key not in with_go:
            continue
        stack = tuple(
            (
                location.address,
                tuple((escaped(f.function), escaped(f.file), f.line) for f in location.frames),
            )
            for location in columns.stacks[columns.stack[row]]
        )
        category = Category(columns.category[row])  # type: ignore[call-arg]
        found[process.container.cgroup, category.label, process.pid, stack] += int(
            columns.samples[row]
        )
    return found


def escaped(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
