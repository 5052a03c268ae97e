"""``gotax explain``: all evidence for one container, and the patch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gotax.cli import once, targets
from gotax.cli.arguments import is_pid
from gotax.cli.command import add_command
from gotax.cli.options import add_sampling, add_thresholds, plan_of
from gotax.cli.output import print_json, style_of, verdict_code
from gotax.config import Detail
from gotax.errors import UserError

if TYPE_CHECKING:
    from gotax.window import ContainerReport, OtherReport, Window


def add(commands: Any) -> None:
    explain = add_command(commands, "explain", run, "show all evidence for one container")
    explain.add_argument("target", nargs="?", help=targets.HELP)
    add_sampling(explain, seconds=15.0)
    add_thresholds(explain)
    explain.add_argument("--json", action="store_true", help="print JSON (docs/json.md)")
    explain.add_argument(
        "--patch",
        action="store_true",
        help="print only the patch, for `kubectl patch --patch-file /dev/stdin`",
    )


def run(options: argparse.Namespace) -> int:
    from gotax.exporters import report as document
    from gotax.exporters.terminal.explain import render_explain

    detail = Detail(functions=20, kernel_frames=True)
    if options.target is None and not (options.pid or options.cgroup):
        raise UserError("name what to explain: a container ID, unit, cgroup, program or PID")
    if options.target and is_pid(options.target):
        options.pid.append(int(options.target))
        options.target = None
    window = once.sample_once(plan_of(options, detail), options.duration)
    found = [
        r for r in window.reports if options.target is None or targets.is_meant(r, options.target)
    ]
    others = [
        r for r in window.others if options.target is None or targets.is_meant(r, options.target)
    ]
    if not found and others:
        return _explain_others(options, others, window)
    if not found:
        reasons = [found.reason for found in window.unjudged if found.processes]
        if options.pid and "elf-packed" in reasons:
            raise UserError("this program is packed by UPX: unpack it with upx -d")
        if options.pid and reasons:
            raise UserError(
                f"this program could not be read ({', '.join(reasons)}), so gotax does not know"
                " if it is Go"
            )
        raise UserError(
            f"no Go process and no busy container matches {options.target!r}: `gotax check` lists"
            " all Go processes"
            if options.target
            else "no such Go process: `gotax check` lists all Go processes"
        )
    if options.patch:
        print(patch_of(found), end="")
    elif options.json:
        print_json(document.explain_document(found[0], window))
    else:
        for found_report in found:
            print(render_explain(found_report, window, style_of(sys.stdout)))
    return verdict_code(found)


def _explain_others(
    options: argparse.Namespace, others: Sequence[OtherReport], window: Window
) -> int:
    """Containers without a Go program."""
    from gotax.exporters import report as document
    from gotax.exporters.terminal.other import render_other

    if options.patch:
        print(patch_of(others), end="")
    elif options.json:
        print_json(document.explain_other_document(others[0], window))
    else:
        print("\n\n".join(render_other(each, window, style_of(sys.stdout)) for each in others))
    return verdict_code(others)


def patch_of(reports: Sequence[ContainerReport | OtherReport]) -> str:
    """The first patch: findings are in the order of their codes, the most important first."""
    for report in reports:
        for finding in report.findings:
            if finding.remedy.patch:
                return finding.remedy.patch
    raise UserError("no finding has a patch: no change is needed, or a variable cannot make it")
