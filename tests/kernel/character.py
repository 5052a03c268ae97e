"""Compares gotax with Go's own two measurements of a program's CPU time, as shares by category.

tests/programs/character works, gotax samples it, and for the same window it takes a profile of
itself (runtime/pprof) and reads its ``/cpu/classes`` (runtime/metrics).

``python -m tests.kernel.character`` prints the table of docs/accuracy.md: fifteen programs, a
minute each, one after the other.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gotax.category import Category
from gotax.golang.categories import classify, function_code
from gotax.profile import FrameKind, Stack
from gotax.window import Window
from gotax.wire.pprof import profile_pb2

from tests.kernel.load import Load, Walk
from tests.toolchains import go_binary

KINDS = ("allocate", "channels", "timers", "http", "compute")
VERSIONS = ("1.22.12", "1.24.13", "1.27.3")
PROFILE_HZ = 100
STARTING_S = 0.5
_CATEGORIES = tuple(Category)

MARKING: dict[str, frozenset[Category]] = {
    "mark/dedicated": frozenset({Category.GC_MARK_DEDICATED, Category.GC_MARK_FRACTIONAL}),
    "mark/idle": frozenset({Category.GC_MARK_IDLE}),
    "mark/assist": frozenset({Category.GC_ASSIST}),
}
"""The classes that Go measures by the time of the worker or assist itself, not of a P."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings of a measurement: ``busy`` cores for each program, ``seconds`` at ``hz``."""

    version: str
    busy: float
    hz: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Account:
    """One program in one window."""

    version: str
    kind: str
    ours: Counter[Category]  # gotax's samples
    own: Counter[Category]  # samples of its own profile, by the same table
    classes: dict[str, float]  # seconds by /cpu/classes
    cpu_s: float  # getrusage
    waited_s: float  # its threads were runnable, and had no CPU
    unclear: Counter[str]  # samples by stack, of unknown category or truncated
    own_unclear: Counter[str]  # only the unknown ones

    @property
    def samples(self) -> int:
        return self.ours.total()

    def share(self, category: Category) -> float:
        return self.ours[category] / self.samples

    def own_share(self, category: Category) -> float:
        return self.own[category] / self.own.total()

    def deviation(self, category: Category) -> float:
        """The standard deviation of the difference of the two shares by chance."""
        p = (self.ours[category] + self.own[category] + 1) / (self.samples + self.own.total() + 2)
        return math.sqrt(p * (1 - p) * (1 / self.samples + 1 / self.own.total()))

    def marking(self) -> Iterator[tuple[str, float, float]]:
        """(class, our share, Go's) of CPU time, for each class that both have, and the sum."""
        by_class = {name: sum(map(self.share, categories)) for name, categories in MARKING.items()}
        background = self.share(Category.GC_MARK_BACKGROUND)
        go = {name: self.classes[f"gc/{name}"] / self.cpu_s for name in MARKING}
        if by_class["mark/dedicated"] + by_class["mark/idle"] > background:
            yield "mark/dedicated", by_class["mark/dedicated"], go["mark/dedicated"]
            yield "mark/idle", by_class["mark/idle"], go["mark/idle"]
        yield "mark/assist", by_class["mark/assist"], go["mark/assist"]
        yield "mark", sum(by_class.values()) + background, sum(go.values())

    def worst_category(self) -> Category:
        return max(Category, key=lambda c: abs(self.share(c) - self.own_share(c)))

    @property
    def unclear_share(self) -> float:
        return self.unclear.total() / self.samples

    def details(self) -> Iterator[str]:
        """Every category, and every class of Go's."""
        time_s = f"{self.cpu_s:.2f} s of CPU, {self.waited_s:.3f} s waiting for one"
        yield f"{self.version} {self.kind}: {time_s}"
        for category in Category:
            if self.ours[category] or self.own[category]:
                shares = f"{self.share(category):7.2%} {self.own_share(category):7.2%}"
                yield f"  {category.label:22} {shares}"
        for name, ours, go in self.marking():
            yield f"  {name:22} {ours:7.2%} {go:7.2%}"
        for name, seconds in sorted(self.classes.items()):
            yield f"  /cpu/classes/{name:22} {seconds:.3f} s"


def measure(plan: Plan, kinds: Sequence[str]) -> list[Account]:
    """These programs at the same time."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        programs = [
            stack.enter_context(
                Load(
                    go_binary("character", plan.version),
                    *("-kind", kind, "-profile", folder / kind),
                    *("-busy", str(plan.busy), "-profrate", str(PROFILE_HZ)),
                    # The timers of its release, although its go.mod has to name the oldest.
                    env={"GODEBUG": "asynctimerchan=0"},
                )
            )
            for kind in kinds
        ]
        time.sleep(STARTING_S)
        walk = stack.enter_context(Walk(plan.hz))
        walk.pipeline.scan()
        before = ask(programs, "start")
        walk.drain()
        waited_s = [-waited(program.pid) for program in programs]
        walk.window()
        end = time.monotonic() + plan.seconds
        while time.monotonic() < end:
            walk.drain_for(min(1.0, plan.seconds))
        waited_s = [w + waited(program.pid) for w, program in zip(waited_s, programs, strict=True)]
        after = ask(programs, "stop")
        window = walk.window()
        accounts = []
        for number, (kind, program) in enumerate(zip(kinds, programs, strict=True)):
            ours, unclear = own_samples(window, program.pid)
            own, own_unclear = read_profile(folder / kind)
            first, last = before[number], after[number]
            classes = {n: s - first["classes"][n] for n, s in last["classes"].items()}
            accounts.append(
                Account(
                    version=plan.version,
                    kind=kind,
                    ours=ours,
                    own=own,
                    classes=classes,
                    cpu_s=(last["process_ns"] - first["process_ns"]) / 1e9,
                    waited_s=waited_s[number],
                    unclear=unclear,
                    own_unclear=own_unclear,
                )
            )
        return accounts


def ask(programs: Sequence[Load], word: str) -> list[dict[str, Any]]:
    for program in programs:
        program.tell(word)
    return [program.report() for program in programs]


def waited(pid: int) -> float:
    """Seconds that threads were runnable without a CPU: Documentation/scheduler/sched-stats."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[1]) for file in files) / 1e9


def own_samples(window: Window, pid: int) -> tuple[Counter[Category], Counter[str]]:
    """A process's samples by category, and its unknown and truncated ones by stack."""
    counted, unclear = Counter[Category](), Counter[str]()
    columns = window.profile
    for process, stack, number, samples in zip(
        columns.process.tolist(),
        columns.stack.tolist(),
        columns.category.tolist(),
        columns.samples.tolist(),
        strict=True,
    ):
        if window.processes[process].pid != pid:
            continue
        category = _CATEGORIES[number]
        if category is Category.SYSCALL:
            category = in_user(columns.stacks[stack])
        counted[category] += samples
        frames = [f.function for place in columns.stacks[stack] for f in place.frames]
        if category is Category.UNKNOWN or frames[-1:] == ["[truncated]"]:
            unclear[" < ".join(frames) or "(no frames)"] += samples
    return counted, unclear


def in_user(stack: Stack) -> Category:
    """A stack without its kernel frames, because Go's profile does not have them."""
    frames = [frame for place in stack for frame in place.frames]
    codes = [function_code(f.function) for f in frames if f.kind is FrameKind.GO]
    return classify(codes, in_kernel=False, native_leaf=False)


def read_profile(path: Path) -> tuple[Counter[Category], Counter[str]]:
    """Samples of a runtime/pprof CPU profile by category; those of unknown category by stack.

    It does not show kernel time: page faults of the program are ``user`` here.
    """
    profile = profile_pb2.Profile.FromString(gzip.decompress(path.read_bytes()))
    names = {f.id: profile.string_table[f.name] for f in profile.function}
    called = {
        location.id: [names[line.function_id] for line in location.line]
        for location in profile.location
    }
    counted, unknown = Counter[Category](), Counter[str]()
    for sample in profile.sample:
        stack = [name for number in sample.location_id for name in called[number]]
        codes = [function_code(name) for name in stack]
        category = classify(codes, in_kernel=False, native_leaf=False)
        counted[category] += sample.value[0]
        if category is Category.UNKNOWN:
            unknown[" < ".join(stack) or "(no frames)"] += sample.value[0]
    return counted, unknown


def table(accounts: Sequence[Account]) -> Iterator[str]:
    """The rows of docs/accuracy.md."""
    yield (
        "| Go | program | samples | own samples | marking: dedicated | idle | assist | together"
        " | most different category | unknown, truncated |"
    )
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |"
    for account in accounts:
        by_class = {name: (ours, go) for name, ours, go in account.marking()}
        marking = (_beside(by_class.get(name)) for name in (*MARKING, "mark"))
        worst = account.worst_category()
        shares = _beside((account.share(worst), account.own_share(worst)))
        yield (
            f"| {account.version} | {account.kind} | {account.samples} | {account.own.total()}"
            f" | {' | '.join(marking)} | `{worst.label}` {shares} | {account.unclear_share:.2%} |"
        )


def _beside(shares: tuple[float, float] | None) -> str:
    """Our share and Go's, in percent."""
    return "-" if shares is None else f"{shares[0]:.1%} / {shares[1]:.1%}"


def cases(account: Account) -> Iterator[str]:
    """The unknown and truncated stacks, each with its samples."""
    for name, stacks in (("gotax", account.unclear), ("own profile", account.own_unclear)):
        for stack, samples in stacks.most_common():
            yield f"{account.version} {account.kind}, {name}: {samples} x {stack}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.character", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--hz", type=int, default=99)
    parser.add_argument("--busy", type=float, default=0.9, help="cores for each program")
    parser.add_argument("--together", type=int, default=1, metavar="N", help="programs at a time")
    parser.add_argument("--versions", nargs="*", default=VERSIONS)
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    parser.add_argument("--all", action="store_true", help="every category, not only the worst")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("needs root", file=sys.stderr)
        return 2
    accounts = []
    for version in options.versions:
        plan = Plan(version, options.busy, options.hz, options.seconds)
        for first in range(0, len(options.kinds), options.together):
            accounts += measure(plan, options.kinds[first : first + options.together])
    print("\n".join(table(accounts)))
    for account in accounts:
        print("\n".join(cases(account)))
        if options.all:
            print("\n".join(account.details()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
