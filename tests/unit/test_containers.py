"""Grouping of processes: cgroup trees of all layouts, with limits at any level."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from gotax.errors import ProcessGoneError
from gotax.linux.cgroups import files
from gotax.linux.cgroups.hierarchies import find_hierarchies
from gotax.linux.cgroups.identity import group_key
from gotax.linux.cgroups.position import Bounds, CgroupPosition
from gotax.linux.cgroups.tree import Cgroups
from gotax.linux.procfs import CgroupEntry, Stat, parse_cgroups
from gotax.process import Container, CpuLimit, CpuUsage, PodContainer, Workload
from gotax.processes import containers as module
from gotax.processes.containers import Containers, ReadBounds
from gotax.processes.counts import ErrorCounts
from gotax.processes.files import ProcessFiles
from gotax.processes.membership import Memberships
from gotax.reader.asking import InProcess

VERSIONS = ("v1", "v2", "hybrid")
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
UID = "0f3c1a52-3333-4222-8333-944455556666"
SLICE = f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice"
POD = PodContainer("default", "web-1", "app", UID, "n1", "web:1", "container", Workload("Pod", "w"))


class Trees:
    """Cgroup trees below a folder. v1 has separate trees for cpu, cpuacct and cpuset, so that paths
    may differ; hybrid also has an empty unified tree."""

    def __init__(self, folder: Path, version: str) -> None:
        self.version = version
        self.sys = folder / "cgroup"
        self.cpu = self.sys if version == "v2" else self.sys / "cpu"
        self.cpuacct = self.sys if version == "v2" else self.sys / "cpuacct"
        self.cpuset = self.sys if version == "v2" else self.sys / "cpuset"
        kinds = {} if version == "v2" else dict.fromkeys(("cpu", "cpuacct", "cpuset"), "cgroup")
        if version == "v2":
            kinds = {"": "cgroup2"}
        elif version == "hybrid":
            kinds["unified"] = "cgroup2"
        lines = []
        for name, kind in kinds.items():
            (self.sys / name).mkdir(parents=True, exist_ok=True)
            point = str(self.sys / name).rstrip("/")
            lines.append(f"31 23 0:28 / {point} rw - {kind} {kind} rw,{name}\n")
        for pid in ("self", "1"):
            (folder / "proc" / pid).mkdir(parents=True)
            (folder / "proc" / pid / "cgroup").write_text("0::/\n")
        (folder / "proc/self/mountinfo").write_text("".join(lines).replace("rw,\n", "rw\n"))
        self.cpus("/", "0-7")
        self.errors = Counter[str]()
        self.cgroups = Cgroups(find_hierarchies(str(folder / "proc"), str(self.sys)))
        self.containers = Containers(self.cgroups, self.errors)
        assert self.cgroups.hierarchies.version == version

    def make(self, path: str) -> None:
        for tree in {self.cpu, self.cpuacct, self.cpuset}:
            (tree / path.strip("/")).mkdir(parents=True, exist_ok=True)

    def limit(self, path: str, cores: float | None) -> None:
        self.make(path)
        folder = self.cpu / path.strip("/")
        quota = None if cores is None else round(cores * 100_000)
        if self.version == "v2":
            (folder / "cpu.max").write_text(f"{'max' if quota is None else quota} 100000\n")
        else:
            (folder / "cpu.cfs_quota_us").write_text(f"{-1 if quota is None else quota}\n")
            (folder / "cpu.cfs_period_us").write_text("100000\n")

    def cpus(self, path: str, text: str) -> None:
        self.make(path)
        is_v2 = self.version == "v2"
        name = "cpuset.cpus.effective" if is_v2 else "cpuset.effective_cpus"
        (self.cpuset / path.strip("/") / name).write_text(f"{text}\n")

    def used(self, path: str, usage_us: int, throttled: int) -> None:
        self.make(path)
        stat = f"nr_periods {throttled}\nnr_throttled {throttled}\n"
        if self.version == "v2":
            stat = f"usage_usec {usage_us}\n{stat}throttled_usec {throttled}\n"
        else:
            (self.cpuacct / path.strip("/") / "cpuacct.usage").write_text(f"{usage_us * 1000}\n")
            stat += f"throttled_time {throttled * 1000}\n"
        (self.cpu / path.strip("/") / "cpu.stat").write_text(stat)

    def entries(self, path: str) -> tuple[CgroupEntry, ...]:
        self.make(path)
        lines = f"0::{path}\n"
        if self.version != "v2":
            lines = f"4:cpuset:{path}\n3:cpuacct:{path}\n2:cpu:{path}\n"
        return parse_cgroups(lines.encode())

    def judged(self, entries: tuple[CgroupEntry, ...]) -> tuple[CgroupPosition, Bounds, Container]:
        place = self.containers.place(entries)
        bounds = self.containers.bounds(place, {})
        return place, bounds, self.containers.container(place, bounds, ("alone", "alone"))

    def container(self, path: str) -> Container:
        return self.judged(self.entries(path))[2]


@pytest.fixture(params=VERSIONS)
def trees(request: pytest.FixtureRequest, tmp_path: Path) -> Trees:
    return Trees(tmp_path, request.param)


NESTED = {
    "Slurm's steps (treydock/cgroup_exporter#30)": (
        "/system.slice/slurmstepd.scope",
        ("/job_1/step_0", "/job_2/step_0"),
        "slurmstepd.scope/job_1/step_0",
    ),
    "Garden below its service (elastic/apm#105)": (
        "/system.slice/garden.service",
        ("/garden/70eb4ce5-a065-4401-6990-88ed", "/garden/8"),
        "garden.service/garden/70eb4ce5-a065-4401-6990-88ed",
    ),
    "Docker in a pod": (
        f"/kubepods/burstable/pod{UID}/{A}",
        (f"/docker/{B}", f"/docker/{C}"),
        f"{A[:12]} \u203a docker/{B[:12]}",
    ),
    "Docker in a pod, systemd drivers": (
        f"{SLICE}/cri-containerd-{A}.scope",
        (f"/system.slice/docker-{B}.scope", f"/system.slice/docker-{C}.scope"),
        f"{A[:12]} \u203a system.slice/docker-{B[:12]}.scope",
    ),
    "systemd in a container": (
        f"/system.slice/docker-{A}.scope",
        ("/system.slice/nginx.service", "/system.slice/api.service"),
        f"{A[:12]} \u203a system.slice/nginx.service",
    ),
    "services of a kind node": (
        f"/docker/{A}",
        ("/system.slice/containerd.service", "/kubelet.slice/kubelet.service"),
        f"{A[:12]} \u203a system.slice/containerd.service",
    ),
}


@pytest.mark.parametrize("layout", NESTED)
def test_a_process_with_a_limit_of_its_own_is_a_group(trees: Trees, layout: str) -> None:
    """Two below one container: each has its own limit, and both have the container's id."""
    top, (first, second), name = NESTED[layout]
    whole = trees.container(top)
    trees.limit(top + first, 0.5)
    trees.limit(top + second, 2.0)
    place, bounds, one = trees.judged(trees.entries(f"{top}{first}/task_0"))
    two = trees.container(top + second)
    assert bounds.limit.limit_cores == 0.5
    assert bounds.limit.limit_cgroup == top + first
    assert bounds.limit.leaf_limit_cores is None
    assert place.identity.cgroup == top
    assert (one.name, one.nested) == (name, first.strip("/"))
    assert two.nested == second.strip("/")
    assert len({whole.key, one.key, two.key}) == 3
    assert one.key == f"{whole.key}{first}"
    for part in (one, two):
        assert part.container_id == whole.container_id
        assert (part.pod_uid, part.unit) == (whole.pod_uid, whole.unit)
    # Processes in the cgroup itself and in its children share the limit.
    assert trees.container(top + first).key == one.key


@pytest.mark.parametrize(
    ("top", "child"),
    [
        (f"{SLICE}/crio-{A}.scope", "/container"),  # crun
        (f"/system.slice/docker-{A}.scope", "/init.scope"),
        (f"/system.slice/docker-{A}.scope", "/system.slice/nginx.service"),
        ("/system.slice/web.service", "/workers/1"),
        (f"{SLICE}/cri-containerd-{A}.scope", f"/docker/{B}"),
    ],
)
@pytest.mark.parametrize("own", [None, 1.0, 4.0])
def test_a_process_without_a_tighter_limit_belongs_to_the_container(
    trees: Trees, top: str, child: str, own: float | None
) -> None:
    """A child without a limit, with the container's own limit, or with a higher one."""
    trees.limit(top, 1.0)
    trees.limit(top + child, own)
    _, bounds, found = trees.judged(trees.entries(top + child))
    assert found.key == trees.container(top).key == group_key(trees.entries(top))
    assert (found.nested, found.name) == ("", trees.container(top).name)
    assert (bounds.limit.limit_cores, bounds.limit.limit_cgroup) == (1.0, top)


def test_a_limit_above_the_container_makes_no_group(trees: Trees) -> None:
    """The limit of a pod, a slice or a kind node: the container stays one group."""
    node = f"/docker/{B}/kubelet/kubepods/pod{UID}"
    for above, top in (
        (f"/kubepods/pod{UID}", f"/kubepods/pod{UID}/{A}"),
        (f"/docker/{B}", f"{node}/{A}"),
        (node, f"{node}/{A}"),
        ("/a.slice", "/a.slice/x.service"),
    ):
        of_node = frozenset({B} if B in above else ())
        hierarchies = replace(trees.cgroups.hierarchies, node=of_node)
        trees.containers = Containers(Cgroups(hierarchies), trees.errors)
        trees.limit(above, 0.5)
        _, bounds, found = trees.judged(trees.entries(f"{top}/child"))
        assert (found.nested, bounds.limit.limit_cgroup) == ("", above)
        assert found.key == trees.container(top).key
        trees.limit(above, None)


def test_a_claim_of_another_container_is_ignored(trees: Trees) -> None:
    """Its row, its key and the pod that Kubernetes knows stay its own; so does a part of it."""
    own, claim = f"{SLICE}/cri-containerd-{A}.scope", f"/kubepods/pod{UID[::-1]}/{B}"
    honest, hostile = trees.container(own), trees.container(own + claim)
    assert replace(hostile, cgroup=honest.cgroup) == honest
    trees.limit(own + claim, 0.5)
    part = trees.container(own + claim)
    assert (part.container_id, part.pod_uid) == (A, honest.pod_uid)
    assert part.key.startswith(A)
    assert B not in part.key[: len(A)]


def test_a_user_cannot_claim_a_container(trees: Trees) -> None:
    """Rootless containers have their path as key, and a name that says what they are called."""
    path = f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope"
    rootless = trees.container(f"{path}/container")
    assert (rootless.container_id, rootless.key) == (None, path)
    assert rootless.name == f"libpod-{A[:12]}.scope"
    assert rootless.runtime == "podman"
    system = trees.container(f"/machine.slice/libpod-{A}.scope")
    assert system.key == A
    assert rootless.short_id != system.short_id


def test_a_kind_node_seen_from_its_host_is_one_container(trees: Trees) -> None:
    """Its pods with a limit are parts of it; the others are it."""
    node = f"/docker/{B}"
    pods = [f"{node}/kubelet/kubepods/pod{UID}/{each}" for each in (A, C)]
    trees.limit(pods[0], 0.5)
    first, second = (trees.container(pod) for pod in pods)
    assert (first.container_id, second.container_id) == (B, B)
    assert second.key == trees.container(node).key
    assert first.nested == f"kubelet/kubepods/pod{UID}/{A}"


def test_the_tightest_of_several_limits_defines_the_group(trees: Trees) -> None:
    """A job of 2 with steps of 1, none and 2: the last two share the job's limit."""
    top = "/system.slice/slurmstepd.scope"
    trees.limit(f"{top}/job_1", 2.0)
    trees.limit(f"{top}/job_1/step_0", 1.0)
    trees.limit(f"{top}/job_1/step_2", 2.0)
    assert trees.container(f"{top}/job_1/step_0").nested == "job_1/step_0"
    assert trees.container(f"{top}/job_1/step_1").nested == "job_1"
    assert trees.container(f"{top}/job_1/step_2").nested == "job_1"


def test_a_cpuset_of_its_own_makes_a_group(trees: Trees) -> None:
    """Other CPUs than the container's give a group; the same CPUs or none do not."""
    top = f"{SLICE}/cri-containerd-{A}.scope"
    trees.cpus(top, "0-3")
    for part, cpus in (("a", "0-1"), ("a/below", "0-1"), ("b", "0-3"), ("c", "")):
        trees.cpus(f"{top}/{part}", cpus)
    found = {p: trees.judged(trees.entries(f"{top}/{p}")) for p in ("a", "a/below", "b", "c")}
    assert {p: c.nested for p, (_, _, c) in found.items()} == {
        "a": "a",
        "a/below": "a",
        "b": "",
        "c": "",
    }
    assert [b.limit.cpuset_cpus for _, b, _ in found.values()] == [2, 2, 4, 4]
    assert found["a"][2].key == found["a/below"][2].key


def test_quota_and_cpuset_at_different_levels(trees: Trees) -> None:
    """The lower of the two names the group; processes that share only the quota are not in it."""
    top = "/system.slice/slurmstepd.scope"
    trees.limit(f"{top}/job_1", 2.0)
    for step, cpus in (("0", "0-1"), ("1", "2-3")):
        trees.cpus(f"{top}/job_1/step_{step}", cpus)
    steps = [trees.container(f"{top}/job_1/step_{step}") for step in (0, 1, 2)]
    assert [step.nested for step in steps] == ["job_1/step_0", "job_1/step_1", "job_1"]
    assert len({step.key for step in steps}) == 3


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_slurm_with_v1_has_its_jobs_only_in_some_trees(tmp_path: Path, version: str) -> None:
    """Its cpusets are in /slurm, while cpu and systemd's tree have slurmd.service."""
    trees = Trees(tmp_path, version)
    jobs = []
    for job, cpus in (("job_1", "0-1"), ("job_2", "2-7")):
        path = f"/slurm/uid_1000/{job}"
        trees.cpus(path, cpus)
        trees.make("/system.slice/slurmd.service")
        trees.make(f"{path}/step_0/task_0")
        lines = f"5:cpuset:{path}/step_0/task_0\n3:cpuacct:{path}/step_0/task_0\n"
        lines += "2:cpu:/system.slice/slurmd.service\n1:name=systemd:/system.slice/slurmd.service\n"
        trees.used(path, 7 if job == "job_1" else 9, 0)
        jobs.append(trees.judged(parse_cgroups(lines.encode())))
    assert [c.name for _, _, c in jobs] == [
        "slurmd.service/slurm/uid_1000/job_1",
        "slurmd.service/slurm/uid_1000/job_2",
    ]
    assert [b.limit.cpuset_cpus for _, b, _ in jobs] == [2, 6]
    assert [trees.containers.usage(p, b).usage_ns for p, b, _ in jobs] == [7000, 9000]


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_a_quota_in_a_tree_without_the_unit(tmp_path: Path, version: str) -> None:
    """v1 without CPU accounting of systemd: other cgroups in the cpu tree give the limit."""
    trees = Trees(tmp_path, version)
    trees.limit("/jobs/1", 0.5)
    trees.make("/jobs/1/x")
    unit = "1:name=systemd:/system.slice/run.service\n"
    inside = trees.judged(parse_cgroups(f"2:cpu:/jobs/1/x\n{unit}".encode()))[2]
    outside = trees.judged(parse_cgroups(f"2:cpu:/\n{unit}".encode()))[2]
    assert (inside.nested, outside.nested) == ("jobs/1", "")
    assert outside.key == "/system.slice/run.service"


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_a_limit_in_a_tree_that_ends_above_the_unit(tmp_path: Path, version: str) -> None:
    """systemd with v1 leaves a unit in the cpu cgroup of its slice: this limit is above the
    unit."""
    trees = Trees(tmp_path, version)
    trees.limit("/system.slice", 0.5)
    lines = b"2:cpu:/system.slice\n1:name=systemd:/system.slice/run.service\n"
    _, bounds, found = trees.judged(parse_cgroups(lines))
    assert (found.key, found.nested) == ("/system.slice/run.service", "")
    assert bounds.limit.limit_cores == 0.5


def test_limits_appear_and_disappear(trees: Trees) -> None:
    """systemctl set-property, scontrol update: the group follows, and has the same key when it
    returns."""
    top, part = "/system.slice/slurmstepd.scope", "/system.slice/slurmstepd.scope/job_1"
    keys = []
    for cores in (None, 0.5, None, 0.5):
        trees.limit(part, cores)
        keys.append(trees.container(part).key)
    assert keys == [top, part, top, part]


def test_the_root_cgroup_has_no_parts(trees: Trees) -> None:
    """Processes without a container are single, whatever the root's CPUs are; bare cgroups have no
    parts."""
    assert trees.container("/").key == "alone"
    trees.limit("/x/y", 1.0)
    assert trees.container("/x/y").key == "/x/y"
    assert trees.container("/x/y").nested == ""


def test_counters_are_those_of_the_cgroup_of_the_group(trees: Trees) -> None:
    """Not those of the lower cgroup that contains the busiest process."""
    top = f"/system.slice/docker-{A}.scope"
    trees.used(top, 100, 4)
    trees.used(f"{top}/a", 50, 3)
    trees.used(f"{top}/a/leaf", 20, 0)
    leaf = trees.entries(f"{top}/a/leaf")
    place, bounds, _ = trees.judged(leaf)
    assert trees.containers.usage(place, bounds) == CpuUsage(100_000, 4, 4, 4000)
    trees.limit(f"{top}/a", 0.5)
    place, bounds, _ = trees.judged(leaf)
    assert trees.containers.usage(place, bounds) == CpuUsage(50_000, 3, 3, 3000)
    trees.limit(f"{top}/a", None)
    trees.cpus(f"{top}/a", "0-1")
    place, bounds, _ = trees.judged(leaf)  # its own CPUs, the container's quota
    assert trees.containers.usage(place, bounds) == CpuUsage(50_000, 4, 4, 4000)


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_each_path_has_its_own_cpuset_in_one_round(tmp_path: Path, version: str) -> None:
    """Two processes of one cpu cgroup and of two cpusets: each has its own CPUs."""
    trees = Trees(tmp_path, version)
    trees.make("/u.service")
    read: ReadBounds = {}
    seen = []
    for cpus in ("0-1", "0-4"):
        trees.cpus(f"/sets/{cpus}", cpus)
        lines = f"4:cpuset:/sets/{cpus}\n2:cpu:/u.service\n"
        place = trees.containers.place(parse_cgroups(lines.encode()))
        seen.append(trees.containers.bounds(place, read).limit.cpuset_cpus)
    assert seen == [2, 5]


def test_limits_are_read_once_per_cgroup(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """One read serves a hundred processes, and there is none for processes that need no limit."""
    path = f"/system.slice/docker-{A}.scope/x"
    trees.limit(path, 0.5)
    place = trees.containers.place(trees.entries(path))
    reads: list[str] = []
    original = files.read

    def counted(file: str, most: int) -> bytes | None:
        reads.append(file)
        return original(file, most)

    monkeypatch.setattr(files, "read", counted)
    read: ReadBounds = {}
    trees.containers.bounds(place, read)
    once = len(reads)
    for _ in range(100):
        trees.containers.bounds(place, read)
        trees.containers.last_bounds(place)
    assert len(reads) == once
    assert len(set(reads)) == once  # no file twice


def test_an_unreadable_limit_does_not_change_the_group(trees: Trees) -> None:
    """The group stays, its limit is unknown, and the reason is counted."""
    path = f"/system.slice/docker-{A}.scope/x"
    trees.limit(path, 0.5)
    before = trees.container(path)
    name = "cpu.max" if trees.version == "v2" else "cpu.cfs_quota_us"
    (trees.cpu / path.strip("/") / name).write_text("garbage\n")
    _, bounds, after = trees.judged(trees.entries(path))
    assert after.key == before.key
    assert bounds.limit.limit_cores is None
    assert trees.errors == {"cgroup-quota": 1}


def test_a_removed_cgroup_is_remembered_for_ended_processes(trees: Trees) -> None:
    """Running processes are no longer in it; the last samples of ended ones go to their group."""
    path = f"/system.slice/docker-{A}.scope/x"
    trees.limit(path, 0.5)
    place, _, living = trees.judged(trees.entries(path))
    for folder in (trees.cpu, trees.cpuacct, trees.cpuset):
        for file in (folder / path.strip("/")).glob("*"):
            file.unlink()
        if (folder / path.strip("/")).exists():
            (folder / path.strip("/")).rmdir()
    with pytest.raises(ProcessGoneError):
        trees.containers.bounds(place, {})
    last = trees.containers.last_bounds(place)
    assert trees.containers.container(place, last, ("", "")).key == living.key
    unseen = trees.containers.place(parse_cgroups(f"0::{path}-never-seen\n".encode()))
    assert trees.containers.last_bounds(unseen) == Bounds()


def test_the_groups_of_a_container_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that can create cgroups cannot fill the metrics. The first groups stay, even if
    others come before them in the next window."""
    monkeypatch.setattr(module, "PARTS_MAX", 2)
    trees = Trees(tmp_path, "v2")
    top = f"/system.slice/docker-{A}.scope"
    for part in "abcd":
        trees.limit(f"{top}/{part}", 0.5)

    def nested(parts: str) -> list[str]:
        return [trees.container(f"{top}/{part}").nested for part in parts]

    assert nested("abc") == ["a", "b", ""]
    assert trees.errors == {"cgroup-parts-full": 1}
    trees.containers.end_window()
    assert nested("cab") == ["", "a", "b"]
    trees.containers.end_window()
    assert nested("a") == ["a"]
    trees.containers.end_window()
    assert nested("dab") == ["d", "a", ""]  # b was absent in the previous window
    trees.containers.end_window()
    trees.containers.end_window()
    assert trees.containers._parts == {}


def test_the_names_of_parts_in_kubernetes(trees: Trees) -> None:
    """The pod's name first; labels have only characters that Kubernetes and the wire format
    allow."""
    top = f"{SLICE}/cri-containerd-{A}.scope"
    trees.limit(f"{top}/docker/{B}", 0.5)
    trees.limit(f"{top}/odd name", 0.5)
    part = trees.container(f"{top}/docker/{B}")
    named = part.named(POD.path, POD)
    assert named.name == f"default/web-1/app \u203a docker/{B[:12]}"
    assert named.label == f"app:docker:{B[:12]}"
    assert trees.container(top).named(POD.path, POD).label == "app"
    assert trees.container(f"{top}/odd name").named(POD.path, POD).label == "app:odd_name"
    assert part.label == part.name


def test_a_limit_that_cannot_be_read_is_not_none(tmp_path: Path) -> None:
    """The reason is that of the limit; the group of the process stays."""
    trees = Trees(tmp_path, "v2")
    trees.make("/a")
    (trees.cpu / "a" / "cpu.max").write_text("50000 100000\n")
    position = trees.containers.place((CgroupEntry(0, (), "/a"),))
    assert trees.containers.bounds(position, {}).limit.limit_cores == 0.5
    (trees.cpu / "a" / "cpu.max").unlink()
    (trees.cpu / "a" / "cpu.max").symlink_to("cpu.max")  # a loop, which root cannot open either
    limit = trees.containers.bounds(position, {}).limit
    assert limit == CpuLimit(problem="cgroup-unreadable")
    assert trees.errors == {"cgroup-unreadable": 1}


def test_a_process_whose_groups_cannot_be_read_stays_where_it_was(tmp_path: Path) -> None:
    """And has no known limit; one that was never read is in none, whose limit is unknown, too."""
    trees = Trees(tmp_path, "v2")
    trees.make("/a")
    (trees.cpu / "a" / "cpu.max").write_text("50000 100000\n")
    errors = ErrorCounts()
    proc = tmp_path / "proc"
    found = Memberships(str(proc), trees.cgroups, trees.containers, lambda _: True, errors)
    stat = Stat(77, "web", "S", 1, False)
    files = ProcessFiles(InProcess(), str(proc), stat.place)
    (proc / "77").mkdir()
    groups = proc / "77" / "cgroup"
    groups.write_text("0::/a\n")
    before = found.find(stat, files, {})
    assert (before.container.cgroup, before.limit.limit_cores) == ("/a", 0.5)
    groups.unlink()
    groups.mkdir()
    unread = CpuLimit(problem="procfs-unreadable")
    for known, cgroup in ((before, "/a"), (before.without_entries(), "/a"), (None, "/")):
        after = found.find(stat, files, {}, known)
        assert (after.container.cgroup, after.limit) == (cgroup, unread)
    assert errors == {"procfs-unreadable": 3}


def test_counters_that_cannot_be_read_are_counted_as_an_error(tmp_path: Path) -> None:
    trees = Trees(tmp_path, "v2")
    trees.make("/a")
    position = trees.containers.place((CgroupEntry(0, (), "/a"),))
    (trees.cpu / "a" / "cpu.stat").symlink_to("cpu.stat")
    assert trees.containers.usage(position, Bounds()) == CpuUsage()
    assert trees.errors == {"cgroup-unreadable": 1}
