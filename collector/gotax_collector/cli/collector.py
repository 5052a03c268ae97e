"""The command line of ``gotax collector``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from gotax.wire.addresses import joined

from gotax_collector.cli.credentials import store_password
from gotax_collector.cli.logs import Logfmt
from gotax_collector.cli.options import is_loopback, parser
from gotax_collector.errors import CollectorError
from gotax_collector.ingest.limits import Limits
from gotax_collector.query.questions import Questions
from gotax_collector.security.certificates import CertificateFiles, Certificates
from gotax_collector.security.tokens import Tokens
from gotax_collector.storage.clickhouse import (
    Connections,
    parse_address,
)
from gotax_collector.storage.schema import Retention
from gotax_collector.storage.store import ClickHouseStore, prepare

if TYPE_CHECKING:
    from gotax_collector.http.authentication import Guard
    from gotax_collector.http.site import Site
    from gotax_collector.ingest.intake import Intake
    from gotax_collector.ingest.receiver import Receiver

log = logging.getLogger(__name__)

EXIT_FINE = 0


class CommandError(CollectorError):
    """An error of the user. The text is one sentence with the remedy."""


def run(arguments: Sequence[str]) -> int:
    """Run ``gotax collector ARGUMENTS`` until a signal. Returns the exit code. CollectorError."""
    options = parser().parse_args(arguments)
    _check_security(options)
    # Imported late: --help and wrong options do not need their libraries.
    from gotax_collector.http.application import Served
    from gotax_collector.http.site import Site, SiteOptions
    from gotax_collector.http.tls import WebCertificate, WebTls
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
    tls = None
    if options.http_cert:
        tls = WebTls(WebCertificate(options.http_cert, options.http_key))
    tokens = Tokens(options.token_file, time.time) if options.token_file else None
    guard = _site_guard(options)
    store = _open_store(options)
    sites: list[Site] = []

    def ready(port: int, receiver: Receiver, intake: Intake) -> None:
        exposition = Exposition(receiver, intake, certificates, version("gotax"))
        served = Served(
            Questions(store.connections),
            exposition.text,
            exposition.store_failing_s,
            guard,
            tuple(options.http_host),
        )
        places = [("http", options.http, SiteOptions(tls))]
        if options.probes:
            places.append(("probes", options.probes, SiteOptions(is_of_probes=True)))
        for name, place, how in places:
            try:
                sites.append(Site(place, served, how))
            except OSError as error:
                raise CommandError(
                    f"cannot listen on {joined(*place)}: {error.strerror} (change --{name})"
                ) from error
            exposition.add(name, sites[-1].relay)
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

    def check(authorization: str) -> None:
        tokens.check(authorization, "")

    return check


def _check_security(options: argparse.Namespace) -> None:
    if bool(options.cert) != bool(options.key):
        raise CommandError("--cert and --key must be given together")
    if options.plaintext and (options.cert or options.client_ca):
        raise CommandError("--plaintext cannot be combined with certificates")
    if options.client_ca and not options.cert:
        raise CommandError("--client-ca needs --cert and --key")
    if bool(options.http_cert) != bool(options.http_key):
        raise CommandError("--http-cert and --http-key must be given together")
    is_local = is_loopback(options.listen[0])
    if not (options.cert or options.plaintext) and (options.token_file or not is_local):
        raise CommandError(
            "agents of other machines need TLS (--cert, --key), or --plaintext behind a TLS proxy"
        )
    if not (is_local or options.token_file or options.client_ca or options.insecure_agents):
        raise CommandError(
            "agents of other machines need a token (--token-file) or a certificate (--client-ca);"
            " --insecure-agents accepts everyone who reaches the port"
        )
    if not (is_loopback(options.http[0]) or options.http_token_file or options.insecure_http):
        raise CommandError(
            "readers of other machines need a token (--http-token-file);"
            " --insecure-http lets everyone who reaches the port read the web page"
        )


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
        address = parse_address(
            options.store, options.store_memory_bytes, store_password(options.store_password_file)
        )
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
