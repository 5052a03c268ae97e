"""The containers of Kubernetes manifests: their variables, limits and requests, with lines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gotax.kubernetes.quantities import parse_quantity
from gotax.preflight.spec import Amount, ContainerSpec, Place, Resources, Variable
from gotax.preflight.yamltree import Node, parse_documents
from gotax.process import Workload

_MAX_DEPTH = 8  # of lists in lists
_MAX_CONTAINERS = 1024  # of one pod
_MAX_VARIABLES = 10_000  # of one container
_MAX_VALUE_CHARS = 4096
_PODS = (
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
    ("template", "spec"),
    ("spec",),
)
"""Where a pod is in workloads (also of kinds that are not Kubernetes' own), cron jobs, templates
of pods, and pods."""
_SKIPS_INJECTION = ("metadata", "annotations", "skip-gomaxprocs.crio.io")
_REFERENCE = re.compile(r"\$(?:\$|\(([A-Za-z_.][A-Za-z0-9_.-]*)\))")


@dataclass(frozen=True, slots=True)
class Source:
    """A text of manifests and the name of its file."""

    name: str
    data: bytes


def parse_manifests(source: Source) -> tuple[Node, ...]:
    """All objects, those of lists too. Raises ParseError."""
    return tuple(
        each for root in parse_documents(source.data) for each in _objects(root, _MAX_DEPTH)
    )


def _objects(node: Node, depth: int) -> Iterator[Node]:
    """An object, or the items of a list of them."""
    items = node.items if node.kind == "sequence" else None
    if items is None and node.string("kind").endswith("List"):
        items = node.sequence("items")
    if items is None:
        if node.kind == "mapping":
            yield node
        return
    if depth > 0:
        for item in items:
            yield from _objects(item, depth - 1)


Maps = dict[tuple[str, str], dict[str, str]]
"""The data of ConfigMaps, by namespace and name."""


def find_config_maps(objects: tuple[Node, ...]) -> Maps:
    found: Maps = {}
    for each in objects:
        if each.string("kind") == "ConfigMap":
            data = each.get("data")
            pairs = data.pairs if data is not None else {}
            key = (each.string("metadata", "namespace"), each.string("metadata", "name"))
            found[key] = {name: node.text for name, node in pairs.items()}
    return found


def find_containers(objects: tuple[Node, ...], file: str, maps: Maps) -> Iterator[ContainerSpec]:
    for each in objects:
        pod, template = _pod_of(each)
        if pod is None:
            continue
        namespace = each.string("metadata", "namespace")
        workload = Workload(each.string("kind") or "Pod", each.string("metadata", "name") or "NAME")
        reader = _PodReader(pod, file, namespace, maps)
        skips = template is not None and template.string(*_SKIPS_INJECTION) == "true"
        for spec in reader.containers():
            yield replace(spec, workload=workload, namespace=namespace, skips_injection=skips)


def _pod_of(node: Node) -> tuple[Node | None, Node | None]:
    """The pod's spec, and what has it with the pod's metadata."""
    for path in _PODS:
        pod = node.get(*path)
        if pod is not None and (pod.sequence("containers") or pod.sequence("initContainers")):
            return pod, node.get(*path[:-1])
    return None, None


class _PodReader:
    def __init__(self, pod: Node, file: str, namespace: str, maps: Maps) -> None:
        self._pod, self._file, self._namespace, self._maps = pod, file, namespace, maps
        self._resources = {
            node.string("name"): self._resources_of(node.get("resources"))
            for node, _ in self._nodes()
        }

    def _nodes(self) -> Iterator[tuple[Node, str]]:
        for section, kind in (("initContainers", "init"), ("containers", "container")):
            for node in self._pod.sequence(section)[:_MAX_CONTAINERS]:
                is_sidecar = kind == "init" and node.string("restartPolicy") == "Always"
                yield node, "sidecar" if is_sidecar else kind

    def containers(self) -> Iterator[ContainerSpec]:
        whole = self._resources_of(self._pod.get("resources"))
        for node, kind in self._nodes():
            variables, repeated, hidden = self._variables(node)
            yield ContainerSpec(
                name=node.string("name") or "CONTAINER",
                image=node.string("image"),
                kind=kind,
                place=self._place(node),
                resources=self._resources[node.string("name")],
                pod_cpu_limit=whole.cpu_limit,
                variables=variables,
                repeated=repeated,
                hidden=hidden,
                command=tuple(each.text for each in node.sequence("command")),
                arguments=tuple(each.text for each in node.sequence("args")),
            )

    def _place(self, node: Node) -> Place:
        return Place(self._file, node.line)

    def _resources_of(self, node: Node | None) -> Resources:
        found: dict[str, Amount | None] = {}
        unreadable = []
        for what in ("cpu", "memory"):
            for section, word in (("limits", "limit"), ("requests", "request")):
                value = node.get(section, what) if node is not None else None
                amount = self._amount(value) if value is not None else None
                if value is not None and amount is None:
                    unreadable.append((f"{what} {word}", value.text[:100], self._place(value)))
                found[f"{what}_{word}"] = amount if amount and amount.value > 0 else None
        return Resources(**found, unreadable=tuple(unreadable))

    def _amount(self, node: Node) -> Amount | None:
        text = node.text if node.kind == "scalar" else ""
        value = parse_quantity(text[:64])
        if value is None or not math.isfinite(float(value)):
            return None
        return Amount(float(value), text[:64], self._place(node))

    def _variables(
        self, node: Node
    ) -> tuple[tuple[Variable, ...], tuple[Variable, ...], tuple[str, ...]]:
        """As kubelet's makeEnvironmentVariables merges them: env after envFrom, later ones win."""
        found: dict[str, Variable] = {}
        repeated, hidden = [], []
        for each in node.sequence("envFrom")[:_MAX_CONTAINERS]:
            name = each.string("configMapRef", "name")
            data = self._maps.get((self._namespace, name)) if name else None
            if data is None:
                hidden.append(f"ConfigMap {name}" if name else "a Secret")
                continue
            for key, value in data.items():
                key = each.string("prefix") + key
                found[key] = Variable(key, value[:_MAX_VALUE_CHARS], self._place(each))
        own = set()
        for each in node.sequence("env")[:_MAX_VARIABLES]:
            variable = self._variable(each, found, node.string("name"))
            if variable.name in own:
                repeated.append(found[variable.name])
            own.add(variable.name)
            found[variable.name] = variable
        return tuple(found.values()), tuple(repeated), tuple(hidden)

    def _variable(self, node: Node, before: dict[str, Variable], own: str) -> Variable:
        name, value = node.string("name"), node.get("value")
        place = self._place(node)
        source = node.get("valueFrom")
        if source is None:
            text = value.text[:_MAX_VALUE_CHARS] if value is not None else ""
            where = self._place(value) if value is not None else place
            return _expanded(Variable(name, text, where), before)
        field = source.get("resourceFieldRef")
        if field is not None:
            return self._of_resource(name, field, self._place(field.get("resource") or node), own)
        key = source.get("configMapKeyRef")
        if key is not None:
            data = self._maps.get((self._namespace, key.string("name")), {})
            if key.string("key") in data:
                return Variable(name, data[key.string("key")][:_MAX_VALUE_CHARS], place)
            why = f"{key.string('key')} of ConfigMap {key.string('name')}, which is not given"
            return Variable(name, None, place, unknown=why)
        kind = next(iter(source.pairs), "valueFrom")
        return Variable(name, None, place, unknown=f"it comes from {kind}")

    def _of_resource(self, name: str, field: Node, place: Place, own: str) -> Variable:
        container = field.string("containerName")
        resource = field.string("resource")
        owner = container or own
        divisor = field.get("divisor")
        amount = self._amount(divisor) if divisor is not None else None
        if amount is not None and amount.value == 0:
            amount = None  # as if it were not set
        known = owner in self._resources
        return Variable(
            name,
            None,
            place,
            resource=resource,
            divisor=amount,
            resources=self._resources.get(owner, Resources()),
            missing="" if known else container,
            unknown="" if known else f"the pod has no container {container}",
        )


def _expanded(variable: Variable, before: dict[str, Variable]) -> Variable:
    """With $(NAME) replaced by the values of earlier variables, as the kubelet does."""
    text = variable.value or ""
    if "$" not in text:
        return variable
    whole = _REFERENCE.fullmatch(text)
    if whole is not None and whole[1] in before:
        return replace(before[whole[1]], name=variable.name, place=variable.place)
    unknown = []

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        found = before.get(match[1])
        if found is None:
            return match[0]
        if found.value is None:
            unknown.append(match[1])
        return found.value or ""

    text = _REFERENCE.sub(value, text)[:_MAX_VALUE_CHARS]
    if unknown:
        return replace(variable, value=None, unknown=f"it refers to {unknown[0]}")
    return replace(variable, value=text)
