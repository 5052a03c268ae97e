"""Builds the corpus, and checks gotax with it: python -m tests.corpus [--check] [--only
PATTERN]."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests import toolchains
from tests.corpus.applications import application
from tests.corpus.inventory import APPLICATIONS, TWINS, Application, Build, builds
from tests.corpus.oracle import Opinion, Verdict, judge
from tests.toolchains import ToolchainError

PROGRAM = "symbols"


@dataclass(frozen=True, slots=True)
class Entry:
    """One binary to check, and its twins without symbols."""

    name: str
    version: str
    path: Path
    twins: tuple[Path, ...]


def entries(only: str = "") -> list[Build | Application]:
    every: list[Build | Application] = [*builds(), *APPLICATIONS]
    return [wanted for wanted in every if re.search(only, wanted.name)]


def build(wanted: Build | Application) -> Entry:
    """Existing binaries are not built again. Raises ToolchainError."""
    if isinstance(wanted, Application):
        path, twin = application(wanted), application(wanted, stripped=True)
        return Entry(wanted.name, wanted.version, path, (twin,))
    version, variants = wanted.version, wanted.variants
    path = toolchains.go_binary(PROGRAM, version, *variants)
    twins = tuple(toolchains.go_binary(PROGRAM, version, *variants, *lost) for lost in TWINS)
    return Entry(wanted.name, version, path, twins)


def check(entry: Entry) -> Verdict:
    return judge(entry.name, entry.version, entry.path, entry.twins)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, with every oracle there is")
    parser.add_argument("--only", default="", metavar="REGEX", help="binaries with such a name")
    options = parser.parse_args()
    built, failures = _build_all(entries(options.only))
    verdicts = list(_checked(built)) if options.check else []
    failures += [verdict.name for verdict in verdicts if not verdict.unanimous]
    if verdicts:
        print("\n".join(table(verdicts)))
    if failures:
        say(f"failed: {', '.join(failures)}")
    return 1 if failures or not built else 0


def _build_all(wanted: list[Build | Application]) -> tuple[list[Entry], list[str]]:
    built: list[Entry] = []
    failures: list[str] = []
    for number, one in enumerate(wanted, 1):
        say(f"[{number}/{len(wanted)}] build {one.name}")
        try:
            built.append(build(one))
        except ToolchainError as error:
            failures.append(one.name)
            say(f"{one.name}: not built: {error}")
    return built, failures


def _checked(built: list[Entry]) -> Iterator[Verdict]:
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for number, verdict in enumerate(pool.map(check, built), 1):
            outcome = "agreed" if verdict.unanimous else "DISAGREED"
            say(f"[{number}/{len(built)}] {verdict.name}: {verdict.pcs} pcs, {outcome}")
            for case in verdict.cases:
                say(case)
            yield verdict


def table(verdicts: Iterable[Verdict]) -> Iterator[str]:
    yield "| binary | functions | pcs | addr2line | running program | stripped twins |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for verdict in verdicts:
        opinions = map(opinion, (verdict.addr2line, verdict.runtime, verdict.twins))
        numbers = f"{verdict.functions} | {verdict.pcs}"
        yield f"| {verdict.name} | {numbers} | {' | '.join(opinions)} |"


def opinion(judge: Opinion) -> str:
    if not judge.asked:
        return "-"
    if judge.unanimous:
        return f"all {judge.asked}"
    return f"**{judge.agreed} of {judge.asked}**"


def say(text: str) -> None:
    print(f"corpus: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
