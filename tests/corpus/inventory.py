"""The contents of the corpus: every minor release's last version, the ways to build, the
programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.toolchains import minor

RELEASES = (
    *("1.2.2", "1.3.3", "1.4.3", "1.5.4", "1.6.4", "1.7.6", "1.8.7", "1.9.7", "1.10.8"),
    *("1.11.13", "1.12.17", "1.13.15", "1.14.15", "1.15.15", "1.16.15", "1.17.13", "1.18.10"),
    *("1.19.13", "1.20.14", "1.21.13", "1.22.12", "1.23.12", "1.24.13", "1.25.12", "1.26.8"),
    "1.27.3",
)

Variants = tuple[str, ...]
BUILDS: tuple[Variants, ...] = (
    (),
    ("pie",),
    ("arm64",),
    ("arm64", "pie"),
    ("cgo",),
    ("cgo", "pie"),
)
TWINS: tuple[Variants, ...] = (("stripped",), ("stripped", "nosections"))


def can_build(version: str, variants: Variants) -> bool:
    """The targets that a release can link on a present-day system."""
    chosen = frozenset(variants)
    if "arm64" in chosen and minor(version) < 5:
        return False  # no such port
    if {"arm64", "pie"} <= chosen:
        return minor(version) >= 16  # earlier, only with a linker for that machine
    if "pie" in chosen:
        return minor(version) >= (6 if "cgo" in chosen else 8)
    return True


@dataclass(frozen=True, slots=True)
class Build:
    """A build of the program ``symbols``; its twins are the same without symbols."""

    version: str
    variants: Variants

    @property
    def name(self) -> str:
        return "-".join((f"go{self.version}", *self.variants))


@dataclass(frozen=True, slots=True)
class Application:
    """A well-known program: a module at a version, built as its own main module.

    ``package`` is the directory of its main package. ``main``, if not "", is the source of a main
    package for a module that is a library with a command in it.
    """

    name: str
    version: str  # of Go
    module: str
    package: str
    tags: str = ""
    main: str = ""
    variants: Variants = ()


_KUBECTL = """package main

import (
	"os"

	"k8s.io/kubectl/pkg/cmd"
)

func main() {
	if cmd.NewDefaultKubectlCommand().Execute() != nil {
		os.Exit(1)
	}
}
"""
# Each with the newest Go at its release, or a later one.
APPLICATIONS = (
    Application("etcd", "1.26.8", "go.etcd.io/etcd/server/v3@v3.7.3", "."),
    Application(
        "prometheus", "1.26.8", "github.com/prometheus/prometheus@v0.316.0", "cmd/prometheus"
    ),
    Application(
        "containerd", "1.26.8", "github.com/containerd/containerd/v2@v2.4.2", "cmd/containerd"
    ),
    Application("kubectl", "1.26.8", "k8s.io/kubectl@v0.37.2", "cmd/kubectl", main=_KUBECTL),
    Application("coredns", "1.27.3", "github.com/coredns/coredns@v1.15.0", "."),
    Application("nats-server", "1.27.3", "github.com/nats-io/nats-server/v2@v2.15.2", "."),
    Application("hugo", "1.25.12", "github.com/gohugoio/hugo@v0.140.2", "."),
    Application("helm", "1.24.13", "helm.sh/helm/v3@v3.17.3", "cmd/helm"),
    Application("caddy", "1.22.12", "github.com/caddyserver/caddy/v2@v2.8.4", "cmd/caddy"),
)


def builds() -> Iterator[Build]:
    for version in RELEASES:
        for variants in BUILDS:
            if can_build(version, variants):
                yield Build(version, variants)
