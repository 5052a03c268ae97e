"""An agent on a node with more CPUs than this host: it gets drains that were recorded here.

``simulated.py FOLDER agent ...`` is ``gotax agent ...`` whose sampler takes one file
of FOLDER per drain. Everything else is real: processes, cgroups, symbols, metrics.

A drain of n busy CPUs has the samples that n CPUs give at 19 Hz. They come from a recording of the
load of bench.fleet at 999 Hz, which has as many distinct stacks as that many samples have. When the
recording ends it starts again, and each process gets the stacks of another one with the same
binary, which are new for it.
"""

from __future__ import annotations

import os
import runpy
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from gotax import session
from gotax.cli import main as run_gotax
from gotax.sampling.sampler import Drain, NewProcess, Sampler, Stacks

RECORDING_HZ = 999
_PIECE_S = 1.0
_CPUS_FILE = "cpus"


@dataclass(frozen=True, slots=True)
class Recording:
    """``pieces``: rows and their samples, a second each. ``stacks``: all that are in them."""

    pieces: tuple[tuple[npt.NDArray[np.void], npt.NDArray[np.int64]], ...]
    stacks: Stacks
    cgroups: dict[int, int]  # of each process


def record(pids: Sequence[int], seconds: float) -> Recording:
    """These processes only, without kernel stacks, as an agent that is scraped samples them."""
    wanted = np.array(sorted(pids), np.uint32)
    pieces, found = [], []
    with Sampler(RECORDING_HZ, _PIECE_S, with_kernel_stacks=False) as sampler:
        for _ in range(round(seconds / _PIECE_S)):
            time.sleep(_PIECE_S)
            drain = sampler.drain()
            ours = np.isin(drain.stack_counts["tgid"], wanted)
            pieces.append((drain.stack_counts[ours], drain.samples[ours]))
            found.append(drain.user_stacks)
    owners = np.unique(np.concatenate([rows[["tgid", "cgroup_id"]] for rows, _ in pieces]))
    cgroups = dict(zip(owners["tgid"].tolist(), owners["cgroup_id"].tolist(), strict=True))
    return Recording(tuple(pieces), _joined(found), cgroups)


def _joined(many: Sequence[Stacks]) -> Stacks:
    hashes, first = np.unique(np.concatenate([s.hashes for s in many]), return_index=True)
    ends = np.cumsum([len(s.ips) for s in many])
    offsets = np.concatenate(
        [s.offsets[:-1] + end - len(s.ips) for s, end in zip(many, ends, strict=True)]
    )
    lengths = np.concatenate([np.diff(s.offsets) for s in many])[first]
    ips = np.concatenate([s.ips for s in many])
    return Stacks(
        hashes,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([s.callers for s in many])[first],
        ips[_ragged(offsets[first], lengths)],
    )


def _ragged(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Indices of the elements of all these ranges, one after the other."""
    begins = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    return np.repeat(starts - begins, lengths) + np.arange(int(lengths.sum()))


def drains(recording: Recording, kin: Sequence[Sequence[int]], samples: int) -> Iterator[Drain]:
    """Without an end, each with so many samples. ``kin``: processes with the same binary."""
    stream = _rounds(recording, kin)
    rows, counts = next(stream)
    while True:
        parts, missing = [], samples
        while missing:
            total = np.cumsum(counts)
            if not len(total) or total[-1] <= missing:
                parts.append((rows, counts))
                missing -= int(counts.sum())
                rows, counts = next(stream)
                continue
            last = int(np.searchsorted(total, missing))
            own = counts[: last + 1].copy()
            counts[last] = total[last] - missing  # what is left of this row comes next
            own[last] -= counts[last]
            parts.append((rows[: last + 1], own))
            rows, counts, missing = rows[last:], counts[last:], 0
        yield _drain(recording.stacks, parts)


def _rounds(
    recording: Recording, kin: Sequence[Sequence[int]]
) -> Iterator[tuple[npt.NDArray[np.void], npt.NDArray[np.int64]]]:
    turn = 0
    while True:
        other = {
            pid: group[(place + turn) % len(group)]
            for group in kin
            for place, pid in enumerate(group)
        }
        for rows, counts in recording.pieces:
            changed = rows.copy()
            for pid in np.unique(rows["tgid"]).tolist():
                new = other[pid]
                if new in recording.cgroups:
                    its = rows["tgid"] == pid
                    changed["tgid"][its], changed["cgroup_id"][its] = new, recording.cgroups[new]
            yield changed, counts.copy()
        turn += 1


def _drain(
    stacks: Stacks, parts: Sequence[tuple[npt.NDArray[np.void], npt.NDArray[np.int64]]]
) -> Drain:
    rows, inverse = np.unique(np.concatenate([rows for rows, _ in parts]), return_inverse=True)
    counts = np.bincount(inverse.ravel(), np.concatenate([counts for _, counts in parts]))
    rows, counts = rows[counts > 0], counts[counts > 0]
    at = stacks.find(np.unique(rows["user_stack"]))
    at = at[at >= 0]
    lengths = np.diff(stacks.offsets)[at]
    nothing = np.zeros(0, np.uint64)
    return Drain(
        rows,
        counts.astype(np.int64),
        Stacks(
            stacks.hashes[at],
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            stacks.callers[at],
            stacks.ips[_ragged(stacks.offsets[at], lengths)],
        ),
        Stacks(nothing, np.zeros(1, np.int64), nothing, nothing),
    )


def save(folder: Path, found: Sequence[Drain], cpus: int) -> None:
    (folder / _CPUS_FILE).write_text(str(cpus))
    for number, drain in enumerate(found):
        user = drain.user_stacks
        np.savez(
            folder / f"{number:04}.npz",
            rows=drain.stack_counts,
            samples=drain.samples,
            hashes=user.hashes,
            offsets=user.offsets,
            callers=user.callers,
            ips=user.ips,
        )


class RecordedSampler:
    """In place of a Sampler: files of ``folder``, in order and then again from the first one."""

    folder = Path()
    follows_tgids = False

    def __init__(self, hz: int, *_: Any) -> None:
        self.period_ns = 1_000_000_000 // hz
        self.new_processes_fd = os.eventfd(0)
        self._files = sorted(self.folder.glob("*.npz"))
        self._cpus = int((self.folder / _CPUS_FILE).read_text())
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        pass

    def new_processes(self) -> list[NewProcess]:
        return []

    def drain(self) -> Drain:
        with np.load(self._files[self._number % len(self._files)]) as file:
            held = {name: file[name] for name in file}
        self._number += 1
        user = Stacks(held["hashes"], held["offsets"], held["callers"], held["ips"])
        nothing = np.zeros(0, np.uint64)
        none = Stacks(nothing, np.zeros(1, np.int64), nothing, nothing)
        return Drain(held["rows"], held["samples"], user, none, {}, self._cpus)


def main() -> int:
    RecordedSampler.folder = Path(sys.argv[1])
    session.Sampler = RecordedSampler  # type: ignore[attr-defined, assignment]
    # It is run as a file, so the package is not on the path.
    runpy.run_path(str(Path(__file__).with_name("inpod.py")))["use_account"]()
    return run_gotax(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
