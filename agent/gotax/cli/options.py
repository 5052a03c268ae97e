"""Flags that several commands share."""

from __future__ import annotations

import argparse
import atexit
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from gotax.cli import arguments
from gotax.cli.command import add_old_name
from gotax.config import Detail, Roots, Thresholds
from gotax.errors import UserError
from gotax.extras import needed_by

if TYPE_CHECKING:  # what samples is imported by the commands that sample, not for their --help
    from gotax.kubernetes.watch import PodWatch
    from gotax.names import Names
    from gotax.recipe import Recipe
    from gotax.scope import Scope
    from gotax.session import Plan


_INTERACTIVE_DRAIN_S = 1.0

WITH_FRAMES = Detail(functions=100, native_frames=True, kernel_frames=True, lines=True)
"""What a profile or a flame graph needs."""

OLD_NAMES = {"--min-samples": "--min-hits", "--suppress": "--silence"}
"""Flags of gotax 0.1 by their new names. The release after 0.2 removes them."""

THRESHOLDS = (
    (
        "mismatch_ratio",
        arguments.ratio,
        "ratio of GOMAXPROCS to what fits from which it is a mismatch",
    ),
    (
        "saving_share",
        arguments.share,
        "predicted saving, as a share of the CPU, from which a mismatch is costly",
    ),
    (
        "saving_cores",
        arguments.cores,
        "predicted saving, in cores, from which a mismatch is costly",
    ),
    (
        "runtime_share",
        arguments.share,
        "share of scheduler and GC from which a mismatch is costly, without a prediction",
    ),
    ("min_samples", arguments.pid, "samples needed for a statement about shares"),
    (
        "throttled_share",
        arguments.share,
        "share of throttled periods from which a container counts as throttled",
    ),
    (
        "saturation",
        arguments.share,
        "share of the limit or of GOMAXPROCS from which it counts as used up",
    ),
    ("gc_share", arguments.share, "share of the GC that counts as heavy"),
    ("allocation_share", arguments.share, "share of allocation that counts as heavy"),
    (
        "coordination_share",
        arguments.share,
        "share of scheduler, channels and locks that counts as heavy",
    ),
    ("cgo_share", arguments.share, "share of C code that counts as heavy"),
    ("large_node_cpus", arguments.pid, "number of CPUs from which a host counts as large"),
    (
        "headroom",
        arguments.ratio,
        "without a limit, the ratio of GOMAXPROCS to the highest CPU usage that is enough",
    ),
)
"""Fields of Thresholds, with the parser and the help text."""


def add_sampling(command: argparse.ArgumentParser, seconds: float | None = None) -> None:
    if seconds is not None:
        command.add_argument(
            "-d",
            "--duration",
            type=arguments.seconds,
            default=seconds,
            help=f"seconds to sample ({seconds:g})",
        )
    add_frequency(command, default=99)
    command.add_argument(
        "-p",
        "--pid",
        type=arguments.pid,
        action="append",
        default=[],
        help="only this process (repeatable)",
    )
    command.add_argument(
        "-g",
        "--cgroup",
        action="append",
        default=[],
        help="only this cgroup and below (repeatable)",
    )
    add_roots(command)
    add_names(command)


def add_frequency(command: argparse.ArgumentParser, default: int) -> None:
    command.add_argument(
        "--hz",
        type=arguments.hz,
        default=default,
        help=f"samples per second and CPU, 1 to 999 ({default})",
    )


def add_roots(command: argparse.ArgumentParser) -> None:
    command.add_argument("--proc", default="/proc", help="the host's /proc (/proc)")
    command.add_argument("--sys", default="/sys", help="the host's /sys (/sys)")


def add_names(command: argparse.ArgumentParser) -> None:
    node = os.environ.get("NODE_NAME", "")
    group = command.add_argument_group("pod names from Kubernetes")
    group.add_argument(
        "--node",
        metavar="NAME",
        type=arguments.node_name,
        help="name of this node in Kubernetes; its containers get the names of their pods"
        f" ($NODE_NAME: {node or 'not set'})",
    )
    group.add_argument(
        "--kubelet",
        metavar="URL",
        type=arguments.kubelet,
        help="the kubelet of this node, used while the API server does not answer:"
        " https://NODE:10250, or http://NODE:10255 if that port is open",
    )
    group.add_argument(
        "--kubelet-insecure",
        action="store_true",
        help="do not verify the kubelet's certificate (many kubelets use a self-signed one)",
    )


def add_thresholds(command: argparse.ArgumentParser) -> None:
    usual = Thresholds()
    group = command.add_argument_group("findings (docs/findings.md explains each)")
    for name, kind, text in THRESHOLDS:
        default = getattr(usual, name)
        flag = "--" + name.replace("_", "-")
        option = group.add_argument(
            flag,
            type=kind,
            default=default,
            metavar=kind.__name__.strip("_").upper() if kind is not arguments.pid else "N",
            help=f"{text} ({default:g})",
        )
        if old := OLD_NAMES.get(flag):
            add_old_name(group, old, option)
    option = group.add_argument(
        "--suppress",
        type=arguments.suppression,
        action="append",
        default=[],
        metavar="CODE[/CAUSE][@NAME]",
        help="do not report this finding; optionally only with this cause, or only for containers"
        " whose name matches NAME, with the wildcards * and ? (repeatable)",
    )
    add_old_name(group, OLD_NAMES["--suppress"], option)
    group.add_argument(
        "--recipes",
        metavar="FILE",
        default="",
        help="more recipes for programs that are not Go, as TOML (docs/recipes.md)",
    )


def add_settling(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--settle",
        type=arguments.seconds,
        default=Thresholds().settle_s,
        help="seconds after a change of GOMAXPROCS until the CPU time is compared with the time"
        f" before ({Thresholds().settle_s:g})",
    )


def thresholds_of(options: argparse.Namespace) -> Thresholds:
    return Thresholds(
        **{name: getattr(options, name) for name, _, _ in THRESHOLDS},
        settle_s=vars(options).get("settle", Thresholds().settle_s),
        suppressions=tuple(options.suppress),
    )


def recipes_of(options: argparse.Namespace) -> Callable[[], tuple[Recipe, ...]]:
    """A file of the user is read at once, since it may have a mistake; raises UserError."""
    path = vars(options).get("recipes", "")

    def load() -> tuple[Recipe, ...]:
        from gotax.recipes import load_recipes  # seldom needed

        return load_recipes(path)

    if not path:
        return load
    found = load()
    return lambda: found


def plan_of(options: argparse.Namespace, detail: Detail, scope: Scope | None = None) -> Plan:
    """Forks the server of readers, before the watch of the pods begins its thread. It ends with
    this process."""
    from gotax.reader.server import ForkServer
    from gotax.scope import Scope
    from gotax.session import Plan

    recipes = recipes_of(options)
    server = ForkServer()
    atexit.register(server.close)
    return Plan(
        hz=options.hz,
        drain_s=_INTERACTIVE_DRAIN_S,
        scope=scope or Scope(frozenset(options.pid), tuple(options.cgroup)),
        roots=Roots(options.proc, options.sys),
        thresholds=thresholds_of(options) if "min_samples" in options else Thresholds(),
        detail=detail,
        host=node_name_of(options),
        names=names_of(options),
        server=server,
        recipes=recipes,
    )


def node_name_of(options: argparse.Namespace) -> str:
    """The node's name in Kubernetes, or "". (In a pod the host name is that of the pod.)"""
    return options.node or os.environ.get("NODE_NAME", "")


def names_of(options: argparse.Namespace) -> Names:
    """A running watch of the pods, or NO_NAMES without Kubernetes.

    Raises UserError if a flag asks for Kubernetes and it cannot be reached. That is no error if the
    node's name comes only from the environment.
    """
    from gotax.names import NO_NAMES

    node = node_name_of(options)
    if not node:
        if options.kubelet:
            raise UserError("--kubelet needs --node, the name of this node")
        return NO_NAMES
    try:
        names = _watch(node, options.kubelet, options.kubelet_insecure)
    except UserError:
        if options.node or options.kubelet:
            raise
        return NO_NAMES
    names.start()
    return names


def _watch(node: str, kubelet: str | None, is_trusted: bool) -> PodWatch:
    with needed_by("--node (pod names)", "kubernetes"):
        from gotax.kubernetes import api
        from gotax.kubernetes.watch import PodWatch

        if kubelet is None:
            return PodWatch(node, api.connect)
    address = api.KubeletAddress(kubelet, is_trusted)
    is_reachable = True
    try:
        api.connect().close()
    except (UserError, ImportError):
        is_reachable = False  # then only the kubelet is used
    return PodWatch(
        node, api.connect if is_reachable else None, partial(api.connect_kubelet, address)
    )
