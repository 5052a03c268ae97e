from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gotax.category import Category, Group
from gotax.confidence import interval
from gotax.exporters.record import record_document
from gotax.exporters.report import (
    MAX_FUNCTIONS,
    check_document,
    explain_document,
    explain_other_document,
)
from gotax.other import OtherUse
from gotax.process import CpuResources
from gotax.window import OtherReport, Window
from hypothesis import given

from .strategies import unhurried, windows
from .windows import (
    Run,
    build_window,
    go_location,
    named,
    other_report,
    oversized_load,
    story_window,
)

DOCS = Path(__file__).parents[3] / "docs"
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def breaches(
    value: Any, rule: dict[str, Any], schema: dict[str, Any], path: str = "$"
) -> list[str]:
    """The violations of ``rule`` by ``value``, for the part of JSON Schema that our files use.

    Stricter in one point: an object may have no key that the schema does not name.
    """
    rule, schema = resolved(rule, schema)
    if "const" in rule:
        return [] if value == rule["const"] else [f"{path}: not {rule['const']}"]
    kinds = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    if not any(_is(value, kind) for kind in kinds):
        return [f"{path}: {type(value).__name__} instead of {kinds}"]
    if value is None:
        return []
    found = [
        f"{path}: {value} against {key} {rule[key]}"
        for key, holds in (
            ("enum", lambda bound: value in bound),
            ("minimum", lambda bound: value >= bound),
            ("maximum", lambda bound: value <= bound + 1e-9),
            ("exclusiveMinimum", lambda bound: value > bound),
        )
        if key in rule and not holds(rule[key])
    ]
    if isinstance(value, list):
        for i, item in enumerate(value):
            found += breaches(item, rule["items"], schema, f"{path}[{i}]")
    if isinstance(value, dict):
        properties = rule.get("properties", {})
        found += [f"{path}: no {key}" for key in rule.get("required", ()) if key not in value]
        for key, item in value.items():
            inner = properties.get(key) or rule.get("additionalProperties")
            if not inner:
                found.append(f"{path}: unknown {key}")
            else:
                found += breaches(item, inner, schema, f"{path}.{key}")
    return found


def resolved(rule: dict[str, Any], schema: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rule at a reference, and its schema: this one or another file's."""
    if "$ref" not in rule:
        return rule, schema
    name, _, definition = rule["$ref"].partition("#/$defs/")
    schema = schema_of(name) if name else schema
    return schema["$defs"][definition], schema


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES[kind])


def schema_of(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((DOCS / "schema" / name).read_text())
    return schema


@unhurried
@given(windows())
def test_documents_match_their_schemas(window: Window) -> None:
    """Any window gives documents that the published schemas allow, also as UTF-8 text."""
    for document, name in (
        (check_document(window), "check-v3.json"),
        (record_document(window), "record-v2.json"),
        *((explain_document(report, window), "explain-v3.json") for report in window.reports),
    ):
        text = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
        assert breaches(json.loads(text), schema_of(name), schema_of(name)) == []


def test_the_example_matches_the_schema_with_every_optional_part() -> None:
    """So findings, limits, throttling and processes are checked, not only their absence."""
    document = check_document(story_window())
    assert breaches(document, schema_of("check-v3.json"), schema_of("check-v3.json")) == []
    oversized = next(c for c in document["containers"] if c["name"] == "payments-api")
    empty = [key for key, value in oversized.items() if value in (None, [], {})]
    assert empty == [
        *("nested_cgroup", "unit", "kubernetes", "cpu_limit_problem", "cpuset_cgroup", "cpu_shares")
    ]


def test_containers_without_go() -> None:
    """One with a finding and one of which nothing was read match the schemas."""
    other = other_report()
    bare = OtherReport(OtherUse(other.container, 3, other.processes, (3,), unread="cgroup-quota"))
    window = replace(story_window(), others=(other, bare))
    document = check_document(window)
    assert breaches(document, schema_of("check-v3.json"), schema_of("check-v3.json")) == []
    full, empty = document["other_containers"]
    assert full["settings"] == [
        {"program": "OpenBLAS", "setting": "OPENBLAS_NUM_THREADS", "value": 64}
    ]
    assert (full["threads_ran"], full["threads_at_once"], full["cpus_at_once"]) == (64, 40.5, 6.0)
    assert full["thread_groups"][1] == {"name": None, "threads": 4}
    assert full["findings"][0]["code"] == "GT020"
    assert (empty["periods"], empty["cpu_limit_cores"], empty["unread"]) == (
        *(None, None),
        "cgroup-quota",
    )
    for report in window.others:
        explained = explain_other_document(report, window)
        schema = schema_of("explain-other-v1.json")
        assert breaches(explained, schema, schema) == []


def test_the_names_and_resources_of_a_pod() -> None:
    """Desired and current values differ while an in-place resize is pending."""
    load = named(
        oversized_load(),
        "payments-5d-x2",
        desired=CpuResources(0.5, 2.0),
        current=CpuResources(0.5, 1.0),
    )
    document = check_document(build_window(load))
    assert breaches(document, schema_of("check-v3.json"), schema_of("check-v3.json")) == []
    shown = document["containers"][0]["kubernetes"]
    assert (shown["namespace"], shown["pod"]) == ("shop", "payments-5d-x2")
    assert (shown["workload_kind"], shown["workload"]) == ("Deployment", "payments")
    assert shown["desired"] == {"cpu_request_cores": 0.5, "cpu_limit_cores": 2.0}
    assert shown["current"] == {"cpu_request_cores": 0.5, "cpu_limit_cores": 1.0}


@pytest.mark.parametrize(
    ("key", "value"),
    [("hz", 0), ("samples", {}), ("host", None), ("cpu_count", 1.5), ("new", 1), ("schema", "v2")],
)
def test_the_schema_check_can_fail(key: str, value: object) -> None:
    """A wrong type, bound, constant or key is found."""
    document = check_document(story_window()) | {key: value}
    assert breaches(document, schema_of("check-v3.json"), schema_of("check-v3.json"))


@unhurried
@given(windows())
def test_shares_and_groups_sum_to_one(window: Window) -> None:
    """Every category and group is there, and the shares of a container add up to 1."""
    for container in check_document(window)["containers"]:
        assert list(container["shares"]) == [category.label for category in Category]
        assert list(container["groups"]) == [group.value for group in Group]
        assert math.isclose(sum(container["shares"].values()), 1)
        assert math.isclose(sum(container["groups"].values()), 1)
        groups = container["groups"]
        assert math.isclose(container["runtime_share"], groups["scheduler"] + groups["gc"])


def test_the_numbers_of_the_example() -> None:
    """The oversized container's row: 285 samples of 1/19 s in 15 s are one core."""
    document = check_document(story_window())
    assert document["samples"] == {"drained": 1249, "attributed": 1248, "lost": {"no-process": 1}}
    row = next(c for c in document["containers"] if c["name"] == "payments-api")
    assert row["cpu_cores"] == pytest.approx(1.0, abs=1e-6)
    assert row["cpu_seconds"] == pytest.approx(15.0, abs=1e-5)
    assert row["shares"]["gc/mark-idle"] == 51 / 285
    assert row["runtime_share"] == (40 + 46 + 51) / 285
    assert row["gomaxprocs"] == {
        "value": 192,
        "origin": "cpu-count",
        "expected": 192,
        "rule": "the 192 CPUs the process may run on",
        "recommended": 1,
        "bound_by": ["quota"],
        "reason": None,
    }
    assert row["runtime"] == {
        "idle_ps": 0,
        "gogc": 100,
        "memory_limit_bytes": 2**63 - 1,
        "gc_cycles": 1234,
        "heap_goal_bytes": 64 << 20,
        "live_heap_bytes": 32 << 20,
        "allocated_bytes": 9 << 30,
        "non_heap_bytes": 5 << 20,
        "root_bytes": 1 << 20,
    }
    assert row["collections"] == {"cycles": 17, "allocated_bytes": 500 << 20}
    assert row["memory"] == {
        "limit_bytes": 256 << 20,
        "limit_cgroup": "/kubepods",
        "own_limit_bytes": 512 << 20,
        "high_bytes": 200 << 20,
        "usage_bytes": 150 << 20,
        "working_set_bytes": 120 << 20,
        "high_events": 3,
        "max_events": 2,
        "oom_kills": 1,
    }
    assert (row["cpu_limit_cores"], row["throttled_s"], row["throttled_periods"]) == (1.0, 3.2, 121)
    flat = {f["function"]: f["flat"] for f in row["functions"]}
    assert flat["runtime.scanobject"] == 51 / 285
    assert document["other_cpu_cores"] == pytest.approx(318 / 19 / 15)


def test_functions_are_bounded() -> None:
    """Only the top functions of a container are listed."""
    load = oversized_load()
    runs = tuple(
        Run((go_location(f"main.f{number}"),), Category.USER, number + 1)
        for number in range(MAX_FUNCTIONS + 20)
    )
    document = check_document(build_window(type(load)(load.process, runs)))
    functions = document["containers"][0]["functions"]
    assert len(functions) == MAX_FUNCTIONS
    assert functions[0]["function"] == f"main.f{MAX_FUNCTIONS + 19}"


def described(rule: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """Every key below ``rule`` that the page must name, except the category labels."""
    rule, schema = resolved(rule, schema)
    if rule.get("additionalProperties") is False:  # shares and groups: keys are values
        return set()
    keys = set(rule.get("properties", ()))
    inner = list(rule.get("properties", {}).values())
    if "items" in rule:
        inner.append(rule["items"])
    for part in inner:
        keys |= described(part, schema)
    return keys


@pytest.mark.parametrize(
    ("name", "heading", "elsewhere"),
    [
        ("check-v3.json", "gotax check", set()),
        ("record-v2.json", "gotax record", {"drained", "attributed", "lost"}),
    ],
)
def test_the_page_names_exactly_the_keys_of_the_schema(
    name: str, heading: str, elsewhere: set[str]
) -> None:
    """docs/json.md documents exactly the keys of the schema."""
    schema = schema_of(name)
    if name != "check-v3.json":
        check = schema_of("check-v3.json")
        elsewhere = elsewhere | described({"$ref": "#/$defs/container"}, check)
    assert documented(heading) | elsewhere == described(schema, schema)


def documented(heading: str) -> set[str]:
    page = (DOCS / "json.md").read_text()
    part = next(part for part in page.split("\n## ") if part.startswith(f"`{heading}"))
    rows = re.findall(r"^\| `([\w.\[\]]+)` \|", part, re.MULTILINE)
    return {row.replace("[]", "").split(".")[-1] for row in rows}


def test_the_page_names_the_additional_keys_of_explain() -> None:
    """The container of explain is a container of check with more keys."""
    explain, check = schema_of("explain-v3.json"), schema_of("check-v3.json")
    more = described(explain, explain) - described(check, check)
    assert documented("gotax explain") == more | {"schema", "gomaxprocs"}
    of_others = described({"$ref": "#/$defs/other"}, check)
    missing = described(check, check) - described(explain, explain) - of_others
    assert missing == {"containers", "other_containers"}


def test_intervals_contain_their_shares() -> None:
    """More samples make the interval narrower."""
    window = story_window()
    for report in window.reports:
        container = explain_document(report, window)["container"]
        for label, (low, high) in container["share_intervals"].items():
            assert low <= container["shares"][label] <= high
    for bound in interval(96, 285):  # the equation of Wilson's bounds
        assert (96 / 285 - bound) ** 2 == pytest.approx(1.96**2 * bound * (1 - bound) / 285)
    few, many = interval(3, 10), interval(300, 1000)
    assert many[1] - many[0] < few[1] - few[0]
    assert interval(0, 0) == (0, 1)
