"""The agent: one thread samples, and every exporter gets each window."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from gotax.comparison import Change
from gotax.errors import GotaxError, TransientError
from gotax.exporters import Exporter
from gotax.exporters.comparison import sentence
from gotax.exporters.metrics.http import HttpCounts
from gotax.exporters.prometheus import PrometheusExporter
from gotax.httpserver import Endpoint, Pulse, open_server
from gotax.linux import heap
from gotax.session import Plan, Session, Stop

log = logging.getLogger("gotax")

_RETRY_FIRST_S, _RETRY_MAX_S = 5.0, 300.0


def run(
    plan: Plan,
    window_s: float,
    endpoint: Endpoint,
    stop: Stop,
    further: Sequence[Exporter] = (),
) -> None:
    """Samples until ``stop`` is set. Raises UserError if the port or the kernel refuses.

    It closes the ``further`` exporters at the end.
    """
    counts = HttpCounts()
    metrics = PrometheusExporter(endpoint.exposition, (*further, counts))
    exporters: Sequence[Exporter] = (metrics, *further)
    pulse = Pulse(window_s)
    changes: tuple[Change, ...] = ()
    server = open_server(endpoint.address, metrics, pulse, counts)
    try:
        server.start()
        with ExitStack() as stack:
            session = _begin(plan, pulse, stop, stack)
            if session is None:
                return
            _calm_the_collector()
            log.info(
                "sampling at %d Hz, a window every %g s; metrics on port %d",
                plan.hz,
                window_s,
                server.port,
            )
            for window in session.windows(window_s, stop):
                if window.samples.outside and not pulse.windows:
                    log.warning(
                        "this node is a container: programs outside its PID namespace are only"
                        " counted, as outside-namespace (if it is not a container, set hostPID:"
                        " true)"
                    )
                for change in reversed(window.changes):
                    if change not in changes:
                        log.info("%s", sentence(change))
                changes = window.changes
                for exporter in exporters:
                    exporter.publish(window)
                heap.give_back()
                pulse.beat()
    finally:
        server.close()
        _close(exporters)
    log.info("stopped after %d windows", pulse.windows)


def _begin(plan: Plan, pulse: Pulse, stop: Stop, stack: ExitStack) -> Session | None:
    """Starts a session and retries transient errors. None if ``stop`` was set before.

    Raises UserError for other errors.
    """

    failed = ""

    def watch(waited_s: float) -> None:
        pulse.wait_for(f"compiling the BPF program, for {waited_s:.0f} s now{failed}")
        if stop.is_set():
            raise _StoppedError

    pause_s = _RETRY_FIRST_S
    while not stop.is_set():
        try:
            session = stack.enter_context(Session(plan, watch))
        except _StoppedError:
            return None
        except TransientError as error:
            log.warning("%s; retrying in %g s", error, pause_s)
            failed = f"; last error: {error}"
            until = time.monotonic() + pause_s
            while not stop.is_set() and (left_s := until - time.monotonic()) > 0:
                pulse.wait_for(str(error))
                stop.wait(min(left_s, _RETRY_FIRST_S))
            pause_s = min(2 * pause_s, _RETRY_MAX_S)
        else:
            pulse.wait_for("no window yet")
            return session
    return None


class _StoppedError(GotaxError):
    """``stop`` was set while the BPF program was compiled."""


def _close(exporters: Sequence[Exporter]) -> None:
    """Closes all in parallel: each may take a moment to end its connection."""
    threads = [threading.Thread(target=exporter.close) for exporter in exporters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _calm_the_collector() -> None:
    """Makes garbage collection rare: the agent's objects live long and have almost no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
