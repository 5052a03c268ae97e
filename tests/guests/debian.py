"""Debian's kernels, and an arm64 system, from the mirror that this host's apt uses."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.toolchains import cache

_ROOT = Path(__file__).parents[2]
_INIT = Path(__file__).parent / "init.sh"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_LISTS_S = 24 * 3600
"""How old the mirror's lists may be."""

# Everything else that the guest needs is built into Debian's kernels.
_MODULES = ("virtio_pci", "9p", "9pnet_virtio", "overlay")
_PACKAGES = (
    *("bash", "base-files", "busybox-static", "coreutils", "findutils", "grep", "libc-bin"),
    *("mawk", "mount", "procps", "python3", "python3-bpfcc", "sed", "util-linux", "usr-is-merged"),
)
_WHEELS = (
    *("grpcio", "numpy", "prometheus-client", "protobuf", "typing-extensions"),
    *("execnet", "hypothesis", "iniconfig", "packaging", "pluggy", "pygments", "pytest"),
    *("pytest-xdist", "sortedcontainers"),
)


class MissingError(Exception):
    """The mirror or the registry does not have it, or does not answer. One sentence."""


@dataclass(frozen=True, slots=True)
class Kernel:
    release: str
    vmlinuz: Path
    initrd: Path


def folder() -> Path:
    return cache() / "guests"


def fetch_kernel(suite: str, machine: str) -> Kernel:
    """The newest kernel of a suite of Debian. Raises MissingError."""
    kept = folder() / "kernels" / f"{suite}-{machine}"
    try:
        apt = _Apt(suite, machine)
        name = apt.kernel()
    except MissingError as error:
        if (kept / "release").exists():
            _say(f"{error}; {kept.name} is the kernel of the cache")
            return _kept_kernel(kept)
        raise
    made_of = f"{name}\n{_INIT.read_text()}"
    if (kept / "made-of").exists() and (kept / "made-of").read_text() == made_of:
        return _kept_kernel(kept)
    _say(f"fetching {name} of {suite}, {machine}")
    with tempfile.TemporaryDirectory(dir=folder()) as work:
        files = Path(work)
        apt.unpack(name, files)
        new = files / "new"
        new.mkdir()
        vmlinuz = next(p for p in files.rglob("vmlinuz*") if p.is_file())
        shutil.copy(vmlinuz, new / "vmlinuz")
        _write_initrd(files, machine, new / "initrd")
        (new / "made-of").write_text(made_of)
        (new / "release").write_text(name)
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(exist_ok=True)
        new.rename(kept)
    return _kept_kernel(kept)


def _kept_kernel(kept: Path) -> Kernel:
    release = (kept / "release").read_text().removeprefix("linux-image-")
    return Kernel(release, kept / "vmlinuz", kept / "initrd")


class _Apt:
    """apt with lists of its own: one suite and one architecture."""

    def __init__(self, suite: str, machine: str) -> None:
        self._machine = machine
        self._suite = suite
        own = folder() / "apt" / f"{suite}-{machine}"
        for name in ("lists/partial", "cache/archives/partial"):
            (own / name).mkdir(parents=True, exist_ok=True)
        sources = f"deb [signed-by={_KEYRING}] {mirror()} {suite} main\n"
        (own / "sources.list").write_text(sources)
        (own / "apt.conf").write_text(
            f'Dir::Etc::SourceList "{own}/sources.list";\n'
            'Dir::Etc::SourceParts "/dev/null";\n'
            f'Dir::State::Lists "{own}/lists";\n'
            'Dir::State::Status "/dev/null";\n'
            f'Dir::Cache "{own}/cache";\n'
            f'APT::Architecture "{machine}";\n'
            f'APT::Architectures "{machine}";\n'
            'APT::Sandbox::User "root";\n'
            'Acquire::Languages "none";\n'
            'Acquire::Retries "3";\n'
        )
        self._environment = {"APT_CONFIG": str(own / "apt.conf")}
        stamp = own / "updated"
        if not stamp.exists() or time.time() - stamp.stat().st_mtime > _LISTS_S:
            done = self._run("apt-get", "update", "-qq", "--error-on=any")
            if done.returncode:
                raise MissingError(
                    f"the mirror has no {suite} for {machine}: {_last_line(done.stderr)}"
                )
            stamp.touch()

    def _run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self._environment, "LC_ALL": "C"}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)

    def kernel(self) -> str:
        """The package that the newest kernel's name stands for: linux-image-6.1.0-50-amd64."""
        names = self._needs(f"linux-image-{self._machine}", r"linux-image-\S+")
        if not names:
            raise MissingError(f"{self._suite} for {self._machine} has no kernel at the mirror")
        return names[0]

    def _needs(self, package: str, pattern: str) -> list[str]:
        listed = self._run("apt-cache", "depends", package).stdout
        return re.findall(rf"Depends: ({pattern})$", listed, re.M)

    def unpack(self, kernel: str, target: Path) -> None:
        """Since Linux 7 image and modules are packages of their own."""
        for package in (kernel, *self._needs(kernel, r"linux-(?:binary|modules)-\S+")):
            done = self._run("apt-get", "download", "-qq", package, cwd=target)
            if done.returncode:
                raise MissingError(f"the mirror does not give {package}: {_last_line(done.stderr)}")
        for file in target.glob("*.deb"):
            _checked("dpkg-deb", "--extract", str(file), str(target))
            file.unlink()


def mirror() -> str:
    """Where this host's apt gets Debian from."""
    listed = subprocess.run(
        ["apt-get", "update", "--print-uris"], capture_output=True, text=True, check=False
    ).stdout
    names = re.findall(r"'(\S+)/dists/(\S+?)/InRelease'", listed)
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.M)
    for address, name in names:
        if release and name == release[1]:
            return str(address)
    raise MissingError("apt on this host has no source for Debian's own release")


def _write_initrd(unpacked: Path, machine: str, target: Path) -> None:
    busybox = Path("/bin/busybox") if machine == "amd64" else system(machine) / "bin/busybox"
    with tempfile.TemporaryDirectory(dir=folder()) as work:
        root = Path(work)
        for name in ("bin", "modules", "host", "top", "new", "proc", "dev"):
            (root / name).mkdir()
        shutil.copy(busybox, root / "bin/busybox")
        shutil.copy(_INIT, root / "init")
        (root / "init").chmod(0o755)
        modules = {_module_name(path): path for path in unpacked.rglob("*.ko*")}
        for number, name in enumerate(in_order(_MODULES, modules, [])):
            (root / f"modules/{number:02}-{name}.ko").write_bytes(_read_module(modules[name]))
        listed = "\n".join(str(p.relative_to(root)) for p in sorted(root.rglob("*")))
        with target.open("wb") as file:
            subprocess.run(
                ["busybox", "cpio", "-o", "-H", "newc"],
                cwd=root,
                input=listed.encode(),
                stdout=file,
                stderr=subprocess.DEVNULL,
                check=True,
            )


def _module_name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _read_module(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def in_order(wanted: tuple[str, ...], modules: dict[str, Path], seen: list[str]) -> list[str]:
    """With those that they need before them. What is no module is built into the kernel."""
    for name in wanted:
        if name in modules and name not in seen:
            needs = re.search(rb"\0depends=([^\0]*)\0", b"\0" + _read_module(modules[name]))
            names = needs[1].decode().split(",") if needs else []
            in_order(tuple(n.replace("-", "_") for n in names), modules, seen)
            seen.append(name)
    return seen


def system(machine: str) -> Path:
    """Debian 12 for another machine: only unpacked, because nothing of it runs here."""
    kept = folder() / f"system-{machine}"
    if not (kept / "bin/busybox").exists():
        _say(f"unpacking Debian for {machine}")
        folder().mkdir(parents=True, exist_ok=True)
        new = kept.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        command = ("mmdebstrap", "--mode=root", "--variant=extract", "--quiet")
        options = (f"--architectures={machine}", f"--include={','.join(_PACKAGES)}")
        hooks = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
        _checked(*command, *options, hooks, "bookworm", str(new), mirror())
        (new / "bin/sh").symlink_to("bash")  # else a script of the package dash makes it
        new.rename(kept)
    return kept


def site(machine: str) -> Path:
    """gotax's and the tests' Python libraries for another machine, as locks/test.txt has them."""
    lock = (_ROOT / "locks/test.txt").read_text()
    wanted = "".join(
        entry for entry in _entries(lock) if re.split(r"[=\s]", entry, maxsplit=1)[0] in _WHEELS
    )
    kept = folder() / f"site-{machine}"
    if (kept / "locked").exists() and (kept / "locked").read_text() == wanted:
        return kept
    _say(f"fetching Python libraries for {machine}")
    new = kept.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    (new / "locked").write_text(wanted)
    architecture = {"arm64": "aarch64", "amd64": "x86_64"}[machine]
    platforms = [f"manylinux{tag}_{architecture}" for tag in ("_2_28", "_2_17", "2014")]
    _checked(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--require-hashes", "--no-deps", "--only-binary=:all:", "--python-version=3.11"),
        *(f"--platform={name}" for name in platforms),
        *(f"--target={new}", "-r", str(new / "locked")),
    )
    shutil.rmtree(kept, ignore_errors=True)
    new.rename(kept)
    return kept


def _entries(lock: str) -> Iterator[str]:
    """Each package with its hashes."""
    yield from re.findall(r"^[\w.-]+==.*\n(?:[ \t]+.*\n)*", lock, re.M)


def _checked(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise MissingError(f"{command[0]} failed: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def _say(text: str) -> None:
    print(f"guests: {text}", file=sys.stderr, flush=True)
