"""Each finding on a real process that has it, and on a similar one that does not.

Programs run at the same time in cgroups with limits, as many as the CPUs can serve, and one window
of a real session judges all of them. Larger hardware is simulated in the report afterwards: see
``on_a_large_node``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from gotax.cli.stopping import StopSignal
from gotax.config import Thresholds
from gotax.diagnosis import rules
from gotax.diagnosis.context import Context
from gotax.findings import Cause, Confidence, Finding, Severity
from gotax.scope import Scope
from gotax.session import Plan, Session
from gotax.window import ContainerReport

from tests.kernel.load import Group, Load, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

GO = "1.24.13"
HZ, WARM_UP_S, WINDOW_S = 997, 1.0, 4.0


@dataclass(frozen=True)
class Program:
    """``flags`` of tests/programs/findings, or of ``program``."""

    procs: int
    flags: str
    program: str = "findings"
    variants: tuple[str, ...] = ()
    limit: str = "off"  # GOMEMLIMIT


@dataclass(frozen=True)
class Subject:
    """The programs in one cgroup with ``limit`` cores."""

    limit: float | None
    programs: tuple[Program, ...]


def one(limit: float | None, procs: int, flags: str, program: str = "findings") -> Subject:
    return Subject(limit, (Program(procs, flags, program),))


IN_BURSTS = "-threads 4 -work 150 -rest 280 -together"
# Longer than a period of the limit, too: wherever in a period it begins, two CPUs use up a quota.
C_IN_BURSTS = "-kind long-c -threads 4 -work 130 -rest 770 -together"

TOGETHER: tuple[dict[str, Subject], ...] = (
    {  # about one CPU in total
        "oversized": one(1.0, 64, "-rate 40000", "changing"),
        "fitting": one(1.0, 1, "-rate 40000", "changing"),
        "hardly-seen": one(1.0, 64, "-rate 20", "changing"),
        "two-of-one": one(1.0, 2, "-work 4 -rest 80"),
        "two-of-two": one(2.0, 2, "-work 4 -rest 80"),
        "clear": one(1.0, 1, "-work 4 -rest 80"),
        "obfuscated": Subject(1.0, (Program(1, "-work 4 -rest 80", variants=("obfuscated",)),)),
        "several": Subject(1.0, (Program(2, "-work 4 -rest 60"), Program(2, "-work 4 -rest 60"))),
        "collecting": one(1.0, 1, "-kind collect -work 10 -rest 90"),
        "held": Subject(1.0, (Program(1, "-kind collect -work 10 -rest 90", limit="40MiB"),)),
        "allocating": one(1.0, 1, "-kind allocate -work 10 -rest 90"),
        "reusing": one(1.0, 1, "-kind reuse -work 10 -rest 90"),
        "passing": one(1.0, 1, "-kind pass -work 10 -rest 90"),
        "batching": one(1.0, 1, "-kind batch -work 10 -rest 90"),
        "locking": one(1.0, 1, "-kind lock -threads 3 -work 4 -rest 90"),
        "sharding": one(1.0, 1, "-kind shard -threads 3 -work 4 -rest 90"),
        "computing": one(1.0, 1, "-work 10 -rest 90"),
        "c-code": Subject(1.0, (Program(1, "-kind c -work 10 -rest 90", variants=("cgo",)),)),
    },
    {  # without a pause, as far as the limit allows
        "below-the-limit": one(2.0, 1, ""),
        "too-much-work": one(0.3, 1, ""),
        "spinning": one(0.5, 64, ""),
    },
    {
        "rounded-down": one(1.5, 1, ""),
        "below-but-idle": one(2.0, 1, "-work 5 -rest 95"),
        "rounded-down-idle": one(1.5, 1, "-work 5 -rest 95"),
        "c-one-by-one": Subject(1.0, (Program(1, f"{C_IN_BURSTS} -most 1", variants=("cgo",)),)),
    },
    # Longer than a period of the limit (100 ms): it uses up a quota in any case.
    {"in-bursts": one(1.0, 8, IN_BURSTS)},
    {"c-in-bursts": Subject(1.0, (Program(1, C_IN_BURSTS, variants=("cgo",)),))},
    {
        "in-bursts-one-by-one": one(1.0, 1, IN_BURSTS),
        "without-a-limit": one(None, 64, "-rate 40000", "changing"),
    },
)


@dataclass(frozen=True)
class Watched:
    report: ContainerReport
    duration_s: float
    cpus: int

    @property
    def findings(self) -> dict[str, Finding]:
        return {finding.code: finding for finding in self.report.findings}


@pytest.fixture(scope="module")
def seen(
    go_binary: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Watched]:
    """Every subject by its name, after all of them were sampled."""

    def binary(program: Program) -> Path:
        if program.variants == ("obfuscated",):
            return obfuscated(go_binary(program.program, GO), tmp_path_factory.mktemp("obfuscated"))
        return go_binary(program.program, GO, *program.variants)

    found: dict[str, Watched] = {}
    for subjects in TOGETHER:
        found |= watch(subjects, binary)
    return found


def watch(subjects: dict[str, Subject], binary: Callable[[Program], Path]) -> dict[str, Watched]:
    with ExitStack() as stack:
        paths, loads = dict[str, str](), dict[int, Path]()
        for name, subject in subjects.items():
            group = stack.enter_context(Group(name))
            group.favour()
            if subject.limit is not None:
                group.limit(subject.limit)
            paths[group.path] = name
            for program in subject.programs:
                flags: list[str | Path] = [*program.flags.split()]
                env = {"GOMAXPROCS": str(program.procs), "GOMEMLIMIT": program.limit}
                path = binary(program)
                load = Load(path, *flags, group=group, env=env)
                stack.enter_context(load)
                loads[load.pid] = path
        for pid, path in loads.items():
            link = Path(f"/proc/{pid}/exe")
            wait_until(lambda e=link, p=path: e.readlink() == p.resolve(), f"{path} to start")
        pids = frozenset(loads)
        time.sleep(WARM_UP_S)
        with Session(Plan(HZ, 1.0, Scope(pids))) as session:
            windows = session.windows(WINDOW_S, StopSignal())
            next(session.windows(0.1, StopSignal()))  # the kernel's counters grow from here
            window = next(windows)
    return {
        paths[report.container.cgroup]: Watched(report, window.duration_s, window.cpu_count)
        for report in window.reports
    }


def obfuscated(binary: Path, folder: Path) -> Path:
    """As after obfuscation: the runtime's functions have other names."""
    content = binary.read_bytes()
    for name in (b"runtime.GOMAXPROCS", b"runtime.procresize", b"runtime.schedinit"):
        assert content.count(name + b"\0")
        content = content.replace(name + b"\0", b"x" * len(name) + b"\0")
    path = folder / binary.name
    path.write_bytes(content)
    path.chmod(0o755)
    return path


TRIGGERS = {
    "GT001": ("oversized", "fitting"),
    "GT002": ("spinning", "oversized"),
    "GT004": ("below-the-limit", "below-but-idle"),
    "GT005": ("two-of-one", "two-of-two"),
    "GT006": ("rounded-down", "rounded-down-idle"),
    "GT007": ("in-bursts", "in-bursts-one-by-one"),
    "GT008": ("too-much-work", "computing"),
    "GT009": ("collecting", "computing"),
    "GT010": ("allocating", "reusing"),
    "GT011": ("passing", "batching"),
    "GT012": ("several", "two-of-one"),
    "GT013": ("c-code", "computing"),
    "GT014": ("hardly-seen", "oversized"),
    "GT015": ("obfuscated", "clear"),
    "GT016": ("held", "collecting"),
}


def test_every_code_has_a_trigger_here() -> None:
    """All except GT003, which has its own test below, and those about memory settings alone: what
    they need is read and not sampled, so test_remedies.py has their processes. GT020 is about
    other programs than Go's: test_others.py."""
    memory = {rules.NO_MEMORY_LIMIT, rules.UNFIT_MEMORY_LIMIT, rules.NO_COLLECTOR, "GT020"}
    assert {*TRIGGERS, rules.UNLIMITED} | memory == set(rules.CODES)


# They depend on how much CPU a program gets. On a busy host it gets less, and a collector that
# waits for a CPU finds more of the heap alive.
NEEDS_ITS_SHARE = {"GT002", "GT004", "GT006", "GT007", "GT008", "GT016"}


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, marks=pytest.mark.timing) if code in NEEDS_ITS_SHARE else code
        for code in TRIGGERS
    ],
)
def test_the_finding_is_made_only_for_its_subject(code: str, seen: dict[str, Watched]) -> None:
    """In one window of four seconds each."""
    with_it, without = TRIGGERS[code]
    assert code in seen[with_it].findings, summary(seen[with_it])
    assert code not in seen[without].findings, summary(seen[without])


def summary(subject: Watched) -> str:
    lines = [f"{f.code} {f.title}: {[e.text for e in f.evidence]}" for f in subject.report.findings]
    return f"{subject.report.samples} samples; " + ("; ".join(lines) or "no finding")


def test_gt007_the_patch_ends_the_throttling(seen: dict[str, Watched]) -> None:
    """The other program of TRIGGERS is the same one, started as the patch says."""
    assert seen["in-bursts"].findings["GT007"].remedy.patch == "GOMAXPROCS=1\n"
    after = seen["in-bursts-one-by-one"].report.main_process.gomaxprocs
    assert after is not None
    assert after.value == 1


def test_gt011_smaller_critical_sections_of_each_goroutine(seen: dict[str, Watched]) -> None:
    assert "GT011" in seen["locking"].findings
    assert "GT011" not in seen["sharding"].findings, summary(seen["sharding"])


@pytest.mark.timing
def test_gt013_with_a_semaphore_c_code_does_not_exceed_the_limit(seen: dict[str, Watched]) -> None:
    """Four calls at once use two CPUs although GOMAXPROCS is 1; one at a time uses one."""

    def throttled(name: str) -> float:
        usage = seen[name].report.usage
        assert usage.periods
        assert usage.throttled_periods is not None
        return usage.throttled_periods / usage.periods

    finding = seen["c-in-bursts"].findings["GT013"]
    assert "more threads than GOMAXPROCS can run" in finding.remedy.text
    assert "(with a semaphore)" in finding.remedy.text
    assert throttled("c-one-by-one") < 0.5 * throttled("c-in-bursts")


def test_locks_are_distinguished_from_channels(seen: dict[str, Watched]) -> None:
    """Both are coordination; the title names the cause."""
    assert "(channels)" in seen["passing"].findings["GT011"].title
    assert "(locks)" in seen["locking"].findings["GT011"].title


@pytest.mark.timing
def test_only_costly_findings_are_warnings(seen: dict[str, Watched]) -> None:
    """Two of all these subjects have a costly GOMAXPROCS, and one a costly GOMEMLIMIT."""
    warned = {
        name
        for name, subject in seen.items()
        if any(f.severity is Severity.WARNING for f in subject.findings.values())
    }
    assert warned - {"without-a-limit"} == {"oversized", "in-bursts", "held"}


def test_the_finding_has_cause_and_remedy(seen: dict[str, Watched]) -> None:
    """Cause, confidence, the saving as a range, its sources, and the patch."""
    finding = seen["oversized"].findings["GT001"]
    assert finding.cause is Cause.ENVIRONMENT
    assert finding.confidence is Confidence.HIGH
    assert (finding.remedy.gomaxprocs, finding.remedy.patch) == (1, "GOMAXPROCS=1\n")
    saving = finding.saving
    assert saving is not None
    assert 0 < saving.low < saving.mid < saving.high
    assert sum(source.cores for source in saving.sources) == pytest.approx(saving.mid)


def on_a_large_node(subject: Watched, cpus: int) -> Context:
    """The same process on a host with more CPUs, which it fits: it was started with one P for each.
    The test machine is too small to count as a large node."""
    main = subject.report.main_process
    assert main.gomaxprocs is not None
    gomaxprocs = replace(main.gomaxprocs, value=cpus, recommended=cpus)
    report = replace(subject.report, processes=(replace(main, gomaxprocs=gomaxprocs),))
    return Context(report, subject.duration_s, cpus, Thresholds())


def test_no_limit_on_a_large_node(seen: dict[str, Watched]) -> None:
    """GT003 with 64 CPUs; not with 7 of them, and not with a limit."""
    subject = seen["without-a-limit"]
    found = {f.code: f for f in rules.find_all(on_a_large_node(subject, 64))}
    assert rules.UNLIMITED in found
    assert found[rules.UNLIMITED].remedy.gomaxprocs == 2
    small = rules.find_all(on_a_large_node(subject, 7))
    limited = rules.find_all(on_a_large_node(seen["oversized"], 64))
    assert all(f.code != rules.UNLIMITED for f in (*small, *limited))
