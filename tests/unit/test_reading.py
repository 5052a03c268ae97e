"""Processes that are hard to read: each is read, or reported as unreadable.

Real processes, read without a sampler.
"""

from __future__ import annotations

import json
import os
import platform
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gotax.config import Roots
from gotax.linux import procfs
from gotax.processes.resolver import Resolver
from gotax.processes.tracked_process import TrackedProcess

from tests.toolchains import VERSIONS

pytestmark = pytest.mark.toolchain
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to mount, or to be another")

REAL = Roots()
GoBinary = Callable[..., Path]
CC = shutil.which("gcc") or shutil.which("cc") or ""
# The main thread ends at once; another one loads a Go library, or calls a linked one.
LEADER = """
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>
#ifdef LINKED
extern void Spin(int milliseconds, int procs);
#endif
static char **arguments;
static void *work(void *unused) {
    (void)unused;
#ifdef LINKED
    void (*spin)(int, int) = Spin;
#else
    void (*spin)(int, int) = (void (*)(int, int))dlsym(dlopen(arguments[1], RTLD_NOW), "Spin");
#endif
    spin(1, 3);
    write(1, ".", 1);
    pause();
    return 0;
}
int main(int count, char **given) {
    (void)count;
    arguments = given;
    pthread_t thread;
    pthread_create(&thread, 0, work, 0);
    if (given[count - 1][0] == '-') pthread_join(thread, 0);
    pthread_exit(0);
}
"""


def compiled(source: str, target: Path, *arguments: str) -> Path:
    code = target.with_suffix(".c")
    code.write_text(source)
    command = [CC, "-O1", "-o", str(target), str(code), *arguments, "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True)
    return target


@contextmanager
def running(*command: str | Path, **options: Any) -> Iterator[int]:
    """The PID of the program, after its first output."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(1)
            yield process.pid
        finally:
            process.kill()


def looked_at(pid: int, roots: Roots = REAL) -> tuple[Resolver, TrackedProcess]:
    table = Resolver(roots)
    table.begin_round()
    tracked = table.resolve(pid)
    assert isinstance(tracked, TrackedProcess)
    table.refresh_go(tracked, {})
    return table, tracked


def value_of(tracked: TrackedProcess) -> int | str | None:
    found = tracked.process.gomaxprocs
    return (found.value or found.reason) if found else None


def state_of(pid: int) -> str:
    return procfs.read_stat("/proc", pid).state


def wait_for_the_main_thread_to_end(pid: int) -> None:
    while state_of(pid) != "Z":
        select.select([], [], [], 0.01)


@pytest.mark.parametrize("is_linked", [True, False])
def test_a_process_whose_main_thread_has_ended(
    go_binary: GoBinary, tmp_path: Path, is_linked: bool
) -> None:
    """Go in the program itself, or in a library: everything is read through another thread."""
    version = VERSIONS[-1]
    if is_linked:
        archive = go_binary("library", version, "c-archive")
        shutil.copy(archive, tmp_path / "library.a")
        program = compiled(LEADER, tmp_path / "leader", "-DLINKED", str(tmp_path / "library.a"))
        command: list[str | Path] = [program]
    else:
        program = compiled(LEADER, tmp_path / "leader")
        command = [program, go_binary("library", version, "c-shared")]
    with running(*command, env={"GOMAXPROCS": "7", "GODEBUG": "x=1"}) as pid:
        wait_for_the_main_thread_to_end(pid)
        table, tracked = looked_at(pid)
        assert tracked.process.build is not None
        assert tracked.process.build.version == f"go{version}"
        assert value_of(tracked) == 3
        assert tracked.go.environment == {"GOMAXPROCS": "7", "GODEBUG": "x=1"}
        assert tracked.process.runtime is not None
        assert tracked.process.runtime.gogc == 100
        assert not table.unjudged()
        serial = tracked.serial
        again = table.resolve(pid)
        assert isinstance(again, TrackedProcess)
        assert again.serial == serial  # it has not called exec yet
        ((binary, bias),) = tracked.program.located_runtimes()
        assert binary.table is not None
        text = binary.table.text_start + bias
        (mapping,) = [m for m in tracked.space.mappings() if m.start <= text < m.end]
        assert tracked.space.binary(mapping) is binary


def test_a_process_whose_threads_have_all_ended() -> None:
    """A zombie has ended, although /proc has its stat."""
    child = os.fork()
    if not child:
        os._exit(0)
    try:
        # Fork handlers in libraries of this process may have started a thread in the child.
        while not procfs.read_stat("/proc", child).has_ended:
            select.select([], [], [], 0.01)
        table = Resolver(Roots())
        table.scan([child])
        assert not table.unjudged()
        assert table.judged() == 0
    finally:
        os.waitpid(child, 0)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a program for i386")
def test_a_program_for_32_bits(go_binary: GoBinary) -> None:
    """It is Go, but the layout of its runtime's memory is another: unreadable, with the reason."""
    path = go_binary("gomaxprocs", VERSIONS[-1], "386")
    with running(path) as pid:
        table, tracked = looked_at(pid)
        assert tracked.process.build is not None
        assert tracked.process.build.version == f"go{VERSIONS[-1]}"
        assert value_of(tracked) == "elf-unsupported"
        assert tracked.is_blind
        assert not table.unjudged()


def gccgo_like(tmp_path: Path) -> Path:
    """A C program that needs a library with the name of gccgo's runtime."""
    runtime = tmp_path / "libgo.so.21"
    compiled("int runtime_ready;", runtime, "-shared", "-fPIC", "-Wl,-soname,libgo.so.21")
    source = """
#include <unistd.h>
extern int runtime_ready;
int main(void) { runtime_ready = 1; write(1, ".", 1); pause(); }
"""
    path = tmp_path / "program"
    return compiled(source, path, str(runtime), f"-Wl,-rpath,{tmp_path}")


def test_a_program_of_gccgo(tmp_path: Path) -> None:
    """Its runtime is not Go's own: unreadable, with the reason."""
    with running(gccgo_like(tmp_path)) as pid:
        _, tracked = looked_at(pid)
        assert tracked.is_go
        assert value_of(tracked) == "compiler-gccgo"


def test_a_library_whose_file_was_deleted(go_binary: GoBinary, tmp_path: Path) -> None:
    """Without the right to use map_files a deleted file cannot be read. Its first page is in
    memory, and shows that it is Go."""
    library = tmp_path / "libgone.so"
    shutil.copy(go_binary("library", VERSIONS[-1], "c-shared"), library)
    program = compiled(LEADER, tmp_path / "host")
    with running(program, library, "-") as pid:
        library.unlink()
        proc = without_map_files(tmp_path, pid)
        table, tracked = looked_at(pid, Roots(str(proc)))
        assert tracked.is_go
        assert value_of(tracked) == "library-unreadable"
        assert table.errors["library-unreadable"] >= 1
        # Another file with that name is not the mapped one.
        shutil.copy(go_binary("library", VERSIONS[0], "c-shared"), library)
        _, tracked = looked_at(pid, Roots(str(proc)))
        assert value_of(tracked) == "library-unreadable"


def without_map_files(folder: Path, pid: int) -> Path:
    """/proc as seen without CAP_CHECKPOINT_RESTORE: links to everything except map_files."""
    proc = folder / "proc"
    shutil.rmtree(proc, ignore_errors=True)
    (proc / str(pid)).mkdir(parents=True)
    for name in ("1", "self"):
        (proc / name).symlink_to(f"/proc/{name}")
    for entry in Path(f"/proc/{pid}").iterdir():
        if entry.name not in ("map_files", "exe"):
            (proc / str(pid) / entry.name).symlink_to(entry)
    (proc / str(pid) / "exe").symlink_to(os.readlink(f"/proc/{pid}/exe"))
    return proc


def test_a_library_by_its_path(go_binary: GoBinary, tmp_path: Path) -> None:
    """Without map_files the file at the path is used, if its numbers are those of maps, or if it
    begins like the mapped memory."""
    library = tmp_path / "libgo.so"
    shutil.copy(go_binary("library", VERSIONS[-1], "c-shared"), library)
    program = compiled(LEADER, tmp_path / "host")
    with running(program, library, "-") as pid:
        proc = without_map_files(tmp_path, pid)
        _, tracked = looked_at(pid, Roots(str(proc)))
        assert value_of(tracked) == 3
        # The same content at the path, but other numbers than in maps: a file of an overlayfs
        # before Linux 6.8, or of a subvolume of btrfs.
        shutil.copy(library, tmp_path / "copy")
        (tmp_path / "copy").rename(library)
        maps = proc / str(pid) / "maps"
        text = Path(f"/proc/{pid}/maps").read_text().replace(f"{library} (deleted)", str(library))
        maps.unlink()
        maps.write_text(text)
        _, tracked = looked_at(pid, Roots(str(proc)))
        assert value_of(tracked) == 3
        # Another library at the path, where another mount hides the mapped one.
        shutil.copy(go_binary("library", VERSIONS[0], "c-shared"), tmp_path / "copy")
        (tmp_path / "copy").rename(library)
        _, tracked = looked_at(pid, Roots(str(proc)))
        assert value_of(tracked) == "library-unreadable"


@as_root
def test_a_process_of_another_user(go_binary: GoBinary) -> None:
    """Without permission it is unknown, not "not Go". Programs of other users are not read."""
    with running(go_binary("gomaxprocs", VERSIONS[-1])) as pid:
        code = (
            "import json, os, sys; from gotax.config import Roots;"
            "from gotax.processes.resolver import Resolver;"
            "os.setgid(65534); os.setuid(65534); table = Resolver(Roots());"
            f"table.scan([{pid}]);"
            "print(json.dumps([table.unjudged(), table.judged()]))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) == [{"procfs-denied": 1}, 0]


@contextmanager
def mounted(kind: str, target: Path, options: str = "") -> Iterator[Path]:
    target.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", kind, *(["-o", options] if options else []), "none", str(target)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip(f"{kind} cannot be mounted here")
    try:
        yield target
    finally:
        subprocess.run(["umount", "-l", target], check=True)


@as_root
def test_a_program_and_a_library_of_the_same_inode_number(
    go_binary: GoBinary, tmp_path: Path
) -> None:
    """On two file systems: each is a separate file, with its own bias."""
    host = compiled(LEADER, tmp_path / "host")
    library = go_binary("library", VERSIONS[-1], "c-shared")
    with mounted("tmpfs", tmp_path / "a") as a, mounted("tmpfs", tmp_path / "b") as b:
        shutil.copy(host, a / "host")
        shutil.copy(library, b / "libgo.so")
        assert (a / "host").stat().st_ino == (b / "libgo.so").stat().st_ino
        with running(a / "host", b / "libgo.so", "-") as pid:
            _, tracked = looked_at(pid)
            assert value_of(tracked) == 3
            found = {
                binary.module: binary.bias(mapping)
                for mapping in tracked.space.mappings()
                if (binary := tracked.space.binary(mapping)) is not None
            }
            assert {str(a / "host"), str(b / "libgo.so")} <= found.keys()
            assert found[str(a / "host")] != found[str(b / "libgo.so")]


@as_root
@pytest.mark.parametrize("layout", ["unchanged", "changed", "xino"])
def test_a_program_on_an_overlayfs(go_binary: GoBinary, tmp_path: Path, layout: str) -> None:
    """As in containers: from a layer, copied up by chmod, and from two file systems."""
    source = go_binary("gomaxprocs", VERSIONS[-1])
    with ExitStack() as stack:
        lower = stack.enter_context(mounted("tmpfs", tmp_path / "lower"))
        upper = stack.enter_context(mounted("tmpfs", tmp_path / "upper"))
        shutil.copy(source, lower / "program")
        for name in ("up", "work"):
            (upper / name).mkdir()
        options = f"lowerdir={lower},upperdir={upper}/up,workdir={upper}/work"
        options += ",xino=on" if layout == "xino" else ""
        merged = stack.enter_context(mounted("overlay", tmp_path / "merged", options))
        if layout == "changed":
            (merged / "program").chmod(0o700)
        pid = stack.enter_context(running(merged / "program", env={"GOMAXPROCS": "5"}))
        _, tracked = looked_at(pid)
        assert value_of(tracked) == 5
        assert tracked.space.program is not None
        assert tracked.space.program.table is not None
        main = np.uint64(tracked.space.program.table.text_start)
        (mapping,) = [m for m in tracked.space.mappings() if m.start <= int(main) < m.end]
        assert tracked.space.binary(mapping) is tracked.space.program
