"""GOMAXPROCS of real processes in this host's cgroups, through the whole command line.

The process itself gives the truth: it prints runtime.GOMAXPROCS(0) when it starts (the value that
the rules must expect), and after a change on request (the current value). The origin is known from
the way the process was started.

python -m pytest tests/kernel/test_gomaxprocs_matrix.py --runslow -s

runs every combination and prints the table.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from gotax.golang.cgroupview import CgroupLayout, CgroupView
from gotax.linux.cgroups.hierarchies import Hierarchy, find_hierarchies
from gotax.linux.elf import FileReader
from gotax.preflight.forecast import gomaxprocs_on
from gotax.preflight.inspecting import read_contents
from gotax.preflight.spec import Amount, ContainerSpec, Resources, Variable

from tests.kernel.load import GUARD_S, Group, Load, Walk, check_json, gotax, wait_until
from tests.toolchains import VERSIONS, minor

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

CPUS = len(os.sched_getaffinity(0))
FEW = ("1.24.13", "1.27.3")
"""The releases of the default run: the last without and the last with the container's limit."""
FOLLOWS = 25  # the minor version since which the runtime follows the limit

GoBinary = Callable[..., Path]


@dataclass(frozen=True)
class Case:
    """One process. ``leaf`` and ``above``: limits in cores of its cgroup and of the parent.

    ``wants``: the origin, and a word of the rule. ``tell``: command to the process after its start.
    """

    program: str
    version: str
    wants: tuple[str, str]
    env: tuple[tuple[str, str], ...] = ()
    leaf: float | None = None
    above: float | None = None
    cpus: int | None = None  # CPUs of its taskset
    tell: str = ""
    origin_then: str = ""  # after ``tell``
    stripped: bool = False

    @property
    def allowed(self) -> int:
        return CPUS if self.cpus is None else min(self.cpus, CPUS)

    @property
    def recommended(self) -> int:
        limits = [limit for limit in (self.leaf, self.above) if limit is not None]
        return max(1, min([self.allowed, *(math.ceil(limit) for limit in limits)]))

    @property
    def origin(self) -> str:
        return self.origin_then or self.wants[0]

    def described(self) -> str:
        limit = f"limit {self.leaf:g}" if self.leaf else "no limit"
        if self.above:
            limit += f", {self.above:g} above"
        parts = [
            f"{self.program} {self.version}{' stripped' if self.stripped else ''}",
            " ".join(f"{key}={value!r}" for key, value in self.env),
            limit,
            f"{self.cpus} CPU" if self.cpus else "",
            self.tell,
        ]
        return ", ".join(part for part in parts if part)


BY_VARIABLE = ("environment", "environment")
BY_CPUS = ("cpu-count", "CPU")
BY_AUTOMAXPROCS = ("automaxprocs", "automaxprocs")


def by_limit(case: Case) -> Case:
    """The choice of a runtime that follows the limit: at least 2, and only below the number of
    CPUs."""
    if case.leaf is not None and max(2, math.ceil(case.leaf)) < case.allowed:
        return replace(case, wants=("container-default", "container default"))
    return case


def cases(versions: tuple[str, ...]) -> Iterator[Case]:
    for version in versions:
        yield from variables(version)
        yield from limits(version)
        yield from automaxprocs(version)
        yield from calls(version)
        if minor(version) >= FOLLOWS:
            yield from settings(version)


def variables(version: str) -> Iterator[Case]:
    for text in ("1", "2", "7", "192"):
        yield Case("gomaxprocs", version, BY_VARIABLE, (("GOMAXPROCS", text),))
    for text in ("", "0", "-2", "garbage", "4x"):
        yield Case("gomaxprocs", version, BY_CPUS, (("GOMAXPROCS", text),))
    plus = BY_VARIABLE if minor(version) >= 26 else BY_CPUS  # strconv's parser takes a sign
    yield Case("gomaxprocs", version, plus, (("GOMAXPROCS", "+5"),))
    yield Case("gomaxprocs", version, BY_VARIABLE, (("GOMAXPROCS", "7"),), leaf=1.5)


def limits(version: str) -> Iterator[Case]:
    program = "container" if minor(version) >= FOLLOWS else "gomaxprocs"
    plain = Case(program, version, BY_CPUS)
    yield plain
    yield replace(plain, cpus=1)
    yield replace(plain, above=1.0)
    for leaf in (0.5, 1.0, 1.5, 3.0):
        case = replace(plain, leaf=leaf)
        yield by_limit(case) if program == "container" else case
    yield replace(plain, leaf=3.0, cpus=1)
    if not tree().controllers:  # cgroup v1 refuses a child above its parent
        yield replace(plain, leaf=3.0, above=1.5)


def automaxprocs(version: str) -> Iterator[Case]:
    linked = Case("automaxprocs", version, BY_AUTOMAXPROCS)
    for leaf in (0.5, 1.0, 1.5, 3.0):
        yield replace(linked, leaf=leaf)
    yield replace(linked, leaf=1.0, above=3.0)
    yield replace(linked, leaf=3.0, cpus=1)  # it does not use the number of CPUs
    yield replace(linked, wants=BY_CPUS)
    yield replace(linked, wants=BY_CPUS, above=1.0)  # nor the parent cgroups
    yield replace(linked, wants=BY_CPUS, leaf=1.0, env=(("GOMAXPROCS", ""),))
    yield replace(linked, wants=BY_VARIABLE, leaf=1.0, env=(("GOMAXPROCS", "3"),))
    # they support only cgroup v1, or v2 incompletely
    if version == VERSIONS[-1] and tree().controllers:
        for release, leaf in itertools.product(("1.1.0", "1.2.0", "1.5.1"), (0.5, 1.5)):
            yield replace(linked, program=f"automaxprocs-{release}", leaf=leaf)


def calls(version: str) -> Iterator[Case]:
    plain = Case("gomaxprocs", version, BY_CPUS, tell="set 3", origin_then="call")
    yield plain
    yield replace(plain, leaf=1.5)
    yield replace(plain, wants=BY_VARIABLE, env=(("GOMAXPROCS", "5"),))
    yield replace(plain, program="automaxprocs", wants=BY_AUTOMAXPROCS, leaf=1.5)


def settings(version: str) -> Iterator[Case]:
    """Settings that switch the container's limit off and on, and a reset of the value."""
    plain = Case("container", version, BY_CPUS, leaf=1.5)
    old = replace(plain, program="container-1.24")
    yield by_limit(replace(plain, env=(("GODEBUG", "updatemaxprocs=0"),)))
    yield replace(plain, env=(("GODEBUG", "containermaxprocs=0"),))
    yield replace(plain, env=(("GODEBUG", "containermaxprocs=0,containermaxprocs=x"),))
    yield replace(plain, program="container-off")  # a //go:debug line
    yield old  # go 1.24 in go.mod
    yield by_limit(replace(old, env=(("GODEBUG", "containermaxprocs=1"),)))
    yield replace(plain, leaf=None, tell=f"set {CPUS}", origin_then="call")  # to its initial value
    yield replace(plain, leaf=None, tell="default", cpus=1)
    yield replace(
        plain,
        leaf=None,
        wants=BY_VARIABLE,
        env=(("GOMAXPROCS", "9"),),
        tell="default",
        origin_then="cpu-count",
    )


def alternating(found: Iterator[Case]) -> list[Case]:
    """Every second one stripped; the other half in every second release."""
    return [replace(case, stripped=index % 2 == 1) for index, case in enumerate(found)]


def tree() -> Hierarchy:
    found = find_hierarchies("/proc", "/sys/fs/cgroup").of("cpu")
    if found is None or found.root != "/":
        pytest.skip("needs the host's cgroup tree")
    return found


def set_limit(group: Group, cores: float | None) -> None:
    cpu = tree()
    folder = Path(cpu.mount) / group.name
    quota = -1 if cores is None else round(cores * 100_000)
    if cpu.controllers:
        (folder / "cpu.cfs_period_us").write_text("100000")
        (folder / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (folder / "cpu.max").write_text(f"{'max' if quota < 0 else quota} 100000")


@dataclass(frozen=True)
class Started:
    case: Case
    pid: int
    at_start: int
    now: int
    predicted: tuple[int | None, str]  # by `gotax inspect`, before it started


@dataclass
class Host:
    """Starts processes, each in its own cgroup two levels down."""

    go_binary: GoBinary
    group: Callable[[str], Group]
    load: Callable[..., Load]
    count: int = 0
    predicted: tuple[int | None, str] = (None, "")

    def place(self, case: Case) -> Group:
        self.count += 1
        above = self.group(f"matrix-{self.count}")
        leaf = self.group(f"matrix-{self.count}/leaf")
        if case.above is not None:
            set_limit(above, case.above)
        if case.leaf is not None:
            set_limit(leaf, case.leaf)
        return leaf

    def start(self, case: Case, group: Group | None = None) -> tuple[Load, int]:
        variants = ("stripped",) if case.stripped else ()
        path = self.go_binary(case.program, case.version, *variants)
        self.predicted = inspected(case, path)
        cpus = sorted(os.sched_getaffinity(0))[: case.allowed]
        pin = ("taskset", "-c", ",".join(map(str, cpus))) if case.cpus else ()
        # The test's own environment must not affect them.
        clean = ("env", "-u", "GOMAXPROCS", "-u", "GODEBUG", *(f"{k}={v}" for k, v in case.env))
        program = self.load(*clean, *pin, path, group=group or self.place(case))
        return program, int(program.line())

    def run(self, case: Case) -> Started:
        program, at_start = self.start(case)
        now = at_start
        if case.tell:
            program.tell(case.tell)
            now = int(program.line())
        return Started(case, program.pid, at_start, now, self.predicted)


@pytest.fixture
def host(go_binary: GoBinary, group: Callable[[str], Group], load: Callable[..., Load]) -> Host:
    return Host(go_binary, group, load)


def inspected(case: Case, path: Path) -> tuple[int | None, str]:
    """What the binary, the variables, the limit and the CPUs say: value and origin."""
    with FileReader(path) as reader:
        program = read_contents(reader, str(path)).program
    assert program is not None
    limits = [None if cores is None else Amount(cores, "") for cores in (case.leaf, case.above)]
    spec = ContainerSpec(
        resources=Resources(cpu_limit=limits[0]),
        pod_cpu_limit=limits[1],
        variables=tuple(Variable(name, text) for name, text in case.env),
        view=CgroupView(1 if tree().controllers else 2, CgroupLayout.HOST),
    )
    found = gomaxprocs_on(program, spec, case.allowed)
    return found.value, found.origin.value


def judged(gomaxprocs: dict[str, Any]) -> tuple[int, str, int, int]:
    return tuple(gomaxprocs[key] for key in ("value", "origin", "expected", "recommended"))


def check_all(started: list[Started]) -> list[str]:
    """The table: a line for each, with marks for wrong ones."""
    flags = itertools.chain.from_iterable(("--pid", str(one.pid)) for one in started)
    document = check_json("-d", "0.5", *flags)
    found = {container["pids"][0]: container for container in document["containers"]}
    assert len(found) == len(started)
    lines = []
    for one in started:
        case, gomaxprocs = one.case, found[one.pid]["gomaxprocs"]
        wanted = (one.now, case.origin, one.at_start, case.recommended)
        right = judged(gomaxprocs) == wanted and case.wants[1] in gomaxprocs["rule"]
        right = right and found[one.pid]["cpu_limit_cores"] == min(
            (limit for limit in (case.leaf, case.above) if limit is not None), default=None
        )
        right = right and one.predicted == (one.at_start, case.wants[0])
        mark = "" if right else f"  WRONG: {wanted}, inspected {one.predicted}"
        values = "{} {}, expected {}, recommended {}".format(*judged(gomaxprocs))
        lines.append(f"{case.described():<62} {values} ({gomaxprocs['rule']}){mark}")
    return lines


def test_few_releases_in_every_situation(host: Host) -> None:
    """Value, origin and expected value, variables, limits, automaxprocs, calls and settings.

    `gotax inspect` predicts the value from the binary, before the process starts."""
    lines = check_all([host.run(case) for case in alternating(cases(FEW))])
    assert [line for line in lines if "WRONG" in line] == []


@pytest.mark.slow
@pytest.mark.parametrize("stripped", [False, True], ids=["plain", "stripped"])
def test_every_release_in_every_situation(host: Host, stripped: bool) -> None:
    """More than a hundred combinations, stripped and not."""
    found = [replace(case, stripped=stripped) for case in cases(VERSIONS)]
    lines = check_all([host.run(case) for case in found])
    print("", *lines, f"{len(lines)} combinations", sep="\n")
    assert len(lines) > 100
    assert [line for line in lines if "WRONG" in line] == []


@pytest.mark.parametrize("version", FEW)
def test_explain_shows_the_rule_of_one_process(host: Host, version: str) -> None:
    """`gotax explain --pid N --json`: value, origin, expected value, and the rule behind it."""
    one = host.run(Case("automaxprocs", version, BY_AUTOMAXPROCS, leaf=1.5, stripped=True))
    with gotax("explain", "--json", "-d", "0.2", "--pid", str(one.pid)) as process:
        output, _ = process.communicate(timeout=GUARD_S)
    document = json.loads(output)
    assert judged(document["gomaxprocs"]) == (1, "automaxprocs", 1, 2)
    assert document["gomaxprocs"]["rule"] == "automaxprocs: 1.5 cores rounded down, at least 1"
    assert document["container"]["gomaxprocs"] == document["gomaxprocs"]


def windows_of(walk: Walk, pid: int) -> tuple[int | None, str, int | None]:
    """Value, origin and expected value of the process in the next window."""
    walk.processes.scan({pid})
    for report in walk.window().reports:
        for process in report.processes:
            if process.pid == pid and (found := process.gomaxprocs) is not None:
                return found.value, found.origin.value, found.expected
    raise AssertionError(f"process {pid} is in no window")


def allow(pid: int, cpus: set[int]) -> None:
    for task in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(task), cpus)


two_cpus = pytest.mark.skipif(CPUS < 2, reason="needs two CPUs")


@two_cpus
@pytest.mark.parametrize("version", [v for v in VERSIONS if minor(v) >= FOLLOWS])
def test_a_runtime_that_updates_itself_is_read_again(host: Host, version: str) -> None:
    """From one CPU to two: Go 1.25 and newer follow at run time; the next window shows it."""
    case = Case("container", version, BY_CPUS, cpus=1)
    program, at_start = host.start(case)
    assert at_start == 1
    with Walk(19) as walk:
        assert windows_of(walk, program.pid) == (1, "cpu-count", 1)
        allow(program.pid, set(sorted(os.sched_getaffinity(0))[:2]))

        def grown() -> bool:
            program.tell("")  # the runtime checks again only while it runs
            return int(program.line()) == 2

        wait_until(grown, "the runtime to see both CPUs")
        assert windows_of(walk, program.pid) == (2, "cpu-count", 2)


@two_cpus
@pytest.mark.parametrize(
    ("program", "version", "variables"),
    [
        ("gomaxprocs", "1.21.13", ()),
        ("gomaxprocs", "1.24.13", ()),
        ("container-1.24", "1.25.12", ()),
        ("container", "1.27.3", (("GODEBUG", "updatemaxprocs=0"),)),
    ],
)
def test_a_runtime_that_does_not_update_itself_had_fewer_cpus_at_start(
    host: Host, program: str, version: str, variables: tuple[tuple[str, str], ...]
) -> None:
    """The runtime's number of CPUs at its start distinguishes the old default from a call."""
    case = Case(program, version, BY_CPUS, variables, cpus=1)
    running, at_start = host.start(case)
    assert at_start == 1
    allow(running.pid, set(sorted(os.sched_getaffinity(0))[:2]))
    document = check_json("-d", "0.2", "--pid", str(running.pid))
    (container,) = document["containers"]
    assert judged(container["gomaxprocs"]) == (1, "cpu-count", 2, 2)


def test_automaxprocs_stays_when_the_limit_is_raised(host: Host) -> None:
    """It reads the limit once. An agent that saw the process before knows the origin."""
    case = Case("automaxprocs", VERSIONS[-1], BY_AUTOMAXPROCS, leaf=1.0)
    group = host.place(case)
    program, at_start = host.start(case, group)
    assert at_start == 1
    with Walk(19) as walk:
        assert windows_of(walk, program.pid) == (1, "automaxprocs", 1)
        set_limit(group, 3.0)
        assert windows_of(walk, program.pid) == (1, "automaxprocs", 3)
        program.tell("set 2")
        assert int(program.line()) == 2
        assert windows_of(walk, program.pid) == (2, "call", 3)
