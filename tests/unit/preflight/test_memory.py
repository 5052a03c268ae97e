"""GOMEMLIMIT and GOGC as the runtime reads them, and automemlimit."""

from __future__ import annotations

import pytest
from gotax.preflight.forecast import Program, forecast
from gotax.preflight.memory import AUTOMEMLIMIT, NO_LIMIT, gogc, gomemlimit
from gotax.preflight.spec import Amount, ContainerSpec, Resources, Variable
from gotax.process import GoBuild, Module


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (None, NO_LIMIT),
        ("", NO_LIMIT),
        ("off", NO_LIMIT),
        ("0", 0),
        ("1048576", 1 << 20),
        ("5B", 5),
        ("512MiB", 512 << 20),
        ("1KiB", 1024),
        ("2GiB", 2 << 30),
        ("3TiB", 3 << 40),
        ("9223372036854775807", NO_LIMIT),
        *((text, None) for text in ("512Mi", "512M", "1G", "512MB", "1.5GiB", "-1", "++1", "OFF")),
        *(
            (text, None)
            for text in ("9223372036854775808", "9999999TiB", "MiB", " 1", "1 ", "\u0661")
        ),
    ],
)
def test_the_memory_limit_is_read_as_go_does(text: str | None, value: int | None) -> None:
    assert gomemlimit(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((None, 100), ("", 100), ("off", -1), ("200", 200), ("0", 0), ("-5", -1)),
        *(("off ", None), ("50%", None), ("+50", 50), ("1e2", None), ("4294967296", None)),
    ],
)
def test_the_percentage_is_read_as_go_does(text: str | None, value: int | None) -> None:
    assert gogc(text) == value


def test_a_plus_sign_counts_since_go_1_26() -> None:
    assert (gomemlimit("+1KiB", 25), gomemlimit("+1KiB", 26)) == (None, 1024)
    assert (gogc("+50", 25), gogc("+50", 26)) == (None, 50)


BOTH = (Module(AUTOMEMLIMIT, "v0.7.5"),)


@pytest.mark.parametrize(
    ("version", "modules", "variables", "memory", "wanted"),
    [
        ("go1.27.3", (), {}, 1 << 30, (None, "none")),
        ("go1.27.3", (), {"GOMEMLIMIT": "1GiB"}, None, (1 << 30, "environment")),
        ("go1.18.10", (), {"GOMEMLIMIT": "1GiB"}, None, (None, "go-before-1.19")),
        ("go1.27.3", (), {"GOMEMLIMIT": "1Gi"}, None, (None, "malformed")),
        ("go1.27.3", BOTH, {}, 1000, (900, "automemlimit")),
        ("go1.27.3", BOTH, {}, None, (None, "none")),
        ("go1.27.3", BOTH, {"AUTOMEMLIMIT": "0.5"}, 1000, (500, "automemlimit")),
        ("go1.27.3", BOTH, {"AUTOMEMLIMIT": "off"}, 1000, (None, "none")),
        ("go1.27.3", BOTH, {"AUTOMEMLIMIT": "2"}, 1000, (None, "none")),
        ("go1.27.3", BOTH, {"AUTOMEMLIMIT": "nan"}, 1000, (None, "none")),
        ("go1.27.3", BOTH, {"GOMEMLIMIT": "off"}, 1000, (None, "none")),
        ("", (), {}, None, (None, "unknown")),
    ],
)
def test_the_forecast_of_the_memory_limit(
    version: str,
    modules: tuple[Module, ...],
    variables: dict[str, str],
    memory: int | None,
    wanted: tuple[int | None, str],
) -> None:
    limit = Amount(memory, str(memory)) if memory is not None else None
    spec = ContainerSpec(
        resources=Resources(memory_limit=limit),
        variables=tuple(Variable(name, text) for name, text in variables.items()),
    )
    built = GoBuild(version, Module("m", "v1"), dependencies=modules)
    found = forecast(Program("/web", built), spec, (4,)).memory
    assert (found.limit_bytes, found.origin.value) == wanted
