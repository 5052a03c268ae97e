"""``python -m tests.release COMMAND``: the steps of a release (.github/workflows/release.yaml).

``check`` is `make release-check`: all of them, as far as this machine can, with no registry. A step
that is not possible here is named with the reason, and does not fail the others.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.release import chart, packages, versions
from tests.release.packages import ReleaseError, run
from tests.release.versions import ROOT


class NotHereError(Exception):
    """A step needs something that this machine does not have."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.release", description="Steps of a release.")
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="all steps, without a registry")
    checking.add_argument("--image", action="store_true", help="build the image and its SBOM, too")
    of_versions = commands.add_parser("versions", help="do all files name one version?")
    of_versions.add_argument("--tag", default="")
    commands.add_parser("notes", help="print the version's section of the changelog")
    of_packages = commands.add_parser("packages", help="build sdist and wheel, and run them")
    of_packages.add_argument("folder", type=Path)
    of_chart = commands.add_parser("chart", help="package the chart")
    of_chart.add_argument("folder", type=Path)
    of_chart.add_argument("--registry", default="")
    of_chart.add_argument("--image", default="", metavar="REPOSITORY@DIGEST")
    of_chart.add_argument("--collector-image", default="", metavar="REPOSITORY@DIGEST")
    options = parser.parse_args()
    try:
        return do(options)
    except (ReleaseError, NotHereError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 2


def do(options: argparse.Namespace) -> int:
    if options.command == "check":
        return check(with_image=options.image)
    if options.command == "notes":
        print(versions.notes())
    elif options.command == "versions":
        require_versions(options.tag)
    elif options.command == "packages":
        for path in packages.build(options.folder):
            print(path)
    else:
        images = (options.image, options.collector_image)
        print(chart.package(helm(), options.folder, options.registry, images))
    return 0


def check(*, with_image: bool) -> int:
    folder = ROOT / "build" / "release"
    shutil.rmtree(folder, ignore_errors=True)
    digest = "sha256:" + "0" * 64
    steps: dict[str, Callable[[], object]] = {
        "one version everywhere": lambda: require_versions(""),
        "workflows (actionlint)": lambda: run("./setup", "actionlint", at=ROOT),
        "sdist and wheel, installed and run": lambda: packages.build(folder),
        "chart, with images by digest": lambda: chart.package(
            helm(), folder, "ghcr.io", (f"owner/gotax@{digest}", f"owner/gotax-collector@{digest}")
        ),
        "image and its SBOM": lambda: image(with_image),
    }
    failed = 0
    for name, step in steps.items():
        try:
            step()
        except NotHereError as reason:
            print(f"- {name}: left out: {reason}", flush=True)
        except ReleaseError as error:
            failed += 1
            print(f"✗ {name}: {error}", flush=True)
        else:
            print(f"✓ {name}", flush=True)
    for path in sorted(folder.glob("*")):
        print(f"  {path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    return 1 if failed else 0


def require_versions(tag: str) -> None:
    wrong = versions.disagreements(tag)
    if wrong:
        raise ReleaseError("; ".join(wrong))


def helm() -> str:
    """That of PATH, or the one that `make e2e` has built."""
    if found := shutil.which("helm"):
        return found
    from tests.e2e.cluster.programs import HELM, cache

    built = cache() / f"helm-{HELM}"
    if not built.exists():
        raise NotHereError("no helm on PATH, and `make e2e` has not built one yet")
    return str(built)


def image(is_wanted: bool) -> None:
    if not is_wanted:
        raise NotHereError("it takes minutes: make release-check IMAGE=1, or make e2e")
    if not shutil.which("buildah"):
        raise NotHereError("no buildah: ./setup e2e installs it")
    run("make", "sbom", at=ROOT)


if __name__ == "__main__":
    sys.exit(main())
