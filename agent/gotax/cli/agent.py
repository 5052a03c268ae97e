"""``gotax agent``: the flags and the set-up of the daemon."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from typing import TYPE_CHECKING, Any

from gotax.cli import arguments
from gotax.cli.command import add_command
from gotax.cli.configuration import add_configuration, written
from gotax.cli.logs import Lines
from gotax.cli.options import (
    add_frequency,
    add_names,
    add_roots,
    add_settling,
    add_thresholds,
    names_of,
    node_name_of,
    recipes_of,
    thresholds_of,
)
from gotax.cli.output import EXIT_FINE
from gotax.cli.stopping import stop_on_signals
from gotax.config import Detail, Roots
from gotax.errors import UserError
from gotax.exporters import Exporter
from gotax.exporters.backends import KINDS, Kind, open_delivery
from gotax.exporters.credentials import Credentials
from gotax.exporters.endpoint import Endpoint, parse_endpoint
from gotax.extras import needed_by
from gotax.reader.server import ForkServer

if TYPE_CHECKING:
    from gotax.exporters.backends.delivery import Delivery


def add(commands: Any) -> None:
    agent = add_command(
        commands, "agent", run, "run the daemon that samples continuously and serves /metrics"
    )
    add_frequency(agent, default=19)
    add_roots(agent)
    add_names(agent)
    add_thresholds(agent)
    agent.add_argument(
        "-i", "--interval", type=arguments.seconds, default=15.0, help="seconds per window (15)"
    )
    add_settling(agent)
    agent.add_argument(
        "--listen",
        type=arguments.address,
        default=("", 9745),
        metavar="HOST:PORT",
        help="address of /metrics; [IPV6]:PORT for IPv6, :PORT for every address (:9745)",
    )
    agent.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")
    _add_exposition(agent)
    agent.add_argument(
        "--events",
        action="store_true",
        help="create a Kubernetes Event when a warning about a workload begins or ends; needs"
        " --node and permissions (docs/kubernetes.md)",
    )
    _add_stream(agent)
    for kind in KINDS:
        _add_backend(agent, kind)
    add_configuration(agent)


def run(options: argparse.Namespace) -> int:
    if options.print_config:
        _require_sense(options)
        print(written(options), end="")
        return EXIT_FINE
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=options.log_level.upper(), handlers=[handler])
    if options.log_level == "info":
        logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every watch of pods
    _require_sense(options)
    with ForkServer() as server:  # before anything has a thread, and before numpy is loaded
        return _run(options, server)


def _run(options: argparse.Namespace, server: ForkServer) -> int:
    from gotax import daemon, httpserver
    from gotax.exporters.prometheus import Exposition
    from gotax.session import Plan

    sent_to = deliveries(options)
    recipes = recipes_of(options)
    plan = Plan(
        hz=options.hz,
        drain_s=options.interval,
        roots=Roots(options.proc, options.sys),
        thresholds=thresholds_of(options),
        host=node_name_of(options),
        names=names_of(options),
        # Profiles need lines and kernel frames; metrics do not.
        detail=Detail(kernel_frames=True, lines=True)
        if sent_to
        else Detail(names=bool(options.collector)),
        server=server,
        recipes=recipes,
        by_turns=True,
    )
    further = [*([_stream(options)] if options.collector else []), *sent_to]
    further += [_events(options)] if options.events else []
    exposition = Exposition(frozenset(options.drop_label), options.max_series)
    endpoint = httpserver.Endpoint(options.listen, exposition)
    daemon.run(plan, options.interval, endpoint, stop_on_signals(), further)
    return EXIT_FINE


def _add_exposition(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("/metrics (docs/metrics.md)")
    group.add_argument(
        "--drop-label",
        action="append",
        default=[],
        choices=("namespace", "pod", "container", "workload", "id"),
        help="omit this label of containers and add up series that become equal (repeatable)",
    )
    group.add_argument(
        "--max-series",
        type=arguments.series,
        default=40_000,
        metavar="N",
        help="maximum number of container series; the CPU time of further containers is added up in"
        " one series (40000)",
    )


def _add_stream(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("stream to a collector (docs/collector.md)")
    group.add_argument(
        "--collector",
        metavar="HOST:PORT",
        type=arguments.destination,
        help="send every window to this collector",
    )
    group.add_argument(
        "--collector-name",
        metavar="NAME",
        type=arguments.node_name,
        help="name of this agent at the collector, unique in the fleet (node name, or host name)",
    )
    files = {
        "ca": "CA certificates for the collector's certificate, PEM (those of the system)",
        "cert": "client certificate of this agent, PEM",
        "key": "private key of that certificate, PEM",
        "token-file": "file with a bearer token",
    }
    for name, text in files.items():
        group.add_argument(f"--collector-{name}", metavar="FILE", default="", help=text)
    group.add_argument(
        "--collector-plaintext",
        action="store_true",
        help="do not use TLS: for a collector on this machine or in a service mesh",
    )
    group.add_argument(
        "--spool-dir",
        metavar="FOLDER",
        default="",
        help="folder for windows that the collector has not stored yet; without it they wait in"
        " memory, at most 4 MB",
    )
    group.add_argument(
        "--spool-max-bytes",
        metavar="N",
        type=arguments.byte_count,
        default=256 << 20,
        help="maximum size of that folder in bytes (268435456)",
    )
    group.add_argument(
        "--spool-max-age",
        metavar="S",
        type=arguments.age,
        default=86_400.0,
        help="age in seconds after which a waiting window is dropped (86400)",
    )


def _add_backend(command: argparse.ArgumentParser, kind: Kind) -> None:
    group = command.add_argument_group(f"{kind.title} (docs/backends.md)")

    def add(name: str, what: str, **how: Any) -> None:
        group.add_argument(f"--{kind.name}-{name}", help=what, **how)

    add(
        "endpoint",
        f"http://HOST[:{kind.port}], or https:// for TLS; without it nothing is sent",
        metavar="URL",
    )
    add(
        "header",
        "header of every request (repeatable); for secrets use the configuration file",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=arguments.header,
    )
    add("token-file", "file with a bearer token", metavar="FILE", default="")
    add(
        "user",
        "user name for basic authentication; the token is the password",
        metavar="NAME",
        default="",
    )
    add("ca", "CA certificates, instead of those of the system", metavar="FILE", default="")
    add("cert", "client certificate", metavar="FILE", default="")
    add("key", "private key of the client certificate", metavar="FILE", default="")


def _require_sense(options: argparse.Namespace) -> None:
    """Raises UserError for settings that contradict each other."""
    endpoints(options)
    if options.events and not node_name_of(options):
        raise UserError("--events needs --node, the name of this node")
    if not options.collector and (useless := _stream_options(options)):
        raise UserError(f"{useless[0]} needs --collector")


def _stream_options(options: argparse.Namespace) -> list[str]:
    """The given options that have no effect without a collector."""
    names = [name for name in vars(options) if name.startswith(("collector_", "spool_dir"))]
    return [options.sources[name].spelled for name in names if getattr(options, name)]


def _stream(options: argparse.Namespace) -> Exporter:
    """Imports gRPC only here, because it takes about 20 MB of memory."""
    with needed_by("--collector"):
        from gotax.exporters.stream.exporter import StreamExporter
        from gotax.exporters.stream.sender import AgentIdentity
        from gotax.exporters.stream.spool import Bounds, Spool

    endpoint = _collector(options)
    spool = Spool(options.spool_dir, Bounds(options.spool_max_bytes, options.spool_max_age))
    node = options.collector_name or node_name_of(options) or socket.gethostname()
    return StreamExporter(endpoint, AgentIdentity(node, node), spool)


def _events(options: argparse.Namespace) -> Exporter:
    with needed_by("--events", "kubernetes"):
        from gotax.kubernetes import api
        from gotax.kubernetes.events import Events
    from gotax.exporters.events.exporter import EventsExporter, RefusedError

    return EventsExporter(Events(api.connect, RefusedError), node_name_of(options))


def _collector(options: argparse.Namespace) -> Endpoint:
    credentials = Credentials(
        ca=options.collector_ca,
        certificate=options.collector_cert,
        key=options.collector_key,
        token_file=options.collector_token_file,
    )
    if credentials.is_half:
        raise UserError("--collector-cert and --collector-key go together")
    if options.collector_plaintext and credentials.tls_files:
        raise UserError("--collector-plaintext has no use for certificates")
    host, port = options.collector
    return Endpoint(host, port, not options.collector_plaintext, credentials=credentials)


def deliveries(options: argparse.Namespace) -> list[Delivery]:
    return [open_delivery(kind, endpoint) for kind, endpoint in endpoints(options)]


def endpoints(options: argparse.Namespace) -> list[tuple[Kind, Endpoint]]:
    found = []
    for kind in KINDS:
        given = {
            name.removeprefix(f"{kind.name}_"): value
            for name, value in vars(options).items()
            if name.startswith(f"{kind.name}_")
        }
        if given["endpoint"] is None:
            if useless := [name for name, value in given.items() if value]:
                spelled = options.sources[f"{kind.name}_{useless[0]}"].spelled
                raise UserError(f"{spelled} needs --{kind.name}-endpoint")
            continue
        credentials = Credentials(
            ca=given["ca"],
            certificate=given["cert"],
            key=given["key"],
            token_file=given["token_file"],
            user=given["user"],
            headers=tuple(given["header"]),
        )
        try:
            endpoint = parse_endpoint(given["endpoint"], kind.port, credentials)
        except UserError as error:
            spelled = options.sources[f"{kind.name}_endpoint"].spelled
            raise UserError(f"{spelled}: {error}") from error
        found.append((kind, endpoint))
    return found
