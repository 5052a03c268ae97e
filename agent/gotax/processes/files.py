"""The one place where gotax reads what a container's processes own: their files and memory.

Everything here may be written by an attacker, and may be gone at any time. What processes are, and
their cgroups, the kernel says itself; that is read elsewhere (``linux/procfs.py``).
"""

from __future__ import annotations

import os

from gotax.errors import ParseError
from gotax.golang.gomaxprocs import GomaxprocsAddresses, LiveGomaxprocs, read_gomaxprocs
from gotax.golang.origin import CgroupView, read_cgroup_view
from gotax.golang.runtimestate import StateAddresses, read_state
from gotax.linux import procfs
from gotax.linux.elf import FileReader
from gotax.linux.procfs import FileId, MappedFile, Mapping, Maps, TaskPath
from gotax.process import RuntimeState

_CACHE_BYTES = 512 * 1024  # of each open file, until the end of the tick


class ProcessFiles:
    """The files and the memory of one process.

    ``place`` is where below /proc it is read; the process table says so, and when it has ended.
    Every method raises ParseError for what cannot be read, and ProcessGoneError.
    """

    __slots__ = ("_proc", "has_ended", "place")

    def __init__(self, proc: str, place: TaskPath, has_ended: bool = False) -> None:
        self._proc = proc
        self.place = place
        self.has_ended = has_ended

    def exe_path(self) -> str:
        """What to open to read the executable; never raises."""
        return procfs.exe_path(self._proc, self.place)

    def exe_id(self) -> FileId:
        return procfs.read_exe_id(self._proc, self.place)

    def exe_link(self) -> str:
        """The path of the executable, as the process sees it."""
        return procfs.read_exe_link(self._proc, self.place)

    def maps(self) -> Maps:
        return procfs.read_maps(self._proc, self.place)

    def first_addresses(self) -> dict[tuple[int, int, str], int]:
        """Where the first byte of each mapped file lies, by device, inode and path."""
        return procfs.read_first_addresses(self._proc, self.place)

    def find_mapped(self, mapping: Mapping) -> MappedFile | None:
        return procfs.find_mapped_file(self._proc, self.place, mapping)

    def auxiliary(self) -> procfs.Auxiliary:
        return procfs.read_auxv(self._proc, self.place)

    def memory(self, address: int, length: int) -> bytes:
        return procfs.read_memory(self._proc, self.place, address, length)

    def environment(self, names: frozenset[str]) -> dict[str, str]:
        return procfs.read_environment(self._proc, self.place, names)

    def cgroup_fds(self) -> tuple[str, ...]:
        """Open files of cgroups that say a limit."""
        return procfs.read_cgroup_fds(self._proc, self.place)

    def cgroup_view(self) -> CgroupView:
        """What its cgroup mount shows the process."""
        return read_cgroup_view(self._proc, self.place)

    def allowed_cpus(self, online: frozenset[int]) -> int:
        return procfs.read_allowed_cpus(self._proc, self.place, online)

    def gomaxprocs(self, addresses: GomaxprocsAddresses, bias: int) -> LiveGomaxprocs:
        return read_gomaxprocs(self._proc, self.place, addresses, bias)

    def runtime_state(self, addresses: StateAddresses, bias: int) -> RuntimeState:
        return read_state(self._proc, self.place, addresses, bias)


def read_head(path: str, length: int) -> bytes:
    """The first bytes of a file; ParseError ``library-unreadable``."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.pread(fd, length, 0)
        finally:
            os.close(fd)
    except OSError as error:
        raise ParseError("library-unreadable", f"{path}: {error.strerror}") from error


class BorrowedFile:
    """A reader that is open only while it is being read.

    A descriptor kept open would pin a container's file system after the container is gone. So it
    is opened through a process that runs the file, closed at the end of the tick, and opened again
    through whichever process runs it then; the content is proven to be the same by ``FileId``.
    """

    def __init__(self, file_id: FileId, path: str) -> None:
        self._id = file_id
        self._path = path
        self._file: FileReader | None = None

    @property
    def size(self) -> int:
        return self._id.size

    @property
    def is_open(self) -> bool:
        return self._file is not None

    def lend(self, path: str) -> None:
        """From now on the file can be had at ``path``."""
        self._path = path

    def read(self, offset: int, length: int) -> bytes:
        """Like ``Reader.read``; ParseError ``binary-gone`` or ``binary-changed`` when reopening."""
        if self._file is None:
            self._file = self._open()
        return self._file.read(offset, length)

    def _open(self) -> FileReader:
        try:
            # NONBLOCK: the path may lead through a container, where a FIFO can stand in its place.
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ParseError("binary-gone", f"{self._path}: {error.strerror}") from error
        try:
            status = os.fstat(fd)
            found = FileId(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            if found != self._id:
                raise ParseError("binary-changed", self._path)
            return FileReader(fd, _CACHE_BYTES)
        finally:
            os.close(fd)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
