"""Patches that work at the first try, for every manager of containers."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from gotax.diagnosis.patches import (
    Setting,
    application,
    kubernetes_patch,
    setting_patch,
    variable_patch,
)
from gotax.kubernetes.pods import parse_pod
from gotax.process import Container, CpuLimit, CpuResources, PodContainer, Workload
from hypothesis import given
from hypothesis import strategies as st

ID = "a" * 64
POD = PodContainer(
    "shop",
    "web-5d-x2",
    "web",
    "uid",
    "n1",
    "shop/web:1",
    "container",
    Workload("Deployment", "web"),
)
KUBECTL = shutil.which("kubectl")
FROM_LIMIT, ONE = Setting("GOMAXPROCS", None), Setting("GOMAXPROCS", "1")
BY_LIMIT = {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}


def to_set(value: int | None) -> Setting:
    return Setting("GOMAXPROCS", None if value is None else str(value))


def container(pod: PodContainer) -> Container:
    return Container(ID, pod.path, "/kubepods/x", ID, "uid", pod=pod)


def limited(cores: float) -> CpuLimit:
    return CpuLimit(cores, "/kubepods/x", cores)


def env(document: Any, *path: str) -> Any:
    for name in path:
        document = document[name]
    (found,) = document
    assert found["env"][0]["name"] == "GOMAXPROCS"
    return found["name"], {k: v for k, v in found["env"][0].items() if k != "name"}


@pytest.mark.parametrize(
    ("cores", "fits", "expected"),
    [
        (1.0, 1, BY_LIMIT),
        (0.5, 1, BY_LIMIT),
        (1.5, 2, BY_LIMIT),
        (2.0, 2, BY_LIMIT),
        (1.5, 1, "1"),  # rounded down on purpose: the downward API would give 2
    ],
)
def test_the_value_comes_from_the_limit_if_that_gives_it(
    cores: float, fits: int, expected: object
) -> None:
    """With divisor 1 the downward API rounds up: 1 for 500m, 2 for 1500m."""
    pod = replace(POD, current=CpuResources(None, cores))
    patch = variable_patch(container(pod), limited(cores), fits, may_be_set=False).text
    _, found = env(yaml.safe_load(patch), "spec", "template", "spec", "containers")
    assert found == ({"valueFrom": expected} if isinstance(expected, dict) else {"value": expected})


def test_a_limit_above_the_container_is_written_as_a_number() -> None:
    """The downward API has only the container's own limit."""
    above = CpuLimit(1.0, "/kubepods", None)
    patch = variable_patch(container(POD), above, 1, may_be_set=False).text
    assert env(yaml.safe_load(patch), "spec", "template", "spec", "containers") == (
        "web",
        {"value": "1"},
    )


@pytest.mark.parametrize(
    ("kind", "path", "says"),
    [
        ("Deployment", "spec template spec", "kubectl -n shop patch deployment web --patch-file"),
        ("StatefulSet", "spec template spec", "kubectl -n shop patch statefulset web"),
        ("DaemonSet", "spec template spec", "kubectl -n shop patch daemonset web"),
        ("CronJob", "spec jobTemplate spec template spec", "kubectl -n shop patch cronjob web"),
        ("ReplicaSet", "spec template spec", "patch replicaset web --patch-file FILE, then delete"),
        ("ReplicationController", "spec template spec", "then delete its pods"),
        ("Job", "spec template spec", "cannot be changed"),
        ("Pod", "spec", "cannot be changed"),
        ("StaticPod", "spec", "put this into the manifest of web on node n1"),
        ("Rollout", "spec template spec", "Rollout/web does not accept such a patch"),
    ],
)
def test_the_patch_fits_the_workload(kind: str, path: str, says: str) -> None:
    """Its first line says how to apply it."""
    pod = replace(POD, workload=Workload(kind, "web"))
    patch = kubernetes_patch(ONE, False, pod)
    assert env(yaml.safe_load(patch), *path.split(), "containers") == ("web", {"value": "1"})
    assert says in patch.splitlines()[0]
    assert patch.startswith("# ")


@pytest.mark.parametrize("kind", ["init", "sidecar"])
def test_init_containers_have_a_list_of_their_own(kind: str) -> None:
    """A sidecar is one of them."""
    patch = kubernetes_patch(FROM_LIMIT, False, replace(POD, kind=kind))
    found = yaml.safe_load(patch)
    assert env(found, "spec", "template", "spec", "initContainers")[0] == "web"


NAMES = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=12)


@given(NAMES | st.sampled_from(["1e3", "on", "null", "12", "0x1", "a: b", "n", "-"]))
def test_any_name_stays_text(name: str) -> None:
    """YAML would read some names as a number or as null."""
    pod = replace(POD, container=name, namespace=name, workload=Workload("Deployment", name))
    found = yaml.safe_load(kubernetes_patch(ONE, False, pod))
    assert env(found, "spec", "template", "spec", "containers") == (name, {"value": "1"})
    assert "\n" not in application(pod)


def deployment(*variables: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": "web"}
    containers = [
        {"name": "proxy", "image": "proxy", "env": [{"name": "GOMAXPROCS", "value": "7"}]},
        {"name": "web", "image": "web", "env": list(variables)},
    ]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }


def patched(tmp_path: Path, target: dict[str, Any], patch: str) -> list[dict[str, Any]]:
    """The result of the patch, as on the API server."""
    assert KUBECTL is not None
    (tmp_path / "target.json").write_text(json.dumps(target))
    (tmp_path / "patch.yaml").write_text(patch)
    done = subprocess.run(
        [
            *(KUBECTL, "patch", "--local", "-o", "json"),
            *("-f", str(tmp_path / "target.json"), "--patch-file", str(tmp_path / "patch.yaml")),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"KUBECONFIG": "/nonexistent", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    spec = json.loads(done.stdout)["spec"]
    found: list[dict[str, Any]] = spec["template"]["spec"]["containers"]
    return found


@pytest.mark.skipif(KUBECTL is None, reason="kubectl not found; tests/e2e patches a real cluster")
@pytest.mark.parametrize(
    ("value", "before", "after"),
    [
        (None, [], {"valueFrom": BY_LIMIT}),
        (2, [], {"value": "2"}),
        (None, [{"name": "GOMAXPROCS", "value": "192"}], {"valueFrom": BY_LIMIT}),
        (2, [{"name": "GOMAXPROCS", "valueFrom": BY_LIMIT}], {"value": "2"}),
        (2, [{"name": "GOMAXPROCS", "value": "192"}], {"value": "2"}),
    ],
)
def test_kubectl_applies_it(
    tmp_path: Path, value: int | None, before: list[dict[str, Any]], after: dict[str, Any]
) -> None:
    """The variable is set or replaced, in either form; everything else is kept."""
    other = {"name": "HOME", "value": "/"}
    patch = kubernetes_patch(to_set(value), bool(before), POD)
    proxy, web = patched(tmp_path, deployment(other, *before), patch)
    assert proxy["env"] == [{"name": "GOMAXPROCS", "value": "7"}]
    assert other in web["env"]
    (found,) = [v for v in web["env"] if v["name"] == "GOMAXPROCS"]
    assert {k: v for k, v in found.items() if k != "name"} == after


def test_from_the_api_servers_pod_to_the_patch() -> None:
    """The names in the patch are those of the pod in the watch."""
    pod = {
        "metadata": {
            "name": "web-5d89bdfbf9-x2x5v",
            "namespace": "shop",
            "uid": "1",
            "labels": {"pod-template-hash": "5d89bdfbf9"},
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": "web-5d89bdfbf9", "controller": True}
            ],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "api"}]},
        "status": {"containerStatuses": [{"name": "api", "containerID": f"containerd://{ID}"}]},
    }
    patch = kubernetes_patch(FROM_LIMIT, True, parse_pod(pod)[ID])
    assert patch.startswith("# kubectl -n shop patch deployment web --patch-file FILE\n")
    assert "      - name: api\n" in patch


def test_a_part_of_a_container_gets_no_patch_of_the_container() -> None:
    """Docker in a pod, Garden below its service: a variable of the pod or unit does not reach it,
    and the downward API would give the limit of the pod's container."""
    part = replace(container(POD), nested="docker/" + "b" * 64)
    assert variable_patch(part, limited(0.5), 1).text == "GOMAXPROCS=1\n"
    unit = Container("/g.service/8", "g.service/8", "/g.service/8", unit="g.service", nested="8")
    assert variable_patch(unit, limited(0.5), 1).text == "GOMAXPROCS=1\n"


@pytest.mark.parametrize("memory", ["", "400Mi"])
def test_another_variable_in_a_pod(memory: str) -> None:
    """It may be there already, in the other form; a new memory limit comes with it."""
    patch = setting_patch(container(POD), Setting("GOMEMLIMIT", "355MiB", memory))
    (found,) = yaml.safe_load(patch)["spec"]["template"]["spec"]["containers"]
    limits = {"resources": {"limits": {"memory": memory}}} if memory else {}
    variable = {"name": "GOMEMLIMIT", "value": "355MiB", "valueFrom": None}
    assert found == {"name": "web", "env": [variable]} | limits


@pytest.mark.parametrize(("memory", "added"), [("", []), ("400Mi", ["MemoryMax=400M"])])
def test_another_variable_in_a_drop_in(memory: str, added: list[str]) -> None:
    """systemd's M is 1024 * 1024, as the Mi of Kubernetes. An EnvironmentFile may set it, too."""
    unit = Container("/a.service", "a", "/a.service", unit="a.service")
    patch = setting_patch(unit, Setting("GOMEMLIMIT", "355MiB", memory))
    lines = [line for line in patch.splitlines() if not line.startswith("#")]
    assert lines == ["[Service]", "Environment=GOMEMLIMIT=355MiB", *added]
    assert "EnvironmentFile= with GOMEMLIMIT" in patch


@pytest.mark.parametrize(
    "outside", [Container("c", "a", "/c"), replace(container(POD), nested="docker/x")]
)
def test_another_variable_elsewhere(outside: Container) -> None:
    """A part of a pod's container does not have the variables of the pod."""
    assert setting_patch(outside, Setting("GOGC", "200")) == "GOGC=200\n"


# Outside Kubernetes: each form is parsed as by its tool


def of(**changes: Any) -> Container:
    return replace(Container("k", "web", "/web"), **changes)


DOCKER = of(cgroup=f"/docker/{ID}", container_id=ID, runtime="docker")
FORMS = {
    "a bare cgroup": (of(), "shell"),
    "docker": (DOCKER, "docker run"),
    "docker under systemd": (
        of(cgroup=f"/system.slice/docker-{ID}.scope", container_id=ID, runtime="docker"),
        "docker run",
    ),
    "podman": (of(cgroup=f"/x/libpod-{ID}.scope", container_id=ID, runtime="podman"), "podman run"),
    "nerdctl": (of(cgroup=f"/k8s.io/{ID}", container_id=ID, runtime="containerd"), "nerdctl run"),
    "an unknown engine": (of(cgroup=f"/x/{ID}", container_id=ID), "-e"),
    "podman without privileges": (of(cgroup="/x/libpod", runtime="podman"), "podman run"),
    "a Quadlet": (
        of(
            cgroup=f"/system.slice/web.service/libpod-payload-{ID}",
            container_id=ID,
            runtime="podman",
            unit="web.service",
        ),
        "quadlet",
    ),
    "a service": (of(cgroup="/system.slice/web.service", unit="web.service"), "system"),
    "an instance": (of(cgroup="/system.slice/w@1.service", unit="w@1.service"), "system"),
    "a service that cpu does not know": (of(cgroup="/", unit="web.service"), "system"),
    "a user's service": (
        of(
            cgroup="/user.slice/user-1.slice/user@1.service/app.slice/web.service",
            unit="web.service",
        ),
        "user",
    ),
    "a user's service that cpu does not know": (
        of(
            key="/user.slice/user-1.slice/user@1.service/app.slice/web.service",
            cgroup="/",
            unit="web.service",
        ),
        "user",
    ),
    "below a service": (of(cgroup="/system.slice/g.service/c1", unit="g.service"), "shell"),
    "a session": (of(cgroup="/user.slice/session-1.scope", unit="session-1.scope"), "shell"),
    "Slurm's steps": (
        of(cgroup="/system.slice/slurmstepd.scope/job_1", unit="slurmstepd.scope"),
        "shell",
    ),
    "the system's manager": (of(cgroup="/init.scope", unit="init.scope"), "shell"),
    "a user's manager": (of(cgroup="/u/user@1.service", unit="user@1.service"), "shell"),
    "systemd-run": (
        of(cgroup="/system.slice/run-u7.service", unit="run-u7.service"),
        "systemd-run",
    ),
    "systemd-run --scope": (
        of(
            cgroup="/system.slice/run-r" + "0a" * 16 + ".scope", unit="run-r" + "0a" * 16 + ".scope"
        ),
        "systemd-run --scope",
    ),
}


def variables_of(patch: str, form: str) -> dict[str, str]:
    """The environment of the program after the patch has been applied."""
    lines = [line for line in patch.splitlines() if not line.startswith("#")]
    if form in ("system", "user", "quadlet"):
        assert lines[0] == ("[Container]" if form == "quadlet" else "[Service]")
        keys = [line.partition("=") for line in lines[1:]]
        assert {key for key, _, _ in keys} == {"Environment"}
        lines = [value for _, _, value in keys]
    else:
        assert len(lines) == 1
        option = "-E" if form.startswith("systemd-run") else "-e"
        prefix = "" if form == "shell" else "-e " if form == "-e" else f"{form} {option} "
        assert lines[0].startswith(prefix)
        lines = [lines[0].removeprefix(prefix)]
    return dict(shlex.split(line)[0].split("=", 1) for line in lines)


@pytest.mark.parametrize("name", FORMS)
def test_each_form_sets_the_variable_at_the_start_of_the_program(name: str) -> None:
    """And changes nothing else; a drop-in only if the unit itself starts the program."""
    container, form = FORMS[name]
    found = variable_patch(container, CpuLimit(1.0, container.cgroup, 1.0), 3)
    assert not found.from_limit
    patch = found.text
    assert (patch == "GOMAXPROCS=3\n") is (name.endswith("manager") or name == "a bare cgroup")
    assert variables_of(patch, form) == {"GOMAXPROCS": "3"}
    assert ("[Service]" in patch) is (form in ("system", "user"))
    assert ("systemctl --user" in patch) is (form == "user")
    folder = {"system": "/etc/systemd/system/", "user": "~/.config/systemd/user/"}
    if form in folder:
        assert f"# {folder[form]}{container.unit}.d/gomaxprocs.conf" in patch


def test_an_environment_file_is_mentioned_only_if_it_may_set_the_variable() -> None:
    """systemd.exec(5): it overrides Environment=, whichever file that is in."""
    container, _ = FORMS["a service"]
    texts = [
        variable_patch(container, CpuLimit(), 3, may_be_set).text for may_be_set in (True, False)
    ]
    assert ["EnvironmentFile" in text for text in texts] == [True, False]


ANALYZE = shutil.which("systemd-analyze")


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze not found")
def test_systemd_accepts_the_drop_in(tmp_path: Path) -> None:
    """systemd's own parser reports nothing for it, and one error for a misspelt section."""
    container, _ = FORMS["a service"]
    (tmp_path / "web.service").write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n")
    folder = tmp_path / "web.service.d"
    folder.mkdir()
    patch = variable_patch(container, CpuLimit(), 3).text

    def verified(text: str) -> str:
        (folder / "gomaxprocs.conf").write_text(text)
        assert ANALYZE is not None
        done = subprocess.run(
            [ANALYZE, "verify", "--man=no", str(tmp_path / "web.service")],
            capture_output=True,
            text=True,
            check=False,
            env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/bin:/usr/bin"},
        )
        return "".join(x for x in done.stderr.splitlines(True) if "gomaxprocs.conf" in x)

    assert verified(patch) == ""
    assert "Srvice" in verified(patch.replace("Service", "Srvice"))


# In Kubernetes: the number, or the limit if the kubelet's rule gives the same number


def given_by_kubelet(limit_cores: float | None, node_cpus: int = 64) -> int:
    """limits.cpu with a divisor of 1 (pkg/api/v1/resource ExtractContainerResourceValue): rounded
    up; without a limit the node's allocatable CPUs."""
    return node_cpus if limit_cores is None else math.ceil(limit_cores)


CONTAINER = f"/kubepods/pod1/{ID}"
PLACES = {
    "its own limit": (CONTAINER, CpuLimit(1.5, CONTAINER, 1.5), 1.5, 2),
    "a cpuset below its limit": (CONTAINER, CpuLimit(4.0, CONTAINER, 4.0, 1), 4.0, 1),
    "no limit": (CONTAINER, CpuLimit(), None, 2),
    "the pod's limit": (CONTAINER, CpuLimit(2.0, "/kubepods/pod1", None), None, 2),
    "the pod's limit below its own": (CONTAINER, CpuLimit(2.0, "/kubepods/pod1", 4.0), 4.0, 2),
    "a limit that Kubernetes did not set": (CONTAINER, CpuLimit(2.0, CONTAINER, 2.0), None, 2),
    "a cgroup below the container's": (f"{CONTAINER}/app", CpuLimit(2.0, CONTAINER, None), 2.0, 2),
    "a limit below the container's": (
        f"{CONTAINER}/app",
        CpuLimit(2.0, f"{CONTAINER}/app", 2.0),
        4.0,
        2,
    ),
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("is_named", [True, False])
def test_the_pod_gets_the_recommended_number(name: str, is_named: bool) -> None:
    """For any limit in the manifest, by the kubelet's arithmetic."""
    cgroup, limit, in_manifest, fits = PLACES[name]
    if not is_named and name == "a limit that Kubernetes did not set":
        pytest.skip("without the names of fields, the owner of the variable is unknown")
    pod = replace(POD, current=CpuResources(None, in_manifest)) if is_named else None
    found = variable_patch(Container(ID, "web", cgroup, ID, "uid", pod=pod), limit, fits)
    spec = yaml.safe_load(found.text)["spec"]["template"]["spec"]
    (variable,) = spec["containers"][0]["env"]
    if found.from_limit:
        assert variable["valueFrom"] == BY_LIMIT
        assert given_by_kubelet(in_manifest) == fits
        assert "both change together" in found.note
    else:
        assert variable["value"] == str(fits)
        assert "has to be a number" in found.note
    assert found.from_limit is (name in ("its own limit", "a cgroup below the container's"))


@pytest.mark.parametrize("word", ["null", "true", "false", "yes", "no", "on", "off", "y", "n"])
def test_words_of_yaml_are_quoted(word: str) -> None:
    """YAML 1.1 has some for a truth, and nothing for another; a plain name is not quoted."""
    pod = replace(POD, container=word)
    assert f'- name: "{word}"\n' in kubernetes_patch(ONE, False, pod)
    assert f"- name: {word}-1\n" in kubernetes_patch(
        ONE, False, replace(POD, container=f"{word}-1")
    )


@pytest.mark.parametrize("replaces", [True, False])
@pytest.mark.parametrize("value", [3, None])
def test_the_other_form_of_the_variable_is_deleted(value: int | None, replaces: bool) -> None:
    """Where it may exist: Kubernetes refuses both."""
    patch = kubernetes_patch(to_set(value), replaces, POD)
    _, found = env(yaml.safe_load(patch), "spec", "template", "spec", "containers")
    expected = {"valueFrom": BY_LIMIT} if value is None else {"value": "3"}
    deleted = {"value": None} if value is None else {"valueFrom": None}
    assert found == (expected | deleted if replaces else expected)


def test_a_patch_of_a_pod_without_a_name() -> None:
    """Of a Deployment, with a placeholder, and without a command."""
    patch = kubernetes_patch(ONE, False, None)
    found = env(yaml.safe_load(patch), "spec", "template", "spec", "containers")
    assert found == ("CONTAINER", {"value": "1"})
    assert "#" not in patch


def test_an_ephemeral_container_is_added_with_the_variable() -> None:
    """It cannot be changed."""
    text = application(replace(POD, kind="ephemeral"))
    assert text.startswith("an ephemeral container cannot be changed")
    assert application(POD).startswith("kubectl -n shop patch deployment web")


@pytest.mark.parametrize(
    ("current", "desired", "follows"),
    [(1.5, None, True), (None, 1.5, True), (1.5, 1.5, True), (None, None, False)],
)
def test_a_limit_that_kubernetes_is_setting_is_its_own(
    current: float | None, desired: float | None, follows: bool
) -> None:
    """While a resize is pending one of the two may be missing."""
    pod = replace(POD, current=CpuResources(None, current), desired=CpuResources(None, desired))
    assert variable_patch(container(pod), limited(1.5), 2).from_limit is follows


@pytest.mark.parametrize(
    ("cgroup", "limit", "follows", "note"),
    [
        (CONTAINER, CpuLimit(1.5, CONTAINER, 4.0), True, "both change together"),
        (f"{CONTAINER}/app", CpuLimit(1.5, CONTAINER, 4.0), True, "both change together"),
        (f"{CONTAINER}/app", CpuLimit(1.5, "/kubepods", 1.5), False, "no CPU limit of its own"),
        (CONTAINER, CpuLimit(1.5, "/kubepods", 1.5), True, "both change together"),
        (CONTAINER, CpuLimit(1.2, "/kubepods", 1.5), False, "would give 2."),
        (CONTAINER, CpuLimit(1.5, "/kubepods", 2.5), False, "limits.cpu of the downward API would"),
        (CONTAINER, CpuLimit(1.5, None, 1.5), True, "both change together"),
        ("/elsewhere", CpuLimit(1.5, "/kubepods", 1.5), True, "both change together"),
        ("/elsewhere", CpuLimit(1.5, "/kubepods", 3.0), False, "would give 3."),
    ],
)
def test_the_limit_of_the_container_is_found_in_its_cgroups(
    cgroup: str, limit: CpuLimit, follows: bool, note: str
) -> None:
    """By its ID in the path of the limit, or of its own cgroup; else that of the leaf counts."""
    found = variable_patch(Container(ID, "web", cgroup, ID, "uid"), limit, 2)
    assert found.from_limit is follows
    assert note in found.note


def test_without_an_id_the_limit_of_the_leaf_counts() -> None:
    """A pod whose container is not known."""
    pod = Container("k", "web", "/kubepods/pod1/x", None, "uid")
    assert variable_patch(pod, CpuLimit(1.5, "/kubepods/pod1/x", 1.5), 2).from_limit
    assert not variable_patch(pod, CpuLimit(1.5, "/kubepods/pod1", None), 2).from_limit


def test_a_unit_has_its_own_name_in_a_patch() -> None:
    """The last part of its path; where it may be set is told, if nothing else is known."""
    quadlet, _ = FORMS["a Quadlet"]
    text = variable_patch(replace(quadlet, unit="app.slice/web.service"), CpuLimit(), 3).text
    assert text.startswith("# in web.container (Quadlet)")
    assert "restart web.service;" in text
    service, _ = FORMS["a service"]
    text = variable_patch(replace(service, unit="app.slice/web.service"), CpuLimit(), 3).text
    assert text.startswith("# /etc/systemd/system/web.service.d/gomaxprocs.conf\n")
    assert "EnvironmentFile" in text
    engine = variable_patch(
        of(container_id=ID, runtime="docker", unit="web.service"), CpuLimit(), 3
    )
    assert engine.text.endswith("docker run -e GOMAXPROCS=3\n")
    podman = variable_patch(of(container_id=ID, runtime="podman"), CpuLimit(), 3)
    assert podman.text.endswith("podman run -e GOMAXPROCS=3\n")
