"""A short course of ``python -m tests.faults``."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("chdb", reason="no embedded ClickHouse for this platform")

from tests.faults.__main__ import Course, can_sample, run


@pytest.mark.timing  # all has to settle within seconds after the last fault
def test_what_is_acknowledged_is_stored_once_whatever_breaks(tmp_path: Path) -> None:
    """Kills of both sides, a cut and a silent network, a full disk, and clocks set by hours."""
    course = Course(
        seconds=40,
        collector_kills=3,
        agent_kills=2,
        cuts=2,
        clocks=3,
        full_disks=1,
        window_s=0.5,
        with_kernel=can_sample(),
    )
    result = run(course, tmp_path)
    assert result["failures"] == [], result
    assert result["doubled"] == 0
    assert int(str(result["stored"])) > 20, result
