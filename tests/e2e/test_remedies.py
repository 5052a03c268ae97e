"""What `gotax fleet remedies` writes, on a real API server: accepted, and changes what it names.

No pod has to run: their specifications are what the policies and patches change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gotax.diagnosis.patches import Setting, kubernetes_patch
from gotax.process import PodContainer, Workload
from gotax_collector.query.remedies import Wanted
from gotax_collector.remedies.folder import Choice, files
from gotax_collector.remedies.owners import Owners
from gotax_collector.remedies.plan import plan
from gotax_collector.remedies.policies import Match

from tests.e2e.cluster.node import PAUSE, Cluster
from tests.e2e.cluster.sandbox import SandboxError
from tests.e2e.objects import BY_LIMIT, namespace
from tests.e2e.parts import Parts

FLEET, ELSEWHERE = "named", "elsewhere"
IMAGE = PAUSE.rpartition(":")[0]
TEMPLATES = {
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
NAMED = (
    *(("Deployment", "web"), ("Deployment", "own"), ("Deployment", "free")),
    *(("StatefulSet", "db"), ("DaemonSet", "each"), ("CronJob", "nightly")),
)
"""``own`` sets the variable itself, ``free`` has lost its limit since gotax saw it."""


def container(name: str, *env: dict[str, Any], limit: str | None = "2") -> dict[str, Any]:
    resources = {"requests": {"cpu": "1m"}}
    if limit is not None:
        resources["limits"] = {"cpu": limit}
    found = {"name": name, "image": PAUSE, "imagePullPolicy": "Never", "resources": resources}
    return {**found, "env": list(env)} if env else found


def workload(
    kind: str, name: str, *containers: dict[str, Any], where: str = FLEET, init: bool = False
) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"terminationGracePeriodSeconds": 0, "containers": list(containers)}
    if init:
        pod["initContainers"] = [container("first")]
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec: dict[str, Any] = {"selector": {"matchLabels": labels}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = name
    if kind == "CronJob":
        pod["restartPolicy"] = "Never"
        spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}
    return {
        "apiVersion": "batch/v1" if kind == "CronJob" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": where},
        "spec": spec,
    }


def everything() -> list[dict[str, Any]]:
    other = {"name": "OTHER", "value": "x"}
    return [
        workload("Deployment", "web", container("proxy"), container("app", other), init=True),
        workload("Deployment", "own", container("app", {"name": "GOMAXPROCS", "value": "64"})),
        workload("Deployment", "free", container("app", limit=None)),
        workload("StatefulSet", "db", container("app")),
        workload("DaemonSet", "each", container("app")),
        workload("CronJob", "nightly", container("app")),
        # Not named:
        workload("Deployment", "web-web", container("app")),
        workload("StatefulSet", "web", container("app")),
        workload("Deployment", "web", container("app"), where=ELSEWHERE),
    ]


def wanted(kind: str, name: str) -> Wanted:
    pod = PodContainer(
        namespace=FLEET,
        pod=name,
        container="app",
        pod_uid="1",
        node="n",
        image=PAUSE,
        kind="container",
        workload=Workload(kind, name),
    )
    return Wanted(
        namespace=FLEET,
        kind=kind,
        workload=name,
        container="app",
        code="GT001",
        severity="warning",
        confidence="high",
        cause="environment",
        title='=cmd "quoted": #hostile',
        remedy="Set it.\n- not: a list",
        patches=(kubernetes_patch(Setting("GOMAXPROCS", None), True, pod),),
        containers=1,
        nodes=1,
        images=(PAUSE,),
        gomaxprocs=(64,),
        cpus=(64,),
        limit_cores=(2.0, 2.0),
        origins=("environment",),
        saving_cores=(0.1, 0.2, 0.3),
    )


def write(folder: Path, rows: list[Wanted], match: Match = Match.WORKLOAD) -> Path:
    document = {"until": 1_795_942_860, "silent": 0, "is_cut": False}
    answer = json.loads(json.dumps({**document, "rows": [asdict(row) for row in rows]}))
    for path, text in files(plan(answer, Owners(), True), Choice(match, "v1beta1")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder / FLEET


@pytest.fixture(scope="module")
def fleet(cluster: Cluster) -> Iterator[Cluster]:
    cluster.apply(namespace(FLEET), namespace(ELSEWHERE))
    yield cluster
    for name in (FLEET, ELSEWHERE):
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def variables(pod: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The GOMAXPROCS of each container."""
    every = [*pod.get("initContainers", ()), *pod["containers"]]
    return {c["name"]: [e for e in c.get("env", ()) if e["name"] == "GOMAXPROCS"] for c in every}


def created(cluster: Cluster, pod: dict[str, Any]) -> dict[str, Any]:
    """A pod as the API server would store it."""
    command = ("create", "-f", "-", "--dry-run=server", "-o", "json")
    spec: dict[str, Any] = json.loads(cluster.kubectl(*command, stdin=json.dumps(pod)))["spec"]
    return spec


def pod(name: str, *containers: dict[str, Any], owner: tuple[str, str] | None = None) -> Any:
    metadata: dict[str, Any] = {"name": name, "namespace": FLEET}
    if owner is not None:
        reference = {"apiVersion": "v1", "kind": owner[0], "name": owner[1], "uid": "1"}
        metadata["ownerReferences"] = [{**reference, "controller": True}]
    spec = {"containers": list(containers)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_an_admission_policy_changes_exactly_what_it_names(fleet: Cluster, tmp_path: Path) -> None:
    folder = write(tmp_path, [wanted(*one) for one in NAMED])
    policy = str(folder / "admission.yaml")
    fleet.kubectl("apply", "--validate=strict", "-f", policy)
    try:
        probe = pod("probe", container("app"), owner=("StatefulSet", "db"))
        fleet.wait_for("the policy works", lambda: variables(created(fleet, probe))["app"])
        fleet.apply(*everything())
        job = ("create", "job", "-n", FLEET, "--from=cronjob/nightly")
        fleet.kubectl(*job, "nightly-29000000")
        fleet.kubectl(*job, "nightly-by-hand")
        fleet.wait_for("every workload has a pod", lambda: len(pods(fleet)) == 10)
        found = pods(fleet)
    finally:
        fleet.kubectl("delete", "-f", policy)
    unchanged: dict[str, list[Any]] = {"app": []}
    assert found == {
        "named/ReplicaSet/web": {"first": [], "proxy": [], "app": [BY_LIMIT]},
        "named/ReplicaSet/own": {"app": [{"name": "GOMAXPROCS", "value": "64"}]},
        "named/ReplicaSet/free": unchanged,
        "named/StatefulSet/db": {"app": [BY_LIMIT]},
        "named/DaemonSet/each": {"app": [BY_LIMIT]},
        "named/Job/nightly-29000000": {"app": [BY_LIMIT]},
        "named/Job/nightly-by-hand": unchanged,
        "named/ReplicaSet/web-web": unchanged,
        "named/StatefulSet/web": unchanged,
        "elsewhere/ReplicaSet/web": unchanged,
    }


def pods(cluster: Cluster) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """By namespace, kind of the owner and its name, without a Deployment's hash."""
    found = {}
    for where in (FLEET, ELSEWHERE):
        for one in cluster.get("pods", "--namespace", where)["items"]:
            (owner,) = one["metadata"]["ownerReferences"]
            name = owner["name"]
            if owner["kind"] == "ReplicaSet":
                name = name.rpartition("-")[0]
            found[f"{where}/{owner['kind']}/{name}"] = variables(one["spec"])
    return found


def test_a_policy_of_images_changes_all_pods_with_them(fleet: Cluster, tmp_path: Path) -> None:
    folder = write(tmp_path, [wanted("Deployment", "web")], Match.IMAGE)
    policy = str(folder / "admission.yaml")
    fleet.kubectl("apply", "--validate=strict", "-f", policy)
    try:
        digest = f"{IMAGE}@sha256:{'0' * 64}"
        mixed = pod(
            "mixed",
            container("tag"),
            {**container("digest"), "image": digest},
            {**container("none"), "image": IMAGE},
            {**container("longer"), "image": f"{IMAGE}-more:3.6"},
            {**container("inner"), "image": f"example.com/{PAUSE}"},
            {**container("map"), "envFrom": [{"configMapRef": {"name": "settings"}}]},
            container("free", limit=None),
        )
        fleet.wait_for("the policy works", lambda: variables(created(fleet, mixed))["tag"])
        found = variables(created(fleet, mixed))
    finally:
        fleet.kubectl("delete", "-f", policy)
    assert [name for name, env in found.items() if env == [BY_LIMIT]] == ["tag", "digest", "none"]
    assert [name for name, env in found.items() if not env] == ["longer", "inner", "map", "free"]


def test_the_patches_of_every_kind_are_applied(fleet: Cluster, tmp_path: Path) -> None:
    fleet.apply(*everything())
    memory = wanted("Deployment", "web")
    patch = memory.patches[0].replace("GOMAXPROCS", "GOMEMLIMIT")
    before, _, _ = patch.partition("          value: null")
    memory = replace(
        *(memory,),
        code="GT016",
        patches=(before.replace("        env:", _LIMITED) + '          value: "90MiB"\n',),
    )
    named = [one for one in NAMED if one[1] != "free"]
    folder = write(tmp_path, [*(wanted(*one) for one in named), memory])
    script = ("env", *fleet.environment(), "sh", str(folder / "apply.sh"))
    assert fleet.run(*script, "--dry-run=server").count("patched") == len(named)
    assert variables(template(fleet, "Deployment", "own"))["app"][0]["value"] == "64"
    fleet.run(*script)
    once = [generation(fleet, *one) for one in named]
    fleet.run(*script)
    assert [generation(fleet, *one) for one in named] == once
    for kind, name in named:
        found = template(fleet, kind, name)
        assert variables(found)["app"] == [BY_LIMIT], name
    web = {c["name"]: c for c in template(fleet, "Deployment", "web")["containers"]}
    assert {e["name"]: e.get("value") for e in web["app"]["env"]} == {
        "OTHER": "x",
        "GOMAXPROCS": None,
        "GOMEMLIMIT": "90MiB",
    }
    assert web["app"]["resources"]["limits"] == {"cpu": "2", "memory": "100Mi"}
    assert "env" not in web["proxy"]


_LIMITED = "        resources:\n          limits:\n            memory: 100Mi\n        env:"


def generation(cluster: Cluster, kind: str, name: str) -> int:
    """A change of the specification makes another one, and a rollout."""
    found: int = cluster.get(kind.lower(), name, "-n", FLEET)["metadata"]["generation"]
    return found


def template(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    found = cluster.get(kind.lower(), name, "--namespace", FLEET)
    for key in TEMPLATES[kind]:
        found = found[key]
    return found


def test_policies_and_reports_of_others_are_accepted(
    fleet: Cluster, parts: Parts, tmp_path: Path
) -> None:
    """By the definitions that Kyverno publishes, with which the API server checks every field."""
    crds = [str(path) for path in sorted(parts.crds.iterdir())]
    named = [argument for path in crds for argument in ("-f", path)]
    fleet.kubectl("apply", "--server-side", *named)
    try:
        for path in ("kyverno.io/v1/clusterpolicies", "wgpolicyk8s.io/v1alpha2/policyreports"):
            served = partial(fleet.kubectl, "get", "--raw", f"/apis/{path}")
            fleet.wait_for(f"{path} is served", served)
        checked = ("apply", "--dry-run=server", "--validate=strict", "-f")
        rows = [wanted(*one) for one in NAMED]
        for match in Match:
            folder = write(tmp_path / match, rows, match)
            for name, count in (("kyverno", 1), ("policyreport", 1), ("admission", 2)):
                done = fleet.kubectl(*checked, str(folder / f"{name}.yaml"))
                assert done.count("(server dry run)") == count
        text = (folder / "kyverno.yaml").read_text()
        (tmp_path / "wrong.yaml").write_text(text.replace("preconditions:", "precondition:"))
        with pytest.raises(SandboxError, match="precondition"):
            fleet.kubectl(*checked, str(tmp_path / "wrong.yaml"))
    finally:
        fleet.kubectl("delete", *named)
