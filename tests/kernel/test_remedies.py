"""Every remedy is applied to a real process, and then gotax looks again.

Each way of a remedy is a sentence with a number: the program is started as the sentence says, and
must have that number. A way without an action here fails the test. These tests do not ask whether
CPU is saved, so nothing is sampled: the profile is artificial, and the data of processes is real.

On a host of two CPUs no Go program has more than 2 by itself. If the number of CPUs is what does
not fit, the process is judged as if it had been started on 16 (``on_sixteen``); after the remedy
its open limit file proves that the runtime follows the limit.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gotax.category import CATEGORY_COUNT, Category
from gotax.config import Roots, Thresholds
from gotax.diagnosis import rules
from gotax.diagnosis.context import Context
from gotax.findings import Cause, Finding, Verdict
from gotax.linux.cgroups.hierarchies import find_hierarchies
from gotax.process import Automaxprocs, CpuUsage, Gomaxprocs, Memory, Origin, RuntimeState
from gotax.processes.resolver import Resolver
from gotax.window import ContainerReport

from tests.kernel.load import Group, Load
from tests.toolchains import PROGRAMS, build, go_binary

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

OLD, NEW = "1.24.13", "1.26.8"
DURATION_S = 60.0
SIXTEEN = 16


@dataclass(frozen=True)
class Start:
    """A program and the way it is started.

    ``limit`` is that of its own cgroup, ``above`` that of the parent; ``cpuset`` and ``taskset``
    leave it one CPU. ``tell``: a command to the running program. ``hidden``: it has no access to
    cgroup files.
    """

    binary: Path
    limit: float | None = None
    above: float | None = None
    cpuset: bool = False
    taskset: bool = False
    hidden: bool = False
    env: tuple[tuple[str, str], ...] = ()
    tell: str = ""

    def with_env(self, **variables: str | None) -> Start:
        env = {**dict(self.env), **variables}
        return replace(self, env=tuple((k, v) for k, v in env.items() if v is not None))


@dataclass(frozen=True)
class Watched:
    report: ContainerReport
    printed: int

    @property
    def found(self) -> Gomaxprocs:
        found = self.report.main_process.gomaxprocs
        assert found is not None
        return found


class Running:
    """The process, its cgroups, and the process table."""

    def __init__(self, start: Start, stack: ExitStack) -> None:
        outer = stack.enter_context(Group("remedy"))
        if start.above is not None:
            outer.limit(start.above)
        self.group = stack.enter_context(Group("remedy/own"))
        if start.limit is not None:
            self.group.limit(start.limit)
        if start.cpuset:
            one_cpu(self.group, stack)
        command: list[str | Path] = []
        if start.taskset:
            command += ["taskset", "-c", "0"]
        if start.hidden:
            script = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"'
            command += ["unshare", "-m", "sh", "-c", script, "sh"]
        env = {"GODEBUG": "", **dict(start.env)}
        removed = [f"-u{name}" for name in ("GOMAXPROCS",) if name not in env]
        self.load = stack.enter_context(
            Load("env", *removed, *command, start.binary, group=self.group, env=env)
        )
        self.printed = int(self.load.line())
        if start.tell:
            self.load.tell(start.tell)
            self.printed = int(self.load.line())
        self.table = Resolver(Roots())

    def look(self) -> Watched:
        self.table.begin_round()
        pid = self.load.pid
        known = [e for e in self.table.go_processes() if e.process.pid == pid]
        if known:
            self.table.refresh_go(known[0], {})
        else:
            self.table.scan([pid])
        (tracked,) = (e for e in self.table.go_processes() if e.process.pid == pid)
        samples = np.zeros(CATEGORY_COUNT, np.int64)
        samples[Category.SCHED_FIND_WORK], samples[Category.USER] = 600, 400
        report = ContainerReport(
            container=tracked.process.container,
            processes=(tracked.process,),
            category_samples=samples,
            functions=(),
            limit=tracked.limit,
            usage=CpuUsage(),
            verdict=Verdict.UNREADABLE,
            process_samples=(1000,),
        )
        return Watched(report, self.printed)


def one_cpu(group: Group, stack: ExitStack) -> None:
    tree = find_hierarchies("/proc", "/sys/fs/cgroup").of("cpuset")
    assert tree is not None
    folder = Path(tree.mount) / group.name
    if tree.controllers:
        for each in (folder.parent, folder):
            if not each.exists():
                each.mkdir()
                stack.callback(each.rmdir)
            for name in ("cpuset.mems", "cpuset.cpus"):
                whole = (Path(tree.mount) / name).read_text()
                (each / name).write_text(whole)
        group.folders.append(folder)
        stack.callback(group.folders.remove, folder)
    else:
        for each in (folder.parent.parent, folder.parent):
            (each / "cgroup.subtree_control").write_text("+cpuset")
    (folder / "cpuset.cpus").write_text("0")


@contextmanager
def running(start: Start) -> Iterator[Running]:
    with ExitStack() as stack:
        yield Running(start, stack)


def look(start: Start) -> Watched:
    with running(start) as process:
        seen = process.look()
    assert seen.found.value == seen.printed
    return seen


def on_sixteen(seen: Watched) -> Watched:
    """As if it had found 16 CPUs at its start."""
    return with_value(seen, SIXTEEN)


def with_value(seen: Watched, value: int) -> Watched:
    main = seen.report.main_process
    changed = replace(main, gomaxprocs=replace(seen.found, value=value))
    return replace(seen, report=replace(seen.report, processes=(changed,)))


def findings(seen: Watched, earlier_limit: float | None = None) -> dict[str, Finding]:
    context = Context(seen.report, DURATION_S, SIXTEEN, Thresholds(), earlier_limit=earlier_limit)
    return {finding.code: finding for finding in rules.find_all(context)}


def of_patch(start: Start, patch: str) -> Start:
    """The program, started as the patch says; in every form that works in a bare cgroup."""
    lines = [line for line in patch.splitlines() if not line.startswith("#")]
    assert len(lines) == 1, patch
    if lines[0].startswith("go "):
        return with_source(start, go_line=lines[0])
    name, _, value = lines[0].partition("=")
    assert name == "GOMAXPROCS"
    return start.with_env(GOMAXPROCS=value)


def with_source(
    start: Start, go_line: str = "", debug: str | None = None, version: str = NEW
) -> Start:
    """Rebuilt from its source, with another go line or another //go:debug line."""
    return replace(start, binary=SOURCES[start.binary](go_line, debug, version))


SOURCES: dict[Path, Callable[[str, str | None, str], Path]] = {}
"""How the programs of this module are rebuilt."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A program of tests/programs, which can be rebuilt with another go line."""
    built: dict[tuple[str, str, str | None, str], Path] = {}

    def variant(name: str, go_line: str, debug: str | None, version: str) -> Path:
        key = name, go_line, debug, version
        if key not in built:
            source = tmp_path_factory.mktemp(name)
            shutil.copytree(PROGRAMS / name, source, dirs_exist_ok=True)
            module = source / "go.mod"
            if not module.exists():
                module.write_text(f"module {name}\n\ngo 1.21\n")
            if go_line:
                text, count = re.subn(r"(?m)^go [\d.]+$", go_line.strip(), module.read_text())
                assert count == 1
                module.write_text(text)
            if debug is not None:
                (source / "off.go").unlink(missing_ok=True)
                (source / "debug.go").write_text(f"{debug}\n\npackage main\n")
            built[key] = build(source, version, source / "built")
            SOURCES[built[key]] = lambda *change: variant(name, *change)
        return built[key]

    def plain(name: str, version: str) -> Path:
        binary = go_binary(name, version)
        SOURCES[binary] = lambda *change: variant(name, *change)
        return binary

    return plain


def without_call(start: Start) -> Start:
    """Without the command to call; "container" is "calling" without the call."""
    if start.tell:
        return replace(start, tell="")
    return replace(start, binary=go_binary("container", NEW))


# Each way that a text may offer, and its action. The group is the number in the text.
Follow = Callable[[Start], Start]
WAYS: dict[str, Follow] = {
    r"Set (?:the variable )?GOMAXPROCS to (\d+)": lambda start: start,  # the patch does it
    r"remove the variable: without it this process would get (\d+) here": (
        lambda start: start.with_env(GOMAXPROCS=None)
    ),
    r"remove containermaxprocs=0 from the variable GODEBUG: this gives (\d+)": (
        lambda start: start.with_env(GODEBUG="")
    ),
    r"GODEBUG=containermaxprocs=1,updatemaxprocs=1 in the environment gives (\d+)": (
        lambda start: start.with_env(
            GODEBUG=f"{dict(start.env).get('GODEBUG', '')},containermaxprocs=1,updatemaxprocs=1"
        )
    ),
    r"remove containermaxprocs=0 from the //go:debug or godebug line .*?gives (\d+)": (
        lambda start: with_source(start, debug="")
    ),
    r"[Ww]rite `go 1\.25\.0` or later in go\.mod and rebuild: .*?(\d+) here": (
        lambda start: with_source(start, go_line="go 1.25.0")
    ),
    r"[Ww]rite `go 1\.25\.0` or later in go\.mod and rebuild: this gives (\d+)": (
        lambda start: with_source(start, go_line="go 1.25.0")
    ),
    r"build with Go 1\.25 or newer and `go 1\.25\.0` or later in go\.mod: .*?gives (\d+) here": (
        lambda start: with_source(start, go_line="go 1.25.0")
    ),
    r"set the limit on its own cgroup, where this program reads it: this gives (\d+)": (
        lambda start: replace(start, limit=start.above, above=None)
    ),
    r"Restart the process: it will then start with (\d+)": lambda start: start,
    r"[Rr]emove (?:the call of runtime\.GOMAXPROCS|it) from the program \(then it has (\d+) here": (
        without_call
    ),
}


def follow_text(text: str, start: Start) -> None:
    """Applies every way in the text except the one of the patch."""
    ways = 0
    for pattern, follow in WAYS.items():
        match = re.search(pattern, text)
        if match is None:
            continue
        ways += 1
        if pattern.startswith("Set"):
            continue
        changed = follow(start)
        again = look(changed)
        assert again.found.value == int(match[1]), (pattern, again.found)
        assert rules.COSTLY not in findings(again)
        if "go.mod" in pattern or "GODEBUG" in pattern or "go:debug" in pattern:
            assert again.found.ignored is None, (pattern, again.found)
    offered = len(
        re.findall(r"(?:^|\. )(?:Set|Or (?:remove|write|build|set the)|Restart|Write)\b", text)
    )
    offered += text.count("Without a rebuild")
    assert ways >= offered, text


@dataclass(frozen=True)
class Trial:
    """``says`` and ``not_says``: words of the finding; ``binds``: the bound in its title."""

    name: str
    version: str
    cause: Cause
    start: Callable[[Path], Start]
    is_large: bool = False
    binds: str = "CPU limit"
    says: tuple[str, ...] = ()
    not_says: tuple[str, ...] = ()
    patch: str = "GOMAXPROCS=1"
    followed: Origin = Origin.ENVIRONMENT


def started(**changes: Any) -> Callable[[Path], Start]:
    return lambda binary: replace(Start(binary), **changes)


def env(**variables: str) -> tuple[tuple[str, str], ...]:
    return tuple(variables.items())


TRIALS = {
    "old Go": Trial(
        *("gomaxprocs", OLD, Cause.OLD_GO, started(limit=1.0)),
        is_large=True,
        says=("build with Go 1.25 or newer", "gives 2 here"),
    ),
    "an old go line": Trial(
        *("container-1.24", NEW, Cause.GO_MOD, started(limit=1.0)),
        is_large=True,
        says=("DefaultGODEBUG", "Without a rebuild", "2 here"),
        patch="go 1.25.0",
        followed=Origin.CPU_COUNT,
    ),
    "GODEBUG": Trial(
        *("container", NEW, Cause.GODEBUG),
        started(limit=1.0, env=env(GODEBUG="http2debug=1,containermaxprocs=0")),
        is_large=True,
        says=("from the variable GODEBUG",),
        not_says=("//go:debug", "go.mod"),
    ),
    "a //go:debug line": Trial(
        *("container-off", NEW, Cause.DEBUG_LINE, started(limit=1.0)),
        is_large=True,
        says=("from the //go:debug or godebug line",),
        not_says=("variable GODEBUG",),
    ),
    "the variable": Trial(
        *("container", NEW, Cause.ENVIRONMENT),
        started(limit=1.0, env=env(GOMAXPROCS="16")),
        says=("remove the variable", "get 2 here"),
        not_says=("Kubernetes", "downward"),
    ),
    "the variable, with a cpuset below the limit": Trial(
        *("container-1.24", NEW, Cause.ENVIRONMENT),
        started(limit=4.0, cpuset=True, env=env(GOMAXPROCS="4")),
        binds="CPUs of its cpuset",
        says=("remove the variable", "a cpuset of 1 CPU", "limit of 4 CPUs", "allows more"),
        not_says=("from the limit", "follows the limit"),
    ),
    "the variable, with an affinity": Trial(
        *("container-1.24", NEW, Cause.ENVIRONMENT),
        started(taskset=True, env=env(GOMAXPROCS="4")),
        binds="CPUs that its affinity allows",
        says=("a CPU affinity", "there is no CPU limit"),
    ),
    "the variable, with a limit and a cpuset of as many": Trial(
        *("container-1.24", NEW, Cause.ENVIRONMENT),
        started(limit=1.0, cpuset=True, env=env(GOMAXPROCS="4")),
        says=("a limit of 1 CPU", "and a cpuset of 1 CPU", "both fit 1"),
    ),
    "the variable, without a limit": Trial(
        *("container-1.24", NEW, Cause.ENVIRONMENT),
        started(env=env(GOMAXPROCS="64")),
        binds="number of CPUs",
        says=("there is no CPU limit", "remove the variable"),
        not_says=("from the limit",),
        patch=f"GOMAXPROCS={len(os.sched_getaffinity(0))}",
    ),
    "a call where the variable is not set": Trial(
        *("calling", NEW, Cause.CALL, started(limit=1.0)),
        says=("check again", "only if the variable is not set", "(then it has 2 here)"),
        not_says=("No variable", "does not help"),
    ),
    "automaxprocs under an empty variable": Trial(
        *("automaxprocs", OLD, Cause.AUTOMAXPROCS),
        started(limit=1.0, env=env(GOMAXPROCS="")),
        is_large=True,
        says=("remove the variable: without it this process would get 1 here", "Go ignores"),
    ),
    "automaxprocs with a cpuset below the limit": Trial(
        *("automaxprocs", OLD, Cause.AUTOMAXPROCS, started(limit=4.0, cpuset=True)),
        binds="CPUs of its cpuset",
        says=("ignores the number of CPUs",),
        not_says=("ancestor", "follows the limit"),
    ),
    "a limit above": Trial(
        *("container", NEW, Cause.ANCESTOR, started(above=1.0)),
        is_large=True,
        says=("set the limit on its own cgroup",),
        not_says=("Go 1.25 or newer", "Go 1.26 or newer"),
    ),
    "a limit above, which this program would not see on its own cgroup either": Trial(
        *("gomaxprocs", OLD, Cause.ANCESTOR, started(above=1.0)),
        is_large=True,
        not_says=("set the limit on its own cgroup", "build with Go"),
    ),
    "cgroup files that it does not find": Trial(
        *("container", NEW, Cause.HIDDEN, started(limit=1.0, hidden=True)),
        is_large=True,
        not_says=("build with", "Go 1.26", "go.mod"),
    ),
    "fewer CPUs than at the start": Trial(
        *("gomaxprocs", OLD, Cause.FEWER_CPUS, started(taskset=True)),
        is_large=True,
        binds="CPUs that its affinity allows",
        says=("Restart the process: it will then start with 1",),
        not_says=("ignores CPU limits",),
    ),
    "fewer CPUs, and it will see that itself": Trial(
        *("container", NEW, Cause.FEWER_CPUS, started(taskset=True)),
        is_large=True,
        binds="CPUs that its affinity allows",
        says=("checks limit and CPUs by itself",),
        not_says=("Restart the process", "Go 1.25 or newer"),
    ),
}


@pytest.mark.parametrize("name", TRIALS)
def test_after_the_remedy_the_finding_is_gone(name: str, program: Callable[..., Path]) -> None:
    """By the patch, and by every other way in the text."""
    trial = TRIALS[name]
    start = trial.start(program(trial.name, trial.version))
    seen = look(start)
    before = findings(on_sixteen(seen) if trial.is_large else seen)
    finding = before[rules.COSTLY]
    assert finding.cause is trial.cause
    assert f"above the {trial.binds}" in finding.title
    text = " ".join((*(e.text for e in finding.evidence), finding.remedy.text))
    for words in trial.says:
        assert words in text, text
    for words in trial.not_says:
        assert words not in text, text
    assert finding.remedy.patch.strip().splitlines()[-1] == trial.patch
    again = look(of_patch(start, finding.remedy.patch))
    assert again.found.value == finding.remedy.gomaxprocs
    assert again.found.origin is trial.followed
    if trial.patch.startswith("go "):
        assert again.found.ignored is None
    assert rules.COSTLY not in findings(again)
    follow_text(finding.remedy.text, start)


def costly(seen: Watched, earlier_limit: float | None = None) -> Finding:
    return findings(seen, earlier_limit)[rules.COSTLY]


def test_a_call_that_overrides_the_variable_has_to_be_removed() -> None:
    """The variable is known to have no effect: there is no patch, and the text says so."""
    start = Start(go_binary("container", NEW), limit=1.0, env=env(GOMAXPROCS="1"), tell="set 64")
    finding = costly(look(start))
    assert finding.cause is Cause.CALL
    assert "overrides the variable" in finding.evidence[1].text
    assert finding.remedy.patch == ""
    assert "The variable alone does not help: it is 1" in finding.remedy.text
    assert "(then it has 1 here)" in finding.remedy.text
    follow_text(finding.remedy.text, start)


def test_a_patch_that_a_call_overrides_is_withdrawn_at_the_second_look() -> None:
    """First the variable, with a note that the call may override it; then the text says that it
    does."""
    start = Start(go_binary("gomaxprocs", OLD), limit=1.0, tell="set 64")
    first = costly(look(start))
    assert "the call overrides the variable" in first.remedy.text
    again = look(of_patch(start, first.remedy.patch))
    assert again.found.value == 64
    assert "does not help" in costly(again).remedy.text


def test_after_a_resize_a_restart_is_enough_for_automaxprocs() -> None:
    """4 fitted the earlier limit; a new process gets 1."""
    start = Start(go_binary("automaxprocs", OLD), limit=4.0)
    with running(start) as process:
        assert process.look().found.value == 4
        process.group.limit(1.0)
        finding = costly(process.look(), earlier_limit=4.0)
    assert finding.cause is Cause.RESIZE
    assert "Restart the process: it will then start with 1." in finding.remedy.text
    assert look(replace(start, limit=1.0)).found.value == 1
    assert look(of_patch(replace(start, limit=1.0), finding.remedy.patch)).found.value == 1


def test_after_a_resize_a_restart_is_not_enough_for_a_variable() -> None:
    """The variable keeps its value."""
    start = Start(go_binary("gomaxprocs", OLD), limit=1.0, env=env(GOMAXPROCS="4"))
    finding = costly(look(start), earlier_limit=4.0)
    assert finding.cause is Cause.RESIZE
    assert "Restart" not in finding.remedy.text
    assert look(of_patch(start, finding.remedy.patch)).found.value == 1


def test_a_fork_of_automaxprocs_has_no_expected_value(tmp_path: Path) -> None:
    """A local folder replaces it, and rounds up and adds one."""
    shutil.copytree(PROGRAMS / "automaxprocs", tmp_path / "program")
    fork = tmp_path / "fork"
    fork.mkdir()
    (fork / "go.mod").write_text("module go.uber.org/automaxprocs\n\ngo 1.21\n")
    (fork / "fork.go").write_text(
        'package automaxprocs\n\nimport "runtime"\n\nfunc init() { runtime.GOMAXPROCS(3) }\n'
    )
    module = tmp_path / "program" / "go.mod"
    module.write_text(module.read_text() + "\nreplace go.uber.org/automaxprocs => ../fork\n")
    start = Start(build(tmp_path / "program", OLD, tmp_path / "built"), limit=1.0)
    seen = look(start)
    assert (seen.found.value, seen.found.expected) == (3, None)
    assert seen.found.automaxprocs is Automaxprocs.FORK
    finding = costly(seen)
    assert finding.cause is Cause.CALL
    again = look(of_patch(start, finding.remedy.patch))
    assert again.found.value == 3
    assert "does not help" in costly(again).remedy.text


# Findings that are not about a GOMAXPROCS above what fits


def judged(seen: Watched, code: str) -> Finding | None:
    context = Context(seen.report, DURATION_S, SIXTEEN, Thresholds())
    return {f.code: f for f in rules.find_all(context)}.get(code)


def busy(seen: Watched, cores: float, throttled: int = 0) -> Watched:
    usage = CpuUsage(None, 600, throttled, throttled * 10**7)
    report = replace(seen.report, cpu_ns=round(cores * DURATION_S * 1e9), usage=usage)
    return replace(seen, report=report)


def test_gt003_gives_the_number_of_the_remedy() -> None:
    """And a limit is recommended only if this program follows one."""
    free = Start(go_binary("container", NEW))
    old = Start(go_binary("gomaxprocs", OLD))
    for start, follows in ((free, True), (old, False)):
        seen = on_sixteen(look(start))
        main = seen.report.main_process
        wide = replace(seen.found, recommended=SIXTEEN)
        report = replace(seen.report, processes=(replace(main, gomaxprocs=wide),))
        finding = judged(busy(replace(seen, report=report), 0.2), rules.UNLIMITED)
        assert finding is not None
        assert "all CPUs it may use" in finding.title
        assert ("Or set a CPU limit" in finding.remedy.text) is follows
        again = look(of_patch(start, finding.remedy.patch))
        assert again.found.value == finding.remedy.gomaxprocs == 2
    assert look(replace(free, limit=1.0)).found.ignored is None


def test_gt004_the_number_allows_using_the_limit() -> None:
    """1 of 2, and used up."""
    start = Start(go_binary("gomaxprocs", OLD), limit=2.0, env=env(GOMAXPROCS="1"))
    finding = judged(busy(look(start), 1.0), rules.BELOW_LIMIT)
    assert finding is not None
    again = look(of_patch(start, finding.remedy.patch))
    assert again.found.value == finding.remedy.gomaxprocs == 2
    assert judged(busy(again, 1.0), rules.BELOW_LIMIT) is None


def test_gt004_without_a_limit_the_number_is_twice_the_value() -> None:
    """On two CPUs that are all of them, and the finding is gone."""
    start = Start(go_binary("gomaxprocs", OLD), env=env(GOMAXPROCS="1"))
    finding = judged(busy(look(start), 1.0), rules.BELOW_LIMIT)
    assert finding is not None
    assert "limit" not in finding.remedy.text.replace("no CPU limit", "")
    assert finding.remedy.experiment
    again = look(of_patch(start, finding.remedy.patch))
    assert again.found.value == finding.remedy.gomaxprocs == 2
    assert judged(busy(again, 2.0), rules.BELOW_LIMIT) is None or os.cpu_count() != 2


@pytest.mark.parametrize(
    ("program", "version", "variable", "why"),
    [
        ("container", NEW, None, "by design of Go 1.25 and newer"),
        ("container-1.24", NEW, None, "the number of CPUs, Go's default"),
        ("gomaxprocs", OLD, None, "the number of CPUs, Go's default"),
        ("gomaxprocs", OLD, "2", "set by the GOMAXPROCS environment variable"),
    ],
)
def test_gt005_two_where_one_fits(
    program: str, version: str, variable: str | None, why: str
) -> None:
    """By design only if the runtime follows the limit; 1 is the value of the patch."""
    start = Start(go_binary(program, version), limit=1.0).with_env(GOMAXPROCS=variable)
    finding = judged(look(start), rules.TWO_FOR_ONE)
    assert finding is not None
    assert finding.title.endswith(why)
    assert ("by design" in finding.title) is (program == "container")
    again = look(of_patch(start, finding.remedy.patch))
    assert again.found.value == finding.remedy.gomaxprocs == 1
    assert judged(again, rules.TWO_FOR_ONE) is None


def test_gt006_a_whole_number_as_the_limit_needs_no_rounding() -> None:
    """2 Ps at 1.5 CPU are throttled; at 2 nothing is rounded."""
    start = Start(go_binary("gomaxprocs", OLD), limit=1.5, env=env(GOMAXPROCS="2"))
    assert judged(busy(look(start), 1.0, throttled=120), rules.FRACTIONAL) is not None
    whole = look(replace(start, limit=2.0))
    assert judged(busy(whole, 1.0, throttled=120), rules.FRACTIONAL) is None


def test_gt008_says_if_fewer_ps_would_help_as_well() -> None:
    """2 at a limit of 1, throttled below the limit: the limit is not the only cause."""
    start = Start(go_binary("gomaxprocs", OLD), limit=1.0, env=env(GOMAXPROCS="2"))
    two = judged(busy(look(start), 0.5, throttled=120), rules.LIMIT_TOO_LOW)
    one = judged(busy(look(start.with_env(GOMAXPROCS="1")), 0.5, 120), rules.LIMIT_TOO_LOW)
    assert two is not None
    assert one is not None
    assert "GOMAXPROCS=1 instead of 2 would also reduce" in two.remedy.text
    assert "not because of GOMAXPROCS" in one.title
    raised = busy(look(replace(start, limit=2.0)), 0.5)
    assert judged(raised, rules.LIMIT_TOO_LOW) is None


def collecting(seen: Watched) -> Watched:
    samples = np.zeros(CATEGORY_COUNT, np.int64)
    samples[Category.GC_MARK_DEDICATED], samples[Category.USER] = 500, 500
    return replace(seen, report=replace(seen.report, category_samples=samples))


def cycles_of(start: Start) -> tuple[int, RuntimeState, Watched]:
    """GC cycles for the same work, as counted by the runtime itself."""
    with running(start) as process:
        seen = process.look()
    state = seen.report.main_process.runtime
    assert state is not None
    assert state.gc_cycles is not None
    return state.gc_cycles, state, seen


@pytest.mark.parametrize(("gogc", "twice"), [("100", 200), ("200", 400)])
def test_gt009_twice_the_gogc_halves_the_cycles(gogc: str, twice: int) -> None:
    """Twice the current value."""
    start = Start(go_binary("marking", NEW), limit=1.0, env=env(GOMAXPROCS="1", GOGC=gogc))
    before, _, seen = cycles_of(start)
    finding = judged(busy(collecting(seen), 0.5), rules.GC_HEAVY)
    assert finding is not None
    assert f" GOGC={twice}: " in finding.remedy.text
    after, state, _ = cycles_of(start.with_env(GOGC=str(twice)))
    assert state.gogc == twice
    assert 0.3 * before <= after <= 0.6 * before


@pytest.mark.timing  # on a starved host, a cycle allocates more than its goal, so there are fewer
@pytest.mark.parametrize("gogc", ["100", "200", "off"])
def test_gt016_near_a_memory_limit_the_limit_should_be_raised(gogc: str) -> None:
    """There is no advice about GOGC; with the new limit the same work takes fewer cycles, as many
    as the room says, and the finding is gone."""
    start = Start(go_binary("marking", NEW), limit=1.0).with_env(
        GOMAXPROCS="1", GOGC=gogc, GOMEMLIMIT="24MiB"
    )
    before, _, seen = cycles_of(start)
    finding = judged(busy(collecting(seen), 0.5), rules.HELD)
    assert finding is not None
    assert judged(busy(collecting(seen), 0.5), rules.GC_HEAVY) is None
    assert "GOGC=" not in finding.remedy.text
    name, _, value = finding.remedy.patch.strip().partition("=")
    assert name == "GOMEMLIMIT"
    after, state, seen = cycles_of(start.with_env(GOMEMLIMIT=value))
    assert state.memory_limit_bytes == int(value.removesuffix("MiB")) << 20
    assert after < 0.5 * before
    assert judged(busy(collecting(seen), 0.5), rules.HELD) is None


def in_memory(seen: Watched, size: int) -> Watched:
    """In a container with this memory limit, which it nearly uses up."""
    memory = Memory(size, "/c", size, working_set_bytes=size)
    return replace(seen, report=replace(seen.report, memory=memory))


MEMORY_TRIALS = {
    # code: variables, memory limit of the container in MiB
    rules.NO_MEMORY_LIMIT: ({}, 36),
    rules.UNFIT_MEMORY_LIMIT: ({"GOMEMLIMIT": "100MiB"}, 60),
    rules.NO_COLLECTOR: ({"GOGC": "off"}, 900),
}


def after_the_patch(code: str) -> None:
    """The process with the setting is found, and the one with the patch is not."""
    variables, limit = MEMORY_TRIALS[code]
    start = Start(go_binary("marking", NEW), limit=1.0).with_env(GOMAXPROCS="1", **variables)
    _, _, seen = cycles_of(start)
    finding = judged(in_memory(seen, limit << 20), code)
    assert finding is not None
    name, _, value = finding.remedy.patch.strip().partition("=")
    _, state, seen = cycles_of(start.with_env(**{name: value}))
    assert state.memory_limit_bytes == int(value.removesuffix("MiB")) << 20
    assert judged(in_memory(seen, limit << 20), code) is None


def test_gt017_a_memory_limit_of_go_follows_that_of_the_container() -> None:
    after_the_patch(rules.NO_MEMORY_LIMIT)


def test_gt017_with_its_remedy_the_kernel_does_not_kill() -> None:
    """GOGC=400 lets 16 MiB of live heap grow to 80 MiB: above the container's 64 MiB."""
    start = Start(go_binary("marking", NEW), limit=1.0, env=env(GOMAXPROCS="1", GOGC="400"))
    _, _, seen = cycles_of(start)
    finding = judged(in_memory(seen, 64 << 20), rules.NO_MEMORY_LIMIT)
    assert finding is not None
    name, _, value = finding.remedy.patch.strip().partition("=")
    tree = find_hierarchies("/proc", "/sys/fs/cgroup").of("memory")
    assert tree is not None
    folder = Path(tree.mount) / f"gotax-test-{os.getpid()}-killed"
    if tree.controllers == ():
        (Path(tree.mount) / "cgroup.subtree_control").write_text("+memory")
    folder.mkdir()
    try:
        limit = folder / ("memory.limit_in_bytes" if tree.controllers else "memory.max")
        # On a busy host a cycle takes long, and what was allocated in it counts as live.
        raised = re.search(r"limit of the container to (\d+) MiB", finding.remedy.text)
        enter = f'echo 0 > {folder}/cgroup.procs; exec "$@"'
        command = ["/bin/sh", "-c", enter, "sh", str(start.binary)]
        codes = []
        for size, more in ((64, {}), (int(raised[1]) if raised else 64, {name: value})):
            limit.write_text(str(size << 20))
            environment = {**os.environ, **dict(start.env), **more}
            ended = subprocess.run(
                command, input=b"x", stdout=subprocess.DEVNULL, env=environment, check=False
            )
            codes.append(ended.returncode)
    finally:
        folder.rmdir()
    assert codes == [-signal.SIGKILL, 0], finding.remedy


def test_gt018_a_memory_limit_of_go_is_below_that_of_the_container() -> None:
    after_the_patch(rules.UNFIT_MEMORY_LIMIT)


def test_gt018_after_a_resize_the_new_value_fits() -> None:
    """90 % of 60 MiB, which are 120 MiB now."""
    start = Start(go_binary("marking", NEW), limit=1.0)
    start = start.with_env(GOMAXPROCS="1", GOMEMLIMIT="54MiB")

    def stale(seen: Watched) -> Finding | None:
        report = in_memory(seen, 120 << 20).report
        context = Context(report, DURATION_S, SIXTEEN, Thresholds(), earlier_memory=60 << 20)
        return {f.code: f for f in rules.find_all(context)}.get(rules.UNFIT_MEMORY_LIMIT)

    _, _, seen = cycles_of(start)
    finding = stale(seen)
    assert finding is not None
    assert "did not follow" in finding.title
    name, _, value = finding.remedy.patch.strip().partition("=")
    _, state, again = cycles_of(start.with_env(**{name: value}))
    assert state.memory_limit_bytes == 108 << 20
    assert stale(again) is None


def test_gt019_a_memory_limit_brings_the_collector_back() -> None:
    after_the_patch(rules.NO_COLLECTOR)


def test_gt009_has_no_advice_about_gogc_if_it_is_off_or_unread() -> None:
    """If it is off, only calls start the GC; if it could not be read, the text says so."""
    start = Start(go_binary("marking", NEW), limit=1.0, env=env(GOMAXPROCS="1", GOGC="off"))
    _, _, seen = cycles_of(start)
    finding = judged(collecting(seen), rules.GC_HEAVY)
    assert finding is not None
    assert "GOGC=" not in finding.remedy.text
    assert "the program itself starts the" in finding.remedy.text
    main = replace(seen.report.main_process, runtime=None)
    unread = replace(seen, report=replace(seen.report, processes=(main,)))
    finding = judged(collecting(unread), rules.GC_HEAVY)
    assert finding is not None
    assert "GOGC=" not in finding.remedy.text
    assert "could not be read" in finding.evidence[-1].text


def test_gt012_divided_processors_fit() -> None:
    """Two with 2 each at a limit of 1; with 1 each the finding is gone."""
    start = Start(go_binary("gomaxprocs", OLD), limit=1.0, env=env(GOMAXPROCS="2"))

    def both(each: Start) -> Finding | None:
        seen = look(each)
        main = seen.report.main_process
        pair = (main, replace(main, pid=main.pid + 1))
        report = replace(seen.report, processes=pair, process_samples=(500, 500))
        return judged(replace(seen, report=report), rules.SEVERAL_PROCESSES)

    assert both(start) is not None
    assert both(start.with_env(GOMAXPROCS="1")) is None


def test_gt014_more_samples_decide() -> None:
    """49 samples are not enough, 1000 are."""
    seen = look(Start(go_binary("gomaxprocs", OLD), limit=1.0, env=env(GOMAXPROCS="16")))
    few = replace(
        seen, report=replace(seen.report, category_samples=seen.report.category_samples // 21)
    )
    finding = judged(few, rules.TOO_FEW_SAMPLES)
    assert finding is not None
    assert "Measure longer" in finding.remedy.text
    assert judged(seen, rules.TOO_FEW_SAMPLES) is None
    assert judged(seen, rules.COSTLY) is not None


FOLLOWED_BY_SAMPLING = {
    "GT002": "the same ways as GT001",
    "GT007": "in-bursts and in-bursts-one-by-one in test_findings.py",
    "GT010": "allocating and reusing there",
    "GT011": "passing and batching, locking and sharding there",
    "GT013": "c-in-bursts and c-one-by-one there",
    "GT015": "obfuscated and clear there",
    "GT020": "test_others.py",
}


def test_every_code_has_a_test() -> None:
    """Here by its name, or on sampled programs."""
    here = {name[5:10].upper() for name in globals() if name.startswith("test_gt")}
    assert here | FOLLOWED_BY_SAMPLING.keys() | {rules.COSTLY} == set(rules.CODES)


def test_every_cause_has_a_test() -> None:
    """Except the unknown one, whose remedy is the variable and another look."""
    assert {t.cause for t in TRIALS.values()} | {Cause.RESIZE, Cause.UNKNOWN} == set(Cause)
