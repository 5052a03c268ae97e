"""Tries each mutant of the files named, or of all: `make mutants FILES='context.py history.py'`.

A mutant runs in a fork of a process that has collected the tests, with the changed code in place of
the old, and only against the tests that reach its line. What survives there, and what changes a
module as it is loaded, is tried again in a fork that has loaded nothing of gotax yet.
"""

from __future__ import annotations

import argparse
import ast
import functools
import gc
import importlib.machinery
import os
import pickle
import signal
import sys
import time
import tomllib
import types
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from tests.mutants.operators import Mutant, mutants

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TIMEOUT_S = 60
"""CPU time: a mutant that runs longer loops, and counts as killed."""
PYTEST = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:faulthandler"]


@dataclass(slots=True)
class Reach:
    """Which tests run which lines of one file, and how long they take; fastest first."""

    lines: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    took_s: dict[str, float] = field(default_factory=dict)

    def of(self, mutant: Mutant) -> list[str]:
        found = self.lines.get(mutant.line, set())
        if not mutant.is_in_function:
            found = set().union(*self.lines.values())
        return sorted(found, key=lambda test: self.took_s[test])


def _pytest(tests: Sequence[str], plugin: object) -> int:
    out = os.open(os.devnull, os.O_WRONLY)
    os.dup2(out, 1)
    os.dup2(out, 2)
    return int(pytest.main([*PYTEST, *tests], plugins=[plugin]))


def _examples() -> None:
    """The same in every run, and a failing one is not made smaller."""
    hypothesis.settings.register_profile(
        "mutants",
        deadline=None,
        derandomize=True,
        database=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"  # tests/conftest.py loads it


def in_fork(work: Callable[[], Any]) -> Any:
    """The result of ``work`` in a child; None if that has died."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            answer = pickle.dumps(work())
            with os.fdopen(writer, "wb") as out:
                out.write(answer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        answer = answers.read()
    os.waitpid(pid, 0)
    return pickle.loads(answer) if answer else None


def limited() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (TIMEOUT_S, TIMEOUT_S))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    signal.alarm(5 * TIMEOUT_S)


class Loop:
    """Replaces pytest's loop over the tests: measures once, then tries mutants in forks."""

    def __init__(self, path: Path, tried: Sequence[Mutant]) -> None:
        self._path, self._tried = path, tried
        self._stderr = os.dup(2)  # pytest takes the usual one
        self.reach = Reach()
        self.survivors: list[Mutant] = []
        self.failed_before = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        reach = in_fork(lambda: self._measure(session.items))
        self.failed_before = reach is None
        if reach is None:
            return True
        self.reach = reach
        for mutant in self._tried:
            if not mutant.is_in_function:
                continue
            tests = [items[test] for test in reach.of(mutant)]
            if in_fork(functools.partial(self._passes, mutant, tests)):
                self.survivors.append(mutant)
                self._say(f"not yet found, {mutant.line}: {mutant.name}")
        return True

    def _say(self, text: str) -> None:
        os.write(self._stderr, f"{text}\n".encode())

    def _measure(self, items: Sequence[pytest.Item]) -> Reach | None:
        reach, name = Reach(), str(self._path)
        now = ""

        def line(frame: types.FrameType, event: str, _: Any) -> Any:
            if event == "line":
                reach.lines[frame.f_lineno].add(now)
            return line

        def call(frame: types.FrameType, _event: str, _: Any) -> Any:
            if frame.f_code.co_filename != name:
                return None
            reach.lines[frame.f_lineno].add(now)
            return line

        for item in items:
            now = item.nodeid
            began = time.process_time()
            sys.settrace(call)
            passed = run(item)
            sys.settrace(None)
            if not passed:
                self._say(f"fails without any mutant: {now}")
                return None
            reach.took_s[now] = time.process_time() - began
        _spread(reach, self._path)
        return reach

    def _passes(self, mutant: Mutant, items: Sequence[pytest.Item]) -> bool:
        limited()
        replace_code(self._path, mutant.tree)
        return all(run(item) for item in items)


def _spread(reach: Reach, path: Path) -> None:
    """A statement of many lines runs as a whole: each of its lines is reached where one is."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            span = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        elif isinstance(node, ast.If | ast.While):
            span = range(node.lineno, (node.test.end_lineno or node.lineno) + 1)
        else:
            continue
        tests = set().union(*(reach.lines.get(line, set()) for line in span))
        for line in span:
            reach.lines[line] = reach.lines.get(line, set()) | tests


def run(item: pytest.Item) -> bool:
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    from _pytest.runner import runtestprotocol

    reports = runtestprotocol(item, nextitem=None, log=False)
    return all(report.outcome != "failed" for report in reports)


def replace_code(path: Path, tree: ast.Module) -> None:
    """The loaded functions get the code that they would have with this tree."""
    codes: dict[tuple[str, int], types.CodeType] = {}
    waiting = [compile(tree, str(path), "exec", dont_inherit=True)]
    while waiting:
        for const in waiting.pop().co_consts:
            if isinstance(const, types.CodeType):
                codes[const.co_qualname, const.co_firstlineno] = const
                waiting.append(const)
    for found in gc.get_objects():
        if isinstance(found, types.FunctionType) and found.__code__.co_filename == str(path):
            new = codes.get((found.__code__.co_qualname, found.__code__.co_firstlineno))
            if new is not None and new.co_freevars == found.__code__.co_freevars:
                found.__code__ = new


class Chosen:
    """Runs the named tests, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._order = {test: i for i, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._order),
            key=lambda item: self._order[item.nodeid],
        )


def survives_reload(path: Path, mutant: Mutant, tests: Sequence[str]) -> bool:
    """With the module loaded from the changed tree."""

    def work() -> bool:
        limited()
        usual = importlib.machinery.SourceFileLoader.get_code

        def get_code(loader: Any, name: str) -> Any:
            if loader.path == str(path):
                return compile(mutant.tree, str(path), "exec", dont_inherit=True)
            return usual(loader, name)

        setattr(importlib.machinery.SourceFileLoader, "get_code", get_code)  # noqa: B010
        files = sorted({test.split("::", 1)[0] for test in tests})
        return _pytest(files, Chosen(tests)) == 0

    return bool(tests) and bool(in_fork(work))


@dataclass(slots=True)
class Score:
    tried: int
    survivors: list[Mutant]
    excused: list[str]
    untested: int = 0


def try_file(path: Path, tests: Sequence[str], excuses: dict[str, str]) -> Score | None:
    every = list(mutants(path.read_text(encoding="utf-8")))
    excused = [m.name for m in every if m.name in excuses]
    tried = [m for m in every if m.name not in excuses]

    def first() -> Any:
        loop = Loop(path, tried)
        _pytest(tests, loop)
        if loop.failed_before:
            return None
        return loop.reach, [tried.index(mutant) for mutant in loop.survivors]

    found = in_fork(first)
    if found is None:
        return None
    reach, indices = found
    again = [m for i, m in enumerate(tried) if i in set(indices) or not m.is_in_function]
    survivors = []
    for mutant in again:
        if not reach.of(mutant) or survives_reload(path, mutant, reach.of(mutant)):
            survivors.append(mutant)
    return Score(len(tried), survivors, excused)


def chosen(names: Sequence[str]) -> Iterator[tuple[Path, list[str]]]:
    config = tomllib.loads((HERE / "mutants.toml").read_text(encoding="utf-8"))
    for entry in config["code"]:
        paths = sorted(p for glob in entry["files"] for p in ROOT.glob(glob))
        for path in paths:
            relative = str(path.relative_to(ROOT))
            if relative in config["left-out"] or path.name == "__init__.py":
                continue
            if not names or any(relative.endswith(name) for name in names):
                yield path, [str(p) for t in entry["tests"] for p in sorted(ROOT.glob(t))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutants", description=__doc__)
    parser.add_argument("files", nargs="*", help="ends of paths; none: all")
    names = parser.parse_args().files
    os.chdir(ROOT)
    _examples()
    np.zeros(1)
    excuses = tomllib.loads((HERE / "equivalent.toml").read_text(encoding="utf-8"))
    survived = 0
    for path, tests in chosen(names):
        began = time.monotonic()
        relative = path.relative_to(ROOT)
        reasons = {name: reason for section in excuses.values() for name, reason in section.items()}
        score = try_file(path, tests, reasons)
        if score is None:
            print(f"{relative}: its tests fail without any mutant", file=sys.stderr)
            return 2
        for mutant in score.survivors:
            print(f"{relative}:{mutant.line}: {mutant.name}")
        dead = score.tried - len(score.survivors)
        took_s = time.monotonic() - began
        print(
            f"{relative}: {dead} of {score.tried} found, {len(score.excused)} equivalent,"
            f" in {took_s:.0f} s",
            flush=True,
        )
        survived += len(score.survivors)
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
