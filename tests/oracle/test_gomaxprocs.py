"""GOMAXPROCS read from outside, compared with the output of the processes."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from gotax.golang.bias import load_bias, program_bias
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.cgroupview import read_cgroup_view
from gotax.golang.gomaxprocs import find_gomaxprocs
from gotax.golang.live import GomaxprocsAddresses, LiveGomaxprocs, read_gomaxprocs
from gotax.golang.origin import origin
from gotax.golang.pclntab import parse_pclntab
from gotax.golang.prediction import predict
from gotax.golang.startup import Facts
from gotax.linux.cgroups.hierarchies import find_hierarchies
from gotax.linux.cgroups.tree import Cgroups
from gotax.linux.elf import FileReader, parse_elf
from gotax.linux.mappings import read_maps
from gotax.linux.procfs import (
    read_allowed_cpus,
    read_auxv,
    read_cgroup_fds,
    read_environment,
    read_online_cpus,
)
from gotax.process import GoBuild, Origin

from tests.toolchains import OLD_VERSIONS, VERSIONS, minor

pytestmark = pytest.mark.toolchain

GoBinary = Callable[..., Path]
VARIABLES = frozenset({"GOMAXPROCS", "GODEBUG"})
FLAGGED = 25  # the minor version that brought customGOMAXPROCS and the container's limit
PLAIN: tuple[str, ...] = ()
VARIANTS = (
    PLAIN,
    ("stripped",),
    ("pie",),
    ("pie", "stripped"),
    ("nosections", "stripped"),
    ("cgo",),
    ("cgo", "pie", "stripped"),
)
builds = pytest.mark.parametrize(
    ("version", "variants"),
    [(version, variants) for version in VERSIONS for variants in VARIANTS]
    + [(version, variants) for version in OLD_VERSIONS for variants in (PLAIN, ("stripped",))],
    ids=lambda value: value if isinstance(value, str) else "-".join(value) or "plain",
)


@dataclass(frozen=True)
class Binary:
    build: GoBuild
    addresses: GomaxprocsAddresses
    symbol: int | None
    cpus_symbol: int | None


@functools.cache
def look_at(path: Path, version: str) -> Binary:
    with FileReader(path) as reader:
        elf = parse_elf(reader)
        build = parse_buildinfo(elf)
        assert build is not None
        addresses = find_gomaxprocs(elf, parse_pclntab(elf, build.version or f"go{version}"))
        symbol = elf.symbol("runtime.gomaxprocs")
        cpus = elf.symbol("runtime.ncpu") or elf.symbol("runtime.numCPUStartup")
        return Binary(build, addresses, symbol and symbol[0], cpus and cpus[0])


class Running:
    """A program of tests/programs that prints its GOMAXPROCS on request."""

    def __init__(self, path: Path, version: str, process: subprocess.Popen[str]) -> None:
        self.binary = look_at(path, version)
        self.pid = process.pid
        self._process = process
        self.printed = self._read()
        with FileReader(path) as reader:
            elf = parse_elf(reader)
            bias = program_bias(elf, read_auxv("/proc", self.pid))
            mapped = [m for m in read_maps("/proc", self.pid).mappings if m.path == str(path)]
            assert {load_bias(elf, mapping) for mapping in mapped} == {bias}
        assert bias is not None
        self._bias = bias

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def ask(self, line: str = "") -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._read()

    def live(self) -> LiveGomaxprocs:
        return read_gomaxprocs("/proc", self.pid, self.binary.addresses, self._bias)

    def facts(self) -> Facts:
        """Everything from outside, as in the agent."""
        environment = read_environment("/proc", self.pid, VARIABLES)
        online = read_online_cpus("/sys")
        cgroups = Cgroups(find_hierarchies("/proc", "/sys/fs/cgroup"))
        path = cgroups.cpu_path(cgroups.read_entries("/proc", self.pid))
        return Facts(
            build=self.binary.build,
            allowed_cpus=read_allowed_cpus("/proc", self.pid, online),
            environment=environment.get("GOMAXPROCS"),
            godebug=environment.get("GODEBUG"),
            leaf_limit_cores=cgroups.read_limit(path).leaf_limit_cores,
            cgroup=read_cgroup_view("/proc", self.pid),
            follows_limit=bool(read_cgroup_fds("/proc", self.pid)),
            online_cpus=len(online),
            code=self.binary.addresses,
        )

    def origin(self) -> Origin:
        return origin(self.live(), self.facts())


@contextmanager
def running(path: Path, version: str, *wrapper: str, **variables: str) -> Iterator[Running]:
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES} | variables
    with subprocess.Popen(
        [*wrapper, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield Running(path, version, process)
        finally:
            process.kill()


@builds
def test_the_value_read_is_the_value_of_the_process(
    go_binary: GoBinary, version: str, variants: tuple[str, ...]
) -> None:
    """With the variable at 1, 2, 7 and 192, and with the default."""
    path = go_binary("gomaxprocs", version, *variants)
    for number in ("1", "2", "7", "192", None):
        variables = {"GOMAXPROCS": number} if number else {}
        with running(path, version, **variables) as program:
            live = program.live()
            assert live.value == program.printed
            assert live.custom == ((number is not None) if minor(version) >= FLAGGED else None)
            assert predict(program.facts()).value == program.printed
            assert program.origin() is (Origin.ENVIRONMENT if number else Origin.CPU_COUNT)


@builds
def test_a_call_is_detected_and_distinguished_from_the_variable(
    go_binary: GoBinary, version: str, variants: tuple[str, ...]
) -> None:
    path = go_binary("gomaxprocs", version, *variants)
    for variables in ({}, {"GOMAXPROCS": "5"}):
        with running(path, version, **variables) as program:
            assert program.ask("set 3") == 3
            live = program.live()
            assert live.value == 3
            assert live.custom == (True if minor(version) >= FLAGGED else None)
            assert program.origin() is Origin.CALL


@pytest.mark.parametrize("version", VERSIONS + OLD_VERSIONS)
@pytest.mark.parametrize("machine", ["amd64", "arm64"])
def test_the_address_is_that_of_the_symbol_also_without_sections(
    go_binary: GoBinary, version: str, machine: str
) -> None:
    """Removing the section headers moves nothing, so both files must give the same address."""
    variants = ("arm64",) if machine == "arm64" else ()
    plain = look_at(go_binary("gomaxprocs", version, *variants), version)
    wiped = look_at(go_binary("gomaxprocs", version, *variants, "nosections"), version)
    assert plain.symbol == plain.addresses.value_address
    assert plain.cpus_symbol == plain.addresses.cpus_address is not None
    assert wiped.symbol is wiped.cpus_symbol is None
    assert wiped.addresses == plain.addresses
    assert (plain.addresses.custom_address is not None) == (minor(version) >= FLAGGED)


@pytest.mark.parametrize("version", [v for v in VERSIONS if minor(v) >= 24])
@pytest.mark.skipif(platform.machine() != "x86_64", reason="built for this machine only")
def test_values_ignored_by_the_runtime_are_ignored(go_binary: GoBinary, version: str) -> None:
    """Every spelling has the same effect as in the process."""
    path = go_binary("gomaxprocs", version)
    for text in ("", "0", "-2", "+4", " 4", "4 ", "4x", "0x4", "1_0", "007", "2147483648"):
        with running(path, version, GOMAXPROCS=text) as program:
            assert predict(program.facts()).value == program.printed, text
            assert program.live().value == program.printed
            expected = (Origin.ENVIRONMENT,) if program.live().custom else (Origin.CPU_COUNT,)
            assert program.live().custom is None or program.origin() in expected


@pytest.mark.parametrize("version", VERSIONS)
def test_automaxprocs_without_a_limit_leaves_the_default(go_binary: GoBinary, version: str) -> None:
    with running(go_binary("automaxprocs", version), version) as program:
        assert program.binary.addresses.automaxprocs
        assert program.live().value == program.printed
        assert program.origin() is Origin.CPU_COUNT


# ---------------------------------------------------------------------------------------------
# With a real limit
# ---------------------------------------------------------------------------------------------


@pytest.fixture
def limited() -> Iterator[Callable[[int], tuple[str, ...]]]:
    """limited(150_000) is a command prefix that runs a program with 1.5 cores."""
    tree = find_hierarchies("/proc", "/sys/fs/cgroup").of("cpu")
    if tree is None or tree.root != "/" or os.geteuid():
        pytest.skip("needs root and the host's cgroup tree")
    folder = Path(tree.mount) / f"gotax-gomaxprocs-{os.getpid()}"
    folder.mkdir()

    def limit(quota_us: int) -> tuple[str, ...]:
        if tree.controllers:
            (folder / "cpu.cfs_period_us").write_text("100000")
            (folder / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (folder / "cpu.max").write_text(f"{quota_us} 100000")
        return ("sh", "-c", f'echo $$ > {folder}/cgroup.procs; exec "$0"')

    try:
        yield limit
    finally:
        folder.rmdir()


Limited = Callable[[int], tuple[str, ...]]


@pytest.mark.kernel
@pytest.mark.parametrize("version", [v for v in VERSIONS if minor(v) >= FLAGGED])
@pytest.mark.parametrize("quota_us", [50_000, 150_000, 250_000, 6_400_000])
def test_the_container_default_of_a_real_cgroup(
    go_binary: GoBinary, limited: Limited, version: str, quota_us: int
) -> None:
    """The limit counts from two CPUs on, and only below the number of CPUs.

    The open limit file shows that the runtime follows it.
    """
    path = go_binary("container", version)
    with running(path, version, *limited(quota_us)) as program:
        facts = program.facts()
        prediction = predict(facts)
        assert facts.leaf_limit_cores == quota_us / 100_000
        assert facts.follows_limit
        assert program.live() == LiveGomaxprocs(program.printed, False, facts.allowed_cpus)
        assert prediction.value == program.printed
        below = max(2, -(-quota_us // 100_000)) < facts.allowed_cpus
        assert program.origin() is (Origin.CONTAINER if below else Origin.CPU_COUNT)


@pytest.mark.kernel
@pytest.mark.parametrize("version", [v for v in VERSIONS if minor(v) >= FLAGGED])
def test_an_old_go_line_disables_the_container_default(
    go_binary: GoBinary, limited: Limited, version: str
) -> None:
    """GOPATH mode counts as go 1.20: DefaultGODEBUG says so, and no limit file is open."""
    path = go_binary("gomaxprocs", version)
    with running(path, version, *limited(100_000)) as program:
        facts = program.facts()
        assert "containermaxprocs=0" in facts.build.setting("DefaultGODEBUG")
        assert not facts.follows_limit
        assert predict(facts).value == program.printed == facts.allowed_cpus
        assert program.origin() is Origin.CPU_COUNT
    variables = {"GODEBUG": "containermaxprocs=1"}
    with running(path, version, *limited(100_000), **variables) as program:
        assert program.facts().follows_limit
        assert predict(program.facts()).value == program.printed


@pytest.mark.kernel
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("quota_us", [50_000, 150_000, 350_000])
def test_automaxprocs_in_a_real_cgroup(
    go_binary: GoBinary, limited: Limited, version: str, quota_us: int
) -> None:
    """It rounds down, to at least 1, and ignores the number of CPUs."""
    path = go_binary("automaxprocs", version)
    with running(path, version, *limited(quota_us)) as program:
        assert program.printed == max(1, quota_us // 100_000)
        assert program.live().value == program.printed
        assert predict(program.facts()).value == program.printed
        assert program.origin() is Origin.AUTOMAXPROCS
        assert program.ask("set 6") == 6
        assert program.origin() is Origin.CALL
    with running(path, version, *limited(quota_us), GOMAXPROCS="") as program:
        assert program.origin() is Origin.CPU_COUNT
