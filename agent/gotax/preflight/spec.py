"""A container as its manifest or the command line describes it, and where each part is written."""

from __future__ import annotations

from dataclasses import dataclass

from gotax.golang.cgroupview import CgroupLayout, CgroupView
from gotax.process import Workload

VIEWS = {
    "v2": CgroupView(2, CgroupLayout.NAMESPACE),
    "v1": CgroupView(1, CgroupLayout.BIND),
    "v2-host": CgroupView(2, CgroupLayout.HOST),
    "v1-host": CgroupView(1, CgroupLayout.HOST),
}
"""How a program sees its cgroup: as container runtimes show it by default, or the whole tree."""


@dataclass(frozen=True, slots=True)
class Place:
    """``line`` counts from 1; None if there is no file."""

    file: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity: ``value`` in cores or bytes, ``text`` as it is written."""

    value: float
    text: str
    place: Place = Place()


@dataclass(frozen=True, slots=True)
class Resources:
    """None: not set. ``unreadable`` names those that are set and are no quantity."""

    cpu_limit: Amount | None = None
    cpu_request: Amount | None = None
    memory_limit: Amount | None = None
    memory_request: Amount | None = None
    unreadable: tuple[tuple[str, str, Place], ...] = ()

    @property
    def unknown(self) -> frozenset[str]:
        return frozenset(name for name, _, _ in self.unreadable)


@dataclass(frozen=True, slots=True)
class Variable:
    """``value``: its text, None if that follows from ``resource`` or is not known (``unknown`` says
    why).

    ``resource``: of the downward API (``limits.cpu``), with its ``divisor`` and the ``resources``
    that it reads. ``missing``: the container that it names and that the pod does not have.
    """

    name: str
    value: str | None
    place: Place = Place()
    resource: str = ""
    divisor: Amount | None = None
    resources: Resources = Resources()
    missing: str = ""
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """``variables``: as Kubernetes merges them, so each name once. ``repeated``: those that a later
    one replaces. ``hidden``: sources of variables that could not be seen.

    ``pod_cpu_limit``: of the pod as a whole. ``command``: what it starts instead of the image's
    entry point. ``min_injected``: CRI-O's min_injected_gomaxprocs, None where nothing is injected.
    ``skips_injection``: the pod has the annotation that CRI-O knows.
    """

    name: str = ""
    image: str = ""
    kind: str = "container"
    namespace: str = ""
    workload: Workload | None = None
    place: Place = Place()
    resources: Resources = Resources()
    pod_cpu_limit: Amount | None = None
    variables: tuple[Variable, ...] = ()
    repeated: tuple[Variable, ...] = ()
    hidden: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    view: CgroupView = VIEWS["v2"]
    min_injected: int | None = None
    skips_injection: bool = False

    def variable(self, name: str) -> Variable | None:
        return next((each for each in self.variables if each.name == name), None)

    @property
    def cpu_limit(self) -> float | None:
        """The tightest limit, which the kernel enforces."""
        limits = [each.value for each in (self.resources.cpu_limit, self.pod_cpu_limit) if each]
        return min(limits, default=None)

    @property
    def own_cpu_limit(self) -> float | None:
        return self.resources.cpu_limit.value if self.resources.cpu_limit else None

    @property
    def cpu_request(self) -> float | None:
        """The API server takes the limit where there is no request."""
        found = self.resources.cpu_request or self.resources.cpu_limit
        return found.value if found else None

    @property
    def memory_limit(self) -> int | None:
        return int(self.resources.memory_limit.value) if self.resources.memory_limit else None
