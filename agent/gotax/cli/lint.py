"""``gotax lint``: contradictions in manifests."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gotax.cli.command import add_command
from gotax.cli.output import EXIT_FAILED, style_of
from gotax.cli.preflight import (
    add_injection,
    add_output,
    is_wanted,
    read_source,
    require_file,
    show,
    with_injection,
)
from gotax.errors import ReadError, UserError

if TYPE_CHECKING:
    from gotax.preflight.linting import Known

_ENDINGS = (".yaml", ".yml", ".json")
_MAX_FILES = 20_000
_MAX_INSPECTION_BYTES = 64 << 20


def add(commands: Any) -> None:
    lint = add_command(
        commands, "lint", run, "find contradictions in the manifests of Go containers"
    )
    lint.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="manifest, folder of them, or - for standard input (helm template, kubectl kustomize)",
    )
    lint.add_argument(
        "--image-info",
        type=info,
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="the Go program of an image or container: the JSON of `gotax inspect`, a binary or an"
        " image in a tar (repeatable)",
    )
    add_injection(lint)
    add_output(lint)


def info(text: str) -> tuple[str, str]:
    name, equals, path = text.rpartition("=")
    if not name or not equals or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    return name, path


def run(options: argparse.Namespace) -> int:
    from gotax.preflight.document import lint_document
    from gotax.preflight.linting import lint
    from gotax.preflight.rendering import render_lint

    known = [each for name, path in options.image_info for each in _known(name, path)]
    sources = [read_source(path) for path in _files(options.paths)]
    found = lint(sources, known, lambda spec: with_injection(spec, options))
    found = replace(found, findings=tuple(filter(is_wanted(options), found.findings)))
    code = show(
        options,
        found.findings,
        options.paths[0],
        (lambda: render_lint(found, style_of(sys.stdout)), lambda: lint_document(found)),
    )
    if options.format in ("github", "sarif"):
        for each in found.unparsed:
            print(f"gotax: cannot read {each.file}: {each.text}", file=sys.stderr)
    return EXIT_FAILED if found.unparsed else code


def _files(paths: list[str]) -> list[str]:
    found: list[str] = []
    for path in paths:
        if path != "-" and os.path.isdir(path):
            found += _in_folder(path)
        else:
            found.append(path)
        if len(found) > _MAX_FILES:
            raise UserError(f"over {_MAX_FILES} files: name a smaller folder")
    if not found:
        raise UserError(f"there is no {' or '.join(_ENDINGS)} in {paths[0]}")
    return found


def _in_folder(folder: str) -> Iterator[str]:
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(where, name)
            if name.endswith(_ENDINGS) and os.path.isfile(path):
                yield path


def _known(name: str, path: str) -> list[Known]:
    """What the file says about the program of the containers of this name."""
    from gotax.preflight.document import parse_inspection
    from gotax.preflight.image import open_file
    from gotax.preflight.inspecting import read_contents
    from gotax.preflight.linting import Known

    require_file(path)
    try:
        with open_file(path) as reader:
            if reader.read(0, min(1, reader.size)) == b"{":
                programs = parse_inspection(_json(path))
            else:
                contents = read_contents(reader, path)
                entries = {image.entry for image in contents.images}
                programs = contents.programs
                programs = tuple(p for p in programs if p.path in entries) or programs
    except ReadError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if not programs:
        raise UserError(f"there is no Go program in {path}")
    if len({program.path for program in programs}) > 1:
        raise UserError(f"{path} has several Go programs, and none is the entry point")
    return [Known(name, programs[0])]


def _json(path: str) -> Any:
    import json

    if os.path.getsize(path) > _MAX_INSPECTION_BYTES:
        raise UserError(f"{path} is too large for a document of `gotax inspect`")
    with open(path, "rb") as file:
        try:
            return json.load(file)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is no JSON: {error}") from error
