"""The command line of ``gotax collector``."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from gotax.wire.addresses import AddressError, joined, parse_listen

from gotax_collector.cli.logs import Logfmt
from gotax_collector.errors import CollectorError
from gotax_collector.ingest.limits import Limits
from gotax_collector.query.questions import Questions
from gotax_collector.security.certificates import CertificateFiles, Certificates
from gotax_collector.security.tokens import Tokens
from gotax_collector.storage.clickhouse import (
    MEMORY_BYTES,
    MEMORY_BYTES_MIN,
    Connections,
    parse_address,
)
from gotax_collector.storage.schema import Retention
from gotax_collector.storage.store import ClickHouseStore, prepare

if TYPE_CHECKING:
    from gotax_collector.http.application import Site
    from gotax_collector.http.authentication import Guard
    from gotax_collector.ingest.intake import Intake
    from gotax_collector.ingest.receiver import Receiver

log = logging.getLogger(__name__)

EXIT_FINE = 0
DAYS_MAX = 3650
BATCH_S_MAX = 30

_EPILOG = """\
examples:
  gotax collector --plaintext           try it: agents and store on this machine
  gotax collector --listen :9746 --cert tls.crt --key tls.key --client-ca ca.crt
  gotax collector --listen :9746 --cert tls.crt --key tls.key --token-file tokens \\
      --store https://gotax@clickhouse:8443/gotax?cluster=main

A token file has one token per line, and optionally when it expires and which agents may use it:
  3f9c0e...  expires=2027-01-31T00:00:00Z  agent=node-*
"""


class CommandError(CollectorError):
    """An error of the user. The text is one sentence with the remedy."""


def run(arguments: Sequence[str]) -> int:
    """Run ``gotax collector ARGUMENTS`` until a signal. Returns the exit code. CollectorError."""
    options = _parser().parse_args(arguments)
    _check_security(options)
    # Imported late: --help and wrong options do not need their libraries.
    from gotax_collector.http.application import Served, Site
    from gotax_collector.ingest.receiver import Identification
    from gotax_collector.ingest.server import Listening, Parts
    from gotax_collector.ingest.server import run as run_server
    from gotax_collector.metrics import Exposition

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

    def ready(port: int, receiver: Receiver, intake: Intake) -> None:
        exposition = Exposition(receiver, intake, certificates, version("gotax"))
        try:
            served = Served(
                Questions(store.connections),
                exposition.text,
                exposition.store_failing_s,
                _site_guard(options),
            )
            sites.append(Site(options.http, served))
        except OSError as error:
            raise CommandError(
                f"cannot listen on {joined(*options.http)}: {error.strerror} (change --http)"
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

    listening = Listening(options.listen, certificates, options.drain_seconds)
    parts = Parts(
        Identification(options.name, version("gotax")), store, _limits(options), tokens, ready
    )
    try:
        is_stored = run_server(listening, parts)
    except BaseException:
        store.close()
        raise
    finally:
        for each in sites:
            each.close()
    if not is_stored:
        # An insert hangs, and a normal exit would wait for it. Exiting now loses nothing: its
        # reports are not acknowledged, and the journal has the batch.
        logging.shutdown()
        os._exit(EXIT_FINE)
    store.close()
    log.info("collector ended")
    return EXIT_FINE


def _site_guard(options: argparse.Namespace) -> Guard | None:
    if not options.http_token_file:
        return None
    tokens = Tokens(options.http_token_file, time.time)
    return lambda authorization: tokens.check(authorization, "")


def _parser() -> argparse.ArgumentParser:
    usual = Limits()
    parser = argparse.ArgumentParser(
        prog="gotax collector",
        description="Receive reports from many agents and store them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--listen",
        type=_address,
        default=("127.0.0.1", 9746),
        metavar="HOST:PORT",
        help="gRPC for agents; [IPV6]:PORT, or :PORT for all addresses (127.0.0.1:9746)",
    )
    parser.add_argument(
        "--http",
        type=_address,
        default=("127.0.0.1", 9747),
        metavar="HOST:PORT",
        help="web page, JSON API, /metrics, /healthz and /readyz (127.0.0.1:9747)",
    )
    parser.add_argument(
        "--store",
        default="/var/lib/gotax",
        metavar="FOLDER|URL",
        help="store reports in this folder or ClickHouse server (/var/lib/gotax)",
    )
    parser.add_argument(
        "--journal",
        default="/var/lib/gotax",
        metavar="FOLDER",
        help="with a server: folder for batches in transit (/var/lib/gotax)",
    )
    parser.add_argument(
        "--name", default=socket.gethostname(), help="name of this replica (host name)"
    )
    parser.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds to store waiting reports after SIGTERM (10)",
    )
    security = parser.add_argument_group("security (changed files are reloaded)")
    security.add_argument("--cert", metavar="FILE", help="certificate chain in PEM")
    security.add_argument("--key", metavar="FILE", help="its key in PEM")
    security.add_argument(
        "--client-ca",
        metavar="FILE",
        help="require of agents a certificate of these authorities",
    )
    security.add_argument(
        "--token-file", metavar="FILE", help="require of agents one of these tokens"
    )
    security.add_argument(
        "--http-token-file",
        metavar="FILE",
        help="require one of these tokens for web page and JSON API (browser: password)",
    )
    security.add_argument(
        "--plaintext",
        action="store_true",
        help="no TLS: for agents on this machine, or behind a proxy",
    )
    keeping = parser.add_argument_group("retention")
    kept = Retention()
    keeping.add_argument(
        "--keep-windows",
        type=_days,
        default=kept.windows_days,
        metavar="DAYS",
        help=f"keep windows with their samples for so many days ({kept.windows_days})",
    )
    keeping.add_argument(
        "--keep-hours",
        type=_days,
        default=kept.hours_days,
        metavar="DAYS",
        help=f"keep hourly sums for so many days ({kept.hours_days})",
    )
    keeping.add_argument(
        "--store-memory-bytes",
        type=_memory,
        default=MEMORY_BYTES,
        metavar="N",
        help=f"memory limit of the embedded engine ({MEMORY_BYTES})",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-agents",
        type=int,
        default=usual.streams,
        metavar="N",
        help=f"agents at a time ({usual.streams})",
    )
    limits.add_argument(
        "--max-reports-per-second",
        type=float,
        default=usual.reports_per_s,
        metavar="N",
        help=f"average of one agent ({usual.reports_per_s:g})",
    )
    limits.add_argument(
        "--max-bytes-per-second",
        type=float,
        default=usual.bytes_per_s,
        metavar="N",
        help=f"average of one agent ({usual.bytes_per_s:g})",
    )
    limits.add_argument(
        "--max-waiting-bytes",
        type=int,
        default=usual.waiting_bytes,
        metavar="N",
        help=f"memory of reports that wait for the store ({usual.waiting_bytes})",
    )
    limits.add_argument(
        "--max-dictionary-bytes",
        type=int,
        default=usual.dictionary_bytes,
        metavar="N",
        help="memory of the dictionaries of all agents; above it some agents reconnect"
        f" ({usual.dictionary_bytes})",
    )
    limits.add_argument(
        "--batch-seconds",
        type=_batch,
        default=usual.batch_s,
        metavar="S",
        help=f"how long a report waits at most for others of its batch ({usual.batch_s:g})",
    )
    return parser


def _address(text: str) -> tuple[str, int]:
    try:
        return parse_listen(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= DAYS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {DAYS_MAX}")
    return int(text)


def _memory(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:20]) < MEMORY_BYTES_MIN:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {MEMORY_BYTES_MIN} or more")
    return int(text)


def _batch(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= BATCH_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to {BATCH_S_MAX}")
    return seconds


def _check_security(options: argparse.Namespace) -> None:
    if bool(options.cert) != bool(options.key):
        raise CommandError("--cert and --key must be given together")
    if options.plaintext and (options.cert or options.client_ca):
        raise CommandError("--plaintext cannot be combined with certificates")
    if options.client_ca and not options.cert:
        raise CommandError("--client-ca needs --cert and --key")
    if options.cert or options.plaintext:
        return
    if options.token_file or not _is_loopback(options.listen[0]):
        raise CommandError(
            "agents of other machines need TLS (--cert, --key), or --plaintext behind a TLS proxy"
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
        dictionary_bytes=options.max_dictionary_bytes,
        batch_s=options.batch_seconds,
    )


def _open_store(options: argparse.Namespace) -> ClickHouseStore:
    try:
        address = parse_address(options.store, options.store_memory_bytes)
    except ValueError as error:
        raise CommandError(f"--store: {error}") from error
    connections = Connections(address)
    try:
        prepare(connections, Retention(options.keep_windows, options.keep_hours))
        store = ClickHouseStore(connections, address.folder or Path(options.journal))
        store.recover()
    except BaseException:
        connections.close()
        raise
    return store
