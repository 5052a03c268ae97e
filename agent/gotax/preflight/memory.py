"""GOMEMLIMIT and GOGC as the Go runtime reads them, and what automemlimit makes of a limit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from gotax.golang.startup import NEWEST_MINOR
from gotax.preflight.spec import ContainerSpec
from gotax.process import GoBuild

AUTOMEMLIMIT = "github.com/KimMachineGun/automemlimit"
NO_LIMIT = (1 << 63) - 1
FIRST_MINOR = 19
"""Go 1.19 is the first with GOMEMLIMIT."""
_TAKES_PLUS = 26  # the runtime reads numbers by strconv since Go 1.26
_SIGN = "[+-]?"
_RATIO = 0.9  # automemlimit's default
_POWERS = {"": 0, "B": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}


class MemoryOrigin(Enum):
    ENVIRONMENT = "environment"
    AUTOMEMLIMIT = "automemlimit"
    NONE = "none"
    UNSUPPORTED = "go-before-1.19"
    MALFORMED = "malformed"  # the program ends at its start
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class MemoryForecast:
    """``limit_bytes``: None for no limit, or where it is not known (``origin`` says which)."""

    limit_bytes: int | None
    origin: MemoryOrigin
    rule: str


def parse_byte_count(text: str, minor: int = NEWEST_MINOR) -> int | None:
    """As runtime.parseByteCount of Go 1.``minor`` (runtime/string.go); None: malformed."""
    sign = _SIGN if minor >= _TAKES_PLUS else "-?"
    match = re.fullmatch(rf"({sign}[0-9]{{1,19}})(|B|KiB|MiB|GiB|TiB)", text, re.ASCII)
    if match is None:
        return None
    value = int(match[1]) << (10 * _POWERS[match[2]])
    return value if 0 <= value < 1 << 63 else None


def gomemlimit(text: str | None, minor: int = NEWEST_MINOR) -> int | None:
    """The value of the variable as debug.SetMemoryLimit takes it; None: malformed.

    runtime.readGOMEMLIMIT (runtime/mgcpacer.go) ends the program for a malformed one.
    """
    return NO_LIMIT if text in (None, "", "off") else parse_byte_count(text or "", minor)


def gogc(text: str | None, minor: int = NEWEST_MINOR) -> int | None:
    """The percentage, -1 for off, None for what Go ignores (runtime.readGOGC)."""
    if text in (None, ""):
        return 100
    if text == "off":
        return -1
    sign = _SIGN if minor >= _TAKES_PLUS else "-?"
    match = re.fullmatch(rf"{sign}[0-9]{{1,10}}", text or "", re.ASCII)
    value = int(match[0]) if match is not None else None
    if value is None or not -(1 << 31) <= value < 1 << 31:
        return None
    return max(value, -1)


def forecast_memory(
    build: GoBuild, minor: int | None, spec: ContainerSpec, environment: dict[str, str]
) -> MemoryForecast:
    """The memory limit of the Go runtime. A call of debug.SetMemoryLimit may replace it."""
    variable = spec.variable("GOMEMLIMIT")
    if minor is None:
        return MemoryForecast(None, MemoryOrigin.UNKNOWN, "the Go version is unknown")
    if minor < FIRST_MINOR:
        return MemoryForecast(None, MemoryOrigin.UNSUPPORTED, "Go before 1.19 has no memory limit")
    if variable is not None and "GOMEMLIMIT" not in environment:
        why = variable.unknown or "it depends on the node"
        return MemoryForecast(None, MemoryOrigin.UNKNOWN, f"the variable GOMEMLIMIT: {why}")
    text = environment.get("GOMEMLIMIT")
    value = gomemlimit(text, minor)
    if value is None:
        return MemoryForecast(
            None, MemoryOrigin.MALFORMED, f"Go ends at the start: GOMEMLIMIT={text} is malformed"
        )
    if value != NO_LIMIT:
        return MemoryForecast(value, MemoryOrigin.ENVIRONMENT, "the variable GOMEMLIMIT")
    if text is None:
        return _by_automemlimit(build, spec, environment)
    return MemoryForecast(None, MemoryOrigin.NONE, "the variable GOMEMLIMIT sets no limit")


def _by_automemlimit(
    build: GoBuild, spec: ContainerSpec, environment: dict[str, str]
) -> MemoryForecast:
    """Assumed is the import for its side effect (memlimit.SetGoMemLimitWithOpts without any)."""
    none = MemoryForecast(None, MemoryOrigin.NONE, "Go's default: no limit")
    module = build.dependency(AUTOMEMLIMIT)
    if module is None:
        # A later major version has another path.
        module = next(
            (m for m in build.dependencies if m.path.startswith(f"{AUTOMEMLIMIT}/v")), None
        )
    if module is None or spec.memory_limit is None:
        return none
    if module.replaced_by is not None and module.replaced_by.path != module.path:
        return MemoryForecast(None, MemoryOrigin.UNKNOWN, "a fork of automemlimit")
    text = environment.get("AUTOMEMLIMIT")
    if text == "off":
        return MemoryForecast(None, MemoryOrigin.NONE, "AUTOMEMLIMIT=off")
    ratio = _RATIO
    if text is not None:
        try:
            ratio = float(text[:64])
        except ValueError:
            return MemoryForecast(None, MemoryOrigin.NONE, "automemlimit: AUTOMEMLIMIT is no ratio")
    if not 0 < ratio <= 1:
        return MemoryForecast(None, MemoryOrigin.NONE, "automemlimit: AUTOMEMLIMIT is no ratio")
    value = int(spec.memory_limit * ratio)
    rule = f"automemlimit: {ratio:g} of the memory limit"
    return MemoryForecast(value, MemoryOrigin.AUTOMEMLIMIT, rule)
