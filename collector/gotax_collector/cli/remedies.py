"""The options of ``gotax fleet remedies``, and what it writes.

PyYAML is imported only here, when something is written: `gotax fleet` needs no extra otherwise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gotax_collector.errors import CollectorError

FORMATS = ("text", "patches", "kyverno", "admission", "policyreport", "csv")
_MATCHES = ("workload", "image")
_APIS = ("v1", "v1beta1", "v1alpha1")
_OBJECTS_BYTES_MAX = 1 << 30

_EXAMPLES = """\
examples:
  gotax fleet remedies namespace=shop
  gotax fleet remedies -o remedies && sh remedies/shop/apply.sh --dry-run=server
  gotax fleet remedies --format admission --admission-api v1beta1 | kubectl apply -f -
  gotax fleet remedies --format csv --all > remedies.csv
  kubectl get namespaces,deployments,statefulsets,daemonsets,cronjobs -A -o json |
    gotax fleet remedies --owner-label team --objects - -o remedies
"""


class RemediesError(CollectorError):
    """An error of the user. The text is one sentence with the remedy."""


def add_options(command: argparse.ArgumentParser, selections: str) -> None:
    command.epilog = f"{selections}\n{_EXAMPLES}"
    command.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        help="write every format into this folder, one folder for each owner in it",
    )
    command.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help=f"what to print ({FORMATS[0]})"
    )
    command.add_argument(
        "--all", action="store_true", help="also what is only information, not a warning"
    )
    command.add_argument(
        "--owner-label",
        default="",
        metavar="LABEL",
        help="group by this label instead of the namespace; needs --objects",
    )
    command.add_argument(
        "--objects",
        metavar="FILE",
        help="what kubectl get -o json prints, for the labels; - for standard input",
    )
    command.add_argument(
        "--match",
        choices=_MATCHES,
        default=_MATCHES[0],
        help="what policies look for: the workloads, or their images in all pods of their"
        f" namespaces ({_MATCHES[0]})",
    )
    command.add_argument(
        "--admission-api",
        choices=_APIS,
        default=_APIS[0],
        help="version of MutatingAdmissionPolicy: v1 since Kubernetes 1.36, v1beta1 since 1.34,"
        f" v1alpha1 since 1.32 ({_APIS[0]})",
    )


def check(options: argparse.Namespace) -> None:
    """Before the collector is asked. RemediesError."""
    if bool(options.owner_label) != bool(options.objects):
        raise RemediesError("--owner-label and --objects go together")
    if options.output is not None and options.json:
        raise RemediesError("--output writes files, and --json prints: use one of them")
    if options.output is None:
        return
    folder = Path(options.output)
    if folder.exists() and not folder.is_dir():
        raise RemediesError(f"cannot write to {folder}: it is a file, not a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise RemediesError(
            f"{folder} is not empty: name a new folder, so that no old patch stays among the new"
        )


def show(options: argparse.Namespace, document: Mapping[str, Any]) -> None:
    """RemediesError, PlanError, OwnersError."""
    from gotax_collector.remedies.folder import Choice, one_format
    from gotax_collector.remedies.owners import Owners, parse_owners
    from gotax_collector.remedies.plan import plan
    from gotax_collector.remedies.policies import Match
    from gotax_collector.remedies.summary import summary

    owners = Owners()
    if options.owner_label:
        owners = parse_owners(options.owner_label, _read(options.objects))
    made = plan(document, owners, options.all)
    choice = Choice(Match(options.match), options.admission_api)
    if options.output is not None:
        _write(Path(options.output), made, choice)
    if options.format == "text":
        print(summary(made, options.all))
    else:
        sys.stdout.write(one_format(made, options.format, choice))


def _write(folder: Path, made: Any, choice: Any) -> None:
    from gotax_collector.remedies.folder import files

    count = 0
    try:
        for name, text in files(made, choice):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="") as file:
                file.write(text)
            count += 1
    except OSError as error:
        raise RemediesError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    print(f"{folder}: {count} files", file=sys.stderr)


def _read(name: str) -> str:
    try:
        if name == "-":
            return sys.stdin.read(_OBJECTS_BYTES_MAX)
        with open(name, encoding="utf-8") as file:
            return file.read(_OBJECTS_BYTES_MAX)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RemediesError(f"cannot read --objects {name}: {reason}") from error
