"""The pure parts of the demo: finding the cgroup trees of a host, and the table."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DEMO = Path(__file__).resolve().parents[2] / "demo"


def load(name: str) -> ModuleType:
    """A module of demo/, which is a folder of scripts and not a package."""
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMO / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


limit: Any = load("limit")
table: Any = load("table")

TMPFS = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
V1 = (
    "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
)
SEPARATE_V1 = (
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
    "33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n"
)
UNIFIED = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
V2 = "26 22 0:23 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.mark.parametrize(
    ("mountinfo", "cpu", "cpuacct", "unified"),
    [
        (TMPFS + V1, "cpu,cpuacct", "cpu,cpuacct", None),
        (TMPFS + SEPARATE_V1 + UNIFIED, "cpu", "cpuacct", "unified"),
        (V2, None, None, ""),
        (TMPFS, None, None, None),
        ("", None, None, None),
    ],
)
def test_trees_are_found_on_v1_hybrid_and_v2_hosts(
    mountinfo: str, cpu: str | None, cpuacct: str | None, unified: str | None
) -> None:
    """Each tree is where mountinfo says, for controllers mounted together or separately."""
    root = Path("/sys/fs/cgroup")
    expected = [None if name is None else root / name for name in (cpu, cpuacct, unified)]
    mounts = limit.parse_mounts(mountinfo)
    assert [mounts.cpu, mounts.cpuacct, mounts.unified] == expected


def test_escaped_mount_points_are_read() -> None:
    """The kernel writes a space in a mount point as \\040."""
    line = "26 22 0:23 / /mnt/two\\040words rw - cgroup2 cgroup2 rw\n"
    assert limit.parse_mounts(line).unified == Path("/mnt/two words")


def test_a_group_of_jointly_mounted_controllers_is_one_folder() -> None:
    """A folder is created once even if it serves two controllers."""
    group = limit.Group(limit.parse_mounts(TMPFS + V1), "a/b")
    assert group.folders() == [Path("/sys/fs/cgroup/cpu,cpuacct/a/b")]


def result(**changes: Any) -> Any:
    values: dict[str, Any] = {
        "gomaxprocs": 192,
        "recommended": 1,
        "limit_cores": 1.0,
        "go_version": "go1.26.8",
        "cpu_s_per_min": 30.04,
        "kernel_s_per_min": 30.0,
        "throttled_s_per_min": 0.0,
        "requests_per_cpu_s": 6700.4,
        "requests_per_s": 3333.3,
        "live_heap_mb": 1.0,
        "neighbours_cores": 0.0,
        "schedule": 0.2,
        "mark_worker": None,
        "scheduler": 0.25,
        "gc": 0.2,
        "verdict": "oversized",
        "findings": (("GT001", "GOMAXPROCS is above the CPU limit"),),
        "flagged_after_s": 24.6,
        "cause": "environment",
        "predicted_s_per_min": (14.0, 17.5, 20.0),
    }
    return table.Result(**{**values, **changes})


def test_columns_are_aligned() -> None:
    """Every line has the width of the rules, with unknown values too, with colour or without."""
    oversized = result()
    fitting = result(
        gomaxprocs=None, limit_cores=None, verdict="fits", findings=(), flagged_after_s=None
    )
    plain = table.render_table(oversized, fitting, 2, table.Style())
    lines = plain.splitlines()
    width = max(map(len, lines))
    assert {
        len(line) for line in lines if line.startswith(("─", "CPU sec", "verdict", "GOMAX"))
    } == {width}
    style = table.COLOURED
    coloured = table.render_table(oversized, fitting, 2, style)
    for sequence in (style.bold, style.red, style.green, style.dim, style.off):
        assert sequence in coloured
        coloured = coloured.replace(sequence, "")
    assert [line.rstrip() for line in coloured.splitlines()] == lines


def test_busy_neighbours_are_named() -> None:
    """The table says that other programs of the host were busy."""
    quiet = table.render_summary(result(), result(), table.Style())
    busy = table.render_summary(result(), result(neighbours_cores=1.24), table.Style())
    assert "Other processes" not in quiet
    assert "Other processes used 1.2 cores" in busy


def test_the_prediction_is_compared_with_the_result() -> None:
    """At the work of the oversized run, and whether the range contains it."""
    fitting = result(cpu_s_per_min=17.0, findings=(), predicted_s_per_min=None)
    text = table.render_summary(result(), fitting, table.Style())
    assert "Flagged 25 s after the service had started, cause: environment." in text
    assert "saves 12.5 of 30.0 CPU seconds a minute (10.0 to 16.0); it saved 13.0, within" in text
    half = result(cpu_s_per_min=6.0, requests_per_s=1666.65, predicted_s_per_min=None)
    assert "it saved 18.0, outside" in table.render_summary(result(), half, table.Style())
    assert "  predicted with the patch" in table.render_table(result(), fitting, 2, table.Style())


def test_a_run_without_a_finding_is_reported() -> None:
    """No message would look like success."""
    calm = result(flagged_after_s=None, cause=None, predicted_s_per_min=None)
    assert "gotax did not flag" in table.render_summary(calm, calm, table.Style())


def test_the_rest_after_a_patch_comes_from_the_first_warning() -> None:
    """The more it saves the less is left; findings of severity info are ignored."""
    costly = {"saving_cores": {"low": 0.1, "mid": 0.2, "high": 0.25}}
    assert table.predicted_use(0.5, [costly]) == pytest.approx((15.0, 18.0, 24.0))
    assert table.predicted_use(0.5, []) is None
