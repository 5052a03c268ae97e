"""What ``gotax lint`` answers: the contradictions in manifests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gotax.errors import ParseError
from gotax.golang.startup import Facts, minor_version
from gotax.preflight.forecast import USUAL_CPUS, Program, forecast
from gotax.preflight.inspecting import findings_of, is_same_image
from gotax.preflight.lintrules import find_in, is_of_go
from gotax.preflight.located import Located
from gotax.preflight.manifest import Source, find_config_maps, find_containers, parse_manifests
from gotax.preflight.spec import ContainerSpec
from gotax.preflight.yamltree import Node


@dataclass(frozen=True, slots=True)
class Unparsed:
    file: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Linted:
    """``containers``: those that were looked at, because they are of Go."""

    files: int
    containers: int
    findings: tuple[Located, ...]
    unparsed: tuple[Unparsed, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A program that runs in the containers of a name: of an image, or of the container."""

    name: str
    program: Program

    def is_in(self, spec: ContainerSpec) -> bool:
        return self.name in ("*", spec.name) or is_same_image(spec.image, self.name)


def lint(
    sources: Sequence[Source],
    known: Sequence[Known],
    adapt: Callable[[ContainerSpec], ContainerSpec],
) -> Linted:
    """``adapt``: what flags say about all containers."""
    parsed: list[tuple[Source, tuple[Node, ...]]] = []
    unparsed = []
    for source in sources:
        try:
            parsed.append((source, parse_manifests(source)))
        except ParseError as error:
            text = str(error).partition(": ")[2]
            if b"{{" in source.data:
                text += " (a template? run `helm template` first)"
            unparsed.append(Unparsed(source.name, error.reason, text))
    maps = find_config_maps(tuple(each for _, objects in parsed for each in objects))
    findings: list[Located] = []
    containers = 0
    for source, objects in parsed:
        for spec in find_containers(objects, source.name, maps):
            found = _of_container(adapt(spec), known)
            containers += found is not None
            findings += found or ()
    return Linted(len(sources), containers, tuple(findings), tuple(unparsed))


def read_specs(source: Source) -> tuple[ContainerSpec, ...]:
    """Raises ParseError."""
    objects = parse_manifests(source)
    return tuple(find_containers(objects, source.name, find_config_maps(objects)))


def _of_container(spec: ContainerSpec, known: Sequence[Known]) -> tuple[Located, ...] | None:
    """None if it is not of Go, as far as one can tell."""
    one = next((each for each in known if each.is_in(spec)), None)
    if one is None:
        return find_in(spec, None) if is_of_go(spec) else None
    minor = minor_version(Facts(one.program.build, 1, code=one.program.code))
    if spec.variable("GOMAXPROCS") is not None:
        return find_in(spec, minor)
    found = findings_of(forecast(one.program, spec, USUAL_CPUS))
    return tuple(sorted(found, key=lambda each: each.place.line or 0))
