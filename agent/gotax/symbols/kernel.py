"""The kernel's part of a stack."""

from __future__ import annotations

import numpy as np

from gotax.linux.kallsyms import Kallsyms, read_kallsyms
from gotax.lru import LruCache
from gotax.profile import Frame, FrameKind, Location, Stack, UInt64Array

_STACKS = 8192
_LOCATIONS = 16384


class KernelStacks:
    """Names are read from kallsyms with the first stack."""

    def __init__(self, proc: str) -> None:
        self._proc = proc
        self.locations: LruCache[int, Location] = LruCache(_LOCATIONS)
        self.stacks: LruCache[int, Stack] = LruCache(_STACKS)
        self._kallsyms: Kallsyms | None = None

    def stack(self, stack_hash: int, ips: UInt64Array) -> Stack:
        """The kernel's part of a stack, leaf first."""
        stack = self.stacks.get(stack_hash)
        if stack is None:
            addresses = ips - np.uint64(1)
            addresses[0] = ips[0]
            self._name(addresses)
            stack = tuple(
                self.locations.get(address) or _kernel_location(address, "")
                for address in addresses.tolist()
            )
            self.stacks.put(stack_hash, stack)
        return stack

    def _name(self, addresses: UInt64Array) -> None:
        unnamed = [a for a in addresses.tolist() if self.locations.get(a) is None]
        if not unnamed:
            return
        if self._kallsyms is None:
            self._kallsyms = read_kallsyms(self._proc)
        names = self._kallsyms.lookup(np.array(unnamed, np.uint64))
        for address, name in zip(unnamed, names, strict=True):
            self.locations.put(address, _kernel_location(address, name))


def _kernel_location(address: int, name: str) -> Location:
    frame = Frame(name or f"{address:#x}", kind=FrameKind.KERNEL)
    return Location("[kernel]", "", address, (frame,))
