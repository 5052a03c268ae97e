"""What was sampled: frames, stacks, and the columns of a window's profile.

A *frame* is one function activation, inlined or not. A *location* is one machine address with its
chain of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Int64Array: TypeAlias = npt.NDArray[np.int64]

Int32Array: TypeAlias = npt.NDArray[np.int32]

UInt64Array: TypeAlias = npt.NDArray[np.uint64]

UInt8Array: TypeAlias = npt.NDArray[np.uint8]


class FrameKind(Enum):
    GO = "go"
    KERNEL = "kernel"
    NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Frame:
    """One function activation. ``line`` 0 and ``file`` "" mean unknown."""

    function: str
    file: str = ""
    line: int = 0
    start_line: int = 0
    kind: FrameKind = FrameKind.GO
    inlined: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """One address of one module. ``frames`` is the inline chain, innermost first, never empty.

    ``address`` is the module's link-time address (for the kernel: the runtime address).
    """

    module: str
    build_id: str
    address: int
    frames: tuple[Frame, ...]


Stack: TypeAlias = tuple[Location, ...]
"""Leaf first; kernel locations, if any, come before the user locations that caused them."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The stack counts of a window, columnar; all arrays have one entry per stack count.

    ``process`` and ``stack`` index ``Window.processes`` and ``stacks``; ``category`` holds
    ``Category`` values; ``samples`` is at least 1.
    """

    process: Int32Array
    stack: Int32Array
    category: UInt8Array
    samples: Int64Array
    stacks: tuple[Stack, ...]
    _order: Int64Array = field(init=False, repr=False, compare=False)  # of rows, by process
    _sorted: Int32Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        order = np.argsort(self.process, kind="stable")
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_sorted", self.process[order])

    def __len__(self) -> int:
        return len(self.samples)

    def rows_of(self, processes: Sequence[int]) -> Int64Array:
        """Rows of these processes, in order."""
        wanted = np.array(processes, np.int32)
        starts = np.searchsorted(self._sorted, wanted, "left").tolist()
        ends = np.searchsorted(self._sorted, wanted, "right").tolist()
        parts = [self._order[start:end] for start, end in zip(starts, ends, strict=True)]
        return np.sort(np.concatenate([self._order[:0], *parts]))


@dataclass(frozen=True, slots=True)
class FunctionShare:
    """``flat_samples``: the function was the leaf; ``cumulative_samples``: it was on the stack."""

    function: str
    flat_samples: int
    cumulative_samples: int
