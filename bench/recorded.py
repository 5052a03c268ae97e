"""Windows of a real node, recorded once: 30 Go containers of the load of bench.fleet.

A window of 12 s at five times the agent's frequency has as many samples as one of a minute at 19
Hz, and takes a fifth of the time; "dense" has ten times more, as on a node with ten times the
cores. The recording is pickled in build/, and valid only for this checkout.
"""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace
from pathlib import Path

from gotax.cli.stopping import StopSignal
from gotax.scope import Scope
from gotax.session import Plan, Session
from gotax.window import Window

from bench.fleet import BUILD, CGROUP, Fleet, build_load

CONTAINERS = 30
HZ = 95
WINDOW_S = 12.0
MINUTE = 60 / WINDOW_S
SECONDS_MAX = 200
_WARM_UP = 1  # windows


def windows(name: str = "usual", count: int = 8) -> tuple[Window, ...]:
    """``usual`` or ``dense``; recorded if they do not exist yet, which needs root and go."""
    path = BUILD / f"windows-{name}.pickle"
    if not path.exists():
        record(path, HZ * 10 if name == "dense" else HZ, count)
    with path.open("rb") as file:
        found: tuple[Window, ...] = pickle.load(file)
    return found


def record(path: Path, hz: int, count: int) -> None:
    print(f"recording {count} windows of {WINDOW_S:g} s at {hz} Hz", file=sys.stderr)
    found = []
    with Fleet(build_load(), CONTAINERS):
        plan = Plan(hz=hz, drain_s=WINDOW_S, scope=Scope(cgroups=(f"/{CGROUP}",)), host="node-1")
        with Session(plan) as session:
            for number, window in enumerate(session.windows(WINDOW_S, StopSignal())):
                if number >= _WARM_UP:
                    # The values of a minute at the agent's own frequency.
                    found.append(
                        replace(
                            window,
                            duration_s=window.duration_s * MINUTE,
                            period_ns=round(window.period_ns * MINUTE),
                        )
                    )
                if len(found) == count:
                    break
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(tuple(found)))
