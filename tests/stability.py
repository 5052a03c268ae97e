"""``python -m tests.stability --hours 2``: are the agent's findings stable while the load changes?

Four programs with a varying load run in cgroups with a limit of 1 CPU, and a real ``gotax agent``
watches the host. Its metrics are read after every window. A verdict may become more exact once
(from too few samples to another); a finding that ends and comes back, or a verdict that returns, is
a flap. Exits with 1 if there was any. It needs root and takes a fraction of a CPU; other work on
the host does not disturb it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from demo.limit import Group, limited_groups
from tests.toolchains import go_binary

ROOT = Path(__file__).parents[1]
PORT = 19745
WINDOW_S = 15.0
PROGRAMS = {
    "oversized": ("64", "pass", "2500"),
    "fitting": ("1", "pass", "2500"),
    "close": ("3", "pass", "1500"),
    "computing": ("16", "compute", "400"),
}
"""GOMAXPROCS, kind and the highest number of requests a second."""


@dataclass(slots=True)
class History:
    """The verdicts and findings of one container, window by window."""

    verdicts: list[str] = field(default_factory=list)  # each only when it changed
    coming: dict[str, int] = field(default_factory=dict)  # by code, how often it appeared
    codes: frozenset[str] = frozenset()

    def add(self, verdict: str, codes: frozenset[str]) -> list[str]:
        """The changes."""
        news = []
        if not self.verdicts or self.verdicts[-1] != verdict:
            self.verdicts.append(verdict)
            news.append(verdict)
        for code in sorted(codes - self.codes):
            self.coming[code] = self.coming.get(code, 0) + 1
            news.append(f"+{code}")
        news += [f"-{code}" for code in sorted(self.codes - codes)]
        self.codes = codes
        return news

    @property
    def flaps(self) -> int:
        returned = len(self.verdicts) - len(set(self.verdicts))
        return returned + sum(times - 1 for times in self.coming.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.stability", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--go", default="1.24.13", help="version of Go (1.24.13)")
    options = parser.parse_args()
    binary = go_binary("changing", options.go)
    histories = {name: History() for name in PROGRAMS}
    with ExitStack() as stack:
        groups = stack.enter_context(limited_groups(tuple(PROGRAMS), 1.0))
        for group, (procs, kind, rate) in zip(groups, PROGRAMS.values(), strict=True):
            stack.callback(_end, _start(group, procs, binary, "-kind", kind, "-rate", rate))
        command = [sys.executable, "-m", "gotax", "agent", "--listen", f"127.0.0.1:{PORT}"]
        agent = subprocess.Popen([*command, "--log-level", "warning"], cwd=ROOT)
        stack.callback(_end, agent)
        paths = {f"/{group.path}": name for group, name in zip(groups, PROGRAMS, strict=True)}
        started = time.monotonic()
        windows = 0
        while (elapsed := time.monotonic() - started) < options.hours * 3600:
            time.sleep(WINDOW_S)
            if agent.poll() is not None:
                print(f"the agent ended with {agent.returncode}")
                return 1
            windows += 1
            for name, verdict, codes in _said(paths):
                if news := histories[name].add(verdict, codes):
                    print(f"{elapsed / 60:6.1f} min  {name:10} {' '.join(news)}", flush=True)
    print(f"{windows} windows in {options.hours:g} h")
    for name, history in histories.items():
        path = " > ".join(history.verdicts) or "never seen"
        print(
            f"{name:10} {path}; {', '.join(sorted(history.codes)) or 'no finding'};"
            f" {history.flaps} flaps"
        )
    return 1 if any(s.flaps or not s.verdicts for s in histories.values()) else 0


def _start(group: Group, procs: str, *command: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*map(str, command)],
        env={"GOMAXPROCS": procs, "PATH": os.environ["PATH"]},
        preexec_fn=group.join,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _said(paths: dict[str, str]) -> Iterator[tuple[str, str, frozenset[str]]]:
    """(name, verdict, codes of the findings) of every container in the metrics."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except OSError:  # it does not listen yet
        return
    verdicts: dict[str, str] = {}
    codes: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name = paths.get(sample.labels.get("id", ""))
            if name is None or sample.value != 1:
                continue
            if sample.name == "gotax_verdict":
                verdicts[name] = sample.labels["verdict"]
            elif sample.name == "gotax_finding":
                codes.setdefault(name, set()).add(sample.labels["code"])
    for name, verdict in verdicts.items():
        yield name, verdict, frozenset(codes.get(name, ()))


if __name__ == "__main__":
    sys.exit(main())
