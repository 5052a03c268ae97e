"""Mending what a frame-pointer walk makes of a Go stack. Addresses only; no names, no I/O.

The kernel's walker reports the leaf's program counter and then one return address per frame
pointer. For Go that is nearly the truth. What is missing and what is too much:

*The direct caller of a leaf without a frame* is lost: the leaf never pushed the frame pointer, so
the walk starts at its caller's frame and reports the caller's caller. It is so for memmove, futex,
the atomics and some hundred others, and for every function before its prologue is done. pclntab
knows (pcsp is 0), and the lost address is the word at SP on amd64 and the link register on arm64.

*Switches to the thread's own stack* (g0). What an unwinder sees beyond them, by version, on amd64:

=============  =====================  ====================  ==========  ====================
function       Go 1.20 and older      1.21 to 1.24          1.25        1.26 and newer
=============  =====================  ====================  ==========  ====================
systemstack    goes on, loses its     goes on, complete     same        same
               direct caller
mcall          goes on into the       same, complete        ends there  ends there
               parked goroutine,
               loses gopark
morestack      goes on into the       ends there            ends there  ends there
               goroutine
mstart         garbage beyond         garbage beyond        garbage     ends there
=============  =====================  ====================  ==========  ====================

On arm64 every version ends at systemstack, mcall and morestack: the kernel's walker wants frame
addresses to rise, and g0 is elsewhere. So the frames beyond mcall and morestack belong to a
goroutine that no longer runs, where they are there at all; ``categories.classify`` stops at them,
and a profile may keep them ("parked by"). Beyond mstart and goexit there is nothing to keep.

*Signals*: ``sighandler < sigtrampgo < sigtramp < [sigreturn] < the interrupted function's caller``.
The interrupted function itself has no return address, hence no frame.

*C code* compiled without frame pointers breaks the chain at once; its leaf is outside Go's text.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from gotax.profile import Int64Array, UInt64Array

_LOWEST: Final = 0x1000  # nothing is mapped in the first page
_HIGHEST: Final = 1 << 48
"""User addresses of arm64 end here, and PIE programs, libraries and the vDSO are above 2^47 there
(arch/arm64/include/asm/elf.h: ELF_ET_DYN_BASE is 2/3 of it). Those of amd64 end at 2^47."""


def plausible(pcs: UInt64Array) -> npt.NDArray[np.bool_]:
    """Which addresses can be user code at all: not 0, not in the first page, below 2^48."""
    return (pcs >= np.uint64(_LOWEST)) & (pcs < np.uint64(_HIGHEST))


def lost_callers(
    pcs: UInt64Array, lengths: Int64Array, words: UInt64Array
) -> npt.NDArray[np.bool_]:
    """Whether that word can be the direct caller of each stack's leaf, and is not in the stack.

    ``pcs`` holds stacks in a row, of these ``lengths``. ``words`` are the words at their stack
    pointers (amd64) or their link registers (arm64), 0 if it could not be read. A word is the
    caller if the leaf has no frame and the word points into Go text, which only the binary knows. A
    word that is the next frame already is none: that costs one level of a function that calls
    itself, and never invents one.
    """
    found = (lengths > 0) & (words >= np.uint64(_LOWEST)) & (words < np.uint64(_HIGHEST))
    seconds = np.cumsum(lengths) - lengths + 1
    has_second = lengths > 1
    found[has_second] &= pcs[seconds[has_second]] != words[has_second]
    return found


def are_among(pcs: UInt64Array, few: UInt64Array) -> npt.NDArray[np.bool_]:
    """Which of the addresses are one of a few: a process has a runtime or two."""
    found = np.zeros(len(pcs), bool)
    for each in few:
        found |= pcs == each
    return found


def return_addresses_to_calls(
    pcs: UInt64Array, sigreturns: UInt64Array | None = None, leaves: Int64Array | None = None
) -> UInt64Array:
    """Addresses inside the calling instructions: all but the leaf are return addresses, minus 1.

    A return address may be the first byte of the next line, or of the next function when the call
    never returns. The exception is the frame that the kernel makes for a signal handler: it
    "returns" to the first byte of ``runtime.sigreturn__sigaction`` (``runtime.sigreturn`` until
    1.20), and one byte less is whatever function the linker put before it. ``sigreturns`` are these
    addresses: one for each Go runtime in the process.

    ``leaves`` are the positions of the leaves when ``pcs`` holds several stacks in a row; by
    default there is one, at 0. Zero stays zero. Returns a new array.
    """
    calls: UInt64Array = pcs - (pcs != 0).astype(np.uint64)
    if sigreturns is not None and len(sigreturns):
        from_signal = are_among(pcs, sigreturns)
        calls[from_signal] = pcs[from_signal]
    where = slice(0, 1) if leaves is None else leaves
    calls[where] = pcs[where]
    return calls
