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
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from tests.mutants.operators import Mutant, mutants

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
EXAMPLES_MAX = 40
"""Of a Hypothesis test: a survivor runs all of them, of every test that reaches it."""
PYTEST = ["-q", "-x", "--tb=no", "--assert=plain"]
PYTEST += ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:faulthandler"]


@dataclass(slots=True)
class Reach:
    """Which tests run which lines of one file, and how long they take.

    ``found``: the tests that have found a mutant, the last one last.
    """

    lines: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    took_s: dict[str, float] = field(default_factory=dict)
    found: dict[str, None] = field(default_factory=dict)

    def of(self, mutant: Mutant) -> list[str]:
        """First the tests that have found others, the last one first; then the fastest."""
        tests = set(self.took_s) if self.is_loading(mutant) else self.lines[mutant.line]
        before = [test for test in reversed(self.found) if test in tests]
        return before + sorted(tests - set(before), key=lambda test: self.took_s[test])

    def is_loading(self, mutant: Mutant) -> bool:
        """Whether it changes a module as it is loaded: also in a function that only the module
        calls."""
        return not mutant.is_in_function or not self.lines.get(mutant.line)

    def note(self, test: str) -> None:
        self.found.pop(test, None)
        self.found[test] = None


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


def shorten(items: Sequence[pytest.Item]) -> None:
    name = "_hypothesis_internal_use_settings"
    for item in items:
        test = getattr(item, "obj", None)
        test = getattr(test, "__func__", test)
        usual = getattr(test, name, None)
        if usual is not None and usual.max_examples > EXAMPLES_MAX:
            setattr(test, name, hypothesis.settings(usual, max_examples=EXAMPLES_MAX))


def in_fork(work: Callable[[], Any]) -> Any:
    """What ``work`` returns in a child; None if that has died."""
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


def limited(usual_s: float) -> None:
    """What takes far longer than usual loops, and counts as found. Of processor time; a busy host
    gives it little of that."""
    import resource

    limit_s = round(5 + 2 * usual_s)
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    signal.alarm(100 * limit_s)


def tell(stderr: int, text: str) -> None:
    os.write(stderr, f"{text}\n".encode())


class Measure:
    """In place of pytest's loop over the tests: which of them run which lines of the files."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._stderr = os.dup(2)  # pytest takes the usual one
        self.reaches = {path: Reach() for path in paths}
        self.failed = False

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        shorten(session.items)
        by_name = {str(path): reach for path, reach in self.reaches.items()}
        now = ""

        def line(frame: types.FrameType, event: str, _: Any) -> Any:
            if event == "line":
                by_name[frame.f_code.co_filename].lines[frame.f_lineno].add(now)
            return line

        def call(frame: types.FrameType, _event: str, _: Any) -> Any:
            reach = by_name.get(frame.f_code.co_filename)
            if reach is None:
                return None
            reach.lines[frame.f_lineno].add(now)
            return line

        caches = caches_of(by_name)
        for item in session.items:
            for cache in caches:
                cache.cache_clear()  # what is in it would not be run again
            now = item.nodeid
            began = time.process_time()
            sys.settrace(call)
            passed = run(item)
            sys.settrace(None)
            if not passed:
                tell(self._stderr, f"fails without any mutant: {now}")
                self.failed = True
                return True
            took_s = time.process_time() - began
            for reach in by_name.values():
                reach.took_s[now] = took_s
        for path, reach in self.reaches.items():
            _spread(reach, path)
        return True


def caches_of(names: Container[str]) -> list[Any]:
    """Of the functions of these files."""
    kind = type(functools.cache(tell))
    return [
        found
        for found in gc.get_objects()
        if isinstance(found, kind) and found.__wrapped__.__code__.co_filename in names
    ]


def measure(paths: Sequence[Path], tests: Sequence[str]) -> dict[Path, Reach] | None:
    """None if a test fails without any mutant."""

    def work() -> dict[Path, Reach] | None:
        measured = Measure(paths)
        _pytest(tests, measured)
        return None if measured.failed else measured.reaches

    found: dict[Path, Reach] | None = in_fork(work)
    return found


class Loop:
    """In place of pytest's loop over the tests: tries mutants in forks."""

    def __init__(self, path: Path, tried: Sequence[Mutant], reach: Reach) -> None:
        self._path, self._tried, self._reach = path, tried, reach
        self._stderr = os.dup(2)
        self.survivors: list[int] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        shorten(session.items)
        functions = functions_of(self._path)
        gc.collect()
        gc.freeze()  # a fork then copies less
        for i, mutant in enumerate(self._tried):
            if self._reach.is_loading(mutant):
                continue
            tests = [items[test] for test in self._reach.of(mutant)]
            answer = in_fork(functools.partial(self._first_failure, mutant, functions, tests))
            if answer == "":
                self.survivors.append(i)
                tell(self._stderr, f"not yet found, {mutant.line}: {mutant.name}")
            elif answer is not None:
                self._reach.note(answer)
        return True

    def _first_failure(
        self,
        mutant: Mutant,
        functions: Sequence[types.FunctionType],
        items: Sequence[pytest.Item],
    ) -> str:
        """The test; empty if all pass."""
        limited(sum(self._reach.took_s.values()))
        replace_code(self._path, mutant.tree, functions)
        return next((item.nodeid for item in items if not run(item)), "")


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


def functions_of(path: Path) -> list[types.FunctionType]:
    """Those that are loaded."""
    return [
        found
        for found in gc.get_objects()
        if isinstance(found, types.FunctionType) and found.__code__.co_filename == str(path)
    ]


def replace_code(path: Path, tree: ast.Module, functions: Sequence[types.FunctionType]) -> None:
    """The functions get the code they would have with this tree."""
    codes: dict[tuple[str, int], types.CodeType] = {}
    waiting = [compile(tree, str(path), "exec", dont_inherit=True)]
    while waiting:
        for const in waiting.pop().co_consts:
            if isinstance(const, types.CodeType):
                codes[const.co_qualname, const.co_firstlineno] = const
                waiting.append(const)
    for found in functions:
        new = codes.get((found.__code__.co_qualname, found.__code__.co_firstlineno))
        if new is not None and new.co_freevars == found.__code__.co_freevars:
            found.__code__ = new


class Chosen:
    """Runs the tests named, in this order, and keeps the one that fails."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._order = {test: i for i, test in enumerate(tests)}
        self.failed: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = report.nodeid

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._order),
            key=lambda item: self._order[item.nodeid],
        )
        shorten(items)


def survives_reload(path: Path, mutant: Mutant, reach: Reach) -> bool:
    """With the module loaded from the changed tree: the tests beside it first, they load least."""
    every = reach.of(mutant)
    usual_s = sum(reach.took_s.values())
    beside = [test for test in every if f"/test_{path.stem}.py::" in test]
    others = [test for test in every if test not in set(beside)]
    for tests in (beside, others):
        if not tests:
            continue
        passed, failed = in_fork(functools.partial(reloaded, path, mutant, tests, usual_s)) or (
            False,
            None,
        )
        if failed is not None:
            reach.note(failed)
        if not passed:
            return False
    return True


def reloaded(
    path: Path, mutant: Mutant, tests: Sequence[str], usual_s: float
) -> tuple[bool, str | None]:
    """Whether the tests pass, and the one that does not."""
    limited(usual_s)
    usual = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: Any, name: str) -> Any:
        if loader.path == str(path):
            return compile(mutant.tree, str(path), "exec", dont_inherit=True)
        return usual(loader, name)

    setattr(importlib.machinery.SourceFileLoader, "get_code", get_code)  # noqa: B010
    chosen = Chosen(tests)
    passed = _pytest(sorted({test.split("::", 1)[0] for test in tests}), chosen) == 0
    return passed, chosen.failed


@dataclass(slots=True)
class Score:
    tried: int
    survivors: list[Mutant]
    excused: list[str]


def try_file(
    path: Path, tests: Sequence[str], reach: Reach, excuses: dict[str, str], is_quick: bool
) -> Score:
    every = list(mutants(path.read_text(encoding="utf-8")))
    excused = [m.name for m in every if m.name in excuses]
    tried = [m for m in every if m.name not in excuses]

    def first() -> tuple[Reach, list[int]]:
        loop = Loop(path, tried, reach)
        _pytest(tests, loop)
        return reach, loop.survivors

    reach, indices = in_fork(first)
    again = [m for i, m in enumerate(tried) if i in set(indices) or reach.is_loading(m)]
    survivors = []
    for mutant in again:
        if (is_quick and not reach.is_loading(mutant)) or survives_reload(path, mutant, reach):
            survivors.append(mutant)
    return Score(len(tried), survivors, excused)


def chosen(names: Sequence[str]) -> Iterator[tuple[list[Path], list[str]]]:
    """Files, and the tests of all of them."""
    config = tomllib.loads((HERE / "mutants.toml").read_text(encoding="utf-8"))
    for entry in config["code"]:
        paths = [
            path
            for path in sorted(p for glob in entry["files"] for p in ROOT.glob(glob))
            if not names or any(str(path).endswith(f"/{name}") for name in names)
        ]
        if paths:
            yield paths, [str(p) for t in entry["tests"] for p in sorted(ROOT.glob(t))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.mutants", description=__doc__)
    parser.add_argument("files", nargs="*", help="ends of paths; none: all")
    parser.add_argument(
        "--quick", action="store_true", help="do not load the module again for what survives"
    )
    args = parser.parse_args()
    os.chdir(ROOT)
    _examples()
    np.zeros(1)
    excuses = tomllib.loads((HERE / "equivalent.toml").read_text(encoding="utf-8"))
    survived = 0
    for paths, tests in chosen(args.files):
        reaches = measure(paths, tests)
        if reaches is None:
            return 2
        for path in paths:
            section = path.parent.name if path.stem == "__init__" else path.stem
            reasons = excuses.get(section, {})
            began = time.monotonic()
            score = try_file(path, tests, reaches[path], reasons, args.quick)
            survived += report(path, score, reasons, time.monotonic() - began)
    return 1 if survived else 0


def report(path: Path, score: Score, reasons: dict[str, str], took_s: float) -> int:
    """How many survived, or are excused without need."""
    relative = path.relative_to(ROOT)
    stale = sorted(reasons.keys() - set(score.excused))
    for name in stale:
        print(f"{relative}: there is no such mutant any more: {name}")
    for mutant in score.survivors:
        print(f"{relative}:{mutant.line}: {mutant.name}")
    dead = score.tried - len(score.survivors)
    print(
        f"{relative}: {dead} of {score.tried} found, {len(score.excused)} equivalent,"
        f" in {took_s:.0f} s",
        flush=True,
    )
    return len(stale) + len(score.survivors)


if __name__ == "__main__":
    sys.exit(main())
