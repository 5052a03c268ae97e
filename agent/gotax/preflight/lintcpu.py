"""GOMAXPROCS beside the CPU limit."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gotax.golang.startup import NEWEST_MINOR, environment_value
from gotax.preflight import lintcodes as codes
from gotax.preflight.forecast import value_on
from gotax.preflight.located import (
    LEAST_CPUS,
    Located,
    Subject,
    Texts,
    is_wrong_source,
    located,
    patch,
    short,
)
from gotax.preflight.spec import Variable


def _whole(limit: float) -> int:
    return max(1, math.ceil(limit))


def _number(variable: Variable, minor: int | None) -> int | None:
    """The value of GOMAXPROCS, where it is the same on every node."""
    if variable.resource == "limits.cpu" and variable.resources.cpu_limit is None:
        return None
    newest = NEWEST_MINOR if minor is None else minor
    return environment_value(value_on(variable, LEAST_CPUS), newest)


def gomaxprocs(subject: Subject) -> Iterator[Located]:
    spec = subject.spec
    minor = subject.minor
    variable, limit = spec.variable("GOMAXPROCS"), spec.cpu_limit
    if variable is None or is_wrong_source(variable):
        return
    text = value_on(variable, LEAST_CPUS)
    value = _number(variable, minor)
    is_of_node = variable.resource == "limits.cpu" and variable.resources.cpu_limit is None
    if text is None or is_of_node:
        return
    if value is None:
        old = minor if minor is not None and text.startswith("+") else None
        why = f"Go 1.{old} reads no sign" if old is not None else "Go ignores it"
        if text == "0" and variable.resource == "requests.cpu":
            why = "requests.cpu of a container without a request is 0, which Go ignores"
        yield located(
            spec,
            variable.place,
            codes.NOT_A_NUMBER,
            Texts(
                f"GOMAXPROCS={short(text)} is not a whole number above 0: {why}",
                "the program starts as without the variable, and automaxprocs does nothing",
                "Write a whole number, or take it from limits.cpu.",
            ),
            patch(spec, None) if spec.own_cpu_limit is not None else "",
        )
        return
    if limit is None:
        return
    fits = _whole(limit)
    if value > max(2, fits):
        follows = spec.own_cpu_limit is not None and spec.own_cpu_limit == limit
        yield located(
            spec,
            variable.place,
            codes.ABOVE_LIMIT if value >= 1.5 * fits else codes.SLIGHTLY_ABOVE,
            Texts(
                f"GOMAXPROCS={value} is above the CPU limit of {limit:g}",
                f"a limit of {limit:g} CPU fits {fits}",
                f"Set GOMAXPROCS to {fits}"
                + (
                    ", or take it from limits.cpu, so that both change together."
                    if follows
                    else "."
                ),
            ),
            patch(spec, None if follows else fits),
        )
    elif limit - value >= 1:
        yield located(
            spec,
            variable.place,
            codes.BELOW_LIMIT,
            Texts(
                f"GOMAXPROCS={value} is below the CPU limit of {limit:g}: Go code cannot use all"
                " of it",
                "",
                f"Set {fits}, or lower the limit. If this is meant, ignore it: a lower GOMAXPROCS"
                " uses less CPU.",
            ),
        )
    if limit > 1 and limit % 1 and value in (math.floor(limit), math.ceil(limit)):
        way = "up: it can be throttled" if value > limit else "down: a part of the limit is unused"
        yield located(
            spec,
            variable.place,
            codes.FRACTIONAL,
            Texts(
                f"The CPU limit of {limit:g} is not a whole number, and GOMAXPROCS={value} rounds"
                f" it {way}",
                "",
                "A whole number as the limit avoids this choice.",
            ),
        )
