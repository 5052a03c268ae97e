"""``python -m tests.soak --minutes 30``: does the agent's memory stay where it is?

The load of bench/ (twenty processes, stacks that are nearly all new), the agent with its defaults,
scraped every 15 s. Its memory and its descriptors are read once in five seconds. What they were in
the minute after ``SETTLED_S``, they have to be in the last one. Ends with 1 if they grew. It needs
root; other work on the host does not disturb it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.agent import Agent
from bench.cgroups import BenchError
from bench.fleet import CORES, PROCESSES, Fleet, build_load, interruptible

SETTLED_S = 300.0
"""By then every window of the longest history is full, and the tables have their size."""
MINUTE_S, EVERY_S = 60.0, 5.0
GROWTH_MAX, DESCRIPTORS_MORE_MAX = 0.05, 8  # some files are open for a short time


@dataclass(frozen=True, slots=True)
class Reading:
    at_s: float
    pss_bytes: int
    descriptors: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    options = parser.parse_args()
    length_s = options.minutes * 60
    if length_s < SETTLED_S + 2 * MINUTE_S:
        parser.error(f"at least {(SETTLED_S + 2 * MINUTE_S) / 60:g} minutes: memory settles first")
    interruptible()
    try:
        readings = list(soak(length_s))
    except BenchError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    text, holds = judge(readings)
    print(text)
    return 0 if holds else 1


def soak(length_s: float) -> list[Reading]:
    """Prints a line a minute."""
    readings: list[Reading] = []
    binaries = build_load()
    with (
        tempfile.TemporaryDirectory(prefix="gotax-soak-") as folder,
        Fleet(binaries, PROCESSES, CORES),
        Agent(19, Path(folder, "agent.log")) as agent,
    ):
        agent.wait_ready()
        began = time.monotonic()
        while (at_s := time.monotonic() - began) < length_s:
            pss_bytes = agent.group.pss_bytes()
            descriptors = len(list(Path(f"/proc/{agent.pid}/fd").iterdir()))
            if not readings or at_s // MINUTE_S != readings[-1].at_s // MINUTE_S:
                print(
                    f"{at_s / 60:5.1f} min  {pss_bytes / 1e6:6.1f} MB  {descriptors} descriptors",
                    flush=True,
                )
            readings.append(Reading(at_s, pss_bytes, descriptors))
            time.sleep(EVERY_S)
    return readings


def judge(readings: list[Reading]) -> tuple[str, bool]:
    """The text to print, and whether memory and descriptors have not grown."""
    last_s = readings[-1].at_s
    settled = [r for r in readings if SETTLED_S <= r.at_s < SETTLED_S + MINUTE_S]
    ended = [r for r in readings if r.at_s > last_s - MINUTE_S]
    before, after = (statistics.median(r.pss_bytes for r in some) for some in (settled, ended))
    most, now = (max(r.descriptors for r in some) for some in (settled, ended))
    text = (
        f"after {SETTLED_S / 60:g} minutes {before / 1e6:.1f} MB and {most} descriptors,"
        f" after {last_s / 60:.0f} minutes {after / 1e6:.1f} MB ({after / before - 1:+.1%})"
        f" and {now}"
    )
    return text, after <= before * (1 + GROWTH_MAX) and now <= most + DESCRIPTORS_MORE_MAX


if __name__ == "__main__":
    sys.exit(main())
