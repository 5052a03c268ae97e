"""Commands that show whether a change helps, where the model cannot say it.

One replica gets the new value and is compared with the others, or one program with itself.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace

from gotax.diagnosis.rules import codes
from gotax.findings import Finding
from gotax.process import Container, PodContainer

_SECONDS = 300


def with_experiment(container: Container, finding: Finding) -> Finding:
    """The finding, with commands in its remedy if only an experiment shows whether it helps."""
    if not finding.remedy.patch or not is_open(finding):
        return finding
    commands, how = _one_program(container), "compare its CPU before and after the change"
    pod = container.pod
    if (
        pod is not None
        and not container.nested
        and pod.kind in ("container", "sidecar")
        and pod.workload.kind in _REPLICAS
    ):
        commands = _REPLICAS[pod.workload.kind](pod)
        how = "give one replica the new value, and compare it with others"
    remedy = replace(
        finding.remedy,
        text=f"{finding.remedy.text} The model cannot say whether this helps, but an experiment"
        f" can: {how}. gotax explain has the commands.",
        experiment="".join(f"{_line(line)}\n" for line in commands),
    )
    return replace(finding, remedy=remedy)


def _line(text: str) -> str:
    """Replaces what is not printable, so that a hostile name cannot end a line."""
    return "".join(c if c.isprintable() else "?" for c in text)


def is_open(finding: Finding) -> bool:
    """The model does not say that the change saves CPU: it may cost some, or it is about work that
    waits."""
    if finding.code == codes.BELOW_LIMIT:
        return True
    if finding.code == codes.HARMLESS:  # whatever it saves is little
        return False
    return finding.saving is not None and finding.saving.low < 0


def _one_program(container: Container) -> Iterator[str]:
    name = shlex.quote(container.unit or container.name)
    yield f"gotax record -d {_SECONDS} -o before.json"
    yield "# apply the patch, restart, and wait until the load is as before"
    yield f"gotax record -d {_SECONDS} -o after.json"
    yield "# BEFORE and AFTER: units of work a second, as requests, in the two recordings"
    yield f"gotax compare before.json after.json --container {name} --throughput BEFORE AFTER"


def _of_deployment(pod: PodContainer) -> Iterator[str]:
    at, name = _at(pod)
    surge = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}, "type": "RollingUpdate"}
    yield f"{at} patch deployment {name} -p {_spec(strategy=surge)}"
    yield "# the patch above is in FILE: one more replica, with the new value, beside the others"
    yield (
        f"{at} patch deployment {name} --patch-file FILE && sleep 2 &&"
        f" {at} rollout pause deployment {name}"
    )
    yield from _siblings(pod)
    yield f"# to go on: {at} rollout resume deployment {name}"
    yield f"# to go back, after that: {at} rollout undo deployment {name}"


def _of_stateful_set(pod: PodContainer) -> Iterator[str]:
    at, name = _at(pod)
    yield "# only the replica with the highest number gets the new value: N is spec.replicas - 1"
    yield f"{at} patch statefulset {name} -p {_partition('N')}"
    yield f"{at} patch statefulset {name} --patch-file FILE"
    yield from _siblings(pod)
    yield f"# to go on: {at} patch statefulset {name} -p {_partition('0')}"
    yield f"# to go back, before that: {at} rollout undo statefulset {name}"


def _of_daemon_set(pod: PodContainer) -> Iterator[str]:
    at, name = _at(pod)
    yield "# only pods that you delete get the new value"
    yield f"{at} patch daemonset {name} -p {_spec(updateStrategy={'type': 'OnDelete'})}"
    yield f"{at} patch daemonset {name} --patch-file FILE"
    yield f"{at} delete pod {shlex.quote(pod.pod)}"
    yield from _siblings(pod)
    rolling = _spec(updateStrategy={"type": "RollingUpdate"})
    yield f"# to go on: {at} patch daemonset {name} -p {rolling}"
    yield f"# to go back, before that: {at} rollout undo daemonset {name}"


_REPLICAS = {
    "Deployment": _of_deployment,
    "StatefulSet": _of_stateful_set,
    "DaemonSet": _of_daemon_set,
}


def _siblings(pod: PodContainer) -> Iterator[str]:
    """Both values at the same time, under the same load."""
    terms = (f"namespace={pod.namespace}", f"container={pod.container}", "since=1h")
    workload = shlex.quote(str(pod.workload))
    yield "# an hour later, of the collector: CPU and throttling by value, with a test"
    yield f"gotax fleet compare {workload} {' '.join(map(shlex.quote, terms))}"
    yield "# or without a collector, on the nodes of the new replica and of another one:"
    yield f"gotax record -d {_SECONDS} -o NODE.json"
    path = f"{pod.namespace}/POD/{pod.container}"
    yield (
        "gotax compare OTHER.json NEW.json"
        f" --container {shlex.quote(path)} --container {shlex.quote(path)}"
    )


def _at(pod: PodContainer) -> tuple[str, str]:
    return f"kubectl -n {shlex.quote(pod.namespace)}", shlex.quote(pod.workload.name)


def _spec(**fields: object) -> str:
    return shlex.quote(json.dumps({"spec": fields}))


def _partition(number: str) -> str:
    """N stays a letter, for the user to replace."""
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": number}}
    return _spec(updateStrategy=rolling).replace(f'"{number}"', number)
