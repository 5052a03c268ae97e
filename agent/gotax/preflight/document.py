"""The JSON of ``gotax inspect`` and ``gotax lint``, described in docs/json.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gotax
from gotax.errors import ParseError
from gotax.exporters.report import finding_document
from gotax.exporters.text import utf8
from gotax.golang.automaxprocs import DEPENDENCIES
from gotax.preflight.forecast import Forecast, Program
from gotax.preflight.inspecting import Inspected, Inspection
from gotax.preflight.linting import Linted
from gotax.preflight.located import Located
from gotax.preflight.memory import AUTOMEMLIMIT
from gotax.preflight.spec import ContainerSpec
from gotax.process import GoBuild, Module

INSPECT_SCHEMA = "gotax.inspect/v1"
LINT_SCHEMA = "gotax.lint/v1"


def inspect_document(found: Inspection) -> dict[str, Any]:
    return {
        "schema": INSPECT_SCHEMA,
        "gotax_version": gotax.__version__,
        "source": utf8(found.source),
        "programs": [_program(each) for each in found.programs],
        "unreadable": [
            {"path": utf8(each.path), "reason": each.reason, "text": utf8(each.text)}
            for each in found.unreadable
        ],
    }


def lint_document(found: Linted) -> dict[str, Any]:
    return {
        "schema": LINT_SCHEMA,
        "gotax_version": gotax.__version__,
        "files": found.files,
        "containers": found.containers,
        "findings": [located_document(each) for each in found.findings],
        "unreadable": [
            {"path": utf8(each.file), "reason": each.reason, "text": utf8(each.text)}
            for each in found.unparsed
        ],
    }


def located_document(each: Located) -> dict[str, Any]:
    return {
        "file": utf8(each.place.file) or None,
        "line": each.place.line,
        "container": utf8(each.container) or None,
        "finding": finding_document(each.finding),
    }


def _program(each: Inspected) -> dict[str, Any]:
    found = each.forecast
    program, build = found.program, found.program.build
    return {
        "path": utf8(program.path),
        "image": utf8(each.image) or None,
        "is_entry": each.is_entry,
        "is_judged": each.is_judged,
        "go_version": utf8(build.version) or None,
        "main_module": utf8(build.main.path) or None,
        "main_version": utf8(build.main.version) or None,
        "default_godebug": utf8(build.setting("DefaultGODEBUG")) or None,
        "modules": [_module(m) for m in build.dependencies if _is_asked_for(m)],
        "container": _container(found.spec),
        "nodes": [
            {
                "cpus": node.cpus,
                "gomaxprocs": node.gomaxprocs.value,
                "origin": node.gomaxprocs.origin.value,
                "rule": utf8(node.gomaxprocs.rule),
                "fits": node.gomaxprocs.recommended,
            }
            for node in found.nodes
        ],
        "changes": [
            {"change": a.change, "text": a.text, "gomaxprocs": list(a.values)}
            for a in found.alternatives
        ],
        "gomemlimit": _memory(found),
        "findings": [located_document(located) for located in each.findings],
    }


def _memory(found: Forecast) -> dict[str, Any]:
    return {
        "bytes": found.memory.limit_bytes,
        "origin": found.memory.origin.value,
        "rule": utf8(found.memory.rule),
    }


def _is_asked_for(module: Module) -> bool:
    return module.path in DEPENDENCIES or module.path.startswith(AUTOMEMLIMIT)


def _module(module: Module) -> dict[str, Any]:
    by = module.replaced_by
    return {
        "path": utf8(module.path),
        "version": utf8(module.version),
        "replaced_by": None if by is None else {"path": utf8(by.path), "version": utf8(by.version)},
    }


def _container(spec: ContainerSpec) -> dict[str, Any]:
    return {
        "name": utf8(spec.name) or None,
        "namespace": utf8(spec.namespace) or None,
        "workload": utf8(str(spec.workload)) if spec.workload else None,
        "image": utf8(spec.image) or None,
        "cpu_limit_cores": spec.cpu_limit,
        "cpu_request_cores": spec.cpu_request,
        "memory_limit_bytes": spec.memory_limit,
        "cgroup": f"v{spec.view.version}/{spec.view.layout.value}",
        "min_injected_gomaxprocs": spec.min_injected,
    }


def parse_inspection(document: Any) -> tuple[Program, ...]:
    """The programs of a document of ``gotax inspect``. Raises ParseError."""
    if not isinstance(document, Mapping) or document.get("schema") != INSPECT_SCHEMA:
        raise ParseError("inspection-malformed", f"it is no document of {INSPECT_SCHEMA}")
    try:
        found = [_parsed(each) for each in document["programs"] if each["is_judged"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ParseError("inspection-malformed", f"a document of another shape: {error}") from error
    return tuple(found)


def _parsed(each: Mapping[str, Any]) -> Program:
    modules = []
    for module in each["modules"]:
        by = module["replaced_by"]
        other = Module(str(by["path"]), str(by["version"])) if by else None
        modules.append(Module(str(module["path"]), str(module["version"]), other))
    godebug = each["default_godebug"]
    build = GoBuild(
        str(each["go_version"] or ""),
        Module(str(each["main_module"] or ""), str(each["main_version"] or "")),
        dependencies=tuple(modules),
        settings=(("DefaultGODEBUG", str(godebug)),) if godebug else (),
    )
    return Program(str(each["path"]), build)
