"""Which containers a name on the command line means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gotax.window import ContainerReport, OtherReport

HELP = (
    "a name that `gotax check` prints, or its last part, container ID or its beginning,"
    " NAMESPACE/POD, Deployment/NAME, unit, cgroup, program,"
    " module, or PID"
)
_ID = re.compile(r"[0-9a-f]{64}")  # ID of a container in a container


def is_meant(report: ContainerReport | OtherReport, target: str) -> bool:
    """By one of its names, with the wildcards * and ?, or the beginning of its ID."""
    from gotax.diagnosis.suppression import matches

    container = report.container
    ids = [container.container_id or "", *_ID.findall(container.nested)]
    if any(each.startswith(target) for each in ids):
        return True
    names = {container.name, container.key, container.cgroup, container.unit, container.pod_uid}
    names |= {container.label, container.nested}
    if container.pod is not None:
        names |= container.pod.names
    for process in report.processes:
        names |= {process.command, str(process.pid)}
        if process.build is not None:
            names |= {process.build.main.path, process.build.package}
    return any(matches(target, name) for name in names if name)
