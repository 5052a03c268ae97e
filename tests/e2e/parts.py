"""The parts of a cluster for gotax. Everything is built once and kept outside the clone."""

from __future__ import annotations

import fcntl
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.cluster import images, programs, schemas
from tests.e2e.cluster.node import PAUSE

CHART = Path(__file__).resolve().parents[2] / "helm" / "gotax"
SERVICE = "docker.io/library/service:e2e"


@dataclass(frozen=True, slots=True)
class Parts:
    """Two programs, four images as archives, the API's definitions by release, those of others."""

    kubernetes: Path
    helm: Path
    gotax: Path
    collector: Path
    service: Path
    pause: Path
    definitions: dict[str, Path]
    crds: Path
    custom: Path


def make_parts() -> Parts:
    """One caller at a time: builds share their folders. Raises BuildError or ImageError."""
    programs.cache().mkdir(parents=True, exist_ok=True)
    with (programs.cache() / "build-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _make_parts()


def _make_parts() -> Parts:
    go = shutil.which("go")
    if go is None:
        raise programs.BuildError("no go command on PATH: ./setup e2e installs one")
    version = re.search(r"^appVersion: (\S+)$", (CHART / "Chart.yaml").read_text(), re.M)
    if version is None:
        raise images.ImageError(f"{CHART}/Chart.yaml has no appVersion")
    parts = Parts(
        kubernetes=programs.build_kubernetes(go),
        helm=programs.build_helm(go),
        gotax=images.build_gotax(version[1]),
        collector=images.build_collector(version[1]),
        service=images.build_static(SERVICE, programs.build_service(go)),
        pause=images.build_static(PAUSE, programs.build_pause(go)),
        definitions={r: schemas.fetch_definitions(go, r) for r in schemas.RELEASES},
        crds=schemas.fetch_crds(go),
        custom=schemas.fetch_custom(go),
    )
    programs.forget_compiled()
    return parts
