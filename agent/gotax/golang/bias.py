"""Where a file is in the memory of a process, compared with its link-time addresses."""

from __future__ import annotations

from gotax.linux.elf import PF_X, Elf, Segment
from gotax.linux.mappings import Mapping
from gotax.linux.procfs import Auxiliary

_PAGE_BYTES = 4096


def load_bias(elf: Elf, mapping: Mapping) -> int | None:
    """Runtime minus link-time address of what is mapped there; None: it is none of its segments.

    That it is this file, the caller knows. A segment may be mapped in several pieces, and the
    whole file once more as data: each has its own bias. A page can hold the end of one segment
    and the beginning of the next, so the one that most of the mapping is of counts.
    """
    end = mapping.offset + mapping.end - mapping.start

    def overlap(load: Segment) -> tuple[bool, int]:
        shared = min(end, load.offset + load.file_size) - max(mapping.offset, load.offset)
        is_code = bool(load.flags & PF_X) and shared > 0
        return is_code and (shared > _PAGE_BYTES or mapping.offset <= load.offset), shared

    best = max(elf.loads, key=overlap, default=None)
    if best is None or overlap(best)[1] <= 0:
        return None
    return mapping.start - mapping.offset - (best.address - best.offset)


def program_bias(elf: Elf, passed: Auxiliary) -> int | None:
    """Runtime minus link-time address of the program, by what the kernel passed to its start.

    No name and no number of a file is asked, which are not the same everywhere. None where it
    was not passed, or where it does not fit this file.
    """
    bias = passed.entry - elf.entry
    if not passed.entry or bias % _PAGE_BYTES or not elf.loads:
        return None
    # Before Linux 5.18 the kernel added the offset of the headers to the first segment's place,
    # whatever segment they are in (fs/binfmt_elf.c load_elf_binary).
    first = elf.loads[0].address - elf.loads[0].offset + elf.program_headers.start
    known = (elf.program_headers_address, first)
    return bias if passed.headers - bias in known else None
