"""Real stacks of Go programs, the most frequent ones first: those of the load of bench.fleet.

python -m bench.stacks records them again, which needs root and go. The file is xz of lines
``[category];root;...;leaf samples``.
"""

from __future__ import annotations

import lzma
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gotax.category import Category

FILE = Path(__file__).with_name("stacks.folded.xz")
COUNT = 2000
_GROUPS = {category.label: category.group.value for category in Category}


@dataclass(frozen=True, slots=True)
class RealStack:
    """``functions`` root first. ``is_own``: with a function of the program itself."""

    category: str
    group: str
    functions: tuple[str, ...]
    samples: int

    @property
    def is_own(self) -> bool:
        return any(function.startswith("main.") for function in self.functions)


@cache
def stacks() -> tuple[RealStack, ...]:
    found = []
    for line in lzma.decompress(FILE.read_bytes()).decode().splitlines():
        stack, samples = line.rsplit(" ", 1)
        category, *functions = stack.split(";")
        label = category.strip("[]")
        found.append(RealStack(label, _GROUPS[label], tuple(functions), int(samples)))
    return tuple(found)


def record(seconds: float = 20.0) -> None:
    from gotax.cli.stopping import StopSignal
    from gotax.exporters.folded import folded_lines
    from gotax.scope import Scope
    from gotax.session import Plan, Session

    from bench.fleet import CGROUP, Fleet, build_load

    total: Counter[str] = Counter()
    with Fleet(build_load(), 12):
        plan = Plan(hz=997, drain_s=5, scope=Scope(cgroups=(f"/{CGROUP}",)), host="node-1")
        with Session(plan) as session:
            window = next(session.windows(seconds, StopSignal()))
    for line in folded_lines(window, by_category=True):
        stack, samples = line.rsplit(" ", 1)
        if functions := stack.partition(";")[2]:
            total[functions] += int(samples)
    kept = [line for line in total.most_common() if ";" in line[0]][:COUNT]
    text = "".join(f"{stack} {samples}\n" for stack, samples in kept)
    FILE.write_bytes(lzma.compress(text.encode(), preset=9))
    print(f"{len(kept)} of {len(total)} distinct stacks", file=sys.stderr)


if __name__ == "__main__":
    record()
