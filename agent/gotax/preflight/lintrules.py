"""What in a container's variables and limits cannot agree, whatever the program does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from gotax.preflight import lintcodes as codes
from gotax.preflight.forecast import value_on
from gotax.preflight.lintcpu import gomaxprocs
from gotax.preflight.lintmemory import collector, memory_limit
from gotax.preflight.located import (
    LEAST_CPUS,
    Located,
    Subject,
    Texts,
    located,
    patch,
    short,
    wants,
)
from gotax.preflight.spec import ContainerSpec, Variable

VARIABLES = ("GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG")
"""Variables that only Go reads."""


def is_of_go(spec: ContainerSpec) -> bool:
    return any(spec.variable(name) is not None for name in VARIABLES)


def find_in(spec: ContainerSpec, minor: int | None) -> tuple[Located, ...]:
    """All findings of a container, in the order of the lines."""
    found = [each for rule in _RULES for each in rule(Subject(spec, minor))]
    return tuple(sorted(found, key=lambda each: (each.place.line or 0, each.finding.code)))


def _sources(subject: Subject) -> Iterator[Located]:
    """What the downward API gives."""
    spec = subject.spec
    for name in ("GOMAXPROCS", "GOMEMLIMIT"):
        variable = spec.variable(name)
        if variable is None or not variable.resource:
            continue
        if variable.missing:
            yield located(
                spec,
                variable.place,
                codes.NO_CONTAINER,
                Texts(
                    f"{name} comes from container {short(variable.missing)}, which the pod does"
                    " not have",
                    "the kubelet does not start the container",
                    f"Remove containerName, or write {spec.name}.",
                ),
            )
        elif wants(name) not in variable.resource:
            yield located(
                spec,
                variable.place,
                codes.WRONG_RESOURCE,
                Texts(
                    f"{name} comes from {short(variable.resource)}",
                    "",
                    f"Take it from limits.{wants(name)}.",
                ),
                patch(spec, None) if name == "GOMAXPROCS" and spec.own_cpu_limit else "",
            )
        else:
            yield from _of_resource(spec, variable)


def _of_resource(spec: ContainerSpec, variable: Variable) -> Iterator[Located]:
    name, resource = variable.name, variable.resource
    divisor = variable.divisor
    if divisor is not None and divisor.value != 1:
        value = value_on(variable, LEAST_CPUS)
        gives = f"this gives {name}={value}" if value is not None else ""
        yield located(
            spec,
            divisor.place,
            codes.DIVISOR,
            Texts(
                f"{name} from {resource} has the divisor {short(divisor.text)}: Go reads"
                f" {'bytes' if wants(name) == 'memory' else 'CPUs'}",
                gives,
                'Remove the divisor, or write "1".',
            ),
        )
    if resource == "limits.cpu" and variable.resources.cpu_limit is None:
        if "cpu limit" in variable.resources.unknown:
            return
        request = spec.cpu_request
        target = None if request is None else max(1, math.ceil(2 * request))
        way = "Set a CPU limit, or write a number."
        if target is not None:
            way += f" Twice the request, rounded up, is {target} (CRI-O injects the same)."
        yield located(
            spec,
            variable.place,
            codes.NO_CPU_LIMIT,
            Texts(
                "GOMAXPROCS comes from limits.cpu, but the container has no CPU limit",
                "the downward API then gives the number of CPUs of the node",
                way,
            ),
            "" if target is None else patch(spec, target),
        )
    if resource == "limits.memory" and variable.resources.memory_limit is None:
        if "memory limit" in variable.resources.unknown:
            return
        yield located(
            spec,
            variable.place,
            codes.NO_MEMORY_LIMIT,
            Texts(
                "GOMEMLIMIT comes from limits.memory, but the container has no memory limit",
                "the downward API then gives the memory of the node",
                "Set a memory limit, or remove the variable.",
            ),
        )


def _repeated(subject: Subject) -> Iterator[Located]:
    spec = subject.spec
    for variable in spec.repeated:
        if variable.name in VARIABLES:
            yield located(
                spec,
                variable.place,
                codes.REPEATED,
                Texts(
                    f"{variable.name} is set twice in this container: the last one counts",
                    "",
                    "Remove one of them.",
                ),
            )


def _quantities(subject: Subject) -> Iterator[Located]:
    spec = subject.spec
    for name, text, place in spec.resources.unreadable:
        yield located(
            spec,
            place,
            codes.NO_QUANTITY,
            Texts(
                f"The {name} {short(text)} is not a quantity",
                "the API server refuses it, and nothing that depends on it was checked",
                "Write a quantity such as 500m, 2, 512Mi.",
            ),
        )


_RULES: tuple[Callable[[Subject], Iterator[Located]], ...] = (
    gomaxprocs,
    _sources,
    memory_limit,
    collector,
    _repeated,
    _quantities,
)
