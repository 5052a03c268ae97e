"""Words and scales of the pages."""

from __future__ import annotations

import pytest
from gotax.diagnosis.patches import (
    Setting,
    _engine_patch,
    _quadlet_patch,
    _systemd_patch,
    go_line,
    kubernetes_patch,
)
from gotax_collector.http.charts import _round_up
from gotax_collector.query.wording import ago, patch_form

FOUR, HEAP = Setting("GOMAXPROCS", "4"), Setting("GOMEMLIMIT", "900MiB")


@pytest.mark.parametrize(
    ("patch", "form"),
    [
        (
            kubernetes_patch(Setting("GOMAXPROCS", None), True, None),
            "Pod template, from the CPU limit (downward API)",
        ),
        (kubernetes_patch(FOUR, True, None), "Pod template, a fixed value"),
        (_systemd_patch("web.service", HEAP, False, True), "systemd drop-in"),
        (_quadlet_patch("web.service", FOUR), "Quadlet"),
        (_engine_patch("docker", FOUR), "Command that creates the container"),
        (_engine_patch(None, HEAP), "Command that creates the container"),
        ("# a comment\nsystemd-run -E GOMAXPROCS=4\n", "Command that starts it"),
        (f"{FOUR}\n", "Environment variable"),
        (f"{HEAP}\n", "Environment variable"),
        (go_line(), "go.mod"),
        ("something of a newer agent", "Patch"),
    ],
)
def test_every_patch_of_an_agent_has_its_form(patch: str, form: str) -> None:
    assert patch_form(patch) == form


@pytest.mark.parametrize(
    ("cores", "top"),
    [
        (0, 1),
        (0.5, 0.5),
        (0.5004, 0.5),
        (0.502, 0.6),
        (3.99, 4),
        (4.1, 5),
        (96, 100),
        (0.011, 0.015),
    ],
)
def test_a_scale_ends_at_a_round_number(cores: float, top: float) -> None:
    assert _round_up(cores) == pytest.approx(top)


def test_how_long_ago() -> None:
    assert [ago(seconds) for seconds in (3, 420, 7200)] == ["just now", "7 min ago", "2 h ago"]
