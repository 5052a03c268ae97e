"""What `gotax fleet remedies` makes of findings: grouping, order, hostile texts, each format."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

pytest.importorskip("yaml", reason="the extra [lint] is not installed")
pytest.importorskip("gotax_collector.query.remedies", reason="[collector] is not installed")

import yaml
from gotax.diagnosis.patches import Setting as AgentsSetting
from gotax.diagnosis.patches import kubernetes_patch
from gotax.process import PodContainer, Workload
from gotax_collector.query.remedies import Wanted
from gotax_collector.remedies.folder import Choice, files, one_format
from gotax_collector.remedies.owners import Owners, OwnersError, parse_owners
from gotax_collector.remedies.plan import Plan, PlanError, plan
from gotax_collector.remedies.policies import Match, object_name, repository, spellings
from gotax_collector.remedies.setting import Setting, parse_setting
from gotax_collector.remedies.spreadsheet import cell, spreadsheet
from gotax_collector.remedies.summary import summary
from gotax_collector.remedies.yamltext import dumped, parse_small

GOLDEN = Path(__file__).parents[2] / "golden" / "remedies"
CHOICE = Choice(Match.WORKLOAD, "v1beta1")
FROM_LIMIT = AgentsSetting("GOMAXPROCS", None)


def patch_of(
    setting: AgentsSetting = FROM_LIMIT,
    kind: str = "Deployment",
    container: str = "app",
    part: str = "container",
    replaces: bool = True,
) -> str:
    """As an agent writes it."""
    pod = PodContainer(
        namespace="shop",
        pod="web-1",
        container=container,
        pod_uid="1",
        node="n1",
        image="",
        kind=part,
        workload=Workload(kind, "web"),
    )
    return kubernetes_patch(setting, replaces, pod)


ROW = Wanted(
    namespace="shop",
    kind="Deployment",
    workload="web",
    container="app",
    code="GT001",
    severity="warning",
    confidence="high",
    cause="go.mod",
    title="GOMAXPROCS is above the CPU limit, and this costs CPU for it",
    remedy="Set GOMAXPROCS to 2 in the environment.",
    patches=("go 1.25.0\n", patch_of()),
    containers=3,
    nodes=2,
    images=("registry.example:5000/shop/web:1.2",),
    gomaxprocs=(64, 192),
    cpus=(64, 192),
    limit_cores=(2.0, 2.0),
    origins=("cpu-count",),
    saving_cores=(0.1, 0.2, 0.4),
)
NUMBER = replace(
    ROW,
    kind="StatefulSet",
    workload="db",
    limit_cores=(0.0, 0.0),
    patches=(patch_of(AgentsSetting("GOMAXPROCS", "8"), "StatefulSet"),),
    code="GT003",
)
MEMORY = replace(
    ROW,
    code="GT016",
    patches=(patch_of(AgentsSetting("GOMEMLIMIT", "900MiB", "1008Mi")),),
    saving_cores=None,
)
CRON = replace(
    *(ROW,),
    namespace="batch",
    kind="CronJob",
    workload="nightly",
    patches=(patch_of(kind="CronJob"),),
    images=("docker.io/library/nightly@sha256:" + "0" * 64,),
    origins=("environment",),
)
UNIT = replace(
    ROW, namespace="", kind="Unit", workload="api.service", patches=("[Service]\n",), container="x"
)


def planned(*rows: Wanted, owners: Owners | None = None, everything: bool = False) -> Plan:
    document = {"until": 1_795_942_860, "silent": 0, "is_cut": False}
    answer = json.loads(json.dumps({**document, "rows": [asdict(row) for row in rows]}))
    return plan(answer, owners or Owners(), everything)


def written(found: Plan, choice: Choice = CHOICE) -> dict[str, str]:
    return dict(files(found, choice))


# What an agent may ask for


@pytest.mark.parametrize("part", ["container", "init", "sidecar"])
@pytest.mark.parametrize("kind", ["Deployment", "CronJob", "Pod"])
@pytest.mark.parametrize("replaces", [True, False])
@pytest.mark.parametrize(
    "setting",
    [
        FROM_LIMIT,
        AgentsSetting("GOMAXPROCS", "8"),
        AgentsSetting("GOGC", "200"),
        AgentsSetting("GOMEMLIMIT", "900MiB"),
        AgentsSetting("GOMEMLIMIT", "900MiB", "1008Mi"),
    ],
    ids=str,
)
def test_every_patch_of_an_agent_is_understood(
    setting: AgentsSetting, replaces: bool, kind: str, part: str
) -> None:
    found = parse_setting(patch_of(setting, kind, "app", part, replaces), "app")
    assert found == Setting(
        setting.name, setting.value, setting.memory_limit, part != "container", replaces
    )


def changed(**item: object) -> str:
    """A patch of one container with other fields."""
    container = {"name": "app", "env": [{"name": "GOMAXPROCS", "value": "2"}], **item}
    return dumped({"spec": {"template": {"spec": {"containers": [container]}}}})


HOSTILE = {
    "privileged": changed(securityContext={"privileged": True}),
    "image": changed(image="evil"),
    "another variable": changed(env=[{"name": "LD_PRELOAD", "value": "/evil.so"}]),
    "a second variable": changed(
        env=[{"name": "GOMAXPROCS", "value": "2"}, {"name": "LD_PRELOAD", "value": "x"}]
    ),
    "not a number": changed(env=[{"name": "GOMAXPROCS", "value": "$(reboot)"}]),
    "zero": changed(env=[{"name": "GOMAXPROCS", "value": "0"}]),
    "no text": changed(env=[{"name": "GOMAXPROCS", "value": 2}]),
    "a secret": changed(
        env=[{"name": "GOMAXPROCS", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    ),
    "memory from the limit": changed(
        env=[
            {
                "name": "GOMEMLIMIT",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}},
            }
        ]
    ),
    "both forms": changed(
        env=[
            {
                "name": "GOMAXPROCS",
                "value": "2",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}},
            }
        ]
    ),
    "a limit of CPU": changed(resources={"limits": {"cpu": "64"}}),
    "requests too": changed(resources={"limits": {"memory": "1Gi"}, "requests": {"cpu": "64"}}),
    "another container": changed(name="proxy"),
    "two containers": "spec: {containers: [{name: app, env: [{name: GOGC, value: '9'}]}, {}]}",
    "beside the pod": "spec: {replicas: 0, template: {spec: {}}}",
    "an alias": "spec: &a {template: {spec: *a}}",
    "a tag": "spec: !!python/object/apply:os.system ['reboot']",
    "deep": "spec: " + "[" * 2000,
    "two documents": "spec: {}\n---\nspec: {}\n",
    "long": "# " + "x" * 4096 + "\n" + patch_of(),
    "go.mod": "go 1.25.0\n",
    "systemd": "[Service]\nEnvironment=GOMAXPROCS=1\n",
    "nothing": "",
}


@pytest.mark.parametrize("patch", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_else_is_understood(patch: str) -> None:
    """An agent, or someone with its token, must not write what a user applies in bulk."""
    assert parse_setting(patch, "app") is None
    (workload,) = planned(replace(ROW, patches=(patch,))).workloads
    assert not workload.changes
    assert [why for _, why in workload.by_hand] == [
        "its remedy is not a variable of Go in the pod template"
    ]


@pytest.mark.parametrize(
    "names",
    [
        {"namespace": ".."},
        {"namespace": "a.b"},
        {"workload": ".."},
        {"workload": "-o"},
        {"workload": "a:b"},
        {"workload": "x" * 254},
        {"kind": "..", "patches": ROW.patches},
    ],
    ids=str,
)
def test_no_name_leaves_its_folder(names: Mapping[str, Any]) -> None:
    """The wire allows dots and colons in names."""
    found = planned(replace(ROW, **names))
    assert not any(workload.changes for workload in found.workloads)
    for path in written(found):
        assert not PurePosixPath(path).is_absolute()
        assert ".." not in PurePosixPath(path).parts
    text = "".join(text for path, text in written(found).items() if path.endswith(".sh"))
    assert text == ""


def test_a_long_name_is_still_a_file() -> None:
    for path in written(planned(replace(ROW, workload="x" * 253))):
        assert len(PurePosixPath(path).name.encode()) < 256


# What is decided


def test_never_from_the_limit_where_there_is_none() -> None:
    """The downward API would give the CPUs of the node."""
    (workload,) = planned(replace(ROW, limit_cores=(0.0, 2.0))).workloads
    assert not workload.changes
    assert workload.by_hand[0][1] == "it has no CPU limit from which the value could come"
    (workload,) = planned(NUMBER).workloads
    assert [str(change.setting) for change in workload.changes] == ["GOMAXPROCS=8"]
    assert not workload.from_limit


@pytest.mark.parametrize(
    ("variable", "values", "chosen"),
    [
        ("GOMAXPROCS", ("8", "16", "12"), "16"),
        ("GOMEMLIMIT", ("900MiB", "1GiB", "950MiB"), "1GiB"),
        ("GOGC", ("400", "200", "300"), "200"),
    ],
)
def test_of_several_values_the_safest(variable: str, values: tuple[str, ...], chosen: str) -> None:
    rows = [
        replace(ROW, patches=(patch_of(AgentsSetting(variable, value)),), limit_cores=(0.0, 0.0))
        for value in values
    ]
    for order in (rows, rows[::-1]):
        (workload,) = planned(*order).workloads
        (change,) = workload.changes
        assert change.setting.value == chosen
        assert change.note.startswith("Its containers would get different values: ")
        assert len(change.findings) == 3


def test_the_limit_comes_before_a_number_and_warnings_before_information() -> None:
    number = replace(ROW, code="GT007", patches=(patch_of(AgentsSetting("GOMAXPROCS", "9")),))
    (workload,) = planned(number, ROW).workloads
    assert workload.changes[0].setting.is_from_limit
    information = replace(ROW, code="GT005", severity="info")
    (workload,) = planned(information, number, everything=True).workloads
    assert workload.changes[0].setting.value == "9"
    assert not planned(information).workloads


def test_a_saving_counts_once() -> None:
    """GT001 and GT007 of one container carry the same prediction; containers add up."""
    throttled = replace(ROW, code="GT007", title="throttled")
    other_nodes = replace(ROW, confidence="medium")
    (workload,) = planned(ROW, throttled, other_nodes).workloads
    assert workload.saving_cores == pytest.approx((0.2, 0.4, 0.8))
    assert "predicted to save 0.40 cores (0.20 to 0.80)" in summary(
        planned(ROW, other_nodes), False
    )


def test_a_workload_that_cannot_be_patched_is_told() -> None:
    (workload,) = planned(replace(ROW, kind="Pod", patches=(patch_of(kind="Pod"),))).workloads
    assert workload.changes
    assert not workload.is_patched
    assert "a Pod cannot be changed" in summary(planned(replace(ROW, kind="Pod")), False)
    assert list(written(planned(replace(ROW, kind="Rollout")))) == [
        "remedies.csv",
        "shop/policyreport.yaml",
    ]


# Owners


OBJECTS = {
    "kind": "List",
    "items": [
        {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "checkout"}}},
        {
            "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": "shop", "labels": {"team": "storage"}},
        },
        {"kind": "Namespace", "metadata": {"name": "batch", "labels": {"team": "../../etc"}}},
        {"kind": "Namespace", "metadata": {"name": "other"}},
    ],
}


def test_owners_by_namespace_and_by_label() -> None:
    rows = (ROW, NUMBER, CRON, UNIT)
    assert list(planned(*rows).groups) == ["", "batch", "shop"]
    owners = parse_owners("team", json.dumps(OBJECTS))
    found = planned(*rows, owners=owners)
    assert {w.name: w.owner for w in found.workloads} == {
        "web": "checkout",
        "db": "storage",
        "nightly": "unlabelled",
        "api.service": "unlabelled",
    }


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "List"}', '{"kind": 1, "items": []}'])
def test_other_objects_are_one_sentence(text: str) -> None:
    with pytest.raises(OwnersError, match="--objects is not what `kubectl get"):
        parse_owners("team", text)


def test_an_older_collector_is_one_sentence() -> None:
    with pytest.raises(PlanError, match="it may be older than this gotax"):
        plan({"rows": [{"namespace": "shop"}]}, Owners(), False)


# Formats


ALL = (ROW, MEMORY, NUMBER, CRON, UNIT)


def test_the_folder_is_as_it_was(request: pytest.FixtureRequest) -> None:
    """Every file of every format: a change of them is a change for those who apply them."""
    found = written(planned(*ALL))
    found["summary.txt"] = summary(planned(*ALL), False) + "\n"
    found |= {
        f"image/{path}": text
        for path, text in written(planned(ROW, CRON), Choice(Match.IMAGE, "v1")).items()
        if path.endswith(("kyverno.yaml", "admission.yaml"))
    }
    if request.config.getoption("--update-golden"):
        for path, text in found.items():
            (GOLDEN / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / path).write_bytes(text.encode())
    golden = {
        str(path.relative_to(GOLDEN)): path.read_bytes().decode()
        for path in GOLDEN.rglob("*")
        if path.is_file()
    }
    assert found == golden


def test_the_order_of_the_answer_does_not_matter() -> None:
    assert written(planned(*ALL)) == written(planned(*ALL[::-1]))


@pytest.mark.parametrize("name", ["patches", "kyverno", "admission", "policyreport"])
def test_one_stream_has_all_documents(name: str) -> None:
    found = planned(*ALL)
    streamed = list(filter(None, yaml.safe_load_all(one_format(found, name, CHOICE))))
    apart = [
        document
        for path, text in written(found).items()
        if (name == "patches" and "/patches/" in path) or path.endswith(f"/{name}.yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]
    assert streamed == apart
    assert streamed


def test_policies_name_only_what_takes_the_limit() -> None:
    """db has no limit, and GOMEMLIMIT is no policy's."""
    shop = (
        written(planned(*ALL))["shop/admission.yaml"] + written(planned(*ALL))["shop/kyverno.yaml"]
    )
    assert "shop/Deployment/web" in shop
    assert "db" not in shop
    assert "GOMEMLIMIT" not in shop
    assert not [path for path in written(planned(NUMBER)) if "admission" in path]


def test_the_script_names_each_patch_once() -> None:
    found = written(planned(*ALL))
    lines = [shlex.split(line) for line in found["shop/apply.sh"].splitlines() if "kubectl" in line]
    names = [line[3] for line in lines if line[0] == "kubectl"]
    assert names == [p.removeprefix("shop/") for p in found if p.startswith("shop/patches/")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("-0.125", "-0.125"),
        ("web", "web"),
    ],
)
def test_no_cell_is_a_formula(text: str, shown: str) -> None:
    assert cell(text) == shown
    found = spreadsheet(planned(replace(ROW, title=text, remedy=text, images=(text,))))
    (line,) = csv.DictReader(io.StringIO(found, newline=""))
    assert {line["title"], line["remedy"], line["images"]} == {shown}


@pytest.mark.parametrize(
    "name", ["1e3", "null", "on", "y", "0x10", "1_000", "2026-11-29", "a: b", "é\u202e", "- x", "~"]
)
def test_texts_stay_texts(name: str) -> None:
    """1e3 is a number for kubectl, and a text for PyYAML."""
    text = dumped({"name": name})
    assert parse_small(text) == {"name": name}
    assert text.startswith('name: "')
    assert text.isascii()


def test_hostile_texts_do_not_leave_their_line() -> None:
    title = "x\n# kubectl delete\x1b[2J\u202e"
    found = planned(replace(ROW, title=title, remedy=title, container="app", kind="Rollout\x1b["))
    assert "\x1b" not in summary(found, False)
    report = written(found)["shop/policyreport.yaml"]
    (document,) = yaml.safe_load_all(report)
    assert document["results"][0]["message"] == f"{title}. {title}"
    assert "\x1b" not in report


# Names


def test_names_of_policies_are_different_and_allowed() -> None:
    owners = ["shop", "Shop", "a_b", "a-b", "a.b", "x" * 63, "x" * 62 + "y"]
    names = [object_name(owner) for owner in owners]
    assert len(set(names)) == len(names)
    assert all(len(n) <= 63 and n == n.lower() and "_" not in n and "." not in n for n in names)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("web", "web"),
        ("web:1", "web"),
        ("r.example:5000/shop/web:1@sha256:0", "r.example:5000/shop/web"),
        ("r.example:5000/shop/web", "r.example:5000/shop/web"),
        ("sha256:0123", "sha256"),
        ("'] || true || ['", ""),
        ("", ""),
    ],
)
def test_an_image_without_its_version(image: str, name: str) -> None:
    assert repository(image) == name


def test_the_spellings_of_an_image() -> None:
    found = spellings(["docker.io/library/web", "docker.io/shop/web", "ghcr.io/a", "localhost/a"])
    assert spellings(["web", "shop/web", "ghcr.io/a", "localhost/a"]) == found
    assert found == [
        "docker.io/library/web",
        "docker.io/shop/web",
        "ghcr.io/a",
        "library/web",
        "localhost/a",
        "shop/web",
        "web",
    ]
