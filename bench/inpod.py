"""``gotax`` with a service account in another folder than Kubernetes has it: that of BENCH_ACCOUNT.

In a pod an agent needs no library for the API server, and a kubeconfig takes one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gotax.__main__ import main
from gotax.cli import options

if TYPE_CHECKING:
    from gotax.kubernetes.watch import PodWatch

_watch = options._watch


def _watch_here(node: str, kubelet: str | None, is_trusted: bool) -> PodWatch:
    from gotax.kubernetes import api  # not before: this is part of what is measured

    api.SERVICE_ACCOUNT = Path(os.environ["BENCH_ACCOUNT"])
    return _watch(node, kubelet, is_trusted)


def use_account() -> None:
    """That of BENCH_ACCOUNT, if it is set."""
    if "BENCH_ACCOUNT" in os.environ:
        options._watch = _watch_here


if __name__ == "__main__":
    use_account()
    sys.exit(main())
