"""/proc as the kernel writes it, and with invalid contents."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from gotax.errors import ParseError, ProcessGoneError, ReadError
from gotax.linux import mappings, procfs
from gotax.linux.procfs import CgroupEntry, Stat
from hypothesis import given
from hypothesis import strategies as st

PROC = "/proc"
# A line as 6.18 writes it; %b is the command, %d the flags.
STAT = (
    b"18586 (%b) R 18575 18575 3110 0 -1 %d 103 0 0 0 0 0 0 0 20 0 1 0 134649 2998272 415 "
    b"18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)
MAPS = b"""\
00400000-00401000 r--p 00000000 fe:00 1310 /srv/api
00401000-0065e000 r-xp 00001000 fe:00 1310 /srv/api
7f1e00000000-7f1e00021000 rwxp 00000000 00:00 0
7f1e31200000-7f1e31388000 r-xp 00028000 103:05 9007199254740993 /usr/lib/x y.so (deleted)
7f1e31400000-7f1e31401000 r-xp 00000000 00:2f 77 /odd\\012name
7ffd2a5f4000-7ffd2a5f6000 r-xp 00000000 00:00 0                          [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""
ENVIRONMENT = b"HOME=/root\0GOMAXPROCS=4\0SECRET=GOMAXPROCS=9\0GOMAXPROCS=5\0GODEBUG=\0GOGC=5"


@pytest.mark.parametrize("command", [b"head", b"a b", b"x) R 1 1", b"(((", b"two\nlines", b") "])
def test_command_may_hold_anything(command: bytes) -> None:
    """Spaces, parentheses and newlines in the command do not shift the fields behind it."""
    stat = procfs.parse_stat(STAT % (command, 4194304))
    assert (stat.pid, stat.command, stat.state) == (18586, command.decode(), "R")
    assert stat.start_ticks == 134649
    assert stat.parent == 18575
    assert not stat.is_kernel_thread


def test_kernel_threads_have_their_flag() -> None:
    """PF_KTHREAD in the flags field marks a kernel thread."""
    assert procfs.parse_stat(STAT % (b"kthreadd", 0x208040)).is_kernel_thread


@given(st.binary(max_size=300))
def test_stat_parses_or_refuses(data: bytes) -> None:
    """Whatever the bytes, parse_stat returns a Stat or raises ParseError."""
    with contextlib.suppress(ParseError):
        procfs.parse_stat(data)


def test_own_stat_agrees_with_the_kernel() -> None:
    """The PID is ours. What names the process stays the same, and its CPU time only grows."""
    first, second = (procfs.read_stat(PROC, os.getpid()) for _ in range(2))
    assert (first.pid, first.parent) == (os.getpid(), os.getppid())
    assert first.cpu_ticks <= second.cpu_ticks
    assert _named(first) == _named(second)


def _named(stat: Stat) -> Stat:
    return replace(stat, state="R", cpu_ticks=0, threads=1)


def test_maps_keeps_executable_mappings_only() -> None:
    """Read-only mappings are passed over; files, JIT memory, vdso and vsyscall stay."""
    found = mappings.parse_maps(MAPS)
    assert [m.path for m in found] == [
        "/srv/api",
        "",
        "/usr/lib/x y.so",
        "/odd\nname",
        "[vdso]",
        "[vsyscall]",
    ]
    assert [m.deleted for m in found] == [False, False, True, False, False, False]
    text = found[0]
    assert (text.start, text.end, text.offset, text.inode) == (0x401000, 0x65E000, 0x1000, 1310)
    assert text.device == os.makedev(0xFE, 0)
    assert found[2].inode == 9007199254740993


EXECUTABLE = b"%016x-%016x r-xp 00000000 00:00 0\n"
PLAIN = b"%012x-%012x rw-p 00000000 00:00 0\n"


def pages(line: bytes, count: int, first: int = 0) -> bytes:
    return b"".join(line % (i << 12, (i + 1) << 12) for i in range(first, first + count))


def test_maps_are_bounded() -> None:
    """With more than 4096 executable mappings, one stands for the rest."""
    assert len(mappings.parse_maps(pages(EXECUTABLE, 4096))) == 4096
    found = mappings.parse_maps(pages(EXECUTABLE, 5000))
    assert len(found) == 4097
    assert (found[-1].start, found[-1].path) == (4096 << 12, mappings.UNLISTED)
    assert found[-1].end > 1 << 63


def maps_file(root: Path, data: bytes) -> mappings.Maps:
    (root / "7").mkdir()
    (root / "7/maps").write_bytes(data)
    return mappings.read_maps(str(root), 7)


def test_a_list_of_sixty_thousand_mappings_is_read_to_its_end(tmp_path: Path) -> None:
    """Libraries are mapped at high addresses, after everything that a program maps later."""
    data = pages(PLAIN, 65_530, 1 << 20) + MAPS
    found = maps_file(
        tmp_path, MAPS + pages(b"%x-%x r--p 00000000 103:05 77 /srv/x xp \n", 9) + data
    )
    assert [m.path for m in found.mappings] == 2 * [m.path for m in mappings.parse_maps(MAPS)]
    assert found.length > 3 << 20


def test_mappings_beyond_the_bound_of_a_list_are_reported(tmp_path: Path) -> None:
    """They are unknown, not absent. A line is read completely or not at all."""
    data = MAPS + pages(PLAIN, (17 << 20) // len(PLAIN % (0, 0)), 1 << 20)
    found = maps_file(tmp_path, data)
    assert [m.path for m in found.mappings[:-1]] == [m.path for m in mappings.parse_maps(MAPS)]
    last = found.mappings[-1]
    assert last.path == mappings.UNLISTED
    lines = data[: found.length].decode().splitlines()
    assert f"-{last.start:012x} " in lines[-1]
    assert data[found.length - 1 : found.length] == b"\n"


def test_executable_mappings_are_found_at_any_line() -> None:
    """The first one, the last one without an end, and behind paths that look like permissions."""
    line = b"00401000-0065e000 r-xp 00001000 fe:00 1310 /srv/api"
    decoy = b"00400000-00401000 r--p 00000000 fe:00 1310 /r-xp /x r-xp 0 xs "
    for data in (line, line + b"\n", decoy + b"\n" + line, decoy + b"\n" + line + b"\n" + decoy):
        assert [m.path for m in mappings.parse_maps(data)] == ["/srv/api"]
    assert mappings.parse_maps(decoy) == ()


@given(st.binary(max_size=300))
def test_maps_never_raise(data: bytes) -> None:
    """Invalid lines are skipped."""
    mappings.parse_maps(data)


def test_own_interpreter_is_mapped() -> None:
    """The mapping of this executable leads to the file that exe leads to."""
    pid = os.getpid()
    exe = mappings.read_exe_id(PROC, pid)
    maps = mappings.read_maps(PROC, pid).mappings
    mine = [m for m in maps if m.path == mappings.read_exe_link(PROC, pid)]
    assert mine
    found = mappings.find_mapped_file(PROC, pid, mine[0])
    assert found is not None
    assert found.is_proven
    assert found.id == exe
    assert Path(found.path).stat().st_ino == exe.inode == Path(sys.executable).stat().st_ino
    assert Path(mappings.exe_path(PROC, pid)).stat().st_size == exe.size


def test_mapped_file_of_anonymous_memory_is_none(tmp_path: Path) -> None:
    """Without a file, or with a deleted one out of reach, there is nothing to open."""
    text, heap, deleted, odd, vdso, _ = mappings.parse_maps(MAPS)
    root = str(tmp_path)
    for mapping in (text, odd, deleted):
        path = tmp_path / f"7/root{mapping.path}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        found = mappings.find_mapped_file(root, 7, mapping)
        assert (found is None) == mapping.deleted
        assert found is None or (found.path, found.is_proven) == (str(path), False)
    assert [mappings.find_mapped_file(root, 7, m) for m in (heap, vdso)] == [None] * 2


def test_cgroup_lines() -> None:
    """v1, named and unified hierarchies; the kernel's deleted mark is cut off."""
    data = b"4:cpu,cpuacct:/a:b\n1:name=systemd:/init.scope\n0::/x.scope (deleted)\n"
    assert procfs.parse_cgroups(data) == (
        CgroupEntry(4, ("cpu", "cpuacct"), "/a:b"),
        CgroupEntry(1, ("name=systemd",), "/init.scope"),
        CgroupEntry(0, (), "/x.scope"),
    )


def test_cgroup_line_without_a_path_is_refused() -> None:
    """Any other format raises."""
    with pytest.raises(ParseError, match="procfs-cgroup"):
        procfs.parse_cgroups(b"4:cpu\n")


def test_environment_has_only_the_requested_names() -> None:
    """The first of two counts, a value that looks like a variable does not, a cut one neither."""
    names = frozenset({"GOMAXPROCS", "GODEBUG", "GOGC", "GOMEMLIMIT", "OMAXPROCS"})
    found = procfs.parse_environment(ENVIRONMENT, names)
    assert found == {"GOMAXPROCS": "4", "GODEBUG": ""}
    assert procfs.parse_environment(ENVIRONMENT, frozenset({"HOME"})) == {"HOME": "/root"}


LARGE = {f"FILL{n}": "x" * 120_000 for n in range(40)}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (LARGE | {"GOMAXPROCS": "3"}, {"GOMAXPROCS": "3"}),
        ({"GOMAXPROCS": "3"} | LARGE, {"GOMAXPROCS": "3"}),
        (LARGE, {}),
        (
            {f"GOMAXPROCS{n}": "y" * 9999 for n in range(99)} | {"GOMAXPROCS": ""},
            {"GOMAXPROCS": ""},
        ),
    ],
    ids=["last", "first", "none", "alike"],
)
def test_a_variable_behind_megabytes_of_others_is_found(
    environment: dict[str, str], expected: dict[str, str]
) -> None:
    """Behind the first MiB, GOMAXPROCS counted as not set."""
    roomy = partial(resource.setrlimit, resource.RLIMIT_STACK, (1 << 30, resource.RLIM_INFINITY))
    with subprocess.Popen(
        ["/bin/cat"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=roomy,  # an exec takes a quarter of the stack, and 6 MiB at most
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.read(1)  # it answers, so its exec is complete
        names = frozenset({"GOMAXPROCS"})
        assert procfs.read_environment(PROC, child.pid, names) == expected
        child.stdin.close()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"A=1\0" * 1_500_000 + b"GOMAXPROCS=3\0", {"GOMAXPROCS": "3"}),
        (b"A=1\0" * 2_500_000 + b"GOMAXPROCS=3\0", None),
        (b"GOMAXPROCS=3\0" + b"A" * (2 << 20), None),
        (b"GOMAXPROCS=3\0" + b"A=1\0" * 500_000 + b"GOMAXPROCS=4\0", {"GOMAXPROCS": "3"}),
    ],
    ids=["within", "beyond", "no-end", "twice"],
)
def test_an_environment_without_end_is_unreadable(
    tmp_path: Path, data: bytes, found: dict[str, str] | None
) -> None:
    """A process may point the kernel to any of its memory (PR_SET_MM_MAP)."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "environ").write_bytes(data)
    names = frozenset({"GOMAXPROCS"})
    if found is None:
        with pytest.raises(ParseError, match="environment-too-large"):
            procfs.read_environment(str(tmp_path), 1, names)
    else:
        assert procfs.read_environment(str(tmp_path), 1, names) == found


def test_environment_of_a_real_process() -> None:
    """The values are those given to the child."""
    names = frozenset({"GOMAXPROCS", "ABSENT"})
    environment = {"SECRET": "x" * 100_000, "GOMAXPROCS": "3"}
    with subprocess.Popen(
        ["/bin/cat"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.read(1)  # it answers, so its exec is complete
        assert procfs.read_environment(PROC, child.pid, names) == {"GOMAXPROCS": "3"}
        child.stdin.close()


@pytest.mark.parametrize(
    ("text", "cpus"),
    [(b"0-3,7\n", {0, 1, 2, 3, 7}), (b"0\n", {0}), (b"\n", set()), (b"2-2,4-5", {2, 4, 5})],
)
def test_cpu_list(text: bytes, cpus: set[int]) -> None:
    """Ranges and single CPUs, as in /sys/devices/system/cpu/online."""
    assert procfs.parse_cpu_list(text) == cpus


@pytest.mark.parametrize("text", [b"0-99999999", b"3-1", b"x", b"1-", b"-1", b"0-99999999999999"])
def test_cpu_list_refuses(text: bytes) -> None:
    """Backward, endless and malformed ranges raise and allocate nothing."""
    with pytest.raises(ParseError, match="cpu-list"):
        procfs.parse_cpu_list(text)


def test_allowed_cpus_agree_with_sched_getaffinity() -> None:
    """Mask and online list together give what sched_getaffinity gives."""
    online = procfs.read_online_cpus("/sys")
    assert procfs.read_allowed_cpus(PROC, os.getpid(), online) == len(os.sched_getaffinity(0))


def test_allowed_cpus_of_a_wide_mask(tmp_path: Path) -> None:
    """A mask that covers CPUs which are not there counts only those that are."""
    (tmp_path / "5").mkdir()
    status = tmp_path / "5" / "status"
    status.write_bytes(b"Name:\tx\nCpus_allowed:\tffffffff,fffffffe\nCpus_allowed_list:\t1-63\n")
    assert procfs.read_allowed_cpus(str(tmp_path), 5, frozenset(range(8))) == 7
    status.write_bytes(b"Name:\tx\n")
    with pytest.raises(ParseError, match="procfs-status"):
        procfs.read_allowed_cpus(str(tmp_path), 5, frozenset({0}))


def test_own_memory_is_readable() -> None:
    """Reading the start of a mapped ELF file through mem gives its magic."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    first = next(line for line in maps if mappings.read_exe_link(PROC, os.getpid()) in line)
    address = int(first.partition("-")[0], 16)
    assert procfs.read_memory(PROC, os.getpid(), address, 4) == b"\x7fELF"


@pytest.mark.parametrize(
    ("address", "length", "reason"),
    [
        (8, 4, "memory-unmapped"),
        (1 << 64, 4, "memory-range"),
        (-1, 4, "memory-range"),
        (4096, 2 << 20, "memory-range"),
        (4096, 0, "memory-range"),
    ],
)
def test_unmapped_memory_is_refused(address: int, length: int, reason: str) -> None:
    """Null pointers, kernel-sized addresses and senseless lengths raise, never crash."""
    with pytest.raises(ReadError, match=reason):
        procfs.read_memory(PROC, os.getpid(), address, length)


def test_open_limit_files_are_found(tmp_path: Path) -> None:
    """Exactly the descriptors on cpu.max and cpu.cfs_quota_us are reported."""
    for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.stat"):
        (tmp_path / name).touch()
    with (
        (tmp_path / "cpu.max").open() as limit,
        (tmp_path / "cpu.stat").open("a") as other,
        (tmp_path / "cpu.cfs_quota_us").open("a") as old_limit,
        # A process of its own: only the first descriptors are looked at, and a test run has many.
        subprocess.Popen(["sleep", "60"], stdin=limit, stdout=other, stderr=old_limit) as process,
    ):
        found = procfs.read_cgroup_fds(PROC, process.pid)
        process.kill()
    assert set(found) == {f"{tmp_path}/cpu.max", f"{tmp_path}/cpu.cfs_quota_us"}


def test_pids_hold_ours() -> None:
    """Every process is listed, names that are no number are not."""
    assert os.getpid() in procfs.list_pids(PROC)


def test_a_path_longer_than_path_max_is_not_named(tmp_path: Path) -> None:
    """The kernel does not return it, but opens the program and lists its whole path."""
    deep = os.open(tmp_path, os.O_RDONLY)
    for _ in range(21):
        os.mkdir("d" * 200, dir_fd=deep)
        above, deep = deep, os.open("d" * 200, os.O_RDONLY, dir_fd=deep)
        os.close(above)
    with contextlib.closing(
        os.fdopen(os.open("sleep", os.O_CREAT | os.O_WRONLY, 0o755, dir_fd=deep), "wb")
    ) as copy:
        copy.write(Path("/bin/sleep").read_bytes())
    with subprocess.Popen(["./sleep", "60"], preexec_fn=lambda: os.fchdir(deep)) as process:
        link = mappings.read_exe_link(PROC, process.pid)
        exe = mappings.read_exe_id(PROC, process.pid)
        mapped = mappings.read_maps(PROC, process.pid).mappings[0].path
        process.kill()
    os.close(deep)
    assert link == mappings.LONG_PATH
    assert exe.size == Path("/bin/sleep").stat().st_size
    assert len(mapped) > 4200
    assert mapped.endswith("/sleep")


def test_a_process_that_ended_is_gone() -> None:
    """Each reader raises the same error, before and after the process is reaped."""
    with subprocess.Popen(["/bin/true"]) as child:
        child.wait()
    pid, online = child.pid, frozenset({0})
    for read in (
        lambda: procfs.read_stat(PROC, pid),
        lambda: mappings.read_maps(PROC, pid),
        lambda: mappings.read_exe_id(PROC, pid),
        lambda: mappings.read_exe_link(PROC, pid),
        lambda: procfs.read_cgroups(PROC, pid),
        lambda: procfs.read_environment(PROC, pid, frozenset({"A"})),
        lambda: procfs.read_allowed_cpus(PROC, pid, online),
        lambda: procfs.read_memory(PROC, pid, 4096, 8),
        lambda: procfs.read_cgroup_fds(PROC, pid),
    ):
        with pytest.raises(ProcessGoneError):
            read()


def test_a_zombie_is_no_crash() -> None:
    """A zombie still has a stat, but no executable, memory, or descriptors."""
    with subprocess.Popen(["/bin/true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        pid = child.pid
        assert procfs.read_stat(PROC, pid).state == "Z"
        assert mappings.read_maps(PROC, pid) == ((), 0)
        with pytest.raises(ProcessGoneError):
            mappings.read_exe_id(PROC, pid)
        with pytest.raises((ProcessGoneError, ReadError)):
            procfs.read_memory(PROC, pid, 4096, 8)
