"""A window's samples as one JSON document, documented in docs/json.md."""

from __future__ import annotations

from typing import Any

import gotax
from gotax.category import Category
from gotax.exporters.report import container_document, samples_document
from gotax.exporters.text import utf8
from gotax.process import Process
from gotax.profile import Frame, Location
from gotax.window import Window

SCHEMA = "gotax.record/v2"


def record_document(window: Window) -> dict[str, Any]:
    """Every attributed sample, in tables that refer to each other by index.

    ``stack_counts`` → ``processes``, ``stacks``, ``categories``; ``stacks`` → ``locations`` →
    ``frames``. Only built-in types, ready for ``json.dump``.
    """
    locations: dict[Location, int] = {}
    frames: dict[Frame, int] = {}
    stacks = [
        [locations.setdefault(location, len(locations)) for location in stack]
        for stack in window.profile.stacks
    ]
    location_table = [_location(location, frames) for location in locations]
    return {
        "schema": SCHEMA,
        "gotax_version": gotax.__version__,
        "host": utf8(window.host),
        "start_unix_ns": window.start_unix_ns,
        "duration_s": window.duration_s,
        "hz": window.hz,
        "period_ns": window.period_ns,
        "cpu_count": window.cpu_count,
        "samples": samples_document(window.samples),
        "containers": [container_document(window, report) for report in window.reports],
        "categories": [category.label for category in Category],
        "processes": [_process(process) for process in window.processes],
        "frames": [_frame(frame) for frame in frames],
        "locations": location_table,
        "stacks": stacks,
        "stack_counts": {
            "process": window.profile.process.tolist(),
            "stack": window.profile.stack.tolist(),
            "category": window.profile.category.tolist(),
            "samples": window.profile.samples.tolist(),
        },
    }


def _process(process: Process) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "command": utf8(process.command),
        "container": utf8(process.container.name),
        "cgroup": utf8(process.container.cgroup),
        "go_version": utf8(process.build.version) if process.build else None,
    }


def _frame(frame: Frame) -> dict[str, Any]:
    return {
        "function": utf8(frame.function),
        "file": utf8(frame.file),
        "line": int(frame.line),
        "start_line": int(frame.start_line),
        "kind": frame.kind.value,
        "inlined": frame.inlined,
    }


def _location(location: Location, frames: dict[Frame, int]) -> dict[str, Any]:
    return {
        "module": utf8(location.module),
        "build_id": utf8(location.build_id),
        "address": int(location.address),
        "frames": [frames.setdefault(frame, len(frames)) for frame in location.frames],
    }
