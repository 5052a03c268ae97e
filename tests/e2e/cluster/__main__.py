"""A cluster to play with, until Ctrl-C: python -m tests.e2e.cluster."""

from __future__ import annotations

import shlex
import signal

from tests.e2e.cluster.node import Cluster
from tests.e2e.cluster.programs import cache, say
from tests.e2e.parts import make_parts


def main() -> None:
    parts = make_parts()
    images = (parts.pause, parts.service, parts.gotax)
    cluster = Cluster(parts.kubernetes, parts.helm, images, cache() / "logs")
    try:
        say(f"up: {cluster.times_s}")
        shell = cluster.sandbox.command("env", *cluster.environment(), "bash")
        say(f"for kubectl and helm: {shlex.join(shell)}")
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        cluster.close()


if __name__ == "__main__":
    main()
