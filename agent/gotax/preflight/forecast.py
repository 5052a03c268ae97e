"""Which GOMAXPROCS and memory limit a program gets on nodes of some sizes. The rules are golang's.

What decides is the build info, the container's variables and limits, and the CPUs of the node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from gotax.golang.live import GomaxprocsAddresses, LiveGomaxprocs
from gotax.golang.origin import judge
from gotax.golang.prediction import predict
from gotax.golang.startup import Facts, minor_version
from gotax.preflight.memory import MemoryForecast, forecast_memory
from gotax.preflight.spec import ContainerSpec, Resources, Variable
from gotax.process import GoBuild, Gomaxprocs, Origin

USUAL_CPUS = (4, 16, 64, 192)
_HAS_FLAG = 25  # sched.customGOMAXPROCS exists since Go 1.25


@dataclass(frozen=True, slots=True)
class Program:
    """A Go program in a file. ``path``: in the image, or of the file. ``code``: what its machine
    code says where it has no build info."""

    path: str
    build: GoBuild
    code: GomaxprocsAddresses | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class NodeForecast:
    """``gomaxprocs.value`` is the value after the start, None where it cannot be known."""

    cpus: int
    gomaxprocs: Gomaxprocs


@dataclass(frozen=True, slots=True)
class Alternative:
    """What a change gives, for each node; None: the rules do not say."""

    change: str
    text: str
    values: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    program: Program
    spec: ContainerSpec
    nodes: tuple[NodeForecast, ...]
    alternatives: tuple[Alternative, ...]
    memory: MemoryForecast
    minor: int | None  # of its Go, None if unknown


def forecast(program: Program, spec: ContainerSpec, cpus: tuple[int, ...]) -> Forecast:
    nodes = tuple(NodeForecast(count, gomaxprocs_on(program, spec, count)) for count in cpus)
    environment, _ = environment_on(spec, cpus[0])
    minor = minor_version(Facts(program.build, 1, code=program.code))
    memory = forecast_memory(program.build, minor, spec, environment)
    return Forecast(program, spec, nodes, alternatives(program, spec, nodes), memory, minor)


def gomaxprocs_on(program: Program, spec: ContainerSpec, cpus: int) -> Gomaxprocs:
    """As gotax judges the process once it runs, if the program does not call runtime.GOMAXPROCS."""
    facts = facts_on(program, spec, cpus)
    prediction = predict(facts)
    known = judge(_NO_PROCESS, facts, spec.cpu_limit)
    if prediction.value is None:
        return replace(known, value=None, reason=prediction.rule)
    minor = minor_version(facts)
    chosen = prediction.origin in (Origin.ENVIRONMENT, Origin.CRIO, Origin.AUTOMAXPROCS)
    live = LiveGomaxprocs(prediction.value, chosen if minor and minor >= _HAS_FLAG else None, cpus)
    found = judge(live, facts, spec.cpu_limit)
    is_injected = facts.environment is not None and spec.variable("GOMAXPROCS") is None
    origin = Origin.CRIO if is_injected else prediction.origin
    return replace(found, origin=origin, rule=_rule(prediction.rule, spec, facts))


_NO_PROCESS = LiveGomaxprocs(1, None)


def _rule(rule: str, spec: ContainerSpec, facts: Facts) -> str:
    variable = spec.variable("GOMAXPROCS")
    if facts.environment is None or not rule.startswith("GOMAXPROCS is set"):
        return rule
    if variable is None:
        return f"CRI-O injects GOMAXPROCS={facts.environment}: twice the request, rounded up"
    if variable.resource:
        return f"the variable GOMAXPROCS from {variable.resource} by the downward API"
    return "the variable GOMAXPROCS"


def facts_on(program: Program, spec: ContainerSpec, cpus: int) -> Facts:
    environment, unknown = environment_on(spec, cpus)
    return Facts(
        build=program.build,
        allowed_cpus=cpus,
        environment=environment.get("GOMAXPROCS"),
        godebug=environment.get("GODEBUG"),
        leaf_limit_cores=spec.own_cpu_limit,
        cgroup=spec.view,
        online_cpus=cpus,
        environment_read=not unknown & {"GOMAXPROCS", "GODEBUG"},
        code=program.code,
    )


def environment_on(spec: ContainerSpec, cpus: int) -> tuple[dict[str, str], frozenset[str]]:
    """The variables on a node of so many CPUs, and the names of those whose value is not known."""
    known: dict[str, str] = {}
    unknown = set()
    for variable in spec.variables:
        value = value_on(variable, cpus)
        if value is None:
            unknown.add(variable.name)
        else:
            known[variable.name] = value
    if spec.variable("GOMAXPROCS") is None and spec.min_injected is not None:
        injected = injected_gomaxprocs(spec, spec.min_injected)
        if injected is not None:
            known["GOMAXPROCS"] = str(injected)
    return known, frozenset(unknown)


def injected_gomaxprocs(spec: ContainerSpec, least: int) -> int | None:
    """CRI-O's GOMAXPROCS: twice the request, rounded up, for a container without a CPU limit.

    internal/runtimehandlerhooks/gomaxprocs_hooks_linux.go; a container without a request has 2
    CPU shares. None: it injects nothing.
    """
    is_limited = spec.own_cpu_limit is not None or "cpu limit" in spec.resources.unknown
    if is_limited or spec.skips_injection:
        return None
    shares = max(2, int(round((spec.cpu_request or 0.0) * 1000) * 1024 / 1000))
    return max(1, least, math.ceil(2 * shares / 1024))


def value_on(variable: Variable, cpus: int) -> str | None:
    """The text of a variable on a node of so many CPUs; None: not known."""
    if not variable.resource:
        return variable.value
    amount = _amount(variable.resource, variable.resources, cpus)
    divisor = variable.divisor.value if variable.divisor is not None else 1.0
    if amount is None or divisor <= 0 or variable.missing:
        return None
    # The kubelet calculates in thousandths: convertResourceCPUToString.
    return str(math.ceil(round(amount * 1000) / round(divisor * 1000)))


def _amount(resource: str, resources: Resources, cpus: int) -> float | None:
    """What the kubelet takes: of a limit that is not set, the node's allocatable."""
    kind, _, what = resource.partition(".")
    if f"{what} {kind[:-1]}" in resources.unknown:
        return None
    if resource == "limits.cpu":
        return resources.cpu_limit.value if resources.cpu_limit else float(cpus)
    if resource == "requests.cpu":
        found = resources.cpu_request or resources.cpu_limit
        return found.value if found else 0.0
    if resource == "limits.memory" and resources.memory_limit:
        return resources.memory_limit.value
    if resource == "requests.memory":
        found = resources.memory_request or resources.memory_limit
        return found.value if found else 0.0
    return None


_CHANGES = (
    ("go_line", "go 1.25 or later in go.mod, built with the same Go"),
    ("go_1_25", "Go 1.25 and go 1.25 in go.mod"),
    ("go_1_26", "Go 1.26 or newer and go 1.25 or later in go.mod"),
    ("unset", "without the variable GOMAXPROCS"),
    ("no_godebug", "without containermaxprocs=0 in the variable GODEBUG"),
    ("godebug", "GODEBUG=containermaxprocs=1,updatemaxprocs=1 in the environment"),
    ("own_limit", "with the limit on the container instead of the pod"),
)


def alternatives(
    program: Program, spec: ContainerSpec, nodes: tuple[NodeForecast, ...]
) -> tuple[Alternative, ...]:
    """Changes that give another value on one of the nodes."""
    now = tuple(node.gomaxprocs.value for node in nodes)
    found = []
    for change, text in _CHANGES:
        values = tuple(getattr(node.gomaxprocs.otherwise, change) for node in nodes)
        found.append(Alternative(change, text, values))
    if spec.min_injected is None and spec.variable("GOMAXPROCS") is None:
        injected = injected_gomaxprocs(spec, 1)
        if injected is not None:
            on_crio = replace(spec, min_injected=1)
            values = tuple(gomaxprocs_on(program, on_crio, node.cpus).value for node in nodes)
            text = "on CRI-O with min_injected_gomaxprocs (OpenShift)"
            found.append(Alternative("cri_o", text, values))
    kept: list[Alternative] = []
    for each in found:
        is_other = any(v is not None and v != n for v, n in zip(each.values, now, strict=True))
        if is_other and all(each.values != one.values or each.change != "go_1_26" for one in kept):
            kept.append(each)
    return tuple(kept)
