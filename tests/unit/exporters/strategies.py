"""Random windows for property tests: any names, any columns, always consistent."""

from __future__ import annotations

from gotax.model import (
    Category,
    Container,
    Frame,
    FrameKind,
    GoBuild,
    Gomaxprocs,
    Location,
    Origin,
    Process,
    Window,
)
from hypothesis import strategies as st

from .windows import Load, Run, Setting, build_window

# Names as strangers choose them: a surrogate is what an undecodable byte becomes in Python.
names = st.text(st.characters(), max_size=40) | st.text(
    st.characters(categories=["Cs", "Cc", "Cf", "Zl"]), max_size=8
)
addresses = st.integers(0, 2**64 - 1)
lines = st.integers(0, 2**31 - 1)

frames = st.builds(
    Frame, names, names, lines, lines, st.sampled_from(FrameKind), inlined=st.booleans()
)
locations = st.builds(
    Location, names, names, addresses, st.lists(frames, min_size=1, max_size=3).map(tuple)
)
stacks = st.lists(locations, max_size=6).map(tuple)
containers = st.builds(Container, key=names, name=names, cgroup=names)
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
)


@st.composite
def loads(draw: st.DrawFn) -> Load:
    pool = draw(st.lists(stacks, min_size=1, max_size=4))
    runs = draw(
        st.lists(
            st.builds(
                Run, st.sampled_from(pool), st.sampled_from(Category), st.integers(1, 10_000)
            ),
            min_size=1,
            max_size=6,
        )
    )
    return Load(draw(processes), tuple(runs))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    setting = Setting(
        host=draw(names),
        lost=draw(st.dictionaries(st.sampled_from(("no-process", "map-full")), lines)),
        duration_s=draw(st.just(0.0) | st.floats(0.001, 1e6)),
        period_ns=draw(st.integers(1_001_001, 1_000_000_000)),
    )
    return build_window(*draw(st.lists(loads(), max_size=4)), setting=setting)
