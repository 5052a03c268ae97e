"""``gotax compare``: what changed between two recordings."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gotax.cli import arguments, progress
from gotax.cli.command import add_command
from gotax.cli.output import EXIT_FINE, print_json, style_of
from gotax.errors import UserError

if TYPE_CHECKING:
    from gotax.comparison import Work
    from gotax.diagnosis.comparison import Subject


def add(commands: Any) -> None:
    compare = add_command(
        commands, "compare", run, "compare two recordings: what changed, and what the change saved"
    )
    compare.add_argument("before", help="output of `gotax record -o FILE.json` before the change")
    compare.add_argument(
        "after", help="the same after the change; the output of `check --json` works for both"
    )
    compare.add_argument(
        "-c",
        "--container",
        action="append",
        default=[],
        metavar="NAME",
        help="only this container: name, ID or its beginning, unit, cgroup, program; give it twice"
        " if the names in the two recordings differ",
    )
    work = compare.add_argument_group("work done, to compute the CPU per unit of work")
    work.add_argument(
        "--work-before",
        type=arguments.work,
        metavar="N",
        help="units of work in the first recording",
    )
    work.add_argument(
        "--work-after",
        type=arguments.work,
        metavar="N",
        help="units of work in the second recording",
    )
    work.add_argument(
        "--throughput",
        type=arguments.work,
        nargs=2,
        metavar=("BEFORE", "AFTER"),
        help="units of work per second in each recording, instead of the totals",
    )
    compare.add_argument("--json", action="store_true", help="print JSON (docs/json.md)")


def run(options: argparse.Namespace) -> int:
    from gotax.diagnosis import comparison as diagnosis
    from gotax.exporters import comparison as exporter
    from gotax.recording import read_recording

    with progress.doing("reading the recordings"):
        recordings = [read_recording(path) for path in (options.before, options.after)]
    sides = [
        exporter.Side(path, found.host, found.start_unix_s, found.duration_s)
        for path, found in zip((options.before, options.after), recordings, strict=True)
    ]
    names: list[str] = options.container
    if len(names) > 2:
        raise UserError("give --container once, or twice for one name in each recording")
    subjects = [found.subjects for found in recordings]
    if names:
        subjects = [
            _selected(found, name, path)
            for found, name, path in zip(
                subjects, (names[0], names[-1]), (options.before, options.after), strict=True
            )
        ]
    if names and all(len(found) == 1 for found in subjects):
        pair = diagnosis.Pair(subjects[0][0], subjects[1][0], "container")
        matching = diagnosis.Matching((pair,), ())
    else:
        matching = diagnosis.match(*subjects)
    if not matching.pairs:
        _, name, why = matching.unmatched[0]
        raise UserError(
            f"the recordings have no container in common ({name}: {why}): name the two containers"
            " with --container"
        )
    work = _work_of(options, recordings[0].duration_s, recordings[1].duration_s)
    if work and len(matching.pairs) > 1:
        raise UserError("work belongs to one container: name it with --container")
    result = exporter.Result(
        sides[0],
        sides[1],
        tuple(diagnosis.compare(pair, work) for pair in matching.pairs),
        matching.unmatched,
    )
    if options.json:
        print_json(exporter.compare_document(result))
    else:
        print(exporter.render_compare(result, style_of(sys.stdout)))
    return EXIT_FINE


def _selected(subjects: Sequence[Subject], name: str, path: str) -> tuple[Subject, ...]:
    found = tuple(subject for subject in subjects if subject.answers_to(name))
    if not found:
        known = ", ".join(repr(subject.name) for subject in subjects[:8])
        raise UserError(f"no container in {path} matches {name!r}: it has {known}")
    return found


def _work_of(options: argparse.Namespace, before_s: float, after_s: float) -> Work | None:
    from gotax.comparison import Work

    given = options.work_before, options.work_after
    if options.throughput:
        if given != (None, None):
            raise UserError("use either --throughput, or --work-before and --work-after")
        return Work(*options.throughput)
    if given == (None, None):
        return None
    if None in given:
        raise UserError("--work-before and --work-after have to be given together")
    return Work(given[0] / before_s, given[1] / after_s)
