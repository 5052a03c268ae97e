"""Random windows for property tests: any names, any columns, always consistent."""

from __future__ import annotations

from gotax.category import Category
from gotax.findings import (
    Cause,
    Confidence,
    Evidence,
    Finding,
    Remedy,
    Saving,
    SavingSource,
    Severity,
    Verdict,
)
from gotax.process import (
    Container,
    CpuLimit,
    CpuUsage,
    GoBuild,
    Gomaxprocs,
    Origin,
    PodContainer,
    Process,
    RuntimeState,
    Workload,
)
from gotax.profile import Frame, FrameKind, Location
from gotax.window import Window
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from .windows import Load, Run, Setting, build_window

# Names as an attacker chooses them: an undecodable byte becomes a surrogate in Python.
unhurried = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # a slow, loaded machine is no failure

NASTY = (
    "",
    "\x1b[2J\x1b]0;title\x07",
    "two\nlines\r\tand\x00zero",
    "\u202egpj.exe\u2066\u200b",
    "\u05d0\u05d1 right to left",
    "\udcff\udc80",
    'quotes " and \\ and ; and {}',
    "a/very-" + "long-" * 60 + "name",
    "/a/path" * 50 + ".scope",
    "\u6587\u5b57" * 40,
    "words " * 60,
)
names = st.sampled_from(NASTY) | st.text(max_size=8)
addresses = st.integers(0, 2**64 - 1)
lines = st.integers(0, 2**31 - 1)

frames = st.builds(
    Frame, names, names, lines, lines, st.sampled_from(FrameKind), inlined=st.booleans()
)
locations = st.builds(
    Location, names, names, addresses, st.lists(frames, min_size=1, max_size=2).map(tuple)
)
stacks = st.lists(locations, max_size=3).map(tuple)
pods = st.builds(
    PodContainer,
    *[names] * 7,
    st.builds(Workload, names, names),
    ended=st.booleans(),
)
containers = st.builds(
    Container,
    key=names,
    name=names,
    cgroup=names,
    container_id=st.none() | st.sampled_from(("0" * 64, "1" * 64)),
    pod=st.none() | pods,
)
processes = st.builds(
    Process,
    pid=st.integers(1, 2**22),
    start_ticks=st.integers(0, 2**40),
    command=names,
    container=containers,
    build=st.none() | st.builds(GoBuild, names),
    gomaxprocs=st.none()
    | st.builds(
        Gomaxprocs,
        st.none() | st.integers(1, 1024),
        st.sampled_from(Origin),
        st.none() | st.integers(1, 1024),
        rule=names,
        reason=names,
    ),
    runtime=st.none()
    | st.builds(
        RuntimeState,
        st.none() | st.integers(0, 1024),
        st.none() | st.integers(-1, 2**31 - 1),
        st.none() | st.integers(0, 2**63 - 1),
        st.none() | st.integers(0, 2**32 - 1),
        *(st.none() | st.integers(0, 2**48) for _ in range(4)),
    ),
)

cores = st.none() | st.floats(0.001, 1024)
counts = st.none() | st.integers(0, 2**50)
limits = st.builds(CpuLimit, cores, st.none() | names, cores, counts, counts, counts)
usages = st.builds(CpuUsage, counts, counts, counts, counts)
numbers = st.floats(-1e6, 1e6)
evidence = st.builds(
    Evidence,
    text=names,
    value=st.none() | numbers,
    unit=names,
    interval=st.none() | st.tuples(numbers, numbers),
    window_s=st.none() | st.floats(0, 1e7),
)
savings = st.none() | st.builds(
    Saving,
    numbers,
    numbers,
    numbers,
    st.lists(st.builds(SavingSource, names, numbers), max_size=2).map(tuple),
    st.lists(names, max_size=2).map(tuple),
)
findings = st.builds(
    Finding,
    code=names,
    title=names,
    severity=st.sampled_from(Severity),
    confidence=st.sampled_from(Confidence),
    evidence=st.lists(evidence, max_size=2).map(tuple),
    remedy=st.builds(Remedy, names, names, counts),
    saving=savings,
    cause=st.none() | st.sampled_from(Cause),
    held_s=st.floats(0, 1e7),
)


@st.composite
def loads(draw: st.DrawFn) -> Load:
    pool = draw(st.lists(stacks, min_size=1, max_size=3))
    runs = draw(
        st.lists(
            st.builds(
                Run, st.sampled_from(pool), st.sampled_from(Category), st.integers(1, 10_000)
            ),
            min_size=1,
            max_size=4,
        )
    )
    return Load(
        process=draw(processes),
        runs=tuple(runs),
        limit=draw(limits),
        usage=draw(usages),
        verdict=draw(st.sampled_from(Verdict)),
        findings=draw(st.lists(findings, max_size=2).map(tuple)),
    )


@st.composite
def windows(draw: st.DrawFn) -> Window:
    setting = Setting(
        host=draw(names),
        lost=draw(st.dictionaries(st.sampled_from(("no-process", "map-full")), lines)),
        duration_s=draw(st.just(0.0) | st.floats(0.001, 1e6)),
        period_ns=draw(st.integers(1_001_001, 1_000_000_000)),
    )
    return build_window(*draw(st.lists(loads(), max_size=3)), setting=setting)
