"""One process and what is known of it: each part belongs to the module that it comes from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gotax.linux.procfs import Stat
from gotax.process import CpuLimit, PodContainer, Process
from gotax.processes.address_space import AddressSpace
from gotax.processes.binaries import BinaryTable
from gotax.processes.counts import ErrorCounts
from gotax.processes.files import ProcessFiles
from gotax.processes.go_runtime import GoFacts, GoRuntime
from gotax.processes.membership import Membership
from gotax.processes.program import Program

_NS_PER_TICK = 10_000_000


class CpuTime:
    """Of one process, as the kernel accounts it, in ticks of 1/100 s.

    A window's CPU time is what came since the window before it. Where that is not known, it is
    unknown: a process that becomes a Go process later does not bring the time of its whole life.
    """

    __slots__ = ("_before", "_is_behind", "_late_samples", "_ticks", "_window")

    def __init__(self) -> None:
        self._ticks: int | None = None  # None: not read yet
        self._is_behind = True  # the ticks do not cover the samples of the last drain
        self._before: int | None = None  # when the window ``_window`` began; None: not known
        self._window = 0
        self._late_samples = 0  # drained after its end: later than the ticks

    @property
    def ticks(self) -> int | None:
        return self._ticks

    def see(self, ticks: int | None) -> None:
        self._ticks = ticks
        self._is_behind = False

    def fall_behind(self) -> None:
        """Its samples were drained, and its ticks cannot be read any more."""
        self._is_behind = True

    def count_from(self, ticks: int | None, window: int) -> None:
        """What comes after so many is of this window."""
        self._before = ticks
        self._window = window

    def see_nothing(self) -> None:
        """None of its samples of this window are drained: the time of them must not count beside
        them."""
        self.see(self._before)

    def add_late(self, samples: int) -> None:
        """Samples of a process that has ended: they count if they are later than the ticks."""
        if self._is_behind:
            self._late_samples += samples

    def take_ns(self, period_ns: int, window: int) -> int | None:
        """In this window; None where it is not known, as of a process first seen in it.

        Of one that has ended: until it was last seen, and what was sampled of it after that.
        """
        before = self._before if self._window == window else None
        self.count_from(self._ticks, window + 1)
        late, self._late_samples = self._late_samples, 0
        if before is None or self._ticks is None:
            return None
        return max(0, self._ticks - before) * _NS_PER_TICK + late * period_ns


@dataclass(slots=True, eq=False)
class Life:
    """What the process table notes of a process; nothing else writes it."""

    serial: int = 0
    start_stack: int = 0
    seen: int = 0  # the round in which it was last seen alive
    stat: Stat | None = None  # as it was seen then, if by a drain
    looked: int = 0  # the round in which it was last read again at the end of a window
    settles_s: float = 0.0  # since boot: until then it is read again in each window
    is_fresh: bool = False  # first seen between two drains, and no sample is its own yet

    def has_settled(self, now_s: float) -> bool:
        """It has run for a while, and nothing of it has changed lately. ``now_s``: since boot."""
        return now_s >= self.settles_s


class TrackedProcess:
    """``process`` is what leaves; it is put together from the parts, here only.

    ``files``: where its files and memory are read. ``membership``: its container. ``space``: what
    is mapped in it. ``program``: what it runs. ``go``: what Go says of itself.
    """

    __slots__ = (
        *("_unnamed", "cpu", "files", "go", "life", "membership", "process", "program"),
        "space",
    )

    def __init__(
        self,
        process: Process,
        files: ProcessFiles,
        membership: Membership,
        binaries: BinaryTable,
        errors: ErrorCounts,
    ) -> None:
        self.process = process
        self.files = files
        self.membership = membership
        self._unnamed = membership.container
        self.space = AddressSpace(files, binaries, errors)
        self.program = Program(process.command, files, self.space, binaries, errors)
        self.go = GoRuntime(files, self.space, self.program, errors)
        self.life = Life()
        self.cpu = CpuTime()

    @property
    def serial(self) -> int:
        return self.life.serial

    @property
    def alive(self) -> bool:
        return not self.files.has_ended

    @property
    def limit(self) -> CpuLimit:
        return self.membership.limit

    @property
    def problem(self) -> str:
        """Why it is not known whether it is a Go program, "" where it is."""
        return self.program.problem

    @property
    def is_go(self) -> bool:
        return self.process.build is not None

    @property
    def is_blind(self) -> bool:
        """It is unknown what this Go process spent its CPU time on."""
        return self.program.is_blind

    @property
    def has_gomaxprocs(self) -> bool:
        found = self.process.gomaxprocs
        return found is not None and found.value is not None

    def is_again(self, known: TrackedProcess) -> bool:
        """Whether this is the same process with the same executable, seen again after an exec, or
        after what looks like one: a process may rename its file, and may change what the kernel
        reports of its stack (prctl PR_SET_MM_MAP)."""
        exe, other = self.program.exe, known.program.exe
        return (
            self.process.start_ticks == known.process.start_ticks
            and exe is not None
            and other is not None
            and (exe.device, exe.inode) == (other.device, other.inode)
        )

    def start_go(self) -> None:
        """Go was found in it. Raises ProcessGoneError."""
        self.process = replace(self.process, build=self.program.runtimes[0][0].build)
        self.go.read_start()

    def learn(self, membership: Membership, facts: GoFacts) -> None:
        """Most windows say the same as the one before."""
        known = self.process
        container = known.container
        if membership.container is not self._unnamed:
            container = self._unnamed = membership.container
        if (
            container is not known.container
            or known.build is not facts.build
            or known.gomaxprocs is not facts.gomaxprocs
            or known.runtime is not facts.state
        ):
            self.process = replace(
                known,
                container=container,
                build=facts.build,
                gomaxprocs=facts.gomaxprocs,
                runtime=facts.state,
            )

    def name(self, pod: PodContainer | None) -> None:
        """By the names of this pod; None: by the container's id."""
        container = self.process.container
        if pod is container.pod or (pod is None and not self.alive):
            return
        container = self._unnamed if pod is None else container.named(pod.path, pod)
        self.process = replace(self.process, container=container)

    def move(self, membership: Membership) -> None:
        """It is in another container now."""
        self.membership = membership.without_entries()
        self.process = replace(self.process, container=membership.container)

    def trim(self) -> None:
        """Let go of what only symbolizing needs: no sample of it will come any more."""
        self.space.drop()
        self.program.drop()
        self.go.drop()
        self.membership = self.membership.without_entries()
