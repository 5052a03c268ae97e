"""The command lines of the collector's package: ``gotax collector`` and ``gotax fleet``."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import socket
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from gotax_collector import fleet
from gotax_collector.certificates import CertificateError, CertificateFiles, Certificates
from gotax_collector.clickhouse import ConnectionError, Connections, QueryError, parse_address
from gotax_collector.exposition import Exposition
from gotax_collector.limits import Limits
from gotax_collector.logs import Logfmt
from gotax_collector.questions import Questions
from gotax_collector.received import StoreError
from gotax_collector.receiver import Identification
from gotax_collector.schema import Retention
from gotax_collector.selection import SelectionError
from gotax_collector.server import ListenError, Listening, Parts
from gotax_collector.server import run as run_server
from gotax_collector.site.application import Served, Site
from gotax_collector.site.entry import Guard
from gotax_collector.store import ClickHouseStore, SchemaError, prepare
from gotax_collector.tokens import TokenFileError, Tokens

log = logging.getLogger(__name__)

EXIT_FINE, EXIT_FAILED = 0, 2

_EPILOG = """\
examples:
  gotax collector --plaintext           try it: agents of this machine, a folder of this one
  gotax collector --listen 0.0.0.0:9746 --cert tls.crt --key tls.key --client-ca ca.crt
  gotax collector --listen 0.0.0.0:9746 --cert tls.crt --key tls.key --token-file tokens \\
      --store https://gotax@clickhouse:8443/gotax?cluster=main

A token file has a token a line, and optionally how long and for whom it is good:
  3f9c0e...  expires=2027-01-31T00:00:00Z  agent=node-*
"""


class CommandError(Exception):
    """The user can mend this. The text is one sentence with the remedy."""


_MENDABLE = (
    *(CommandError, CertificateError, ConnectionError, QueryError, ListenError),
    *(SchemaError, StoreError, TokenFileError, SelectionError, fleet.FleetError),
)


def run(name: str, arguments: Sequence[str]) -> int:
    """Run ``gotax NAME ARGUMENTS``; the exit code. SystemExit for --help and for wrong options."""
    commands = {"collector": _collector, "fleet": fleet.run}
    try:
        return commands[name](arguments)
    except _MENDABLE as error:
        print(f"gotax: {error}", file=sys.stderr)
        return EXIT_FAILED


def _collector(arguments: Sequence[str]) -> int:
    options = _collector_parser().parse_args(arguments)
    _check_security(options)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Logfmt())
    logging.basicConfig(level=options.log_level.upper(), handlers=[handler])
    certificates = None
    if options.cert:
        files = CertificateFiles(options.cert, options.key, options.client_ca or "")
        certificates = Certificates(files)
    tokens = Tokens(options.token_file, time.time) if options.token_file else None
    store = _open_store(options)
    sites: list[Site] = []

    def ready(port: int, exposition: Exposition) -> None:
        try:
            served = Served(
                Questions(store.connections),
                exposition.text,
                exposition.store_failing_s,
                _site_guard(options),
            )
            sites.append(Site(options.http, served))
        except OSError as error:
            host, http = options.http
            raise CommandError(
                f"cannot listen on {host}:{http}: {error.strerror} (--http takes another)"
            ) from error
        log.info(
            "collector ready",
            extra={
                "grpc_port": port,
                "http_port": sites[0].port,
                "store": str(store.connections.address),
                "tls": certificates is not None,
                "client_certificates": bool(options.client_ca),
                "tokens": tokens is not None,
            },
        )

    host, port = options.listen
    listening = Listening(f"{_bracketed(host)}:{port}", certificates, options.drain_seconds)
    parts = Parts(
        Identification(options.name, version("gotax")), store, _limits(options), tokens, ready
    )
    try:
        run_server(listening, parts)
    finally:
        for each in sites:
            each.close()
        store.close()
    log.info("collector ended")
    return EXIT_FINE


def _site_guard(options: argparse.Namespace) -> Guard | None:
    if not options.http_token_file:
        return None
    tokens = Tokens(options.http_token_file, time.time)
    return lambda authorization: tokens.check(authorization, "")


def _collector_parser() -> argparse.ArgumentParser:
    usual = Limits()
    parser = argparse.ArgumentParser(
        prog="gotax collector",
        description="Receive the streams of many agents and keep them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--listen",
        type=_address,
        default=("127.0.0.1", 9746),
        metavar="ADDRESS:PORT",
        help="for agents, gRPC (127.0.0.1:9746)",
    )
    parser.add_argument(
        "--http",
        type=_address,
        default=("127.0.0.1", 9747),
        metavar="ADDRESS:PORT",
        help="web page, JSON API, /metrics, /healthz and /readyz (127.0.0.1:9747)",
    )
    parser.add_argument(
        "--store",
        default="/var/lib/gotax",
        metavar="FOLDER|URL",
        help="where reports are kept: a folder, or a ClickHouse server (/var/lib/gotax)",
    )
    parser.add_argument(
        "--journal",
        default="/var/lib/gotax",
        metavar="FOLDER",
        help="with a server as store: where batches are noted before they are sent",
    )
    parser.add_argument("--name", default=socket.gethostname(), help="of this replica (host name)")
    parser.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="after SIGTERM, to store what has come (10)",
    )
    security = parser.add_argument_group("security (files are read anew when they change)")
    security.add_argument("--cert", metavar="FILE", help="certificate chain, PEM")
    security.add_argument("--key", metavar="FILE", help="its key, PEM")
    security.add_argument(
        "--client-ca", metavar="FILE", help="agents need a certificate of these authorities, PEM"
    )
    security.add_argument("--token-file", metavar="FILE", help="agents need one of these tokens")
    security.add_argument(
        "--http-token-file",
        metavar="FILE",
        help="the web page and the JSON API need one of these tokens (a browser: as password)",
    )
    security.add_argument(
        "--plaintext", action="store_true", help="no TLS: on this machine, or behind a proxy"
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-agents", type=int, default=usual.streams, metavar="N", help=f"({usual.streams})"
    )
    limits.add_argument(
        "--max-reports-per-second",
        type=float,
        default=usual.reports_per_s,
        metavar="N",
        help=f"of one agent, on average ({usual.reports_per_s:g})",
    )
    limits.add_argument(
        "--max-bytes-per-second",
        type=float,
        default=usual.bytes_per_s,
        metavar="N",
        help=f"of one agent, on average ({usual.bytes_per_s:g})",
    )
    limits.add_argument(
        "--max-waiting-bytes",
        type=int,
        default=usual.waiting_bytes,
        metavar="N",
        help=f"of reports that wait for the store ({usual.waiting_bytes})",
    )
    return parser


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535 or not host:
        raise argparse.ArgumentTypeError(f"{text!r} is not ADDRESS:PORT")
    return host.strip("[]"), int(port)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _check_security(options: argparse.Namespace) -> None:
    if bool(options.cert) != bool(options.key):
        raise CommandError("--cert and --key go together")
    if options.plaintext and (options.cert or options.client_ca):
        raise CommandError("--plaintext has no use for certificates")
    if options.client_ca and not options.cert:
        raise CommandError("--client-ca needs --cert and --key")
    if options.cert or options.plaintext:
        return
    if options.token_file or not _is_loopback(options.listen[0]):
        raise CommandError(
            "agents of other machines need TLS (--cert, --key), or --plaintext where a proxy has it"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _limits(options: argparse.Namespace) -> Limits:
    return Limits(
        streams=options.max_agents,
        reports_per_s=options.max_reports_per_second,
        bytes_per_s=options.max_bytes_per_second,
        waiting_bytes=options.max_waiting_bytes,
    )


def _open_store(options: argparse.Namespace) -> ClickHouseStore:
    try:
        address = parse_address(options.store)
    except ValueError as error:
        raise CommandError(str(error)) from error
    connections = Connections(address)
    try:
        prepare(connections, Retention())
        store = ClickHouseStore(connections, address.folder or Path(options.journal))
        store.recover()
    except BaseException:
        connections.close()
        raise
    return store
