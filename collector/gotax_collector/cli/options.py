"""The options of ``gotax collector``. Every number has one form."""

from __future__ import annotations

import argparse
import ipaddress
import re
import socket

from gotax.usage import Parser
from gotax.wire.addresses import AddressError, parse_listen

from gotax_collector.ingest.limits import Limits
from gotax_collector.storage.clickhouse import MEMORY_BYTES, MEMORY_BYTES_MIN
from gotax_collector.storage.schema import Retention

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


def parser() -> argparse.ArgumentParser:
    usual = Limits()
    made = Parser(
        prog="gotax collector",
        description="Receive reports from many agents and store them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--listen",
        type=address_option,
        default=("127.0.0.1", 9746),
        metavar="HOST:PORT",
        help="gRPC for agents; [IPV6]:PORT, or :PORT for all addresses (127.0.0.1:9746)",
    )
    made.add_argument(
        "--http",
        type=address_option,
        default=("127.0.0.1", 9747),
        metavar="HOST:PORT",
        help="web page, JSON API, /metrics, /healthz and /readyz (127.0.0.1:9747)",
    )
    made.add_argument(
        "--probes",
        type=address_option,
        metavar="HOST:PORT",
        help="also serve /healthz, /readyz and /metrics here, apart from pages",
    )
    made.add_argument(
        "--store",
        default="/var/lib/gotax",
        metavar="FOLDER|URL",
        help="store reports in this folder or ClickHouse server (/var/lib/gotax)",
    )
    made.add_argument(
        "--store-password-file",
        metavar="FILE",
        help="password of a ClickHouse server (or $GOTAX_STORE_PASSWORD)",
    )
    made.add_argument(
        "--journal",
        default="/var/lib/gotax",
        metavar="FOLDER",
        help="with a server: folder for batches in transit (/var/lib/gotax)",
    )
    made.add_argument(
        "--name", default=socket.gethostname(), help="name of this replica (host name)"
    )
    made.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")
    made.add_argument(
        "--drain-seconds",
        type=_drain,
        default=10.0,
        metavar="S",
        help="seconds to store waiting reports after SIGTERM (10)",
    )
    security = made.add_argument_group("security (changed files are reloaded)")
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
    security.add_argument("--http-cert", metavar="FILE", help="TLS for the web page: chain in PEM")
    security.add_argument("--http-key", metavar="FILE", help="its key in PEM")
    security.add_argument(
        "--http-host",
        action="append",
        default=[],
        metavar="NAME",
        help="without tokens the web page answers only to addresses, localhost and these names",
    )
    security.add_argument(
        "--insecure-agents",
        action="store_true",
        help="accept agents of other machines without a token or a certificate",
    )
    security.add_argument(
        "--insecure-http",
        action="store_true",
        help="let other machines read web page and JSON API without a token",
    )
    security.add_argument(
        "--plaintext",
        action="store_true",
        help="no TLS: for agents on this machine, or behind a proxy",
    )
    keeping = made.add_argument_group("retention")
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
    limits = made.add_argument_group("limits")
    limits.add_argument(
        "--max-agents",
        type=_count,
        default=usual.streams,
        metavar="N",
        help=f"agents at a time ({usual.streams})",
    )
    limits.add_argument(
        "--max-reports-per-second",
        type=_rate,
        default=usual.reports_per_s,
        metavar="N",
        help=f"average of one agent ({usual.reports_per_s:g})",
    )
    limits.add_argument(
        "--max-bytes-per-second",
        type=_rate,
        default=usual.bytes_per_s,
        metavar="N",
        help=f"average of one agent ({usual.bytes_per_s:g})",
    )
    limits.add_argument(
        "--max-waiting-bytes",
        type=_count,
        default=usual.waiting_bytes,
        metavar="N",
        help=f"memory of reports that wait for the store ({usual.waiting_bytes})",
    )
    limits.add_argument(
        "--max-dictionary-bytes",
        type=_count,
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
    return made


def address_option(text: str) -> tuple[str, int]:
    try:
        return parse_listen(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _days(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= DAYS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to {DAYS_MAX}")
    return int(text)


def _memory(text: str) -> int:
    if not re.fullmatch("[0-9]{1,15}", text) or int(text) < MEMORY_BYTES_MIN:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {MEMORY_BYTES_MIN} or more")
    return int(text)


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,15}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _rate(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", text) or float(text) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return float(text)


def _drain(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,9})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return float(text)


def _batch(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= BATCH_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to {BATCH_S_MAX}")
    return seconds
