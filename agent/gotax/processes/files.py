"""The one way to what a container's processes own: their memory and their files below /proc.

``opened.py`` beside it opens the files that are read at length. All of it may be written by an
attacker, and may be gone at any time. What the kernel itself says of a process, as its state and
its cgroups, is read elsewhere.
"""

from __future__ import annotations

from gotax.golang.cgroupview import CgroupView, read_cgroup_view
from gotax.golang.gomaxprocs import GomaxprocsAddresses, LiveGomaxprocs, read_gomaxprocs
from gotax.golang.runtimestate import StateAddresses, read_state
from gotax.linux import procfs
from gotax.linux.procfs import FileId, MappedFile, Mapping, Maps, TaskPath
from gotax.process import RuntimeState


class ProcessFiles:
    """The files and the memory of one process.

    ``place`` is where below /proc it is read; the process table says so, and when it has ended.
    Every method raises ReadError for what cannot be read, and ProcessGoneError.
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
