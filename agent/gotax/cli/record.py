"""``gotax record``: writes a profile to a file."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from gotax.cli import once
from gotax.cli.command import add_command
from gotax.cli.options import add_sampling, plan_of
from gotax.cli.output import EXIT_FINE
from gotax.config import Detail
from gotax.errors import UserError

_ENDINGS = {
    "pprof": (".pb.gz", ".pprof", ".prof"),
    "folded": (".folded", ".txt"),
    "json": (".json",),
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
    from gotax.exporters import folded, pprof, record

    output: str = options.output
    form = options.format or _format_of(output)
    _require_writable(output)
    detail = Detail(functions=100, native_frames=True, kernel_frames=True, lines=True)
    window = once.sample_once(plan_of(options, detail), options.duration)
    if form == "pprof":
        data = pprof.profile_bytes(window)
    elif form == "folded":
        data = "".join(line + "\n" for line in folded.folded_lines(window)).encode()
    else:
        data = json.dumps(record.record_document(window)).encode() + b"\n"
    if output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return EXIT_FINE
    try:
        Path(output).write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from error
    lost = sum(window.samples.lost.values())
    print(
        f"{output}: {form}, {window.samples.attributed} samples"
        f" ({window.cpu_s(window.samples.attributed):.2f} CPU seconds)"
        f" in {window.duration_s:.1f} s, {lost} lost",
        file=sys.stderr,
    )
    return EXIT_FINE


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


def _require_writable(output: str) -> None:
    """Checks the output file before sampling, not after."""
    if output == "-":
        return
    folder = Path(output).absolute().parent
    if Path(output).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"cannot write {output}: its folder has to exist and be writable")
