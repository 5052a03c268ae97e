"""A window for https://www.speedscope.app: one profile for each container.

The format is speedscope's file-format-spec.ts, of type "sampled": a stack is a list of indexes of
``frames``, its root first, and each has a weight in seconds.
"""

from __future__ import annotations

from typing import Any

import gotax
from gotax.exporters.calls import frames_from_root, weighted_stacks
from gotax.exporters.text import utf8
from gotax.profile import Frame
from gotax.window import Window


def speedscope_document(window: Window) -> dict[str, Any]:
    """Only built-in types. The weights add up to the CPU time of the attributed samples."""
    frames: dict[Frame, int] = {}
    profiles: dict[str, tuple[list[list[int]], list[float]]] = {}
    for container, stack, category, samples in weighted_stacks(window):
        calls = [frames.setdefault(f, len(frames)) for f in frames_from_root(stack)]
        kind = Frame(f"[{category.label}]")
        stacks, weights = profiles.setdefault(container, ([], []))
        stacks.append([*calls, frames.setdefault(kind, len(frames))])
        weights.append(samples * window.period_ns / 1e9)
    return {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": f"gotax {gotax.__version__}",
        "name": f"gotax {utf8(window.host)}",
        "activeProfileIndex": 0,
        "shared": {"frames": [_frame(frame) for frame in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": utf8(container) or "?",
                "unit": "seconds",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": stacks,
                "weights": weights,
            }
            for container, (stacks, weights) in sorted(profiles.items())
        ],
    }


def _frame(frame: Frame) -> dict[str, Any]:
    found: dict[str, Any] = {"name": utf8(frame.function) or "?"}
    if frame.file:
        found["file"] = utf8(frame.file)
    if frame.line:
        found["line"] = frame.line
    return found
