"""The commands: exit codes, formats, and what they load."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gotax import cli
from gotax.cli.output import EXIT_FAILED, EXIT_FINDINGS, EXIT_FINE
from gotax.preflight.lintcodes import SUMMARIES

from tests.unit.exporters.test_report import breaches, described, documented, schema_of

from .images import docker_save, tar, zipped
from .test_lint import deployment, resource, value

ROOT = Path(__file__).parents[3]
Print = pytest.CaptureFixture[str]


def run(*arguments: object) -> int:
    try:
        return cli.main([str(each) for each in arguments])
    except SystemExit as end:
        return int(end.code or 0)


def document(capsys: Print, *arguments: object) -> Any:
    capsys.readouterr()
    run(*arguments, "--format", "json")
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def binary(go_binary: Callable[..., Path]) -> Path:
    return go_binary("container-1.24", "1.27.3", "stripped")


@pytest.fixture
def image(binary: Path, go_binary: Callable[..., Path], tmp_path: Path) -> Path:
    """The program, and another one that is not its entry point."""
    other = go_binary("gomaxprocs", "1.24.13", "stripped").read_bytes()
    layer = tar([("web", binary.read_bytes()), ("tool", other)])
    config = {"Entrypoint": ["/web"], "Env": ["GOGC=150", "GOMEMLIMIT=off"]}
    path = tmp_path / "image.tar"
    path.write_bytes(docker_save([zipped(layer)], config, "example.com/shop/web:1"))
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "web.yaml"
    more = "\n        image: example.com/shop/web:1"
    path.write_text(deployment(value("GOMAXPROCS", '"8"'), "{limits: {cpu: 2}}", more))
    return path


@pytest.mark.toolchain
def test_a_binary_of_an_old_go_line(binary: Path, capsys: Print) -> None:
    """Exit 1, the value for each node, and 2 everywhere with another line in go.mod."""
    assert run("inspect", binary, "--limit", "2", "--cpus", "96,4") == EXIT_FINDINGS
    output = capsys.readouterr().out
    assert "96          96     2  the 96 CPUs the process may run on" in output
    assert "2 everywhere go 1.25 or later in go.mod" in output
    assert "[GT001]" in output
    assert "go 1.25.0" in output


@pytest.mark.toolchain
def test_flags_and_variables_decide(binary: Path, capsys: Print) -> None:
    def values(*arguments: str) -> list[int]:
        found = document(capsys, "inspect", binary, "--cpus", "4,64", *arguments)
        return [node["gomaxprocs"] for node in found["programs"][0]["nodes"]]

    on = "GODEBUG=containermaxprocs=1"
    assert values() == [4, 64]
    assert values("--limit", "2500m", "--env", on) == [3, 3]
    assert values("--limit", "2500m", "--env", on, "--cgroup", "v1") == [3, 3]
    assert values("--request", "750m", "--cri-o") == [2, 2]
    assert values("--request", "750m", "--cri-o", "4") == [4, 4]
    assert values("--env", "GOMAXPROCS=7") == [7, 7]
    assert values("--env", "GOMAXPROCS=x") == [4, 64]


@pytest.mark.toolchain
def test_only_warnings_make_the_exit_code(binary: Path, capsys: Print) -> None:
    on = ("--env", "GODEBUG=containermaxprocs=1")
    assert run("inspect", binary, "--limit", "2", *on) == EXIT_FINE
    assert run("inspect", binary, "--limit", "1", *on) == EXIT_FINE  # GT005 is a note
    assert "[GT005]" in capsys.readouterr().out
    assert run("inspect", binary, "--limit", "2", "--ignore", "GT001") == EXIT_FINE
    assert run("inspect", binary, "--limit", "2", "--select", "GL") == EXIT_FINE
    assert run("inspect", binary, "--limit", "2", "--select", "GT") == EXIT_FINDINGS


@pytest.mark.toolchain
def test_an_image_with_its_manifest(image: Path, manifest: Path, capsys: Print) -> None:
    """Variables of the manifest replace those of the image; only the entry point is judged."""
    found = document(capsys, "inspect", image, "--manifest", manifest)
    web, tool = found["programs"]
    assert (web["path"], web["is_entry"], tool["path"], tool["is_judged"]) == (
        *("/web", True),
        *("/tool", False),
    )
    (located,) = web["findings"]
    assert (located["finding"]["code"], located["line"]) == ("GT001", 13)
    assert located["container"] == "Deployment/web/app"
    assert located["finding"]["cause"] == "environment"
    assert "limits.cpu" in located["finding"]["remedy"]["patch"]
    assert web["gomemlimit"]["rule"] == "the variable GOMEMLIMIT sets no limit"
    assert tool["findings"] == []
    judged = document(capsys, "inspect", image, "--limit", "2", "--all")["programs"][1]
    assert [each["finding"]["code"] for each in judged["findings"]] == ["GT001"]


@pytest.mark.toolchain
def test_a_container_can_be_chosen(binary: Path, tmp_path: Path, capsys: Print) -> None:
    path = tmp_path / "two.yaml"
    text = deployment(value("GOMAXPROCS", '"3"'), "{limits: {cpu: 3}}")
    path.write_text(text + "      - {name: side, resources: {limits: {cpu: 1}}}\n")
    assert run("inspect", binary, "--manifest", path) == EXIT_FAILED
    assert "Deployment/web/app, Deployment/web/side" in capsys.readouterr().err
    assert run("inspect", binary, "--manifest", path, "--container", "app") == EXIT_FINE
    assert run("inspect", binary, "--manifest", path, "--container", "side") == EXIT_FINDINGS
    assert run("inspect", binary, "--manifest", path, "--container", "x") == EXIT_FAILED


@pytest.mark.toolchain
def test_lint_takes_what_inspect_wrote(
    image: Path, binary: Path, tmp_path: Path, capsys: Print
) -> None:
    """From the JSON, the binary and the image alike."""
    path = tmp_path / "web.yaml"
    more = "\n        image: example.com/shop/web:1"
    path.write_text(deployment(value("X", "1"), "{limits: {cpu: 2}}", more))
    assert run("lint", path) == EXIT_FINE
    (tmp_path / "web.json").write_text(json.dumps(document(capsys, "inspect", image)))
    for file in (tmp_path / "web.json", binary, image):
        assert run("lint", path, "--image-info", f"shop/web={file}") == EXIT_FINDINGS
        output = capsys.readouterr().out
        assert f"{path}:10: warning: " in output.replace("\n", " ")
        assert "[GT001]" in output.replace("\n", " ")


@pytest.mark.toolchain
def test_documents_match_their_schemas(image: Path, manifest: Path, capsys: Print) -> None:
    for name, arguments in (
        ("inspect-v1.json", ("inspect", image, "--manifest", manifest, "--all")),
        ("inspect-v1.json", ("inspect", image, "--cri-o", "--request", "1")),
        ("lint-v1.json", ("lint", manifest)),
        ("lint-v1.json", ("lint", image)),
    ):
        found = document(capsys, *arguments)
        assert breaches(found, schema_of(name), schema_of(name)) == []


@pytest.mark.parametrize("name", ["inspect", "lint"])
def test_the_page_names_the_keys_of_the_schemas(name: str) -> None:
    check = schema_of("check-v3.json")
    elsewhere = described({"$ref": "#/$defs/finding"}, check)
    schema = schema_of(f"{name}-v1.json")
    assert documented(f"gotax {name}") | elsewhere == described(schema, schema)


def test_the_page_names_every_code() -> None:
    page = (ROOT / "docs" / "inspect.md").read_text()
    assert all(f"| {code} | " in page for code in SUMMARIES)


def test_sarif_has_rules_lines_and_levels(manifest: Path, capsys: Print) -> None:
    assert run("lint", manifest, "--format", "sarif") == EXIT_FINDINGS
    (ran,) = json.loads(capsys.readouterr().out)["runs"]
    (rule,) = ran["tool"]["driver"]["rules"]
    (result,) = ran["results"]
    assert (rule["id"], result["ruleId"], result["ruleIndex"]) == ("GL001", "GL001", 0)
    assert result["level"] == "warning"
    place = result["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 13}
    assert place["artifactLocation"]["uri"] == str(manifest)


def test_annotations_are_escaped(tmp_path: Path, capsys: Print) -> None:
    """A manifest cannot write commands of its own."""
    path = tmp_path / "a,b:c.yaml"
    path.write_text(deployment(value("GOMAXPROCS", '"8%\\n::error::x"'), "{limits: {cpu: 2}}"))
    run("lint", path, "--format", "github")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"::warning file={tmp_path}/a%2Cb%3Ac.yaml,title=GL005,line=12::")
    assert "GOMAXPROCS=8%25%0A::error::x is not" in line


def test_text_is_printable(tmp_path: Path, capsys: Print) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(deployment(value("GOMAXPROCS", '"\\e[31m\\u202e"'), "{limits: {cpu: 2}}"))
    assert run("lint", path) == EXIT_FINDINGS
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "\u202e" not in output


def test_standard_input_and_folders(
    tmp_path: Path, capsys: Print, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = deployment(resource("GOMAXPROCS", "limits.cpu"))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    assert run("lint", "-") == EXIT_FINDINGS
    assert "standard input:14: " in capsys.readouterr().out
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "a.yml").write_text(text)
    (tmp_path / "b.json").write_text('{"kind": "Pod"}')
    (tmp_path / "c.txt").write_text("[")
    found = document(capsys, "lint", tmp_path)
    assert (found["files"], len(found["findings"])) == (2, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "/nowhere"),
        ("inspect", "/dev/zero"),
        ("inspect", "{folder}"),
        ("inspect", "{folder}/text"),
        ("inspect", "{folder}/empty"),
        ("inspect", "{folder}/noise.gz"),
        ("inspect", "/bin/true"),
        ("inspect", "/bin/true", "--limit", "two"),
        ("inspect", "/bin/true", "--limit", "-1"),
        ("inspect", "/bin/true", "--cpus", "0"),
        ("inspect", "/bin/true", "--cpus", "4,x"),
        ("inspect", "/bin/true", "--env", "X"),
        ("inspect", "/bin/true", "--manifest", "/nowhere"),
        ("inspect", "/bin/true", "--manifest", "{folder}/empty"),
        ("lint", "/nowhere"),
        ("lint", "/dev/zero"),
        ("lint", "{folder}/none"),
        ("lint", "{folder}/empty", "--image-info", "x=/bin/true"),
        ("lint", "{folder}/empty", "--image-info", "x=/nowhere"),
        ("lint", "{folder}/empty", "--image-info", "x={folder}/object"),
        ("lint", "{folder}/empty", "--image-info", "x"),
        ("lint", "{folder}/empty", "--select", "GX001"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    tmp_path: Path, capsys: Print, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "text").write_text("#!/bin/sh\n")
    (tmp_path / "empty").write_text("")
    (tmp_path / "object").write_text("{}")
    (tmp_path / "noise.gz").write_bytes(b"\x1f\x8b" + bytes(range(200)))
    assert run(*(each.format(folder=tmp_path) for each in arguments)) == EXIT_FAILED
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("gotax")
    assert "Traceback" not in errors


def test_a_file_that_is_no_yaml_fails_the_command(tmp_path: Path, capsys: Print) -> None:
    """Also if others have no findings: it was not looked at."""
    (tmp_path / "a.yaml").write_text("{{ if .Values.x }}\n")
    assert run("lint", tmp_path) == EXIT_FAILED
    assert "could not be read" in capsys.readouterr().out
    assert run("lint", tmp_path, "--format", "github") == EXIT_FAILED
    assert "cannot read" in capsys.readouterr().err


def test_other_commands_do_not_load_them() -> None:
    """Neither the daemon nor `gotax check` reads YAML or tars."""
    code = (
        "import sys; from gotax.cli import build_parser\n"
        "for name in ('agent', 'check', 'top', 'inspect', 'lint'): build_parser(name)\n"
        "import gotax.daemon, gotax.pipeline\n"
        "print([n for n in sys.modules if n.startswith(('gotax.preflight', 'yaml', 'tarfile'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
