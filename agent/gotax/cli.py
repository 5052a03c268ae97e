"""The command line. Parses, prints, and turns errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import json
import logging
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from gotax import __version__
from gotax.config import Detail, Roots, Silence, Thresholds
from gotax.diagnosis.comparison import Subject
from gotax.diagnosis.silence import parse_silence
from gotax.errors import GotaxError, ParseError, UserError
from gotax.exporters import Exporter
from gotax.exporters.backends import KINDS, Kind, open_delivery
from gotax.exporters.delivery import Delivery
from gotax.exporters.endpoint import Identity, parse_endpoint, parse_header
from gotax.model import ContainerReport, Severity, Window, Work
from gotax.names import NOBODY, Names
from gotax.session import Plan, Scope, Session

if TYPE_CHECKING:
    from gotax.kubernetes.watch import PodWatch

EXIT_FINE, EXIT_FINDINGS, EXIT_FAILED = 0, 1, 2
_INTERACTIVE_DRAIN_S = 1.0
_PID_MAX = 1 << 22  # include/linux/threads.h
_CLEAR = "\x1b[H\x1b[J"
_ALTERNATE_SCREEN, _NORMAL_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_NO_GO = (
    "No Go process runs on this host."
    " Start one, or see gotax at work on the production story with `make demo`."
)

COLLECTOR_COMMANDS = {
    "collector": "receive the streams of many agents and keep them",
    "fleet": "ask a collector what a fleet's containers spend on the Go runtime",
}

EPILOG = """\
exit codes: 0 nothing found, 1 findings, 2 could not measure

examples:
  gotax check                     one verdict per Go container or service, after 15 s
  gotax top                       the same, live
  gotax explain 4f2a9c            the whole evidence for one container, PID, unit or program
  gotax record -d 30 -o cpu.pb.gz a profile for `go tool pprof`
  gotax compare before.json after.json  what a change saved, beside what was predicted
  gotax agent                     the daemon: /metrics, /healthz, /readyz on port 9745
  gotax collector                 receives from many agents, on port 9746
"""


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except UserError as error:
        print(f"gotax: {error}", file=sys.stderr)
        return error.exit_code
    except GotaxError as error:
        print(f"gotax: {error}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        _silence_output()  # the reader went away
        return EXIT_FINE
    except OSError as error:
        print(f"gotax: {error.strerror}: {error.filename or 'standard output'}", file=sys.stderr)
        _silence_output()
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130


def _run(arguments: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COLLECTOR_COMMANDS:
        return _run_of_collector(arguments)
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help()
        return EXIT_FAILED
    return int(options.run(options))


def _run_of_collector(arguments: Sequence[str]) -> int:
    """The collector is a package of its own, with its own options."""
    try:
        from gotax_collector import command
    except ModuleNotFoundError as error:
        raise UserError(
            f"`gotax {arguments[0]}` needs the collector (no {error.name}):"
            " pip install 'gotax[collector]'"
        ) from error
    return command.run(arguments[0], arguments[1:])


def _silence_output() -> None:
    """What is still buffered goes nowhere: the interpreter would try once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gotax",
        description="How much of a Go container's CPU is the Go runtime itself,"
        " and is it because GOMAXPROCS does not fit the CPU limit?",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gotax {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    check = _command(commands, "check", _check, "sample once and print a verdict per container")
    _add_sampling(check, seconds=15.0)
    _add_thresholds(check)
    check.add_argument("--json", action="store_true", help="the JSON of docs/json.md")

    top = _command(commands, "top", _top, "the same, live")
    _add_sampling(top)
    _add_thresholds(top)
    top.add_argument(
        "-i", "--interval", type=_seconds, default=3.0, help="seconds between redraws (3)"
    )
    top.add_argument(
        "-s",
        "--sort",
        choices=("cpu", "runtime", "throttled", "name"),
        default="cpu",
        help="sort key (cpu); the keys c, r, t and n change it, q quits",
    )
    _add_settling(top)
    top.add_argument("--once", action="store_true", help="print one table and end")
    top.add_argument("--json", action="store_true", help="one JSON document per line, for ever")

    explain = _command(commands, "explain", _explain, "all the evidence for one container")
    explain.add_argument(
        "target",
        nargs="?",
        help="container id or its beginning, NAMESPACE/POD, Deployment/NAME, unit, cgroup, program,"
        " module, or PID",
    )
    _add_sampling(explain, seconds=15.0)
    _add_thresholds(explain)
    explain.add_argument("--json", action="store_true", help="the JSON of docs/json.md")
    explain.add_argument(
        "--patch",
        action="store_true",
        help="print nothing but the patch, for `kubectl patch --patch-file /dev/stdin`",
    )

    record = _command(commands, "record", _record, "write a profile to a file")
    _add_sampling(record, seconds=30.0)
    record.add_argument(
        "-o", "--output", required=True, help="file to write, - for standard output"
    )
    record.add_argument(
        "-f",
        "--format",
        choices=("pprof", "folded", "json"),
        help="default: by the ending of the file (.pb.gz, .folded or .txt, .json), else pprof",
    )

    compare = _command(
        commands, "compare", _compare, "two recordings: what changed, and what it saved"
    )
    compare.add_argument("before", help="what `gotax record -o FILE.json` wrote before the change")
    compare.add_argument("after", help="and after it; `check --json` will do for either")
    compare.add_argument(
        "-c",
        "--container",
        action="append",
        default=[],
        metavar="NAME",
        help="only this one: name, id or its beginning, unit, cgroup, program; once for both"
        " recordings, or twice for one name each",
    )
    work = compare.add_argument_group("work done, for CPU per unit of it (all or none)")
    work.add_argument(
        "--work-before", type=_work, metavar="N", help="units of work in the first recording"
    )
    work.add_argument(
        "--work-after", type=_work, metavar="N", help="units of work in the second recording"
    )
    work.add_argument(
        "--throughput",
        type=_work,
        nargs=2,
        metavar=("BEFORE", "AFTER"),
        help="units of work a second, instead",
    )
    compare.add_argument("--json", action="store_true", help="the JSON of docs/json.md")

    addr2line = _command(
        commands, "addr2line", _addr2line, "functions, files and lines of addresses in a Go binary"
    )
    addr2line.add_argument("binary", help="file; hexadecimal addresses come on standard input")

    selftest = _command(commands, "selftest", _selftest, "what this node allows, and the remedies")
    _add_roots(selftest)
    selftest.add_argument("--json", action="store_true", help="the same as one JSON document")

    agent = _command(commands, "agent", _agent, "the daemon of the DaemonSet")
    _add_frequency(agent, default=19)
    _add_roots(agent)
    _add_names(agent)
    _add_thresholds(agent)
    agent.add_argument(
        "-i", "--interval", type=_seconds, default=15.0, help="seconds of one window (15)"
    )
    _add_settling(agent)
    agent.add_argument(
        "--listen", type=_address, default=("0.0.0.0", 9745), help="address:port (0.0.0.0:9745)"
    )
    agent.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")
    _add_exposition(agent)
    _add_stream(agent)
    for kind in KINDS:
        _add_backend(agent, kind)

    for name, summary in COLLECTOR_COMMANDS.items():
        commands.add_parser(name, help=summary)  # for the list: _run_of_collector parses
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + "."
    )
    command.set_defaults(run=run)
    return command


def _add_sampling(command: argparse.ArgumentParser, seconds: float | None = None) -> None:
    if seconds is not None:
        command.add_argument(
            "-d",
            "--duration",
            type=_seconds,
            default=seconds,
            help=f"seconds to sample ({seconds:g})",
        )
    _add_frequency(command, default=99)
    command.add_argument(
        "-p", "--pid", type=_pid, action="append", default=[], help="only this process (repeatable)"
    )
    command.add_argument(
        "-g",
        "--cgroup",
        action="append",
        default=[],
        help="only this cgroup and below (repeatable)",
    )
    _add_roots(command)
    _add_names(command)


def _add_frequency(command: argparse.ArgumentParser, default: int) -> None:
    command.add_argument(
        "--hz", type=_hz, default=default, help=f"samples per second and CPU, 1 to 999 ({default})"
    )


def _add_roots(command: argparse.ArgumentParser) -> None:
    command.add_argument("--proc", default="/proc", help="the host's /proc (/proc)")
    command.add_argument("--sys", default="/sys", help="the host's /sys (/sys)")


def _add_names(command: argparse.ArgumentParser) -> None:
    node = os.environ.get("NODE_NAME", "")
    group = command.add_argument_group("names of pods, from Kubernetes")
    group.add_argument(
        "--node",
        metavar="NAME",
        type=_node_name,
        help="name the containers of this node's pods, as the API server knows it"
        f" ($NODE_NAME: {node or 'not set'})",
    )
    group.add_argument(
        "--kubelet",
        metavar="URL",
        help="this node's kubelet, asked while the API server does not answer:"
        " https://NODE:10250, or http://NODE:10255 where that is open",
    )
    group.add_argument(
        "--kubelet-insecure",
        action="store_true",
        help="do not check the kubelet's certificate: many kubelets sign their own",
    )


def _add_exposition(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("/metrics (docs/metrics.md)")
    group.add_argument(
        "--drop-label",
        action="append",
        default=[],
        choices=("namespace", "pod", "container", "workload", "id"),
        help="leave a label of containers out, and add up what becomes one series (repeatable)",
    )
    group.add_argument(
        "--max-series",
        type=_series,
        default=40_000,
        metavar="N",
        help="bound on the series of containers; the CPU time of those beyond it is one series"
        " (40000)",
    )


def _add_thresholds(command: argparse.ArgumentParser) -> None:
    usual = Thresholds()
    group = command.add_argument_group("findings (docs/findings.md explains each)")
    for name, kind, text in _THRESHOLDS:
        default = getattr(usual, name)
        flag = "--" + name.replace("_", "-")
        group.add_argument(
            flag,
            type=kind,
            default=default,
            metavar=kind.__name__.strip("_").upper() if kind is not _pid else "N",
            help=f"{text} ({default:g})",
        )
    group.add_argument(
        "--silence",
        type=_silence,
        action="append",
        default=[],
        metavar="CODE[/CAUSE][@NAME]",
        help="do not tell this finding; only with this cause; only of containers with a name like"
        " NAME, where * and ? stand for others (repeatable)",
    )


def _add_settling(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--settle",
        type=_seconds,
        default=Thresholds().settle_s,
        help="seconds that a changed GOMAXPROCS has to hold before the CPU time is compared with"
        f" that of before ({Thresholds().settle_s:g})",
    )


def _add_stream(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("stream to a collector (docs/collector.md)")
    group.add_argument(
        "--collector", metavar="HOST:PORT", type=_collector_address, help="send every window there"
    )
    group.add_argument(
        "--collector-name",
        metavar="NAME",
        type=_node_name,
        help="what this agent is called there, unique in the fleet (the name of the node, or host)",
    )
    files = {
        "ca": "authorities of the collector's certificate, PEM (the system's)",
        "cert": "certificate of this agent, PEM",
        "key": "its key, PEM",
        "token-file": "a bearer token",
    }
    for name, text in files.items():
        group.add_argument(f"--collector-{name}", metavar="FILE", default="", help=text)
    group.add_argument(
        "--collector-plaintext", action="store_true", help="no TLS: on this machine, or in a mesh"
    )
    group.add_argument(
        "--spool-dir",
        metavar="FOLDER",
        default="",
        help="where windows wait that no collector has yet; without it in memory, 4 MB of them",
    )
    group.add_argument(
        "--spool-max-bytes", metavar="N", type=_bytes, default=256 << 20, help="(268435456)"
    )
    group.add_argument(
        "--spool-max-age",
        metavar="S",
        type=_age,
        default=86_400.0,
        help="seconds after which a window is not worth sending (86400)",
    )


def _add_backend(command: argparse.ArgumentParser, kind: Kind) -> None:
    group = command.add_argument_group(f"{kind.title} (docs/backends.md)")

    def add(name: str, what: str, **how: Any) -> None:
        group.add_argument(f"--{kind.name}-{name}", help=what, **how)

    add(
        "endpoint",
        f"http://HOST[:{kind.port}], or https:// for TLS; nothing is sent without it",
        metavar="URL",
    )
    add(
        "header",
        "sent with every call (repeatable); secrets belong into a file",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_header,
    )
    add("token-file", "holds a bearer token", metavar="FILE", default="")
    add("user", "basic authentication, with the token as password", metavar="NAME", default="")
    add("ca", "certificates to trust, instead of the system's", metavar="FILE", default="")
    add("cert", "our own certificate", metavar="FILE", default="")
    add("key", "and its key", metavar="FILE", default="")


def _header(text: str) -> tuple[str, str]:
    try:
        return parse_header(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _number(text: str, kind: type, low: float, high: float, what: str) -> Any:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {low:.10g} to {high:.10g}")
    return value


def _seconds(text: str) -> float:
    return float(_number(text, float, 0.1, 86400, "a number of seconds"))


def _hz(text: str) -> int:
    return int(_number(text, int, 1, 999, "a whole number"))


def _pid(text: str) -> int:
    return int(_number(text, int, 1, _PID_MAX, "a whole number"))


def _is_pid(text: str) -> bool:
    """Other digits are the beginning of a container id."""
    return text.isascii() and text.isdigit() and len(text) < 8 and 1 <= int(text) <= _PID_MAX


def _silence(text: str) -> Silence:
    try:
        return parse_silence(text)
    except ParseError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("silence: ")) from error


def _share(text: str) -> float:
    return float(_number(text, float, 0, 1, "a share"))


def _ratio(text: str) -> float:
    return float(_number(text, float, 1, 1e6, "a ratio"))


def _cores(text: str) -> float:
    return float(_number(text, float, 0, 1e4, "a number of cores"))


def _series(text: str) -> int:
    return int(_number(text, int, 100, 10_000_000, "a whole number"))


def _work(text: str) -> float:
    return float(_number(text, float, 1e-9, 1e15, "an amount of work"))


def _bytes(text: str) -> int:
    return int(_number(text, int, 1 << 20, 1 << 40, "a number of bytes"))


def _age(text: str) -> float:
    return float(_number(text, float, 60, 30 * 86400, "a number of seconds"))


def _node_name(text: str) -> str:
    if not text.isprintable() or not 0 < len(text.encode()) <= 256:
        raise argparse.ArgumentTypeError("a name has 1 to 256 bytes, all printable")
    return text


def _collector_address(text: str) -> str:
    host, port = _address(text)
    if not host or port == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(_number(port, int, 0, 65535, "a port"))


_THRESHOLDS = (
    ("mismatch_ratio", _ratio, "GOMAXPROCS over what fits that counts as a mismatch"),
    ("saving_share", _share, "predicted saving, as a share of its CPU, that counts as a cost"),
    ("saving_cores", _cores, "predicted saving, in cores, that counts as a cost"),
    ("runtime_share", _share, "scheduler and GC's share that counts, where nothing is predicted"),
    ("min_hits", _pid, "samples below which nothing is said about shares"),
    ("throttled_share", _share, "share of the periods that counts as throttled"),
    ("saturation", _share, "use of the limit or of GOMAXPROCS that counts as used up"),
    ("gc_share", _share, "the GC's share that counts as heavy"),
    ("allocation_share", _share, "allocation's share that counts as heavy"),
    ("coordination_share", _share, "scheduler, channels and locks' share that counts as heavy"),
    ("cgo_share", _share, "C code's share that counts as heavy"),
    ("large_node_cpus", _pid, "CPUs from which a host without a limit is a large one"),
    ("headroom", _ratio, "without a limit, GOMAXPROCS over the highest use that is enough"),
)
"""Fields of Thresholds, how they are written, and what they mean."""


def _thresholds(options: argparse.Namespace) -> Thresholds:
    return Thresholds(
        **{name: getattr(options, name) for name, _, _ in _THRESHOLDS},
        settle_s=vars(options).get("settle", Thresholds().settle_s),
        silences=tuple(options.silence),
    )


def _plan(options: argparse.Namespace, detail: Detail, scope: Scope | None = None) -> Plan:
    return Plan(
        hz=options.hz,
        drain_s=_INTERACTIVE_DRAIN_S,
        scope=scope or Scope(frozenset(options.pid), tuple(options.cgroup)),
        roots=Roots(options.proc, options.sys),
        thresholds=_thresholds(options) if "min_hits" in options else Thresholds(),
        detail=detail,
        host=_node(options),
        names=_names(options),
    )


def _node(options: argparse.Namespace) -> str:
    """The node's name as Kubernetes has it, "" where nobody says: in a pod, the host's own name
    is the pod's."""
    return options.node or os.environ.get("NODE_NAME", "")


def _names(options: argparse.Namespace) -> Names:
    """A watch that has begun; nobody where Kubernetes was not asked for.

    Raises UserError where it was and there is no way to it. A node's name that only stands in the
    environment is a hint, not a wish.
    """
    node = _node(options)
    if not node:
        if options.kubelet:
            raise UserError("--kubelet needs --node, the name of this node")
        return NOBODY
    try:
        names = _watch(node, options.kubelet, options.kubelet_insecure)
    except UserError:
        if options.node or options.kubelet:
            raise
        return NOBODY
    names.start()
    return names


def _watch(node: str, kubelet: str | None, is_trusted: bool) -> PodWatch:
    try:
        from gotax.kubernetes import api
        from gotax.kubernetes.watch import PodWatch
    except ImportError as error:
        raise UserError(
            f"names of pods need {error.name}: pip install 'gotax[kubernetes]'"
        ) from error
    if kubelet is None:
        return PodWatch(node, api.connect)
    address = api.KubeletAddress(kubelet, is_trusted)
    is_reachable = True
    try:
        api.connect().close()
    except UserError:
        is_reachable = False  # then the kubelet alone has to do
    return PodWatch(
        node, api.connect if is_reachable else None, partial(api.connect_kubelet, address)
    )


class _Progress:
    """A line on a terminal's standard error that says how long it will take; else nothing."""

    def __init__(self, seconds: float, what: str) -> None:
        self._what = what
        self._end = time.monotonic() + seconds
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if sys.stderr.isatty():
            self._thread = threading.Thread(target=self._draw, daemon=True)
            self._thread.start()

    def _draw(self) -> None:
        while not self._done.is_set():
            left = max(0.0, self._end - time.monotonic())
            print(f"\r\x1b[K{self._what}: {left:.0f} s left", end="", file=sys.stderr, flush=True)
            self._done.wait(0.5)

    def __exit__(self, *_: object) -> None:
        if self._thread:
            self._done.set()
            self._thread.join()
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


class _StopSignal:
    """A ``Stop`` that a signal handler may set.

    Not a ``threading.Event``: its lock is taken by whoever waits, and a handler that runs in the
    middle of that, on the same thread, would wait for it for ever.
    """

    def __init__(self) -> None:
        self._set = False
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def set(self) -> None:
        if not self._set:
            self._set = True
            os.write(self._write, b"\0")

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float) -> None:
        select.select([self._read], [], [], timeout)  # tried again after a signal, PEP 475


def _stop_on_signals() -> _StopSignal:
    """Set by Ctrl-C and SIGTERM, so that what was measured until then is still printed."""
    stop = _StopSignal()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _sample_once(plan: Plan, seconds: float) -> Window:
    stop = _stop_on_signals()
    with Session(plan) as session, _Progress(seconds, f"sampling at {plan.hz} Hz"):
        for window in session.windows(seconds, stop):
            return window
    raise UserError("stopped before anything was measured")


def _print_json(document: dict[str, Any], indent: int | None = 2) -> None:
    print(json.dumps(document, indent=indent, ensure_ascii=True), flush=True)


def _verdict_code(reports: Sequence[ContainerReport]) -> int:
    found = any(f.severity is Severity.WARNING for report in reports for f in report.findings)
    return EXIT_FINDINGS if found else EXIT_FINE


def _check(options: argparse.Namespace) -> int:
    from gotax.exporters import report, table

    window = _sample_once(_plan(options, Detail(functions=100)), options.duration)
    if options.json:
        _print_json(report.check_document(window))
    elif not window.reports:
        print(_NO_GO)
    else:
        print(table.render_check(window, _style(sys.stdout)))
    return _verdict_code(window.reports)


def _top(options: argparse.Namespace) -> int:
    from gotax.exporters import report, table

    stop = _stop_on_signals()
    live = sys.stdout.isatty() and not options.once and not options.json
    with Session(_plan(options, Detail(functions=3))) as session:
        if not live:
            for window in session.windows(options.interval, stop):
                if options.json:
                    _print_json(report.check_document(window), indent=None)
                elif window.reports:
                    print(table.render_check(window, _style(sys.stdout)))
                else:
                    print(_NO_GO)
                if options.once or not options.json:
                    break
            return EXIT_FINE
        with _Keys(stop, options.sort) as keys:
            print("sampling …", flush=True)
            for window in session.windows(options.interval, stop):
                if stop.is_set():
                    break
                style = _style(sys.stdout)
                screen = table.render_top(window, style, keys.sort) if window.reports else _NO_GO
                print(_CLEAR + screen, end="", flush=True)
    return EXIT_FINE


class _Keys:
    """The alternate screen, and single keys that change the order or quit."""

    _SORTS = {b"c": "cpu", b"r": "runtime", b"t": "throttled", b"n": "name"}  # noqa: RUF012

    def __init__(self, stop: _StopSignal, sort: str) -> None:
        self.sort = sort
        self._stop = stop
        self._saved: list[Any] | None = None

    def __enter__(self) -> _Keys:
        import termios
        import tty

        sys.stdout.write(_ALTERNATE_SCREEN)
        if sys.stdin.isatty():
            self._saved = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
            threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self) -> None:
        while not self._stop.is_set():
            key = os.read(sys.stdin.fileno(), 1)
            if key in (b"q", b""):
                self._stop.set()
            self.sort = self._SORTS.get(key, self.sort)

    def __exit__(self, *_: object) -> None:
        import termios

        if self._saved is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)
        sys.stdout.write(_NORMAL_SCREEN)
        sys.stdout.flush()


def _explain(options: argparse.Namespace) -> int:
    from gotax.exporters import report as document
    from gotax.exporters import table

    detail = Detail(functions=20, kernel_frames=True)
    if options.target is None and not (options.pid or options.cgroup):
        raise UserError("say what to explain: a container id, unit, cgroup, program or PID")
    if options.target and _is_pid(options.target):
        options.pid.append(int(options.target))
        options.target = None
    window = _sample_once(_plan(options, detail), options.duration)
    found = [r for r in window.reports if options.target is None or _matches(r, options.target)]
    if not found:
        if options.pid and "elf-packed" in window.health.errors:
            raise UserError("the program there is packed by UPX: run it as it was built (upx -d)")
        raise UserError(
            f"no Go process matches {options.target!r}: `gotax check` lists what there is"
            if options.target
            else "no Go process there: `gotax check` lists what there is"
        )
    if options.patch:
        print(_patch_of(found), end="")
    elif options.json:
        _print_json(document.explain_document(found[0], window))
    else:
        for found_report in found:
            print(table.render_explain(found_report, window, _style(sys.stdout)))
    return _verdict_code(found)


def _patch_of(reports: Sequence[ContainerReport]) -> str:
    """The first there is: findings are in the order of their codes, and the first is the worst."""
    for report in reports:
        for finding in report.findings:
            if finding.remedy.patch:
                return finding.remedy.patch
    raise UserError("no finding has a patch: there is nothing to change, or not by a variable")


def _matches(report: ContainerReport, target: str) -> bool:
    container = report.container
    names = {container.name, container.key, container.cgroup, container.unit, container.pod_uid}
    if container.pod is not None:
        names |= container.pod.names
    if target in names or (container.container_id or "").startswith(target):
        return True
    for process in report.processes:
        build = process.build
        if target == process.command or (build and target in (build.main.path, build.package)):
            return True
    return False


def _record(options: argparse.Namespace) -> int:
    from gotax.exporters import folded, pprof, record

    output: str = options.output
    form = options.format or _format_of(output)
    _require_writable(output)
    detail = Detail(functions=100, native_frames=True, kernel_frames=True, lines=True)
    window = _sample_once(_plan(options, detail), options.duration)
    if form == "pprof":
        data = pprof.profile_bytes(window)
    elif form == "folded":
        data = "".join(line + "\n" for line in folded.folded_lines(window)).encode()
    else:
        data = json.dumps(record.record_document(window)).encode() + b"\n"
    if output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return EXIT_FINE
    try:
        Path(output).write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from error
    lost = sum(window.hits.lost.values())
    print(
        f"{output}: {form}, {window.hits.attributed} hits"
        f" ({window.cpu_s(window.hits.attributed):.2f} CPU seconds)"
        f" in {window.duration_s:.1f} s, {lost} lost",
        file=sys.stderr,
    )
    return EXIT_FINE


def _format_of(output: str) -> str:
    if output.endswith(".json"):
        return "json"
    if output.endswith((".folded", ".txt")):
        return "folded"
    return "pprof"


def _require_writable(output: str) -> None:
    """Find out before sampling, not after."""
    if output == "-":
        return
    folder = Path(output).absolute().parent
    if Path(output).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"cannot write {output}: its folder must exist and be writable")


def _compare(options: argparse.Namespace) -> int:
    from gotax.diagnosis import comparison as diagnosis
    from gotax.exporters import comparison as exporter
    from gotax.recording import read_recording

    recordings = [read_recording(path) for path in (options.before, options.after)]
    sides = [
        exporter.Side(path, found.host, found.start_unix_s, found.duration_s)
        for path, found in zip((options.before, options.after), recordings, strict=True)
    ]
    names: list[str] = options.container
    if len(names) > 2:
        raise UserError("--container is for one name, or for one of each recording")
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
            f"the recordings have no container in common ({name}: {why}): name one of each with"
            " --container"
        )
    work = _work_of(options, recordings[0].duration_s, recordings[1].duration_s)
    if work and len(matching.pairs) > 1:
        raise UserError("work is of one container: say with --container of which")
    result = exporter.Result(
        sides[0],
        sides[1],
        tuple(diagnosis.compare(pair, work) for pair in matching.pairs),
        matching.unmatched,
    )
    if options.json:
        _print_json(exporter.compare_document(result))
    else:
        print(exporter.render_compare(result, _style(sys.stdout)))
    return EXIT_FINE


def _selected(subjects: Sequence[Subject], name: str, path: str) -> tuple[Subject, ...]:
    found = tuple(subject for subject in subjects if subject.answers_to(name))
    if not found:
        known = ", ".join(repr(subject.name) for subject in subjects[:8])
        raise UserError(f"no container in {path} answers to {name!r}: it has {known}")
    return found


def _work_of(options: argparse.Namespace, before_s: float, after_s: float) -> Work | None:
    given = options.work_before, options.work_after
    if options.throughput:
        if given != (None, None):
            raise UserError("--throughput is instead of --work-before and --work-after")
        return Work(*options.throughput)
    if given == (None, None):
        return None
    if None in given:
        raise UserError("--work-before and --work-after go together")
    return Work(given[0] / before_s, given[1] / after_s)


def _addr2line(options: argparse.Namespace) -> int:
    from gotax.addr2line import addr2line, open_binary

    binary = open_binary(options.binary)
    for line in addr2line(binary, sys.stdin):
        print(line)
    sys.stdout.flush()
    return EXIT_FINE


def _selftest(options: argparse.Namespace) -> int:
    """EXIT_FAILED: something that gotax cannot do without is missing."""
    from gotax.selftest import document, render_check, run_checks

    is_good = True
    checks = []
    for check in run_checks(Roots(options.proc, options.sys)):
        is_good = is_good and check.is_good is not False
        checks.append(check)
        if not options.json:
            print(render_check(check), flush=True)
    if options.json:
        print(json.dumps(document(checks), indent=2))
    return EXIT_FINE if is_good else EXIT_FAILED


def _agent(options: argparse.Namespace) -> int:
    from gotax import daemon
    from gotax.exporters.prometheus import Exposition

    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    deliveries = _deliveries(options)
    plan = Plan(
        hz=options.hz,
        drain_s=options.interval,
        roots=Roots(options.proc, options.sys),
        thresholds=_thresholds(options),
        host=_node(options),
        names=_names(options),
        # Who looks at profiles wants lines, and the kernel's part of a stack.
        detail=Detail(kernel_frames=True, lines=True) if deliveries else Detail(),
    )
    further = [*([_stream(options)] if options.collector else []), *deliveries]
    if not options.collector and (useless := _stream_options(options)):
        raise UserError(f"{useless[0]} goes with --collector")
    exposition = Exposition(frozenset(options.drop_label), options.max_series)
    endpoint = daemon.Endpoint(options.listen, exposition)
    daemon.run(plan, options.interval, endpoint, _stop_on_signals(), further)
    return EXIT_FINE


def _stream_options(options: argparse.Namespace) -> list[str]:
    """Those that were given and have no meaning without a collector."""
    names = [name for name in vars(options) if name.startswith(("collector_", "spool_dir"))]
    return ["--" + name.replace("_", "-") for name in names if getattr(options, name)]


def _stream(options: argparse.Namespace) -> Exporter:
    """gRPC is only here, and only now: it takes some 20 MB."""
    from gotax.exporters.connection import Destination
    from gotax.exporters.spool import Bounds, Spool
    from gotax.exporters.stream import Identity, StreamExporter

    destination = Destination(
        address=options.collector,
        plaintext=options.collector_plaintext,
        authority=options.collector_ca,
        certificate=options.collector_cert,
        key=options.collector_key,
        token_file=options.collector_token_file,
    )
    destination.check()
    spool = Spool(options.spool_dir, Bounds(options.spool_max_bytes, options.spool_max_age))
    node = options.collector_name or _node(options) or socket.gethostname()
    return StreamExporter(destination, Identity(node, node), spool)


def _deliveries(options: argparse.Namespace) -> list[Delivery]:
    found = []
    for kind in KINDS:
        given = {
            name.removeprefix(f"{kind.name}_"): value
            for name, value in vars(options).items()
            if name.startswith(f"{kind.name}_")
        }
        if given["endpoint"] is None:
            if useless := [name for name, value in given.items() if value]:
                flag = f"--{kind.name}-{useless[0].replace('_', '-')}"
                raise UserError(f"{flag} goes with --{kind.name}-endpoint")
            continue
        identity = Identity(
            ca=given["ca"],
            certificate=given["cert"],
            key=given["key"],
            token=given["token_file"],
            user=given["user"],
            headers=tuple(given["header"]),
        )
        found.append(open_delivery(kind, parse_endpoint(given["endpoint"], kind.port, identity)))
    return found


def _style(stream: TextIO) -> Any:
    """How this stream can show text (https://no-color.org)."""
    from gotax.exporters.table import Style

    is_terminal = stream.isatty()
    size = shutil.get_terminal_size((120, 40))
    colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
    return Style(width=size.columns, height=size.lines, colour=colour, unicode=unicode)


if __name__ == "__main__":
    sys.exit(main())
