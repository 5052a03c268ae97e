"""The process and the user stack of each sample of a drain."""

from __future__ import annotations

from collections import Counter

from gotax.processes.resolver import Resolver
from gotax.processes.tracked_process import TrackedProcess
from gotax.profile import Category
from gotax.sampling.sampler import Drain
from gotax.symbols.symbolizer import Symbolized, Symbolizer
from gotax.symbols.walks import NewStack

_NATIVE = Symbolized((), Category.NATIVE, Category.NATIVE)
_UNKNOWN = Symbolized((), Category.UNKNOWN, Category.UNKNOWN)


def find_owners(
    drain: Drain, processes: Resolver, lost: Counter[str]
) -> list[TrackedProcess | None]:
    """The owner of every sample; None where there is none, and its samples are added to
    ``lost``."""
    by_tgid: dict[int, TrackedProcess | str] = {}
    owners: list[TrackedProcess | None] = []
    rows = zip(
        drain.stack_counts["tgid"].tolist(),
        drain.stack_counts["cgroup_id"].tolist(),
        drain.samples.tolist(),
        strict=True,
    )
    for tgid, cgroup_id, samples in rows:
        owner = by_tgid.get(tgid)
        if owner is None:
            owner = by_tgid[tgid] = processes.resolve(tgid)
        if isinstance(owner, str):
            reason, owner = owner, processes.resolve_by_cgroup(cgroup_id, owner)
            if owner is None:
                lost[reason] += samples
        owners.append(owner)
    return owners


def find_user_stacks(
    drain: Drain, owners: list[TrackedProcess | None], symbolizer: Symbolizer, native_frames: bool
) -> list[Symbolized]:
    """The user stack of every sample, with its categories. Only new stacks are symbolized.

    ``native_frames``: of processes that are not Go, too.
    """
    found: list[Symbolized | None] = []
    new: dict[tuple[int, int], NewStack] = {}
    hashes = drain.stack_counts["user_stack"]
    indices = drain.user_stacks.find(hashes).tolist()
    for owner, stack_hash, index in zip(owners, hashes.tolist(), indices, strict=True):
        if owner is None or not (owner.is_go or native_frames):
            found.append(_NATIVE)
        elif index < 0:
            found.append(_UNKNOWN if owner.is_go else _NATIVE)
        else:
            known = symbolizer.known(owner, stack_hash)
            found.append(known)
            if known is None and (owner.serial, stack_hash) not in new:
                new[owner.serial, stack_hash] = NewStack(
                    owner,
                    stack_hash,
                    int(drain.user_stacks.callers[index]),
                    drain.user_stacks.addresses(index),
                )
    learnt = symbolizer.learn(list(new.values())) if new else {}
    return [
        stack or learnt[owner.serial, stack_hash]  # type: ignore[union-attr]
        for stack, owner, stack_hash in zip(found, owners, hashes.tolist(), strict=True)
    ]
