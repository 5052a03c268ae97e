"""Forecasts compared with what real programs printed, and with the sources of CRI-O and the
kubelet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gotax.golang.cgroupview import CgroupLayout, CgroupView
from gotax.preflight.forecast import (
    Program,
    alternatives,
    environment_on,
    forecast,
    gomaxprocs_on,
    injected_gomaxprocs,
)
from gotax.preflight.spec import Amount, ContainerSpec, Resources, Variable
from gotax.preflight.static import find_static
from gotax.process import GoBuild, Module, Origin

from tests.unit.golang.facts import AUTOMAXPROCS

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "gomaxprocs_vectors.json").read_text()
)
OLD_LINE = (("DefaultGODEBUG", "containermaxprocs=0,updatemaxprocs=0"),)


def cores(value: float | None) -> Amount | None:
    return None if value is None else Amount(value, f"{value:g}")


def program(version: str, *modules: Module, settings: tuple[tuple[str, str], ...] = ()) -> Program:
    build = GoBuild(version, Module("m", "v1"), dependencies=modules, settings=settings)
    return Program("/web", build)


def limited(limit: float | None = None, request: float | None = None) -> ContainerSpec:
    return ContainerSpec(resources=Resources(cores(limit), cores(request)))


def of_row(row: dict[str, Any]) -> tuple[Program, ContainerSpec, int]:
    minor, line = (int(row[key].split(".")[1]) for key in ("go", "go_line"))
    godebug = [OLD_LINE[0][1]] if minor >= 25 > line else []
    godebug += [row["directive"]] if row["directive"] else []
    settings = (("DefaultGODEBUG", ",".join(godebug)),) if godebug else ()
    modules = (Module(AUTOMAXPROCS, row["automaxprocs"]),) if row["automaxprocs"] else ()
    quota = row["quota_us"]
    layout = {"host": "host", "nsv2": "namespace", "bind": "bind"}[row["layout"]]
    variables = [(name, row[f"env_{name}"]) for name in ("GOMAXPROCS", "GODEBUG")]
    spec = replace(
        limited(quota / row["period_us"] if quota else None),
        view=CgroupView(row["cgroup_version"], CgroupLayout(layout)),
        variables=tuple(Variable(name, text) for name, text in variables if text is not None),
    )
    made = program(f"go{row['go']}", *modules, settings=settings)
    return made, spec, row["affinity_cpus"] or row["host_cpus"]


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["id"])
def test_the_forecast_is_what_a_real_process_printed(row: dict[str, Any]) -> None:
    assert gomaxprocs_on(*of_row(row)).value == row["observed"]


@pytest.mark.parametrize(
    ("request_cores", "least", "injected"),
    [
        (None, 1, 1),  # without a request it has 2 CPU shares
        (0.001, 1, 1),
        (0.1, 1, 1),
        (0.5, 1, 1),
        (0.501, 1, 2),
        (0.75, 1, 2),
        (1.0, 1, 2),
        (1.25, 1, 3),
        (3.0, 1, 6),
        (0.1, 4, 4),
        (3.0, 4, 6),
    ],
)
def test_cri_o_injects_twice_the_request(
    request_cores: float | None, least: int, injected: int
) -> None:
    """ceil(2 x request), at least 1 and min_injected_gomaxprocs; the runtime then uses it."""
    spec = replace(limited(request=request_cores), min_injected=least)
    assert injected_gomaxprocs(spec, least) == injected
    found = gomaxprocs_on(program("go1.26.8"), spec, 64)
    assert (found.value, found.origin) == (injected, Origin.CRIO)
    assert found.rule.startswith(f"CRI-O injects GOMAXPROCS={injected}")


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (limited(limit=2), 2),  # it has a limit
        (replace(limited(request=1), variables=(Variable("GOMAXPROCS", "7"),)), 7),
        (replace(limited(request=1), variables=(Variable("GOMAXPROCS", ""),)), 64),  # it exists
        (replace(limited(request=1), skips_injection=True), 64),
        (replace(limited(), pod_cpu_limit=cores(3)), 1),  # of the pod, not of the container
    ],
)
def test_cri_o_injects_only_without_a_limit_and_a_variable(spec: ContainerSpec, value: int) -> None:
    assert gomaxprocs_on(program("go1.26.8"), replace(spec, min_injected=1), 64).value == value


@pytest.mark.parametrize(
    ("resource", "divisor", "limit", "request_cores", "text"),
    [
        ("limits.cpu", None, 1.5, None, "2"),
        ("limits.cpu", None, 0.5, None, "1"),
        ("limits.cpu", 0.001, 1.5, None, "1500"),
        ("limits.cpu", None, None, 0.5, "16"),  # the CPUs of the node
        ("requests.cpu", None, 4, 2.5, "3"),
        ("requests.cpu", None, 4, None, "4"),  # the API server takes the limit
        ("requests.cpu", None, None, None, "0"),
    ],
)
def test_the_downward_api_rounds_up(
    resource: str, divisor: float | None, limit: float, request_cores: float, text: str
) -> None:
    resources = Resources(cores(limit), cores(request_cores))
    variable = Variable("GOMAXPROCS", None, resource=resource, divisor=cores(divisor))
    spec = ContainerSpec(resources=resources, variables=(replace(variable, resources=resources),))
    assert environment_on(spec, 16) == ({"GOMAXPROCS": text}, frozenset())


def test_a_newer_go_line_is_among_the_changes() -> None:
    """go.mod 1.25 takes it from 96 to 2."""
    built = program("go1.27.3", settings=OLD_LINE)
    found = forecast(built, limited(2), (4, 96))
    assert [node.gomaxprocs.value for node in found.nodes] == [4, 96]
    changes = {each.change: each.values for each in found.alternatives}
    assert changes == {"go_line": (2, 2), "godebug": (2, 2)}
    (finding,) = find_static(found)
    assert finding.code == "GT001"
    assert finding.remedy.patch == "go 1.25.0\n"
    assert finding.remedy.gomaxprocs == 2


def test_a_newer_go_is_among_the_changes() -> None:
    found = forecast(program("go1.22.12"), limited(3), (64,))
    assert {each.change: each.values for each in found.alternatives} == {"go_1_25": (3,)}


def test_no_change_is_listed_where_nothing_changes() -> None:
    found = forecast(program("go1.27.3"), limited(2), (4, 96))
    assert found.alternatives == ()
    assert alternatives(found.program, found.spec, found.nodes) == ()


@pytest.mark.parametrize(
    ("built", "spec", "codes"),
    [
        (program("go1.24.1"), limited(2), ["GT001"]),
        (program("go1.27.3"), limited(2), []),
        (program("go1.27.3"), limited(1), ["GT005"]),
        (program("go1.27.3"), limited(2.5), ["GT006"]),
        (program("go1.24.1", Module(AUTOMAXPROCS, "v1.6.0")), limited(2.5), ["GT006"]),
        (program("go1.24.1", Module(AUTOMAXPROCS, "v1.6.0")), limited(2), []),
        (program("go1.24.1", Module(AUTOMAXPROCS, "v1.4.0")), limited(2), ["GT001"]),  # v1 only
        (program("go1.27.3"), limited(request=0.5), ["GT003"]),
        (program("go1.27.3"), limited(request=20), []),
        (program("go1.27.3"), replace(limited(request=1), min_injected=1), []),
        (
            program("go1.27.3"),
            replace(limited(4), variables=(Variable("GOMAXPROCS", "2"),)),
            ["GT004"],
        ),
        (
            program("go1.27.3"),
            replace(limited(4), variables=(Variable("GOMAXPROCS", None, unknown="a Secret"),)),
            ["GT015"],
        ),
        (program(""), limited(2), ["GT015"]),
    ],
)
def test_findings_have_the_codes_of_check(
    built: Program, spec: ContainerSpec, codes: list[str]
) -> None:
    found = find_static(forecast(built, spec, (4, 64)))
    assert [finding.code for finding in found] == codes
    assert [f.severity.value for f in found if f.severity.value == "warning"] == (
        ["warning"] if "GT001" in codes else []
    )


def test_an_unknown_variable_is_no_value() -> None:
    """What a Secret sets is not known, so nothing is predicted."""
    spec = replace(limited(4), variables=(Variable("GODEBUG", None, unknown="a Secret"),))
    found = gomaxprocs_on(program("go1.27.3"), spec, 64)
    assert (found.value, found.reason) == (None, "its environment could not be read")
