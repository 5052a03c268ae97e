"""Kubernetes and helm, built from the Go module proxy and kept outside the clone.

The first build takes about eight minutes of two cores; the results, 200 MB, are in the same cache
as the toolchains of the other tests ($GOTAX_CACHE, or ~/.cache/gotax).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests import toolchains

KUBERNETES = "v1.34.4"
HELM = "v3.19.5"
HERE = Path(__file__).resolve().parent
NAMES = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"),
    *("kubelet", "kube-proxy", "kubectl"),
)


class BuildError(Exception):
    """A program could not be built; the text has the compiler's last lines."""


def cache() -> Path:
    return toolchains.cache() / "kubernetes"


def build_kubernetes(go: str) -> Path:
    """One binary with all of Kubernetes; ``NAMES`` are the names by which it is called."""
    source = (HERE / "programs" / "main.go").read_text()
    target = cache() / f"programs-{KUBERNETES}-{_digest(source)}"
    if not target.exists():
        say(f"building Kubernetes {KUBERNETES} (once; some seven minutes)")
        work = cache() / "build" / "programs"
        _fresh(work)
        (work / "main.go").write_text(source)
        (work / "go.mod").write_text(_module_of_kubernetes(go))
        _go(go, work, "mod", "tidy")
        version = KUBERNETES
        minor = version.split(".")[1]
        stamps = {
            "gitVersion": version,
            "gitMajor": "1",
            "gitMinor": minor,
            "gitTreeState": "clean",
            "gitCommit": "0" * 40,
            "buildDate": "2026-01-01T00:00:00Z",
        }
        flags = ["-s", "-w"]
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            flags += [f"-X {package}.{name}={value}" for name, value in stamps.items()]
        _build(go, work, target, ".", " ".join(flags))
    return target


def build_helm(go: str) -> Path:
    target = cache() / f"helm-{HELM}"
    if not target.exists():
        say(f"building helm {HELM} (once)")
        work = cache() / "build" / "helm"
        _fresh(work)
        # With the k8s.io modules of the cluster, whose compiled packages are in the build cache.
        modules = (
            *("api", "apiextensions-apiserver", "apimachinery", "apiserver", "cli-runtime"),
            *("client-go", "component-base", "component-helpers", "kubectl", "metrics"),
        )
        staging = KUBERNETES.replace("v1.", "v0.")
        lines = ["module helm", "go 1.24.0", f"require helm.sh/helm/v3 {HELM}"]
        lines += [f"replace k8s.io/{m} => k8s.io/{m} {staging}" for m in modules]
        (work / "go.mod").write_text("\n".join(lines) + "\n")
        (work / "helm.go").write_text(
            '//go:build tools\n\npackage helm\n\nimport _ "helm.sh/helm/v3/cmd/helm"\n'
        )
        _go(go, work, "mod", "tidy")
        _build(go, work, target, "helm.sh/helm/v3/cmd/helm", "-s -w")
    return target


def build_service(go: str) -> Path:
    """The demo's service, static."""
    return _build_small(go, "service", HERE.parents[2] / "demo" / "service")


def build_pause(go: str) -> Path:
    """The pause program, which holds a pod's network."""
    return _build_small(go, "pause", HERE / "pause")


def forget_compiled() -> None:
    """4 GB of compiled packages and sources, of which the programs are 200 MB."""
    for folder in (cache() / "go-build", cache() / "modules"):
        shutil.rmtree(folder, ignore_errors=True)


def download_module(go: str, module: str, modules: Path) -> Path:
    """The folder of a module's sources, below ``modules``."""
    found = _go(go, None, "mod", "download", "-json", module, modules=modules)
    return Path(json.loads(found)["Dir"])


def _build_small(go: str, name: str, source: Path) -> Path:
    """Built at every call: Go rebuilds only what has changed."""
    target = cache() / name
    target.parent.mkdir(parents=True, exist_ok=True)
    files = () if (source / "go.mod").exists() else ("main.go",)
    kept = toolchains.cache() / "build" / "e2e"
    build = ("build", "-trimpath", "-ldflags=-s -w", "-o", str(target), *files)
    _go(go, source, *build, compiled=kept)
    return target


def _module_of_kubernetes(go: str) -> str:
    """A go.mod with the ``replace`` lines that k8s.io/kubernetes has for its own staging folder."""
    found = _go(go, None, "mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}")
    text = Path(json.loads(found)["GoMod"]).read_text()
    staging = KUBERNETES.replace("v1.", "v0.")
    lines = ["module programs", f"require k8s.io/kubernetes {KUBERNETES}"]
    lines += re.findall(r"^(?:go|godebug) .*$", text, re.M)
    etcd = re.search(r"go\.etcd\.io/etcd/client/v3 (v\S+)", text)
    if etcd is None:
        raise BuildError(f"go.mod of Kubernetes {KUBERNETES} does not name etcd's client")
    lines.append(f"require go.etcd.io/etcd/server/v3 {etcd[1]}")
    for module in sorted(set(re.findall(r"^\s+(k8s\.io/\S+) v0\.0\.0$", text, re.M))):
        lines += [f"require {module} {staging}", f"replace {module} => {module} {staging}"]
    return "\n".join(lines) + "\n"


def _build(go: str, work: Path, target: Path, package: str, flags: str) -> None:
    made = work / "made"
    tags = "-tags=providerless"
    _go(go, work, "build", "-trimpath", tags, f"-ldflags={flags}", "-o", str(made), package)
    os.replace(made, target)


def _go(
    go: str,
    work: Path | None,
    *arguments: str,
    compiled: Path | None = None,
    modules: Path | None = None,
) -> str:
    environment = {
        **os.environ,
        "GOFLAGS": "-buildvcs=false -mod=mod -modcacherw",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
        "GOCACHE": str(compiled or cache() / "go-build"),
        "GOMODCACHE": str(modules or cache() / "modules"),
    }
    done = subprocess.run(
        [go, *arguments], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"go {' '.join(arguments[:2])} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _fresh(work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def say(text: str) -> None:
    print(f"e2e: {text}", file=sys.stderr, flush=True)
