"""``gotax web``: the pages for this host alone, live.

A collector in this process, and an agent as its child, which streams to it over loopback with a
token of this run. Both are the programs that a fleet has, so the pages are the same.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
import tempfile
import time
import webbrowser
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gotax.usage import Parser
from gotax.wire.addresses import joined

from gotax_collector.cli.logs import Logfmt
from gotax_collector.cli.options import address_option, is_loopback
from gotax_collector.errors import CollectorError
from gotax_collector.ingest.limits import Limits
from gotax_collector.query.questions import Questions
from gotax_collector.security.tokens import Tokens
from gotax_collector.storage.clickhouse import Address, Connections
from gotax_collector.storage.schema import Retention
from gotax_collector.storage.store import ClickHouseStore, prepare

if TYPE_CHECKING:
    from gotax_collector.http.site import Site
    from gotax_collector.ingest.intake import Intake
    from gotax_collector.ingest.receiver import Receiver

_BATCH_S = 0.2
_DRAIN_S = 0.3
_AGENT_END_S = 1.0
_AGENT = """
import ctypes, os, runpy, signal
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: it does not outlive a killed parent
os.environ.pop("GRPC_ENABLE_FORK_SUPPORT", None)
if os.getppid() == {parent}:  # otherwise it was killed before
    runpy.run_module("gotax", run_name="__main__")
"""

_EPILOG = """\
The pages answer only on this machine: an address of another kind is refused. For other machines,
run `gotax collector` with a token. Without --store everything is forgotten at the end.
"""


class WebError(CollectorError):
    """An error of the user. The text is one sentence with the remedy."""


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="gotax web",
        description="Serve the pages of a collector for this host alone, live.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--http",
        type=address_option,
        default=("127.0.0.1", 9748),
        metavar="HOST:PORT",
        help="address of the pages on this machine; port 0 is any free port (127.0.0.1:9748)",
    )
    made.add_argument(
        "--store",
        metavar="FOLDER",
        help="keep what is measured in this folder, and show what is in it already",
    )
    made.add_argument("--open", action="store_true", help="open the page in a browser")
    made.add_argument(
        "--hz", default="99", metavar="N", help="samples per second and CPU, 1 to 999 (99)"
    )
    made.add_argument("-i", "--interval", default="5", metavar="S", help="seconds per window (5)")
    made.add_argument("--node", default="", metavar="NAME", help="as of `gotax agent`")
    return made


def run(arguments: Sequence[str]) -> int:
    """Run ``gotax web ARGUMENTS`` until a signal or the end of the agent. The exit code."""
    options = parser().parse_args(arguments)
    if not is_loopback(options.http[0]):
        raise WebError(
            f"{joined(*options.http)} is not an address of this machine alone: use 127.0.0.1, or"
            " run `gotax collector` with --http-token-file for readers of other machines"
        )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Logfmt())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # Only the agent is forked, and it executes another program at once.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
    with ExitStack() as stack:
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gotax-web-")))
        connections = Connections(Address(folder=Path(options.store or own / "store")))
        store = _prepared(connections)
        stack.callback(store.close)
        sites: list[Site] = []
        stack.callback(_close, sites)
        return asyncio.run(_serve(_Web(options, store, own / "token", sites)))


def _close(sites: Sequence[Site]) -> None:
    for site in sites:
        site.close()


def _prepared(connections: Connections) -> ClickHouseStore:
    folder = connections.address.folder
    assert folder is not None
    try:
        prepare(connections, Retention())
        store = ClickHouseStore(connections, folder)
        store.recover()
    except BaseException:
        connections.close()
        raise
    return store


@dataclass(frozen=True, slots=True)
class _Web:
    options: argparse.Namespace
    store: ClickHouseStore
    token: Path
    sites: list[Site]


async def _serve(web: _Web) -> int:
    """Until Ctrl-C, SIGTERM or SIGHUP, or until the agent ends: then with its exit code."""
    # Imported late: --help and wrong options do not need their libraries.
    from importlib.metadata import version

    from gotax_collector.ingest.receiver import Identification
    from gotax_collector.ingest.server import Listening, Parts, serve

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    web.token.touch(0o600)
    web.token.write_text(secrets.token_hex(32) + "\n")
    ready: asyncio.Future[int] = loop.create_future()

    def begin(port: int, receiver: Receiver, intake: Intake) -> None:
        try:
            web.sites.append(_site(web, receiver, intake))
        except WebError as error:
            ready.set_exception(error)
            stop.set()  # gRPC has to end in order
        else:
            ready.set_result(port)

    parts = Parts(
        Identification("this host", version("gotax")),
        web.store,
        Limits(batch_s=_BATCH_S),
        Tokens(str(web.token), time.time),
        begin,
    )
    serving = asyncio.create_task(serve(Listening(("127.0.0.1", 0), None, _DRAIN_S), parts, stop))
    await asyncio.wait((ready, serving), return_when=asyncio.FIRST_COMPLETED)
    if not ready.done() or ready.exception() is not None:
        await serving  # it could not begin
    code = await _with_agent(web, ready.result(), stop)
    stop.set()
    await serving
    return code


async def _with_agent(web: _Web, port: int, stop: asyncio.Event) -> int:
    options = web.options
    agent = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-c",
            _AGENT.format(parent=os.getpid()),
            "agent",
            "--log-level",
            "warning",
        ),
        *("--listen", "127.0.0.1:0", "--hz", options.hz, "--interval", options.interval),
        *("--collector", f"127.0.0.1:{port}", "--collector-plaintext"),
        *("--collector-token-file", str(web.token)),
        *(("--node", options.node) if options.node else ()),
        start_new_session=True,  # Ctrl-C of the keyboard is for this process, which ends the agent
    )
    host, web_port = options.http[0], web.sites[-1].port
    url = f"http://{joined(host, web_port)}/"
    ended = asyncio.create_task(agent.wait())
    stopped = asyncio.create_task(stop.wait())
    try:
        print(f"gotax web: {url}", flush=True)
        print("The first numbers come after a few seconds. Ctrl-C ends it.", file=sys.stderr)
        if options.open:
            await asyncio.to_thread(webbrowser.open, url)
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        return agent.returncode or 0 if ended.done() else 0
    finally:
        stopped.cancel()
        if not ended.done():
            agent.terminate()
            await asyncio.wait((ended,), timeout=_AGENT_END_S)
        if not ended.done():
            agent.kill()
            await ended


def _site(web: _Web, receiver: Receiver, intake: Intake) -> Site:
    from importlib.metadata import version

    from gotax_collector.http.application import Served
    from gotax_collector.http.site import Site
    from gotax_collector.metrics import Exposition

    exposition = Exposition(receiver, intake, None, version("gotax"))
    served = Served(Questions(web.store.connections), exposition.text, exposition.store_failing_s)
    try:
        return Site(web.options.http, served)
    except OSError as error:
        place = joined(*web.options.http)
        raise WebError(
            f"cannot listen on {place}: {error.strerror} (choose another address with --http)"
        ) from error
