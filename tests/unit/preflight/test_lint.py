"""Contradictions in manifests: each code with its line, and manifests that agree."""

from __future__ import annotations

import textwrap

import pytest
from gotax.errors import ParseError
from gotax.preflight import yamltree
from gotax.preflight.forecast import Program
from gotax.preflight.linting import Known, Linted, lint, read_specs
from gotax.preflight.manifest import Source
from gotax.preflight.yamltree import MAX_BYTES, parse_documents
from gotax.process import GoBuild, Module


def deployment(env: str, resources: str = "{}", more: str = "") -> str:
    """The variables start at line 10; ``resources`` is line 9."""
    return (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec:\n"
        f"  template:\n    spec:\n      containers:\n      - name: app{more}\n"
        f"        resources: {resources}\n        env:\n"
        + textwrap.indent(textwrap.dedent(env).strip("\n"), " " * 8)
        + "\n"
    )


def linted(*texts: str, known: tuple[Known, ...] = ()) -> Linted:
    sources = [Source(f"{n}.yaml", text.encode()) for n, text in enumerate(texts)]
    return lint(sources, known, lambda spec: spec)


def codes(found: Linted) -> list[tuple[str, int | None]]:
    assert not found.unparsed
    return [(each.finding.code, each.place.line) for each in found.findings]


def value(name: str, text: str) -> str:
    return f"- name: {name}\n  value: {text}\n"


def resource(name: str, what: str, more: str = "") -> str:
    return f"- name: {name}\n  valueFrom:\n    resourceFieldRef:\n      resource: {what}\n{more}"


TWO = "{limits: {cpu: 2, memory: 1Gi}}"
CASES = {
    "above": (value("GOMAXPROCS", '"8"'), TWO, [("GL001", 12)]),
    "a little above": (value("GOMAXPROCS", '"5"'), "{limits: {cpu: 4}}", [("GL017", 12)]),
    "as Go rounds": (value("GOMAXPROCS", '"2"'), "{limits: {cpu: 500m}}", []),
    "three for a half": (value("GOMAXPROCS", '"3"'), "{limits: {cpu: 500m}}", [("GL001", 12)]),
    "equal": (value("GOMAXPROCS", '"2"'), TWO, []),
    "below": (value("GOMAXPROCS", '"1"'), TWO, [("GL006", 12)]),
    "fraction": (value("GOMAXPROCS", '"2"'), "{limits: {cpu: 1500m}}", [("GL007", 12)]),
    "fraction down": (value("GOMAXPROCS", '"2"'), "{limits: {cpu: 2.5}}", [("GL007", 12)]),
    "no limit, a number": (value("GOMAXPROCS", '"8"'), "{requests: {cpu: 1}}", []),
    "from the limit": (resource("GOMAXPROCS", "limits.cpu"), TWO, []),
    "divisor 1": (resource("GOMAXPROCS", "limits.cpu", '      divisor: "1"\n'), TWO, []),
    "divisor 0": (resource("GOMAXPROCS", "limits.cpu", "      divisor: 0\n"), TWO, []),
    "divisor 1m": (
        resource("GOMAXPROCS", "limits.cpu", "      divisor: 1m\n"),
        TWO,
        [("GL001", 14), ("GL003", 15)],
    ),
    "from no limit": (resource("GOMAXPROCS", "limits.cpu"), "{}", [("GL002", 14)]),
    "from no limit, memory only": (
        resource("GOMAXPROCS", "limits.cpu"),
        "{limits: {memory: 1Gi}}",
        [("GL002", 14)],
    ),
    "from the request": (resource("GOMAXPROCS", "requests.cpu"), "{requests: {cpu: 1}}", []),
    "from no request": (resource("GOMAXPROCS", "requests.cpu"), "{}", [("GL005", 14)]),
    "from memory": (resource("GOMAXPROCS", "limits.memory"), TWO, [("GL013", 14)]),
    "of another container": (
        resource("GOMAXPROCS", "limits.cpu", "      containerName: other\n"),
        TWO,
        [("GL004", 14)],
    ),
    "of itself": (resource("GOMAXPROCS", "limits.cpu", "      containerName: app\n"), TWO, []),
    **{
        f"not a number: {text}": (value("GOMAXPROCS", text), TWO, [("GL005", 12)])
        for text in ('"2.0"', "500m", '"0"', '"-1"', '""', '" 2"', "auto", '"99999999999"')
    },
    "memory with Kubernetes' unit": (value("GOMEMLIMIT", "512Mi"), TWO, [("GL008", 12)]),
    "memory of Go": (value("GOMEMLIMIT", "900MiB"), TWO, []),
    "memory off": (value("GOMEMLIMIT", '"off"'), TWO, []),
    "memory above": (value("GOMEMLIMIT", "2GiB"), TWO, [("GT018", 12)]),
    "memory equal": (resource("GOMEMLIMIT", "limits.memory"), TWO, [("GL010", 14)]),
    "memory, 95 %": (value("GOMEMLIMIT", '"1020054732"'), TWO, []),
    "memory, all of it": (value("GOMEMLIMIT", '"1073741824"'), TWO, [("GL010", 12)]),
    "memory, a byte above": (value("GOMEMLIMIT", '"1073741825"'), TWO, [("GT018", 12)]),
    "memory, a byte more": (value("GOMEMLIMIT", '"1020054733"'), TWO, [("GL010", 12)]),
    "memory without a limit": (value("GOMEMLIMIT", "2GiB"), "{}", []),
    "memory from no limit": (resource("GOMEMLIMIT", "limits.memory"), "{}", [("GL009", 14)]),
    "memory divisor": (
        resource("GOMEMLIMIT", "limits.memory", "      divisor: 1Mi\n"),
        TWO,
        [("GL003", 15)],
    ),
    "memory from cpu": (resource("GOMEMLIMIT", "limits.cpu"), TWO, [("GL013", 14)]),
    "GC off": (value("GOGC", '"off"'), TWO, [("GT019", 12)]),
    "GC -1": (value("GOGC", '"-1"'), TWO, [("GT019", 12)]),
    "GC off with a limit": (value("GOGC", '"off"') + value("GOMEMLIMIT", "500MiB"), TWO, []),
    "GC off, limit off": (
        value("GOGC", '"off"') + value("GOMEMLIMIT", '"off"'),
        TWO,
        [("GT019", 12)],
    ),
    "GC off, limit of a Secret": (
        value("GOGC", '"off"')
        + "- name: GOMEMLIMIT\n  valueFrom: {secretKeyRef: {name: s, key: k}}\n",
        TWO,
        [],
    ),
    "GC not a number": (value("GOGC", "50%"), TWO, [("GL012", 12)]),
    "GC a number": (value("GOGC", '"200"'), TWO, []),
    "twice": (value("GOMAXPROCS", '"1"') + value("GOMAXPROCS", '"2"'), TWO, [("GL014", 12)]),
    "no quantity": (value("GOGC", '"100"'), "{limits: {cpu: two}}", [("GL016", 9)]),
    "no quantity of a limit that is used": (
        resource("GOMAXPROCS", "limits.cpu"),
        "{limits: {cpu: two}}",
        [("GL016", 9)],
    ),
    "a reference": (value("N", '"8"') + value("GOMAXPROCS", "$(N)"), TWO, [("GL001", 14)]),
    "an escaped reference": (value("GOMAXPROCS", "$$(N)"), TWO, [("GL005", 12)]),
    "a Secret": (
        "- name: GOMAXPROCS\n  valueFrom: {secretKeyRef: {name: s, key: k}}\n",
        TWO,
        [],
    ),
    "not Go": (value("JAVA_OPTS", "-Xmx1g"), TWO, []),
}


@pytest.mark.parametrize("case", CASES)
def test_each_contradiction_has_its_code_and_line(case: str) -> None:
    env, resources, wanted = CASES[case]
    assert codes(linted(deployment(env, resources))) == wanted


def test_containers_of_go_are_counted() -> None:
    go, other = deployment(value("GOGC", '"100"')), deployment(value("X", "1"))
    assert (linted(go, other).files, linted(go, other).containers) == (2, 1)


POD = "{containers: [{name: c, env: [{name: GOMAXPROCS, value: two}]}]}"


@pytest.mark.parametrize(
    "text",
    [
        f"{{kind: Pod, spec: {POD}}}",
        f"{{kind: DaemonSet, spec: {{template: {{spec: {POD}}}}}}}",
        f"{{kind: CronJob, spec: {{jobTemplate: {{spec: {{template: {{spec: {POD}}}}}}}}}}}",
        f"{{kind: PodTemplate, template: {{spec: {POD}}}}}",
        f"{{kind: Rollout, spec: {{template: {{spec: {POD}}}}}}}",
        f"{{kind: List, items: [{{kind: Pod, spec: {POD}}}]}}",
        f"{{kind: PodList, items: [{{kind: Pod, spec: {POD}}}]}}",
        f"[{{kind: Pod, spec: {POD}}}]",
        f"---\n---\n# empty\n---\n{{kind: Pod, spec: {POD}}}\n...\n",
        f"{{kind: Pod, spec: {POD.replace('containers', 'initContainers')}}}",
        f"a: &p {POD}\nkind: Pod\nspec: *p\n",
        f"base: &b {{spec: {POD}}}\nkind: Pod\n<<: *b\n",
    ],
)
def test_every_kind_of_object_is_searched(text: str) -> None:
    found = codes(linted(text))
    assert [code for code, _ in found] == ["GL005"]


def test_config_maps_of_the_input_are_followed() -> None:
    maps = "{kind: ConfigMap, metadata: {name: m, namespace: shop}, data: {n: '8', GOGC: 'off'}}"
    env = "- name: GOMAXPROCS\n  valueFrom: {configMapKeyRef: {name: m, key: n}}\n"
    more = "\n        envFrom: [{configMapRef: {name: m}}]"
    text = deployment(env, TWO, more)
    assert [code for code, _ in codes(linted(text, maps))] == ["GT019", "GL001"]
    assert codes(linted(text)) == []
    assert read_specs(Source("x", text.encode()))[0].hidden == ("ConfigMap m",)


def test_the_limit_of_another_container_counts_for_its_reference() -> None:
    env = resource("GOMAXPROCS", "limits.cpu", "      containerName: big\n")
    text = deployment(env, TWO) + "      - {name: big, resources: {limits: {cpu: 16}}}\n"
    assert codes(linted(text)) == [("GL001", 14)]


def known(version: str, name: str = "app", godebug: str = "") -> tuple[Known, ...]:
    settings = (("DefaultGODEBUG", godebug),) if godebug else ()
    build = GoBuild(version, Module("m", "v1"), settings=settings)
    return (Known(name, Program("/web", build)),)


def test_the_go_version_of_an_image_is_used() -> None:
    """A limit and an old Go: at the line of the limit."""
    text = deployment(value("X", "1"), TWO, "\n        image: reg.example.com:5000/shop/web:1.2")
    assert codes(linted(text)) == []
    for name in ("app", "*", "web", "shop/web", "shop/web:1.2", "reg.example.com:5000/shop/web"):
        assert codes(linted(text, known=known("go1.24.1", name))) == [("GT001", 10)], name
    for name in ("shop/web:1.3", "other", "b", "eb"):
        assert codes(linted(text, known=known("go1.24.1", name))) == [], name
    assert codes(linted(text, known=known("go1.26.1"))) == []
    old_line = "containermaxprocs=0,updatemaxprocs=0"
    assert codes(linted(text, known=known("go1.26.1", godebug=old_line))) == [("GT001", 10)]


def test_the_go_version_decides_what_a_value_means() -> None:
    plus = deployment(value("GOMAXPROCS", '"+2"'), TWO)
    assert codes(linted(plus)) == codes(linted(plus, known=known("go1.26.1"))) == []
    assert codes(linted(plus, known=known("go1.25.1"))) == [("GL005", 12)]
    memory = deployment(value("GOMEMLIMIT", "512Mi"), TWO)
    old = codes(linted(memory, known=known("go1.18.1")))
    assert ("GL015", 12) in old
    assert ("GL008", 12) not in old


def test_a_template_of_helm_is_named_as_one() -> None:
    found = linted("kind: Pod\nspec: {{ .Values.x }}\n  a: b\n")
    (broken,) = found.unparsed
    assert broken.reason == "yaml-malformed"
    assert "helm template" in broken.text


BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{{', '.join([f'k{n}{i}: *a{n - 1}' for i in range(9)])}, <<: *a{n - 1}}}\n"
    for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "yaml-too-large"),
        (MERGE_BOMB, "yaml-too-large"),
        ("[" * 200 + "]" * 200, "yaml-too-large"),
        ("[" * 500, "yaml-too-large"),
        ("a: &a [*a]", "yaml-malformed"),
        ("a: *b", "yaml-malformed"),
        ("a: [", "yaml-malformed"),
        ("{[a, b]: c}", "yaml-malformed"),
        ("{{ if .Values.x }}", "yaml-malformed"),
        ("\tb: c", "yaml-malformed"),
        ("a: \x00", "yaml-malformed"),
    ],
    ids=[
        "bomb",
        "merges",
        "deep",
        "deeper",
        "itself",
        "unknown",
        "open",
        "list-key",
        "template",
        "tab",
        "nul",
    ],
)
def test_hostile_yaml_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ParseError) as refused:
        list(parse_documents(text.encode()))
    assert refused.value.reason == reason


def test_nodes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamltree, "_MAX_EVENTS", 1000)
    assert len(list(parse_documents(b"- a\n" * 900))) == 1
    with pytest.raises(ParseError, match="yaml-too-large"):
        list(parse_documents(b"- a\n" * 1001))


def test_a_huge_file_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ParseError, match="yaml-too-large"):
        next(parse_documents(b" " * (MAX_BYTES + 1)))


@pytest.mark.parametrize(
    "text",
    [
        "kind: Pod\nspec: 5\n",
        "kind: Pod\nspec: {containers: {a: b}}\n",
        "kind: Pod\nspec: {containers: [5, [], {env: 7}, {env: [8, {name: GOGC, value: {a: b}}]}]}",
        "kind: Pod\nspec: {containers: [{name: a, env: [{name: GOMAXPROCS, valueFrom: 3}]}]}",
        "kind: Pod\nspec: {containers: [{resources: {limits: [1]}, envFrom: [1, {a: b}]}]}",
        "kind: List\nitems: {a: b}\n",
        "kind: ConfigMap\ndata: [1]\nmetadata: 4\n",
        "5",
        "",
        "!!binary aGk=",
        "!custom {kind: Pod}",
    ],
)
def test_objects_of_another_shape_have_nothing(text: str) -> None:
    assert linted(text).unparsed == ()
