"""The variables and the version, as the Go runtime of that version reads them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.golang.live import GomaxprocsAddresses
from gotax.golang.prediction import predict
from gotax.golang.startup import environment_value, godebug_value
from gotax.process import GoBuild

from tests.unit.golang.facts import PLAIN


@pytest.mark.parametrize(
    ("text", "minor", "value"),
    [
        ("4", 27, 4),
        ("+4", 26, 4),
        ("+4", 25, None),
        ("+4", 7, None),
        ("4abc", 7, 4),
        ("4abc", 8, None),
        ("4 ", 27, None),
        ("4\n", 27, None),
        ("", 27, None),
        ("0", 27, None),
        ("-3", 27, None),
        ("2147483647", 27, 2147483647),
        ("2147483648", 27, None),
        ("300", 8, 256),
        ("300", 9, 300),
        ("2000", 9, 1024),
        ("2000", 10, 2000),
        ("١٢", 27, None),
        ("9" * 5000, 27, None),
        (None, 27, None),
    ],
)
def test_the_variable_is_parsed_as_in_that_version(
    text: str | None, minor: int, value: int | None
) -> None:
    assert environment_value(text, minor) == value


@pytest.mark.parametrize(
    ("text", "minor", "value"),
    [
        (None, 26, None),
        ("", 26, None),
        ("1", 26, 1),
        ("1", 7, 1),
        ("0", 26, None),
        ("-1", 26, None),
        ("+4", 25, None),  # atoi32 takes no plus sign
        ("+4", 26, 4),
        ("4x", 7, 4),  # C's way: leading digits
        ("4x", 8, None),
        ("-4", 7, None),
        ("2147483647", 10, 2147483647),
        ("2147483648", 10, None),  # 1 << 31 is no int32
        ("2147483648", 8, None),
        ("2147483648", 7, 256),  # Go 1.7 has no such bound, but a highest number of Ps
        ("257", 8, 256),
        ("1025", 9, 1024),
        ("1025", 10, 1025),
        ("0" * 4095 + "4", 26, 4),
        ("0" * 4096 + "4", 26, None),  # longer than any int that Python converts quickly
        ("0" * 4095 + "4", 7, 4),
    ],
)
def test_the_variable_at_the_edges(text: str | None, minor: int, value: int | None) -> None:
    """By each version's parser."""
    assert environment_value(text, minor) == value


@pytest.mark.parametrize(
    ("built_in", "variable", "value"),
    [
        ("", None, 1),
        ("containermaxprocs=0", None, 0),
        ("containermaxprocs=0", "containermaxprocs=1", 1),
        ("", "containermaxprocs=0,containermaxprocs=1", 1),
        ("", "containermaxprocs=off", 1),
        ("", "xcontainermaxprocs=0", 1),
        ("", "containermaxprocs", 1),
        ("panicnil=1,containermaxprocs=0,tls10server=1", "madvdontneed=1", 0),
    ],
)
def test_the_last_valid_godebug_setting_counts(
    built_in: str, variable: str | None, value: int
) -> None:
    build = GoBuild("go1.26.8", settings=(("DefaultGODEBUG", built_in),))
    facts = replace(PLAIN, build=build, godebug=variable)
    assert godebug_value(facts, "containermaxprocs", 1) == value
    assert predict(facts).value == (4 if value else 8)


STORED = GomaxprocsAddresses(1, None, "exchange")


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (STORED, 8),  # has stores like Go since 1.8, and no flag, like Go before 1.25
        (None, None),
        (replace(STORED, how="call"), None),
        (replace(STORED, can_be_called=False), None),
        (replace(STORED, custom_address=2), None),
    ],
)
def test_a_hidden_version_is_found_in_the_code(
    code: GomaxprocsAddresses | None, value: int | None
) -> None:
    """Of 4 CPUs by the limit or 8 by their number, Go before 1.25 uses 8."""
    facts = replace(PLAIN, build=GoBuild(""), code=code)
    assert predict(facts).value == value
