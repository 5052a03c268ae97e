"""Images without a registry: the base consists of Debian's packages, buildah builds.

Images, including the layers of earlier builds, are kept in the cache beside the programs.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from tests.e2e.cluster.programs import cache, say

REPOSITORY = "docker.io/library/gotax"  # the chart's name "gotax"
_ROOT = Path(__file__).resolve().parents[3]
_HOST = "/mnt"  # where a build finds files of this host
_PIP_SETTINGS = (
    *("index-url", "extra-index-url", "trusted-host"),
    *("proxy", "timeout", "default-timeout", "retries"),
)
_STATIC = 'FROM scratch\nCOPY program /program\nENTRYPOINT ["/program"]\n'
_BASE = (
    *("mmdebstrap", "--mode=root", "--variant=minbase"),
    # Not the package that merges /usr, which needs all of Perl, but the one that declares it
    # merged.
    *("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--include=usr-is-merged"),
    # The files that Debian's own slim images omit (debuerreotype's .slimify-excludes).
    *(
        f"--dpkgopt=path-exclude=/usr/share/{folder}/*"
        for folder in ("doc", "groff", "info", "linda", "lintian", "locale", "man")
    ),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)


class ImageError(Exception):
    """An image could not be built; the text has the builder's last lines."""


def build_gotax(version: str) -> Path:
    """The image of the Dockerfile as an archive; its name is that of the chart's values."""
    return _build_dockerfile(f"{REPOSITORY}:{version}")


def build_collector(version: str) -> Path:
    """The same with the packages of the collector, as in docs/image.md."""
    extras = "--build-arg=EXTRAS=kubernetes otlp collector"
    return _build_dockerfile(f"{REPOSITORY}-collector:{version}", extras)


def _build_dockerfile(name: str, *more: str) -> Path:
    dockerfile = (_ROOT / "Dockerfile").read_text()
    # The digest is of a registry's image, which the one made here is not.
    base = re.search(r"^ARG BASE=([^\s@]+)(?:@\S+)?$", dockerfile, re.M)
    if base is None:
        raise ImageError("the Dockerfile does not name its base in a line ARG BASE=")
    if not _id_of(base[1]):
        _make_base(base[1])
    options = (f"--build-arg=BASE={base[1]}", *_as_this_host_reaches_registries(), *more)
    return _build(name, dockerfile, _ROOT, *options)


def _as_this_host_reaches_registries() -> list[str]:
    """Options of a build: the certificates that this host trusts, and its settings of pip.

    Both lie where no package has a file. Over /etc/ssl/certs/ca-certificates.crt the package
    ca-certificates could not put its own.
    """
    folder = cache() / "build" / "host"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    listed = _run(sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check")
    certificates = trusted_certificates(listed, os.environ)
    if certificates is not None:
        shutil.copyfile(certificates, folder / "ca.crt")
    (folder / "pip.conf").write_text(pip_settings(listed, with_ca=certificates is not None))
    return [f"--volume={folder}:{_HOST}:ro", f"--volume={folder}/pip.conf:/etc/pip.conf:ro"]


def trusted_certificates(pip_config: str, environment: Mapping[str, str]) -> Path | None:
    """The bundle that this host's programs use; None for that of the image.

    ``pip_config`` is the output of ``pip config list``.
    """
    named = [value for key, value in _settings_of(pip_config) if key == "cert"]
    named += [environment.get(name, "") for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")]
    named.append("/etc/ssl/certs/ca-certificates.crt")
    return next((Path(n) for n in named if n and Path(n).is_file()), None)


def pip_settings(pip_config: str, *, with_ca: bool) -> str:
    """A pip.conf for the build, with the index and the trusted hosts of this host's pip.

    Paths of the host are invalid in the build, so settings with paths are omitted.
    """
    # The strongest comes last, and overrides the others.
    settings = {k: v for k, v in reversed(_settings_of(pip_config)) if k in _PIP_SETTINGS}
    if with_ca:
        settings["cert"] = f"{_HOST}/ca.crt"
    lines = [f"{key} = {value}".replace("\n", "\n    ") for key, value in settings.items()]
    return "\n".join(["[global]", *lines, ""])


def _settings_of(pip_config: str) -> list[tuple[str, str]]:
    """``global.timeout='60'`` and ``:env:.timeout='60'`` as ("timeout", "60"), strongest first."""
    found = re.findall(r"^(global|install|:env:)\.([\w-]+)=(.*)$", pip_config, re.M)
    order = (":env:", "install", "global")
    found.sort(key=lambda setting: order.index(setting[0]))
    return [(key, str(ast.literal_eval(value))) for _, key, value in found]


def build_static(name: str, program: Path) -> Path:
    """An image with only one static program."""
    context = cache() / "build" / "static"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir(parents=True)
    shutil.copy(program, context / "program")
    return _build(name, _STATIC, context)


def size_of(archive: Path) -> int:
    """The size of the unpacked image on a node: archives are not compressed."""
    return archive.stat().st_size


def _make_base(name: str) -> None:
    match = re.fullmatch(r"docker\.io/library/debian:(\w+)-slim", name)
    if match is None:
        raise ImageError(f"no way to make {name} without a registry: only debian:RELEASE-slim")
    say(f"making {name} of Debian's packages (once; a minute)")
    archive = cache() / "build" / "base.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    _run(*_BASE, match[1], str(archive))
    container = _buildah("from", "scratch")
    try:
        _buildah("add", "--quiet", container, str(archive), "/")
        _buildah("config", "--cmd", "/bin/bash", container)
        _buildah("commit", "--quiet", container, name)
    finally:
        _buildah("rm", container)
        archive.unlink()


def _build(name: str, dockerfile: str, context: Path, *options: str) -> Path:
    _buildah(
        *("build", "--layers", "--pull-never", "--isolation=chroot", "--format=docker"),
        *options,
        *("--tag", name, "--file", "-", str(context)),
        stdin=dockerfile,
    )
    archive = cache() / "images" / f"{hashlib.sha256(name.encode()).hexdigest()[:8]}-{_id_of(name)}"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        for old in archive.parent.glob(archive.name.partition("-")[0] + "-*"):
            old.unlink()
        made = archive.with_suffix(".new")
        made.unlink(missing_ok=True)
        _buildah("push", "--quiet", name, f"docker-archive:{made}:{name}")
        made.rename(archive)
    return archive


def _id_of(name: str) -> str:
    """The image's id, or "" if there is none."""
    return _buildah("images", "--quiet", "--no-trunc", name, check=False).replace("sha256:", "")


def _buildah(*arguments: str, stdin: str = "", check: bool = True) -> str:
    storage = cache() / "storage"
    # In separate mounts: the overlay driver would leave one behind.
    return _run(
        *("unshare", "--mount", "buildah", "--storage-driver=overlay"),
        *(f"--root={storage}", f"--runroot={storage}-run"),
        *arguments,
        stdin=stdin,
        check=check,
    )


def _run(*command: str, stdin: str = "", check: bool = True) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        words = f"{done.stdout}\n{done.stderr}".strip()[-3000:]
        raise ImageError(f"{' '.join(command)}: {words}")
    return done.stdout.strip()


if __name__ == "__main__":  # make sbom
    print(build_gotax(version("gotax")))
