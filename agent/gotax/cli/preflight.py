"""What ``gotax inspect`` and ``gotax lint`` have in common: flags, output, exit codes."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gotax.cli import arguments
from gotax.cli.output import EXIT_FINDINGS, EXIT_FINE, print_json
from gotax.errors import UserError

if TYPE_CHECKING:
    from gotax.preflight.located import Located
    from gotax.preflight.manifest import Source
    from gotax.preflight.spec import Amount, ContainerSpec

FORMATS = ("text", "json", "sarif", "github")


def add_output(command: Any) -> None:
    command.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="text (default), json (docs/json.md), sarif (2.1.0), or github (annotations)",
    )
    command.add_argument(
        "--select",
        type=codes,
        action="extend",
        metavar="CODE,...",
        help="report only these findings, by code or its beginning: GL001,GT (repeatable)",
    )
    command.add_argument(
        "--ignore",
        type=codes,
        action="extend",
        metavar="CODE,...",
        help="do not report these findings (repeatable)",
    )


def add_injection(command: Any) -> None:
    command.add_argument(
        "--cri-o",
        type=injection,
        nargs="?",
        const=1,
        metavar="LEAST",
        help="CRI-O injects GOMAXPROCS into containers without a CPU limit: twice the request,"
        " at least min_injected_gomaxprocs (1)",
    )


def codes(text: str) -> list[str]:
    from gotax.preflight.lintcodes import SUMMARIES

    return arguments.codes_among(text, tuple(SUMMARIES))


def injection(text: str) -> int:
    return int(arguments.number(text, int, 1, 65536, "a whole number"))


def quantity(text: str) -> Amount:
    """Cores or bytes as Kubernetes writes them."""
    from gotax.kubernetes.quantities import parse_quantity
    from gotax.preflight.spec import Amount

    value = parse_quantity(text[:64])
    if value is None or not 0 < value < 2**63:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a quantity above 0, such as 500m, 2, 512Mi"
        )
    return Amount(float(value), text[:64])


def is_wanted(options: argparse.Namespace) -> Callable[[Located], bool]:
    ignored = set(options.ignore or ())
    selected = None if options.select is None else set(options.select)

    def wanted(each: Located) -> bool:
        code = each.finding.code
        return code not in ignored and (selected is None or code in selected)

    return wanted


def show(
    options: argparse.Namespace,
    findings: Sequence[Located],
    source: str,
    shown: tuple[Callable[[], str], Callable[[], dict[str, Any]]],
) -> int:
    """Prints; ``shown`` gives the text and the JSON. Returns the exit code for the findings."""
    from gotax.findings import Severity
    from gotax.preflight import annotations

    if options.format == "json":
        print_json(shown[1]())
    elif options.format == "sarif":
        print_json(annotations.sarif(findings, source))
    elif options.format == "github":
        for line in annotations.github(findings, source):
            print(line)
    else:
        print(shown[0]())
    is_warned = any(each.finding.severity is Severity.WARNING for each in findings)
    return EXIT_FINDINGS if is_warned else EXIT_FINE


def read_source(path: str) -> Source:
    """A file of manifests, or standard input for "-"; UserError if it cannot be read."""
    from gotax.preflight.manifest import Source
    from gotax.preflight.yamltree import MAX_BYTES

    if path == "-":
        if sys.stdin is None:
            raise UserError("manifests are read from standard input, but it is closed")
        data, name = sys.stdin.buffer.read(MAX_BYTES + 1), "standard input"
    else:
        require_file(path)
        try:
            with open(path, "rb") as file:
                data, name = file.read(MAX_BYTES + 1), path
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
    return Source(name, data)


def require_file(path: str) -> None:
    """A pipe or a device would never end."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from error
    if not stat.S_ISREG(mode):
        raise UserError(f"cannot read {path}: it is not a file")


def with_injection(spec: ContainerSpec, options: argparse.Namespace) -> ContainerSpec:
    return spec if options.cri_o is None else replace(spec, min_injected=options.cri_o)
