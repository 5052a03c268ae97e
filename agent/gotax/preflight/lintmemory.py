"""GOMEMLIMIT and GOGC beside the memory limit."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gotax.golang.startup import NEWEST_MINOR
from gotax.preflight import lintcodes as codes
from gotax.preflight.forecast import value_on
from gotax.preflight.located import (
    LEAST_CPUS,
    Located,
    Subject,
    Texts,
    is_wrong_source,
    located,
    short,
)
from gotax.preflight.memory import FIRST_MINOR, NO_LIMIT, gogc, gomemlimit

_NEAR = 0.95
"""A GOMEMLIMIT above this share of the limit leaves too little for what Go does not count."""


def memory_limit(subject: Subject) -> Iterator[Located]:
    spec = subject.spec
    minor, variable = subject.minor, spec.variable("GOMEMLIMIT")
    if variable is None or is_wrong_source(variable):
        return
    if minor is not None and minor < FIRST_MINOR:
        yield located(
            spec,
            variable.place,
            codes.WITHOUT_EFFECT,
            Texts(
                f"GOMEMLIMIT has no effect: Go 1.{minor} does not read it",
                "",
                "Build with a newer Go.",
            ),
        )
        return
    text = value_on(variable, LEAST_CPUS)
    if text is None:
        return
    value, limit = gomemlimit(text, minor or NEWEST_MINOR), spec.memory_limit
    if value is None:
        meant = _meant(text)
        yield located(
            spec,
            variable.place,
            codes.MALFORMED_MEMORY,
            Texts(
                f"GOMEMLIMIT={short(text)} is malformed: the program ends at its start",
                "Go reads a whole number with B, KiB, MiB, GiB, TiB or nothing behind it",
                f"Write {meant}." if meant else "Write a number of bytes, or one of these units.",
            ),
        )
    elif limit is not None and value != NO_LIMIT and value > _NEAR * limit:
        is_above = value > limit
        yield located(
            spec,
            variable.place,
            codes.ABOVE_MEMORY if is_above else codes.NEAR_MEMORY,
            Texts(
                f"GOMEMLIMIT is {_size(value)}, "
                + (
                    f"above the memory limit of {_size(limit)}"
                    if is_above
                    else f"and the memory limit is {_size(limit)}: this leaves too little for what"
                    " Go does not count"
                ),
                "the kernel ends the container before the collector works harder"
                if is_above
                else "stacks of C code, files mapped into memory and the kernel's own memory count"
                " for the container only",
                f"Set GOMEMLIMIT to {_size(int(0.9 * limit))}, 90 % of the memory limit.",
            ),
        )


def collector(subject: Subject) -> Iterator[Located]:
    spec = subject.spec
    variable = spec.variable("GOGC")
    if variable is None or variable.value is None:
        return
    value = gogc(variable.value, subject.minor or NEWEST_MINOR)
    if value is None:
        yield located(
            spec,
            variable.place,
            codes.MALFORMED_GOGC,
            Texts(
                f"GOGC={short(variable.value)} is not a whole number: Go takes 100",
                "",
                "Write a whole number of percent, or off.",
            ),
        )
        return
    memory = spec.variable("GOMEMLIMIT")
    is_known = memory is None or value_on(memory, LEAST_CPUS) is not None
    has_limit = memory is not None and gomemlimit(value_on(memory, LEAST_CPUS)) not in (
        None,
        NO_LIMIT,
    )
    if value < 0 and is_known and not has_limit:
        limit = spec.memory_limit
        size = _size(int(0.9 * limit)) if limit is not None else ""
        yield located(
            spec,
            variable.place,
            codes.GC_OFF,
            Texts(
                "GOGC is off and there is no GOMEMLIMIT: nothing starts the garbage collector",
                "the heap grows until the container is out of memory",
                f"Set GOMEMLIMIT to {size}, 90 % of the memory limit."
                if size
                else "Set a memory limit and GOMEMLIMIT, or remove GOGC.",
            ),
        )


def _meant(text: str) -> str:
    """What a quantity of Kubernetes is for Go."""
    match = re.fullmatch(r"([0-9]{1,15})(Ki|Mi|Gi|Ti|K|M|G|T|k|KB|MB|GB|kB|kb|mb|gb)", text)
    if match is None:
        return ""
    return f"{match[1]}{match[2][0].upper()}iB"


def _size(count: int) -> str:
    """As Go reads it."""
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 1 << power and not count % (1 << power):
            return f"{count >> power}{unit}"
    return f"{count >> 20}MiB" if count >= 100 << 20 else f"{count}"
