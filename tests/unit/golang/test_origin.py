"""The rules of Go's versions at their edges, and a process's view of its cgroup from files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from gotax.errors import ProcessGoneError
from gotax.golang.cgroupview import CgroupLayout, CgroupView, read_cgroup_view
from gotax.golang.gomaxprocs import GomaxprocsAddresses, LiveGomaxprocs
from gotax.golang.origin import judge
from gotax.golang.prediction import bindings, predict, recommend
from gotax.golang.startup import Facts, environment_value
from gotax.process import Binding, GoBuild, Gomaxprocs, Ignored, Module, Origin, Otherwise

PLAIN = Facts(GoBuild("go1.26.8"), allowed_cpus=8, leaf_limit_cores=4.0)


@pytest.mark.parametrize(
    ("limit", "cpus", "fits"), [(0.0, 8, 1), (1.0, 0, 1), (None, 0, 1), (2.0, 1, 1), (1.5, 2, 2)]
)
def test_one_always_fits(limit: float | None, cpus: int, fits: int) -> None:
    """Also of a limit of nothing, and where no CPU is said to be allowed."""
    assert recommend(limit, cpus) == fits


@pytest.mark.parametrize(
    ("limit", "allowed", "online", "cpuset", "bound"),
    [
        (0.0, 8, 8, 8, (Binding.QUOTA,)),  # of nothing, too, 1 fits
        (4.0, 0, None, None, (Binding.HOST,)),
        (1.0, 0, None, None, (Binding.QUOTA, Binding.HOST)),
        (None, 4, None, None, (Binding.HOST,)),
        (None, 4, None, 4, (Binding.HOST,)),
        (None, 4, 4, 4, (Binding.HOST,)),
        (None, 4, 5, 4, (Binding.CPUSET,)),
        (None, 4, 5, 5, (Binding.AFFINITY,)),
        (None, 4, 5, None, (Binding.AFFINITY,)),
    ],
)
def test_what_gives_the_number(
    limit: float | None,
    allowed: int,
    online: int | None,
    cpuset: int | None,
    bound: tuple[Binding, ...],
) -> None:
    """The host where its CPUs are not known, for nothing says that it is anything else."""
    facts = replace(PLAIN, allowed_cpus=allowed, online_cpus=online, cpuset_cpus=cpuset)
    assert bindings(limit, facts) == bound


@pytest.mark.parametrize(
    ("text", "minor", "value"),
    [
        (None, 26, None),
        ("", 26, None),
        ("1", 26, 1),
        ("1", 7, 1),
        ("0", 26, None),
        ("-1", 26, None),
        ("+4", 25, None),  # atoi32 takes no plus sign
        ("+4", 26, 4),
        ("4x", 7, 4),  # C's way: leading digits
        ("4x", 8, None),
        ("-4", 7, None),
        ("2147483647", 10, 2147483647),
        ("2147483648", 10, None),  # 1 << 31 is no int32
        ("2147483648", 8, None),
        ("2147483648", 7, 256),  # Go 1.7 knows no such bound, but a greatest number of Ps
        ("257", 8, 256),
        ("1025", 9, 1024),
        ("1025", 10, 1025),
        ("0" * 4095 + "4", 26, 4),
        ("0" * 4096 + "4", 26, None),  # longer than any int that Python turns quickly
        ("0" * 4095 + "4", 7, 4),
    ],
)
def test_the_variable_at_the_edges(text: str | None, minor: int, value: int | None) -> None:
    """As each version's parser takes it."""
    assert environment_value(text, minor) == value


@pytest.mark.parametrize(
    ("version", "limit", "cpus", "value", "by"),
    [
        ("go1.4", None, 8, 1, Origin.FIXED),
        ("go1.5", None, 8, 8, Origin.CPU_COUNT),
        ("go1.24", 4.0, 8, 8, Origin.CPU_COUNT),
        ("go1.25", 4.0, 8, 4, Origin.CONTAINER),
        ("go1.25", 0.5, 8, 2, Origin.CONTAINER),  # never below 2
        ("go1.25", 2.1, 8, 3, Origin.CONTAINER),
        ("go1.25", 8.0, 8, 8, Origin.CPU_COUNT),
        ("go1.25", 7.1, 8, 8, Origin.CPU_COUNT),
        ("go1.25", 7.0, 8, 7, Origin.CONTAINER),
        ("go1.25", 0.5, 1, 1, Origin.CPU_COUNT),
        ("go1.25", 0.5, 2, 2, Origin.CPU_COUNT),
        ("go1.25", None, 8, 8, Origin.CPU_COUNT),
        ("devel", 4.0, 8, None, Origin.UNKNOWN),
    ],
)
def test_the_default(
    version: str, limit: float | None, cpus: int, value: int | None, by: Origin
) -> None:
    """Without a variable and without automaxprocs."""
    facts = Facts(GoBuild(version), allowed_cpus=cpus, leaf_limit_cores=limit)
    found = predict(facts)
    assert (found.value, found.origin) == (value, by)


def process(root: Path, pid: str, namespace: str, mounted: str = "/") -> None:
    """A /proc/PID of a process in the cgroup /pod, in a cgroup namespace that is a file's inode."""
    folder = root / pid
    (folder / "ns").mkdir(parents=True)
    (folder / "cgroup").write_text("0::/pod\n")
    (folder / "mountinfo").write_text(
        f"29 22 0:26 {mounted} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
    )
    (root / namespace).touch()
    (folder / "ns" / "cgroup").symlink_to(root / namespace)


@pytest.mark.parametrize(
    ("namespace", "mounted", "layout"),
    [
        ("host", "/", CgroupLayout.HOST),
        ("host", "/pod", CgroupLayout.BIND),
        ("own", "/pod", CgroupLayout.NAMESPACE),
        ("own", "/", CgroupLayout.HIDDEN),
    ],
)
def test_a_view_is_read_from_proc(
    namespace: str, mounted: str, layout: CgroupLayout, tmp_path: Path
) -> None:
    """A namespace other than that of the host's first process is its own."""
    process(tmp_path, "1", "host")
    process(tmp_path, "7", namespace, mounted)
    view = read_cgroup_view(str(tmp_path), 7)
    assert (view.version, view.layout, view.usual_mount) == (2, layout, True)


@pytest.mark.parametrize("missing", ["mountinfo", "ns/cgroup"])
def test_a_process_that_ends_meanwhile_is_gone(missing: str, tmp_path: Path) -> None:
    """Not: one without a cgroup."""
    process(tmp_path, "1", "host")
    process(tmp_path, "7", "host")
    (tmp_path / "7" / missing).unlink()
    with pytest.raises(ProcessGoneError):
        read_cgroup_view(str(tmp_path), 7)


def debugging(built_in: str, variable: str | None) -> Facts:
    build = GoBuild("go1.26", settings=(("DefaultGODEBUG", built_in),))
    return replace(PLAIN, build=build, godebug=variable)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (PLAIN, None),
        (debugging("containermaxprocs=0", None), Ignored.DEBUG_LINE),
        (debugging("containermaxprocs=0,updatemaxprocs=0", None), Ignored.GO_MOD),
        # The variable says so too: to mend the build alone would not help.
        (debugging("containermaxprocs=0,updatemaxprocs=0", "containermaxprocs=0"), Ignored.GODEBUG),
        (debugging("containermaxprocs=0,updatemaxprocs=0", "gctrace=1"), Ignored.GO_MOD),
        (debugging("", "containermaxprocs=0"), Ignored.GODEBUG),
        (debugging("containermaxprocs=0", "containermaxprocs=1"), None),
        (debugging("", "containermaxprocs=-1"), Ignored.GODEBUG),
        (replace(PLAIN, cgroup=CgroupView(None, CgroupLayout.HOST)), Ignored.HIDDEN),
        (replace(PLAIN, cgroup=CgroupView(2, CgroupLayout.HIDDEN)), Ignored.HIDDEN),
        (replace(PLAIN, cgroup=CgroupView(2, CgroupLayout.BIND)), None),
        (
            replace(PLAIN, build=GoBuild("go1.25"), cgroup=CgroupView(2, CgroupLayout.BIND)),
            Ignored.HIDDEN,
        ),
        (replace(PLAIN, follows_limit=False), Ignored.HIDDEN),
        (replace(PLAIN, build=GoBuild("go1.24"), follows_limit=True), Ignored.OLD_GO),
    ],
)
def test_why_a_runtime_does_not_follow_its_limit(facts: Facts, reason: Ignored | None) -> None:
    """None: it does."""
    assert judge(LiveGomaxprocs(8, None), facts, 4.0).ignored is reason


def automatic(version: str, limit: float, view: CgroupView | None = None) -> Facts:
    """Go 1.22 with automaxprocs, or what stands in its place, on 8 CPUs with cgroup v1."""
    name = "go.uber.org/automaxprocs"
    fork = Module("example.com/fork", "v1.0.0") if version == "fork" else None
    module = Module(name, "v1.6.0" if fork else version, fork)
    build = GoBuild("go1.22", dependencies=(module,))
    cgroup = view or CgroupView(1, CgroupLayout.HOST, False)
    return Facts(build, allowed_cpus=8, leaf_limit_cores=limit, cgroup=cgroup)


@pytest.mark.parametrize(
    ("version", "limit", "value", "source"),
    [
        ("v1.6.0", 2.5, 2, Origin.AUTOMAXPROCS),
        ("v1.6.0", 2.5, 3, Origin.CALL),  # its version rounds down
        ("v1.6.0", 0.5, 1, Origin.AUTOMAXPROCS),
        ("v1.1.9", 2.5, 3, Origin.AUTOMAXPROCS),
        ("v1.1.0", 0.5, 1, Origin.AUTOMAXPROCS),
        ("v1.0.9", 0.5, 2, Origin.AUTOMAXPROCS),
        ("v1.0.9", 0.5, 1, Origin.CALL),
        ("v1.2.0", 2.5, 2, Origin.AUTOMAXPROCS),
        # What a fork does is not known: any way of rounding may be its own.
        ("fork", 2.5, 2, Origin.AUTOMAXPROCS),
        ("fork", 2.5, 3, Origin.AUTOMAXPROCS),
        ("fork", 2.5, 4, Origin.CALL),
        ("fork", 2.5, 1, Origin.CALL),
        ("fork", 0.5, 1, Origin.AUTOMAXPROCS),
        ("fork", 0.5, 2, Origin.AUTOMAXPROCS),
        ("fork", 0.5, 3, Origin.CALL),
    ],
)
def test_a_value_of_automaxprocs_is_known_by_its_rounding(
    version: str, limit: float, value: int, source: Origin
) -> None:
    """A value that it would not give comes from elsewhere."""
    assert judge(LiveGomaxprocs(value, None), automatic(version, limit), limit).origin is source


@pytest.mark.parametrize(
    ("view", "value"),
    [
        (CgroupView(1, CgroupLayout.HOST, False), 2),
        (CgroupView(1, CgroupLayout.HIDDEN, False), 8),
        (CgroupView(None, CgroupLayout.HOST), 8),
        (CgroupView(2, CgroupLayout.HIDDEN), 8),
    ],
)
def test_automaxprocs_needs_to_see_its_cgroup(view: CgroupView, value: int) -> None:
    """Else there are as many as CPUs."""
    assert predict(automatic("v1.6.0", 2.5, view)).value == value


@pytest.mark.parametrize(
    ("version", "rule"),
    [
        ("v1.6.0", "automaxprocs: 2.5 cores rounded down, at least 1"),
        ("v1.1.0", "automaxprocs: 2.5 cores rounded up, at least 1"),
        ("v1.0.0", "automaxprocs: 2.5 cores rounded up, at least 2"),
    ],
)
def test_the_rule_says_how_it_rounds(version: str, rule: str) -> None:
    """As its version does."""
    assert predict(automatic(version, 2.5)).rule == rule


def judged(facts: Facts, value: int = 8, flag: bool | None = None) -> Gomaxprocs:
    return judge(LiveGomaxprocs(value, flag), facts, facts.leaf_limit_cores)


@pytest.mark.parametrize(
    ("facts", "updates"),
    [
        (replace(PLAIN, build=GoBuild("go1.24")), False),
        (replace(PLAIN, build=GoBuild("go1.25")), True),
        (replace(PLAIN, build=GoBuild("go1.26")), True),
        (replace(PLAIN, build=GoBuild("devel")), True),  # taken for the newest
        (replace(PLAIN, godebug="updatemaxprocs=0"), False),
        (replace(PLAIN, godebug="updatemaxprocs=1"), True),
        (replace(PLAIN, godebug="updatemaxprocs=-1"), False),
        (replace(PLAIN, environment_read=False), False),
    ],
)
def test_a_runtime_looks_again_since_go_1_25(facts: Facts, updates: bool) -> None:
    """Unless GODEBUG says otherwise; not said where its environment was not read."""
    assert judged(facts).updates is updates


@pytest.mark.parametrize(
    ("facts", "is_set", "variable"),
    [
        (PLAIN, False, None),
        (replace(PLAIN, environment=""), True, None),
        (replace(PLAIN, environment="4"), True, 4),
        (replace(PLAIN, environment_read=False), None, None),
    ],
)
def test_what_is_known_of_the_variable(
    facts: Facts, is_set: bool | None, variable: int | None
) -> None:
    """Not set, set to nothing, and not read are three things."""
    found = judged(facts)
    assert (found.variable_is_set, found.variable) == (is_set, variable)


def test_without_version_or_environment_no_way_is_offered() -> None:
    """The rules cannot say what it would have."""
    unread = judged(replace(PLAIN, environment_read=False))
    assert (unread.ignored, unread.otherwise) == (None, Otherwise())
    unknown = judged(replace(PLAIN, build=GoBuild("devel"), environment="8"))
    assert (unknown.ignored, unknown.otherwise) == (None, Otherwise())
    assert judged(replace(PLAIN, environment="8")).otherwise.unset == 4
    old = judged(replace(PLAIN, build=GoBuild("go1.24")))
    assert (old.ignored, old.otherwise.go_1_25) == (Ignored.OLD_GO, 4)


@pytest.mark.parametrize(
    ("version", "source"),
    [("go1.4", Origin.FIXED), ("go1.5", Origin.CPU_COUNT), ("go1.6", Origin.CPU_COUNT)],
)
def test_a_value_that_nothing_in_the_program_can_change(version: str, source: Origin) -> None:
    """Without runtime.GOMAXPROCS in the code it is the default of then: 1 before Go 1.5."""
    code = GomaxprocsAddresses(1, None, "exchange", can_be_called=False)
    facts = Facts(GoBuild(version), allowed_cpus=8, code=code)
    assert judged(facts, 3).origin is source


def old_default(godebug: str | None = None, **changed: str) -> Facts:
    facts = debugging("containermaxprocs=0,updatemaxprocs=0", godebug)
    version = changed.get("version", "go1.26")
    return replace(facts, build=replace(facts.build, version=version))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        # It follows its limit already: there is nothing to change.
        (PLAIN, Otherwise()),
        (replace(PLAIN, environment="8"), Otherwise(unset=4)),
        # Built for the defaults of before 1.25: each way to switch them on gives the limit.
        (old_default(), Otherwise(godebug=4, go_line=4)),
        (old_default(version="go1.25"), Otherwise(godebug=4, go_line=4, go_1_26=4)),
        (debugging("", "containermaxprocs=0"), Otherwise(no_godebug=4, godebug=4)),
        (debugging("", "gctrace=1,containermaxprocs=0"), Otherwise(no_godebug=4, godebug=4)),
        (old_default("containermaxprocs=0"), Otherwise(godebug=4, go_line=None)),
        # Before 1.25 no setting helps, only another build.
        (replace(PLAIN, build=GoBuild("go1.24")), Otherwise(go_1_25=4, go_1_26=4)),
        (
            replace(PLAIN, build=GoBuild("go1.24"), godebug="containermaxprocs=0"),
            Otherwise(),
        ),
        (replace(PLAIN, build=GoBuild("go1.25")), Otherwise(go_1_26=4)),
        # It looked where the limit is, and did not find it: so would another build.
        (replace(PLAIN, build=GoBuild("go1.25"), follows_limit=False), Otherwise()),
        # 1.25 does not see a bind mount, 1.26 does.
        (
            replace(PLAIN, build=GoBuild("go1.25"), cgroup=CgroupView(2, CgroupLayout.BIND)),
            Otherwise(go_1_26=4),
        ),
        # That 1.24 has no limit file open says nothing of 1.25.
        (
            replace(PLAIN, build=GoBuild("go1.24"), follows_limit=False),
            Otherwise(go_1_25=4, go_1_26=4),
        ),
        (replace(PLAIN, build=GoBuild("go1.24"), leaf_limit_cores=None), Otherwise(own_limit=None)),
    ],
)
def test_what_each_change_would_give(facts: Facts, expected: Otherwise) -> None:
    """By the rules, at a limit of 4 of 8 CPUs."""
    assert judge(LiveGomaxprocs(8, None), facts, 4.0).otherwise == expected


def test_a_limit_of_its_own_is_what_an_ancestor_has() -> None:
    """Its own cgroup has none: with the ancestor's 4 it would follow, as 1.25 does."""
    facts = replace(PLAIN, leaf_limit_cores=None)
    assert judge(LiveGomaxprocs(8, None), facts, 4.0).otherwise.own_limit == 4
    assert judge(LiveGomaxprocs(8, None), facts, 9.0).otherwise.own_limit == 8
    assert judge(LiveGomaxprocs(8, None), PLAIN, 4.0).otherwise.own_limit is None
    linked = replace(automatic("v1.6.0", 2.5), leaf_limit_cores=None)
    assert judge(LiveGomaxprocs(8, None), linked, 2.5).otherwise.own_limit == 2


def test_reading_of_a_process_that_has_ended_is_refused_by_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open file of /proc then says ESRCH: the process is gone."""
    process(tmp_path, "7", "host")

    def ended(_: bytes) -> None:
        raise ProcessLookupError

    monkeypatch.setattr("gotax.golang.cgroupview.parse_mountinfo", ended)
    with pytest.raises(ProcessGoneError):
        read_cgroup_view(str(tmp_path), 7)


STORED = GomaxprocsAddresses(1, None, "exchange")


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (STORED, 8),  # stores as Go does since 1.8, and has no flag, as before 1.25
        (None, None),
        (replace(STORED, how="call"), None),
        (replace(STORED, can_be_called=False), None),
        (replace(STORED, custom_address=2), None),
    ],
)
def test_a_hidden_version_is_told_by_the_code(
    code: GomaxprocsAddresses | None, value: int | None
) -> None:
    """Where it is: of 4 CPUs by the limit or 8 by their number, Go before 1.25 takes 8."""
    facts = replace(PLAIN, build=GoBuild(""), code=code)
    assert predict(facts).value == value
