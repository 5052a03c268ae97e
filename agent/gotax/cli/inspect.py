"""``gotax inspect``: which GOMAXPROCS a program will get, before it runs."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gotax.cli import arguments
from gotax.cli.command import add_command
from gotax.cli.output import EXIT_FAILED, style_of
from gotax.cli.preflight import (
    add_injection,
    add_output,
    is_wanted,
    quantity,
    read_source,
    require_file,
    show,
    with_injection,
)
from gotax.errors import ReadError, UserError

if TYPE_CHECKING:
    from gotax.preflight.spec import ContainerSpec

_LAYOUTS = ("v2", "v1", "v2-host", "v1-host")


def add(commands: Any) -> None:
    inspect = add_command(
        commands, "inspect", run, "predict GOMAXPROCS and GOMEMLIMIT of a Go binary or image"
    )
    inspect.add_argument(
        "file", help="Go binary, or image in a tar (docker save, OCI layout; gzip, zstd)"
    )
    setting = inspect.add_argument_group("the container")
    setting.add_argument("--limit", type=quantity, metavar="CPU", help="CPU limit: 2, 500m")
    setting.add_argument("--request", type=quantity, metavar="CPU", help="CPU request")
    setting.add_argument("--memory", type=quantity, metavar="BYTES", help="memory limit: 1Gi")
    setting.add_argument(
        "--env",
        type=variable,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable of its environment (repeatable)",
    )
    setting.add_argument(
        "--manifest", metavar="FILE", help="take all of this from a Kubernetes manifest; - is stdin"
    )
    setting.add_argument(
        "--container", metavar="NAME", help="the container of the manifest, if it has several"
    )
    node = inspect.add_argument_group("the node")
    node.add_argument(
        "--cpus",
        type=cpus,
        metavar="N,...",
        help="CPUs of the nodes (default: 4,16,64,192)",
    )
    node.add_argument(
        "--cgroup",
        choices=_LAYOUTS,
        default="v2",
        help="cgroup version; -host: a program outside containers",
    )
    add_injection(node)
    inspect.add_argument(
        "--all",
        action="store_true",
        dest="judges_all",
        help="findings also for programs of the image that are not its entry point",
    )
    add_output(inspect)


def variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def cpus(text: str) -> tuple[int, ...]:
    counts = {arguments.number(t, int, 1, 65536, "a number of CPUs") for t in text.split(",")[:64]}
    return tuple(sorted(counts))


def run(options: argparse.Namespace) -> int:
    from gotax.preflight import inspecting
    from gotax.preflight.document import inspect_document
    from gotax.preflight.forecast import USUAL_CPUS
    from gotax.preflight.image import open_file
    from gotax.preflight.rendering import render_inspection

    specs = _specs(options)
    plan = inspecting.Plan(specs, options.cpus or USUAL_CPUS, options.judges_all)
    require_file(options.file)
    try:
        with open_file(options.file) as reader:
            contents = inspecting.read_contents(reader, options.file)
            found = inspecting.inspect_contents(contents, options.file, plan)
    except ReadError as error:
        raise UserError(f"cannot read {options.file}: {error}") from error
    wanted = is_wanted(options)
    found = replace(
        found,
        programs=tuple(
            replace(each, findings=tuple(filter(wanted, each.findings))) for each in found.programs
        ),
    )
    if not found.programs and not found.unreadable:
        raise UserError(f"there is no Go program in {options.file}")
    findings = [finding for each in found.programs for finding in each.findings]
    code = show(
        options,
        findings,
        options.file,
        (
            lambda: render_inspection(found, style_of(sys.stdout)),
            lambda: inspect_document(found),
        ),
    )
    return EXIT_FAILED if found.entry_is_unreadable or not found.programs else code


def _specs(options: argparse.Namespace) -> tuple[ContainerSpec, ...]:
    """Of the manifest, with what flags say instead."""
    from gotax.preflight.linting import read_specs
    from gotax.preflight.located import name_of
    from gotax.preflight.spec import VIEWS, ContainerSpec

    specs: tuple[ContainerSpec, ...] = (ContainerSpec(),)
    if options.manifest is not None:
        try:
            specs = read_specs(read_source(options.manifest))
        except ReadError as error:
            raise UserError(f"cannot read {options.manifest}: {error}") from error
        if not specs:
            raise UserError(f"there is no container in {options.manifest}")
    if options.container is not None:
        named = tuple(spec for spec in specs if options.container in (spec.name, name_of(spec)))
        if not named:
            known = ", ".join(name_of(spec) for spec in specs if spec.name) or "none"
            raise UserError(f"no container is called {options.container!r}: there is {known}")
        specs = named
    if len(specs) > 1 and options.manifest is not None and not _is_image(options.file):
        known = ", ".join(name_of(spec) for spec in specs[:20])
        raise UserError(
            f"the manifest has several containers: choose one with --container: {known}"
        )
    view = VIEWS[options.cgroup]
    seen = (replace(spec, view=view) for spec in specs)
    return tuple(with_injection(_with_flags(spec, options), options) for spec in seen)


def _is_image(path: str) -> bool:
    from gotax.preflight.image import is_tar, open_file

    require_file(path)
    try:
        with open_file(path) as reader:
            return is_tar(reader)
    except ReadError as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _with_flags(spec: ContainerSpec, options: argparse.Namespace) -> ContainerSpec:
    from gotax.preflight.spec import Variable

    resources = spec.resources
    given = {
        "cpu_limit": options.limit,
        "cpu_request": options.request,
        "memory_limit": options.memory,
    }
    resources = replace(resources, **{k: v for k, v in given.items() if v is not None})
    variables = {each.name: each for each in spec.variables}
    variables |= {name: Variable(name, value) for name, value in options.env}
    return replace(spec, resources=resources, variables=tuple(variables.values()))
