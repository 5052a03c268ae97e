"""The rules compared with 85 real runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gotax.golang.cgroupview import CgroupLayout, CgroupView
from gotax.golang.live import LiveGomaxprocs
from gotax.golang.origin import origin
from gotax.golang.prediction import predict
from gotax.golang.startup import Facts
from gotax.process import GoBuild, Module, Origin

from tests.unit.golang.facts import AUTOMAXPROCS

FIXTURES = Path(__file__).parents[2] / "fixtures"
VECTORS: list[dict[str, Any]] = json.loads((FIXTURES / "gomaxprocs_vectors.json").read_text())


def _minor(text: str) -> int:
    return int(text.split(".")[1])


def _build(row: dict[str, Any]) -> GoBuild:
    """The build info that the go command writes for such a module."""
    godebug = []
    if _minor(row["go"]) >= 25 and _minor(row["go_line"]) < 25:
        godebug += ["containermaxprocs=0", "updatemaxprocs=0"]
    if row["directive"]:
        godebug.append(row["directive"])
    version = row["automaxprocs"]
    return GoBuild(
        f"go{row['go']}",
        dependencies=(Module(AUTOMAXPROCS, version),) if version else (),
        settings=(("DefaultGODEBUG", ",".join(godebug)),) if godebug else (),
    )


def _facts(row: dict[str, Any]) -> Facts:
    layouts = {"host": "host", "nsv2": "namespace", "bind": "bind"}
    quota = row["quota_us"]
    return Facts(
        build=_build(row),
        allowed_cpus=row["affinity_cpus"] or row["host_cpus"],
        environment=row["env_GOMAXPROCS"],
        godebug=row["env_GODEBUG"],
        leaf_limit_cores=quota / row["period_us"] if quota else None,
        cgroup=CgroupView(row["cgroup_version"], CgroupLayout(layouts[row["layout"]])),
        online_cpus=row["host_cpus"],
    )


def _live(row: dict[str, Any], facts: Facts) -> LiveGomaxprocs:
    """The data read from the process: its flag is set by the variable or by a call."""
    chosen = predict(facts).origin in (Origin.ENVIRONMENT, Origin.AUTOMAXPROCS)
    return LiveGomaxprocs(row["observed"], chosen if _minor(row["go"]) >= 25 else None)


vectors = pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["id"])


def test_the_vectors_are_complete() -> None:
    assert len(VECTORS) == 85
    assert all(row["verified"] and row["observed"] == row["expected"] for row in VECTORS)


@vectors
def test_prediction_matches_a_real_process(row: dict[str, Any]) -> None:
    assert predict(_facts(row)).value == row["observed"]


@vectors
def test_the_origin_of_a_predicted_value_is_the_rule_that_predicted_it(
    row: dict[str, Any],
) -> None:
    facts = _facts(row)
    assert origin(_live(row, facts), facts) is predict(facts).origin


@pytest.mark.parametrize(
    "row", [r for r in VECTORS if r["scenario"] == "resize"], ids=lambda row: row["id"]
)
def test_updates_follow_the_limit_unless_the_value_was_set(row: dict[str, Any]) -> None:
    """Quota 4, 2.5, none: used by the runtime's default, not after a variable or automaxprocs."""
    start = _facts(row)
    settled = predict(start).origin in (Origin.ENVIRONMENT, Origin.AUTOMAXPROCS)
    values = [value for _, value in row["observed_timeline"]]
    if settled:
        assert values == [predict(start).value]
        return
    limits = (4.0, 2.5, None) if row["quota_us"] else (None, 2.5, None)
    build = replace(start.build, dependencies=())  # automaxprocs ran once, without a limit
    now = [replace(start, build=build, leaf_limit_cores=limit) for limit in limits]
    assert values == [predict(facts).value for facts in now]
    for value, facts in zip(values, now, strict=True):
        live = LiveGomaxprocs(value, False)
        wanted = Origin.CPU_COUNT if facts.leaf_limit_cores is None else Origin.CONTAINER
        assert origin(live, facts) is wanted
