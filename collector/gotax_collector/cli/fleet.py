"""``gotax fleet``: asks a running collector, or a store that no other process has open."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol

from gotax.usage import Parser
from gotax.wire.addresses import AddressError, Form, parse_url

from gotax_collector.cli import remedies, tables
from gotax_collector.cli.credentials import store_password
from gotax_collector.errors import CollectorError
from gotax_collector.http.api import Api
from gotax_collector.http.parameters import SORTS, Parameters
from gotax_collector.query.database import ANSWER_MAX_S, WAIT_MAX_S
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import FIELDS, parse_selection
from gotax_collector.storage.clickhouse import Connections, parse_address
from gotax_collector.storage.store import check

COLLECTOR = "http://127.0.0.1:9747"
_ANSWER_BYTES_MAX = 256 << 20
_FORM = Form(COLLECTOR, {"http": 80, "https": 443})
_PAGES, _FOLDED = (".html", ".htm"), (".folded", ".txt")

_SELECTIONS = f"""\
a selection has any number of terms; all of them must match:
  gateway           a plain word: workloads with it in their name
  FIELD=VALUE       {", ".join(FIELDS[:5])},
                    {", ".join(FIELDS[5:])}
  FIELD!=VALUE      anything else
  workload=web*     * is any text; web,api are alternatives; "a,b" in double quotes is one value
  gomaxprocs=16..   numbers: 16, 16.., ..8, 2..16
  since=7d until=1d 90m, 24h, 7d, 2w, or 2026-11-25T09:00; the default is the last day
"""
_EPILOG = f"""\
{_SELECTIONS}
examples:
  gotax fleet top since=7d --price-per-core-hour 0.04
  gotax fleet compare web since=7d
  gotax fleet changes namespace=shop since=14d
  gotax fleet flamegraph workload=web gomaxprocs=64.. -o web.html
  gotax fleet diff 'workload=web gomaxprocs=4' 'workload=web gomaxprocs=192'
  gotax fleet remedies -o remedies
"""


class FleetError(CollectorError):
    """An error of the user. The text is one sentence with the remedy."""


class Source(Protocol):
    """Answers queries."""

    def answer(self, name: str, parameters: Parameters) -> dict[str, Any]:
        """A document of the API."""

    def text(self, name: str, parameters: Parameters) -> str:
        """``flamegraph.html`` or ``flamegraph.folded``."""


class Remote:
    """A collector by its URL."""

    def __init__(self, url: str, token: str = "") -> None:
        self._token = token
        try:
            self._url = str(parse_url(url, _FORM)).rstrip("/")
        except AddressError as error:
            raise FleetError(f"--collector (or $GOTAX_COLLECTOR): {error}") from error

    def answer(self, name: str, parameters: Parameters) -> dict[str, Any]:
        try:
            found = json.loads(self._get(f"/api/v1/{name}", parameters))
        except ValueError as error:
            raise FleetError(f"{self._url} does not answer as a gotax collector does") from error
        return dict(found)

    def text(self, name: str, parameters: Parameters) -> str:
        return self._get(f"/{name}", parameters).decode("utf-8", "replace")

    def _get(self, path: str, parameters: Parameters) -> bytes:
        query = urllib.parse.urlencode(dict(parameters), doseq=True)
        request = urllib.request.Request(f"{self._url}{path}?{query}")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_MAX_S + 2 * WAIT_MAX_S) as response:
                return bytes(response.read(_ANSWER_BYTES_MAX))
        except urllib.error.HTTPError as error:
            raise FleetError(_complaint(error, self._url)) from error
        except (HTTPException, OSError, ValueError) as error:  # ValueError: an invalid proxy URL
            reason = getattr(error, "reason", error)
            raise FleetError(
                f"no collector answers at {self._url} ({reason}):"
                " set it with --collector URL, or query its store with --store"
            ) from error


def _complaint(error: urllib.error.HTTPError, url: str) -> str:
    try:
        text = str(json.loads(error.read(65536))["error"])
    except (ValueError, KeyError, TypeError):
        text = f"{url} answers {error.code} {error.reason}"
    return tables.printable(text, 500)


class Local:
    """A store that this process opens."""

    def __init__(self, connections: Connections) -> None:
        self._api = Api(Questions(connections))

    def answer(self, name: str, parameters: Parameters) -> dict[str, Any]:
        return self._api.answer(name, parameters)

    def text(self, name: str, parameters: Parameters) -> str:
        from gotax_collector.http.drawing import flamegraph_page

        if name == "flamegraph.folded":
            return self._api.folded(parameters)
        return flamegraph_page(self._api, parameters)


def run(arguments: Sequence[str]) -> int:
    """Run ``gotax fleet ARGUMENTS``. FleetError, SelectionError, and errors of the store."""
    made = parser()
    options = made.parse_args(arguments)
    if not hasattr(options, "ask"):
        made.print_help()
        return 2
    if options.store is None:
        return int(options.ask(options, Remote(options.collector, _token(options))))
    try:
        address = parse_address(options.store, password=store_password(options.store_password_file))
    except ValueError as error:
        raise FleetError(f"--store: {error}") from error
    if address.folder is not None and not (address.folder / "clickhouse").is_dir():
        raise FleetError(f"there is no store in {address.folder}: `gotax collector` makes one")
    with closing(Connections(address)) as connections:
        check(connections)
        return int(options.ask(options, Local(connections)))


def _token(options: argparse.Namespace) -> str:
    if options.token_file is None:
        return ""
    try:
        with open(options.token_file) as file:
            return file.readline().split()[0]
    except (OSError, IndexError) as error:
        raise FleetError(f"no token in {options.token_file}: {error}") from error


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="gotax fleet",
        description="Show how much CPU the containers of a fleet spend on the Go runtime.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(title="commands", metavar="COMMAND")

    top = _question(commands, "top", _top, "workloads whose Go runtime uses most CPU")
    _add_selection(top)
    _add_limit(top, 30)
    top.add_argument("-s", "--sort", choices=SORTS, default=SORTS[0], help=f"({SORTS[0]})")
    top.add_argument(
        "--price-per-core-hour", type=float, metavar="P", help="also show the cost per month"
    )

    compare = _question(
        commands, "compare", _compare, "one workload at several GOMAXPROCS, or on several nodes"
    )
    compare.add_argument("workload", metavar="WORKLOAD", help="its name, or Deployment/NAME")
    _add_selection(compare)
    _add_limit(compare, 20)
    compare.add_argument(
        "--by", choices=Questions.BY, default=Questions.BY[0], help="group containers by this"
    )

    changes = _question(
        commands,
        "changes",
        _changes,
        "before and after a change of GOMAXPROCS, CPU limit, Go version or image",
    )
    _add_selection(changes)
    _add_limit(changes, 50)
    changes.add_argument(
        "--throughput",
        type=float,
        nargs=2,
        metavar=("BEFORE", "AFTER"),
        help="units of work per second of the selected workload, to show CPU per unit",
    )

    flamegraph = _question(
        commands,
        "flamegraph",
        _flamegraph,
        "the CPU time of a selection as a page or as folded stacks",
    )
    _add_selection(flamegraph)
    flamegraph.add_argument(
        "-o",
        "--output",
        default="-",
        metavar="FILE",
        help="a page for .html, folded stacks for .folded or .txt; standard output for - (-)",
    )

    functions = _question(commands, "functions", _functions, "the functions that use most CPU")
    _add_selection(functions)
    _add_limit(functions, 50)

    diff = _question(commands, "diff", _diff, "functions of two selections side by side")
    diff.add_argument("a", metavar="A", help="a selection as one quoted argument")
    diff.add_argument("b", metavar="B", help="the other selection")
    _add_limit(diff, 50)
    diff.add_argument(
        "-o", "--output", metavar="FILE.html", help="write a flame graph of both instead"
    )

    remedy = _question(
        commands, "remedies", _remedies, "what to change, by owner, as patches and policies"
    )
    _add_selection(remedy)
    remedies.add_options(remedy, _SELECTIONS)
    return made


def _question(
    commands: Any, name: str, ask: Callable[[argparse.Namespace, Source], int], summary: str
) -> argparse.ArgumentParser:
    command: Parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(ask=ask, parser=command)
    command.add_argument("--json", action="store_true", help="print JSON (docs/fleet.md)")
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--collector",
        default=os.environ.get("GOTAX_COLLECTOR", COLLECTOR),
        metavar="URL",
        help=f"the collector to ask ($GOTAX_COLLECTOR, or {COLLECTOR})",
    )
    where.add_argument(
        "--store",
        metavar="FOLDER|URL",
        help="query a store directly; a folder only if no collector runs",
    )
    command.add_argument(
        "--store-password-file",
        metavar="FILE",
        help="password of a ClickHouse server (or $GOTAX_STORE_PASSWORD)",
    )
    command.add_argument(
        "--token-file", metavar="FILE", help="token for a collector that requires one"
    )
    return command


def _add_selection(command: argparse.ArgumentParser) -> None:
    command.add_argument("terms", nargs="*", metavar="TERM", help="see below")


def _add_limit(command: argparse.ArgumentParser, usual: int) -> None:
    command.add_argument(
        "-n",
        "--limit",
        type=int,
        default=usual,
        metavar="N",
        help=f"maximum number of rows ({usual})",
    )


def _parameters(options: argparse.Namespace, **more: object) -> dict[str, list[str]]:
    """Check the terms here, before the collector is asked."""
    parse_selection(options.terms, int(time.time()))
    given = {name: [str(value)] for name, value in more.items() if value is not None}
    return {"q": list(options.terms), **given}


def _show(options: argparse.Namespace, found: dict[str, Any], text: Callable[[Any], str]) -> int:
    print(json.dumps(found, indent=2) if options.json else text(found))
    return 0


def _top(options: argparse.Namespace, source: Source) -> int:
    parameters = _parameters(
        options, limit=options.limit, sort=options.sort, price=options.price_per_core_hour
    )
    return _show(options, source.answer("top", parameters), tables.top)


def _compare(options: argparse.Namespace, source: Source) -> int:
    options.terms = [f"workload={options.workload}", *options.terms]
    parameters = _parameters(options, limit=options.limit, by=options.by)
    return _show(options, source.answer("compare", parameters), tables.compare)


def _changes(options: argparse.Namespace, source: Source) -> int:
    before, after = options.throughput or (None, None)
    parameters = _parameters(options, limit=options.limit, work_before=before, work_after=after)
    return _show(options, source.answer("changes", parameters), tables.changes)


def _functions(options: argparse.Namespace, source: Source) -> int:
    parameters = _parameters(options, limit=options.limit)
    return _show(options, source.answer("functions", parameters), tables.functions)


def _flamegraph(options: argparse.Namespace, source: Source) -> int:
    parameters = _parameters(options)
    if options.json:
        return _show(options, source.answer("profile", parameters), str)
    kind = "html" if _ending(options.output, (*_PAGES, *_FOLDED)) in _PAGES else "folded"
    _write(options.output, source.text(f"flamegraph.{kind}", parameters))
    return 0


def _diff(options: argparse.Namespace, source: Source) -> int:
    sides = [[options.a], [options.b]]
    for terms in sides:
        parse_selection(terms, int(time.time()))
    parameters = {"a": sides[0], "b": sides[1], "limit": [str(options.limit)]}
    if options.output:
        _ending(options.output, _PAGES)
        _write(options.output, source.text("flamegraph.html", parameters))
        return 0
    return _show(options, source.answer("diff", parameters), tables.diff)


def _remedies(options: argparse.Namespace, source: Source) -> int:
    remedies.check(options)
    found = source.answer("remedies", _parameters(options))
    if options.json:
        return _show(options, found, str)
    remedies.show(options, found)
    return 0


def _ending(output: str, known: Sequence[str]) -> str:
    """The ending of the file's name, or "". FleetError: not one of ``known``."""
    ending = "" if output == "-" else Path(output).suffix.lower()
    if ending and ending not in known:
        raise FleetError(f"cannot write {output}: the ending must be one of {', '.join(known)}")
    return ending


def _write(output: str, text: str) -> None:
    if output == "-":
        sys.stdout.write(text)
        return
    try:
        with open(output, "w") as file:
            file.write(text)
    except OSError as error:
        raise FleetError(f"cannot write {output}: {error.strerror}") from error
    print(f"{output}: {len(text.encode()):,} bytes", file=sys.stderr)
