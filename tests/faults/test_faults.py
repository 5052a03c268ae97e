"""A short run of ``python -m tests.faults``."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("chdb", reason="no embedded ClickHouse for this platform")

from tests.faults.__main__ import Course, can_sample, run


@pytest.mark.timing  # everything has to be stored within seconds after the last fault
def test_acknowledged_windows_are_stored_once_under_faults(tmp_path: Path) -> None:
    """Kills of both sides, a cut and a stalled network, a full disk, and clocks set by hours."""
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
