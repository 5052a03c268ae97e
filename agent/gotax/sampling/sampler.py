"""Own the timers, the BPF program and its maps; drain what the kernel has counted."""

from __future__ import annotations

import contextlib
import mmap
import resource
import secrets
import struct
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from gotax.errors import ReadError, UserError
from gotax.profile import Int64Array, UInt64Array
from gotax.sampling import btf, kernel, preflight
from gotax.sampling.compiled import load_compiled
from gotax.sampling.cpus import by_number, online_cpus, possible_cpus
from gotax.sampling.loader import LoadError, Program, Watch, load_program
from gotax.sampling.timers import Timers

MAX_FRAMES = 127
MIN_HZ, MAX_HZ = 1, 999

# The structs of bpf/profile.c, name for name.
STACK_COUNT = np.dtype(
    [
        ("cgroup_id", "u8"),
        ("user_stack", "u8"),
        ("kernel_stack", "u8"),
        ("tgid", "u4"),
        ("flags", "u4"),
    ]
)
FLAG_STACK_LOST = 1
NEW_PROCESS = np.dtype([("cgroup_id", "u8"), ("tgid", "u8")])
STACK = np.dtype([("caller", "u8"), ("depth", "u8"), ("ip", "u8", (MAX_FRAMES,))])


class Counter(IntEnum):
    """Indices of the BPF map ``counters``."""

    INTERRUPTS = 0
    IDLE = 1
    FILTERED = 2
    STACK_COUNTS_FULL = 3
    STACKS_FULL = 4
    OUTSIDE = 5


_BATCH_ENTRIES = 1024
_STACK_COUNTS_MIN, _STACK_COUNTS_MAX = 4096, 1 << 18
_ANNOUNCED_MAX = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """What to count: everything, some processes, or (cgroup v2) one cgroup's subtree.

    ``pid_namespace``: inode of the PID namespace whose PIDs ``tgids`` and samples have; None: the
    initial one, by which the kernel counts anyway.
    """

    tgids: frozenset[int] | None = None
    cgroup_id: int | None = None
    cgroup_level: int = 0
    pid_namespace: int | None = None


EVERYTHING = Target()


@dataclass(frozen=True, slots=True)
class Stacks:
    """Distinct stacks, ragged: stack i is ``ips[offsets[i]:offsets[i + 1]]``, leaf first.

    ``hashes`` is sorted. ``callers`` holds the word that may be the caller of a leaf without a
    frame (0: none).
    """

    hashes: UInt64Array
    offsets: Int64Array
    callers: UInt64Array
    ips: UInt64Array

    def find(self, hashes: UInt64Array) -> Int64Array:
        """The index of each hash, -1 where it is absent (or 0, no stack)."""
        if not len(self.hashes):
            return np.full(len(hashes), -1, np.int64)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.where(self.hashes[at] == hashes, at, -1).astype(np.int64)

    def addresses(self, index: int) -> UInt64Array:
        return self.ips[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True, slots=True)
class Drain:
    """What the kernel counted since the last drain. ``samples[i]`` belongs to ``stack_counts[i]``.

    ``counters`` is the delta of every ``Counter``, ``cpus`` the number of CPUs sampled.
    ``restarted`` timers had stopped, with their CPU, and ``missed`` is how many interrupts did not
    come at most, idle ones included: of CPUs that came back, or are new, before gotax noticed.
    """

    stack_counts: npt.NDArray[np.void]
    samples: Int64Array
    user_stacks: Stacks
    kernel_stacks: Stacks
    counters: dict[Counter, int] = field(default_factory=dict)
    cpus: int = 0
    restarted: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class NewProcess:
    """A process that has just been sampled in this cgroup for the first time."""

    cgroup_id: int
    tgid: int


class Sampler:
    """A context manager. Between ``__enter__`` and ``__exit__`` every CPU is sampled.

    Leaves nothing behind: the kernel frees timers, program and maps with the descriptors, even
    after SIGKILL.
    """

    def __init__(
        self,
        hz: int,
        drain_interval_s: float,
        target: Target = EVERYTHING,
        with_kernel_stacks: bool = True,
        watch: Watch = lambda _: None,
    ) -> None:
        """Without kernel stacks, ``kernel_stack`` is 1 where the CPU was in the kernel: cheaper.

        ``watch`` is called while the program is compiled.
        """
        if not MIN_HZ <= hz <= MAX_HZ:
            raise UserError(f"the frequency must be {MIN_HZ} to {MAX_HZ} Hz, not {hz}")
        self.period_ns = 1_000_000_000 // hz
        self._hz = hz
        self._drain_interval_s = drain_interval_s
        self._target = target
        self._with_kernel_stacks = with_kernel_stacks
        self._watch = watch
        self._program: Program | None = None
        self._timers = Timers(self.period_ns)
        self._buffer = 0
        self._possible = possible_cpus()
        self._totals = np.zeros(len(Counter), np.int64)
        self._tgids: frozenset[int] = frozenset()
        self._ring: kernel.Ring | None = None
        self._announced = 0  # since the kernel's map was last emptied
        self._announced_batch = kernel.Batch(
            np.empty(_BATCH_ENTRIES, NEW_PROCESS), np.empty(_BATCH_ENTRIES, "u1")
        )
        self._stack_counts_batch = kernel.Batch(
            np.empty(_BATCH_ENTRIES, STACK_COUNT), np.empty(_BATCH_ENTRIES, "u8")
        )
        self._stacks_batch = kernel.Batch(
            np.empty(_BATCH_ENTRIES, "u8"), np.empty(_BATCH_ENTRIES, STACK)
        )

    def __enter__(self) -> Self:
        preflight.require()
        _raise_descriptor_limit(len(self._possible) + 64)
        self._program = self._load()
        try:
            # One page of data, as bpf/profile.c asks for.
            self._ring = kernel.Ring(self._program.maps["new_processes"], mmap.PAGESIZE)
            if self._target.tgids is not None:
                self.follow(self._target.tgids)
            none_yet = by_number(self._possible, np.zeros(len(self._possible), np.int64))
            self._timers.follow(online_cpus(), self._program.fd, none_yet)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._timers.close()
        if self._ring:
            self._ring.close()
            self._ring = None
        if self._program:
            self._program.close()
            self._program = None

    def _load(self) -> Program:
        # Twice the interrupts that can come between two drains: the maps cannot fill up unless
        # a drain is late by as much again.
        interrupts = len(online_cpus()) * self._hz * self._drain_interval_s
        stack_counts_max = min(max(int(2 * interrupts), _STACK_COUNTS_MIN), _STACK_COUNTS_MAX)
        definitions = {
            "STACK_COUNTS_MAX": str(stack_counts_max),
            "STACKS_MAX": str(stack_counts_max),
            "MAX_FRAMES": str(MAX_FRAMES),
            # Linux 6.1 lets perf programs use maps that allocate on demand; before it, all the
            # memory of a buffer is taken at once.
            "MAP_FLAGS": "1" if preflight.kernel_release() >= (6, 1) else "0",
            "ANNOUNCED_MAX": str(_ANNOUNCED_MAX),
            "PAGE_SIZE": str(mmap.PAGESIZE),
            "HASH_SEED": f"{secrets.randbits(64)}ULL",
        }
        if self._with_kernel_stacks:
            definitions["KERNEL_STACKS"] = "1"
        if self._target.tgids is not None:
            definitions["TARGET_TGIDS"] = "1"
        if self._target.cgroup_id is not None:
            definitions["TARGET_CGROUP"] = f"{self._target.cgroup_id}ULL"
            definitions["TARGET_CGROUP_LEVEL"] = str(self._target.cgroup_level)
        if self._target.pid_namespace is not None:
            definitions |= _translation(self._target.pid_namespace)
        whole = {**definitions, "HAVE_TASK_PT_REGS": "1"}
        # Without bpf_task_pt_regs() leaves in system calls have no caller.
        if found := load_compiled(whole) or load_compiled(definitions):
            return found
        try:
            return load_program(whole, self._watch)
        except LoadError:
            try:
                return load_program(definitions, self._watch)
            except LoadError as error:
                raise UserError(preflight.explain_refusal(str(error))) from error

    def follow(self, tgids: Collection[int]) -> None:
        """Make these processes the target (only for a Sampler made with ``Target.tgids``)."""
        assert self._program
        fd = self._program.maps["targets"]
        wanted = frozenset(tgids)
        for tgid in self._tgids - wanted:
            with contextlib.suppress(FileNotFoundError):
                kernel.map_delete(fd, struct.pack("=I", tgid))
        for tgid in wanted - self._tgids:
            kernel.map_write(fd, struct.pack("=I", tgid), b"\1")
        self._tgids = wanted

    @property
    def new_processes_fd(self) -> int:
        """Polls readable when there are new processes."""
        assert self._ring
        return self._ring.fd

    def new_processes(self) -> list[NewProcess]:
        """Processes whose first sample was counted since the last call, and is not yet drained.

        At most some 170: the ring holds no more. The others come with the next call, if they still
        run. Some are announced twice, because the kernel's map of announced processes is emptied
        before it is full.
        """
        assert self._ring
        assert self._program
        records = np.frombuffer(b"".join(self._ring.take()), NEW_PROCESS)
        self._announced += len(records)
        if self._announced > _ANNOUNCED_MAX // 2:
            self._announced, done, first = 0, False, True
            while not done:
                _, done = self._announced_batch.take(self._program.maps["announced"], first)
                first = False
        return [NewProcess(*record) for record in records.tolist()]

    @property
    def follows_tgids(self) -> bool:
        return self._target.tgids is not None

    def drain(self) -> Drain:
        """Everything counted since the last call. Raises OSError if the kernel refuses."""
        assert self._program
        maps = self._program.maps
        buffer = self._buffer
        self._buffer = 1 - buffer
        kernel.map_write(maps["control"], bytes(4), struct.pack("=I", self._buffer))
        kernel.wait_for_running_programs()
        stack_counts, samples = self._take_stack_counts(maps[f"stack_counts_{buffer}"])
        user_stacks = self._take_stacks(maps[f"user_stacks_{buffer}"])
        kernel_stacks = self._take_stacks(maps[f"kernel_stacks_{buffer}"])
        counters, interrupts = self._read_counters(maps["counters"])
        cpus = len(self._timers)
        restarted, missed = self._timers.follow(online_cpus(), self._program.fd, interrupts)
        return Drain(
            stack_counts, samples, user_stacks, kernel_stacks, counters, cpus, restarted, missed
        )

    def _take_stack_counts(self, fd: int) -> tuple[npt.NDArray[np.void], Int64Array]:
        batch = self._stack_counts_batch
        keys: list[npt.NDArray[np.void]] = []
        samples: list[Int64Array] = []
        done, first = False, True
        while not done:
            count, done = batch.take(fd, first)
            first = False
            keys.append(batch.keys[:count].copy())
            samples.append(batch.values[:count].astype(np.int64))
        return np.concatenate(keys), np.concatenate(samples)

    def _take_stacks(self, fd: int) -> Stacks:
        batch = self._stacks_batch
        hashes: list[UInt64Array] = []
        callers: list[UInt64Array] = []
        depths: list[Int64Array] = []
        ips: list[UInt64Array] = []
        columns = np.arange(MAX_FRAMES)
        done, first = False, True
        while not done:
            count, done = batch.take(fd, first)
            first = False
            order = np.argsort(batch.keys[:count])
            hashes.append(batch.keys[:count][order].astype(np.uint64))
            block = batch.values[:count][order]
            depth = np.minimum(block["depth"], MAX_FRAMES).astype(np.int64)
            callers.append(block["caller"].astype(np.uint64))
            depths.append(depth)
            ips.append(block["ip"][columns < depth[:, None]])
        return _merge(hashes, callers, depths, ips)

    def _read_counters(self, fd: int) -> tuple[dict[Counter, int], Int64Array]:
        """The delta of each, and all interrupts so far by CPU."""
        by_cpu = [
            np.frombuffer(
                kernel.map_read(fd, struct.pack("=I", counter), 8 * len(self._possible)), np.int64
            )
            for counter in Counter
        ]
        totals = np.array([values.sum() for values in by_cpu])
        delta = totals - self._totals
        self._totals = totals
        interrupts = by_number(self._possible, by_cpu[Counter.INTERRUPTS])
        return {counter: int(delta[counter]) for counter in Counter}, interrupts


def _translation(namespace: int) -> dict[str, str]:
    try:
        layout = btf.read_pid_layout()
    except ReadError as error:
        raise UserError(preflight.explain_namespace(str(error))) from error
    return {"PID_NAMESPACE": f"{namespace}U", **{name: str(at) for name, at in layout.items()}}


def _merge(
    hashes: list[UInt64Array],
    callers: list[UInt64Array],
    depths: list[Int64Array],
    ips: list[UInt64Array],
) -> Stacks:
    """Concatenate batches, each sorted by hash, into one table sorted by hash."""
    if len(hashes) == 1:
        order = np.arange(len(hashes[0]))
    else:
        order = np.argsort(np.concatenate(hashes), kind="stable")
    depth = np.concatenate(depths)
    starts = np.concatenate([[0], np.cumsum(depth)])[:-1]
    flat = np.concatenate(ips)
    offsets = np.concatenate([[0], np.cumsum(depth[order])]).astype(np.int64)
    if len(hashes) > 1 and len(flat):
        # source index of every ip, in the new order
        shift = np.repeat(starts[order] - offsets[:-1], depth[order])
        flat = flat[np.arange(len(flat)) + shift]
    return Stacks(np.concatenate(hashes)[order], offsets, np.concatenate(callers)[order], flat)


def _raise_descriptor_limit(wanted: int) -> None:
    """One descriptor per CPU: 1024, the usual soft limit, is too few for the largest hosts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted + 256:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted + 1024, hard), hard))
