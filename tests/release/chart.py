"""The chart as a file, with the images of a release by their digests."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from tests.release.packages import ReleaseError, run
from tests.release.versions import CHART, ROOT

_IMAGE = re.compile(r"(?P<repository>[a-z0-9][a-z0-9._/-]*)@(?P<digest>sha256:[0-9a-f]{64})")


def package(helm: str, target: Path, registry: str, images: tuple[str, str]) -> Path:
    """``images``: of the agent and of the collector, REPOSITORY@DIGEST; "" leaves the defaults."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder) / "gotax"
        shutil.copytree(CHART, chart)
        values = chart / "values.yaml"
        values.write_text(filled(values.read_text(), registry, images))
        run(helm, "lint", "--strict", "--kube-version=v1.34.0", str(chart), at=ROOT)
        said = run(helm, "package", str(chart), "--destination", str(target), at=ROOT)
    return Path(said.rpartition(": ")[2].strip())


def filled(values: str, registry: str, images: tuple[str, str]) -> str:
    """The text of values.yaml with these images, and with all of its comments."""
    for indent, image in zip(("", "  "), images, strict=True):
        if not image:
            continue
        match = _IMAGE.fullmatch(image)
        if match is None:
            raise ReleaseError(f"{image} is not REPOSITORY@sha256:DIGEST, in small letters")
        new = {"registry": registry, **match.groupdict()}
        # The first block has no indentation, that of the collector has two blanks.
        block = re.search(rf"^{indent}image:\n((?:{indent}  .*\n)+)", values, re.MULTILINE)
        assert block is not None
        text = block[1]
        for name, value in new.items():
            text, count = re.subn(
                rf"^({indent}  {name}: ).*$", rf'\g<1>"{value}"', text, flags=re.MULTILINE
            )
            assert count == 1, name
        values = values[: block.start(1)] + text + values[block.end(1) :]
    return values
