"""``gotax record``: writes a profile to a file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gotax.cli import once, progress
from gotax.cli.command import add_command
from gotax.cli.options import WITH_FRAMES, add_sampling, plan_of
from gotax.cli.output import EXIT_FINE, require_writable, write_file
from gotax.errors import UserError

if TYPE_CHECKING:
    from gotax.window import Window

_ENDINGS = {
    "pprof": (".pb.gz", ".pprof", ".prof"),
    "folded": (".folded", ".txt"),
    "speedscope": (".speedscope.json",),
    "json": (".json",),
    "svg": (".svg",),
    "html": (".html", ".htm"),
}
_KNOWN = "; ".join(f"{form} for {' or '.join(endings)}" for form, endings in _ENDINGS.items())


def add(commands: Any) -> None:
    record = add_command(commands, "record", run, "write a profile to a file")
    add_sampling(record, seconds=30.0)
    record.add_argument(
        "-o", "--output", required=True, help="output file, or - for standard output"
    )
    record.add_argument(
        "-f",
        "--format",
        choices=tuple(_ENDINGS),
        help=f"output format; by default from the file's ending ({_KNOWN}), or pprof without one",
    )


def run(options: argparse.Namespace) -> int:
    output: str = options.output
    form = options.format or _format_of(output)
    require_writable(output)
    window = once.sample_once(plan_of(options, WITH_FRAMES), options.duration)
    with progress.doing(f"writing {form}"):
        data = _encoded(window, form)
    if output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return EXIT_FINE
    write_file(output, data)
    lost = sum(window.samples.lost.values())
    print(
        f"{output}: {form}, {window.samples.attributed} samples"
        f" ({window.cpu_s(window.samples.attributed):.2f} CPU seconds)"
        f" in {window.duration_s:.1f} s, {lost} lost",
        file=sys.stderr,
    )
    return EXIT_FINE


def _encoded(window: Window, form: str) -> bytes:
    """Loads only what this format needs."""
    if form == "pprof":
        from gotax.exporters.pprof import profile_bytes

        return profile_bytes(window)
    if form == "folded":
        from gotax.exporters.folded import folded_lines

        return "".join(line + "\n" for line in folded_lines(window)).encode()
    if form == "speedscope":
        from gotax.exporters.speedscope import speedscope_document

        return json.dumps(speedscope_document(window)).encode() + b"\n"
    if form == "svg":
        from gotax.exporters.calls import call_document
        from gotax.exporters.svg import svg

        return svg(call_document(window)).encode()
    if form == "html":
        from gotax.exporters.html import html_page

        return html_page(window).encode()
    from gotax.exporters.record import record_document

    return json.dumps(record_document(window)).encode() + b"\n"


def _format_of(output: str) -> str:
    """The format for the ending of the file name. Raises UserError for an unknown ending."""
    name = Path(output).name.lower()
    for form, endings in _ENDINGS.items():
        if name.endswith(endings):
            return form
    if ending := Path(name).suffix:
        raise UserError(
            f"unknown ending {ending} of {output}: use {_KNOWN}; or choose with --format"
        )
    return "pprof"
