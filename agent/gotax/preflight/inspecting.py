"""What ``gotax inspect`` answers: forecasts and findings for the Go programs of a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gotax.errors import UserError
from gotax.linux.elf import FileReader
from gotax.preflight.forecast import Forecast, Program, forecast
from gotax.preflight.image import Image, is_tar, read_images
from gotax.preflight.layers import Unreadable
from gotax.preflight.lintcodes import ABOVE_LIMIT, BELOW_LIMIT, FRACTIONAL, SLIGHTLY_ABOVE
from gotax.preflight.lintrules import find_in
from gotax.preflight.located import Located, name_of
from gotax.preflight.reading import ELF_MAGIC, read_program
from gotax.preflight.spec import ContainerSpec, Place, Variable
from gotax.preflight.static import find_static

_SAID_BY_GT = frozenset({ABOVE_LIMIT, BELOW_LIMIT, FRACTIONAL, SLIGHTLY_ABOVE})
"""What find_static says as well, with the codes of check."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """One program in one container. ``is_judged``: its findings count; others are only listed."""

    image: str
    is_entry: bool
    is_judged: bool
    forecast: Forecast
    findings: tuple[Located, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    source: str
    programs: tuple[Inspected, ...]
    unreadable: tuple[Unreadable, ...]
    entry_is_unreadable: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """``specs``: the containers of a manifest, or one made of the flags."""

    specs: tuple[ContainerSpec, ...]
    cpus: tuple[int, ...]
    judges_all: bool = False


@dataclass(frozen=True, slots=True)
class Contents:
    """Of a file: ``images`` is empty for a single binary."""

    program: Program | None = None
    images: tuple[Image, ...] = ()

    @property
    def programs(self) -> tuple[Program, ...]:
        if self.program is not None:
            return (self.program,)
        return tuple(program for image in self.images for program in image.programs)


def read_contents(reader: FileReader, path: str) -> Contents:
    """Raises ReadError for what cannot be read, and UserError for what is neither."""
    if reader.read(0, min(4, reader.size)) == ELF_MAGIC:
        program = read_program(reader, path)
        if program is None:
            raise UserError(f"{path} is not a Go program")
        return Contents(program)
    if not is_tar(reader):
        raise UserError(f"{path} is neither a Go program nor an image in a tar")
    return Contents(images=read_images(reader))


def inspect_contents(contents: Contents, source: str, plan: Plan) -> Inspection:
    if contents.program is not None:
        found = tuple(_inspected(contents.program, spec, plan) for spec in plan.specs)
        return Inspection(source, found, ())
    inspected: list[Inspected] = []
    unreadable: list[Unreadable] = []
    broken_entry = False
    for image in contents.images:
        unreadable += image.unreadable
        for spec in _specs_of(image, plan.specs):
            entry = image.started_by(spec.command, spec.arguments)
            broken_entry |= any(entry == each.path for each in image.unreadable)
            is_known = any(entry == program.path for program in image.programs)
            merged = replace(spec, variables=_merged(image.environment, spec.variables))
            for program in image.programs:
                is_entry = program.path == entry
                judged = is_entry or not is_known or plan.judges_all
                one = _inspected(program, merged, plan)
                findings = one.findings if judged else ()
                inspected.append(
                    replace(
                        one,
                        image=image.name,
                        is_entry=is_entry,
                        is_judged=judged,
                        findings=findings,
                    )
                )
    inspected.sort(key=lambda each: not each.is_entry)
    return Inspection(source, tuple(inspected), tuple(unreadable), broken_entry)


def _inspected(program: Program, spec: ContainerSpec, plan: Plan) -> Inspected:
    found = forecast(program, spec, plan.cpus)
    return Inspected("", True, True, found, findings_of(found))


def findings_of(found: Forecast) -> tuple[Located, ...]:
    """With the codes of check, and what contradicts itself in the variables."""
    spec = found.spec
    limit = spec.resources.cpu_limit
    variable = spec.variable("GOMAXPROCS")
    place = variable.place if variable is not None and variable.place.file else spec.place
    if variable is None and limit is not None and limit.place.file:
        place = limit.place
    static = [Located(each, place, name_of(spec)) for each in find_static(found)]
    minor = found.minor
    own = [each for each in find_in(spec, minor) if each.finding.code not in _SAID_BY_GT]
    return (*static, *own)


def _merged(image: Sequence[tuple[str, str]], own: Sequence[Variable]) -> tuple[Variable, ...]:
    """The variables of an image, which those of the container replace."""
    merged = {name: Variable(name, value, Place("the image")) for name, value in image}
    merged |= {each.name: each for each in own}
    return tuple(merged.values())


def _specs_of(image: Image, specs: tuple[ContainerSpec, ...]) -> tuple[ContainerSpec, ...]:
    """Those that run this image, or the only one."""
    if len(specs) == 1:
        return specs
    found = tuple(spec for spec in specs if is_same_image(spec.image, image.name))
    if not found:
        names = ", ".join(sorted(name_of(spec) for spec in specs)[:20])
        raise UserError(
            f"no container of the manifest has the image {image.name or 'of this tar'}: choose one"
            f" with --container: {names}"
        )
    return found


def is_same_image(one: str, other: str) -> bool:
    """Equal, or equal without registry, tag and digest where one of them does not have these."""
    if not one or not other:
        return False
    if one == other:
        return True
    (name, tag), (second, other_tag) = _split(one), _split(other)
    if tag and other_tag and tag != other_tag:
        return False
    return name == second or name.endswith(f"/{second}") or second.endswith(f"/{name}")


def _split(image: str) -> tuple[str, str]:
    """("registry:5000/team/web", "1.2"); a digest counts as no tag."""
    name = image.partition("@")[0].partition(" ")[0]
    head, slash, last = name.rpartition("/")
    base, _, tag = last.partition(":")
    return f"{head}{slash}{base}", tag
