"""The wire format stays compatible with agents and collectors of other versions.

tests/fixtures/wire/v1.json is what `buf build` made of the first version of the .proto files; write
it again after an addition (`buf build --exclude-source-info --exclude-imports -o` that file).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from gotax.wire.v1 import ingest_pb2, report_pb2

ROOT = Path(__file__).parents[2]
BASELINE = ROOT / "tests/fixtures/wire/v1.json"
BUF = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "gotax/buf-1.75.0")
TYPES = {
    3: "TYPE_INT64",
    4: "TYPE_UINT64",
    6: "TYPE_FIXED64",
    8: "TYPE_BOOL",
    9: "TYPE_STRING",
    11: "TYPE_MESSAGE",
    12: "TYPE_BYTES",
    13: "TYPE_UINT32",
    14: "TYPE_ENUM",
    18: "TYPE_SINT64",
}
Fields = dict[tuple[str, int], tuple[str, str]]


def generated() -> tuple[Fields, dict[str, set[tuple[str, int]]]]:
    """(message, number) → (name, type) of fields, and enums' values, of the code in use."""
    fields: Fields = {}
    enums: dict[str, set[tuple[str, int]]] = {}
    for module in (ingest_pb2, report_pb2):
        for message in module.DESCRIPTOR.message_types_by_name.values():
            for field in message.fields:
                fields[message.name, field.number] = (field.name, TYPES[field.type])
        for enum in module.DESCRIPTOR.enum_types_by_name.values():
            enums[enum.name] = {(value.name, value.number) for value in enum.values}
    return fields, enums


def recorded(baseline: dict[str, Any]) -> tuple[Fields, dict[str, set[tuple[str, int]]]]:
    fields: Fields = {}
    enums: dict[str, set[tuple[str, int]]] = {}
    for file in baseline["file"]:
        for message in file.get("messageType", ()):
            for field in message.get("field", ()):
                fields[message["name"], field["number"]] = (field["name"], field["type"])
        for enum in file.get("enumType", ()):
            enums[enum["name"]] = {(v["name"], v.get("number", 0)) for v in enum["value"]}
    return fields, enums


def test_no_field_was_removed_renumbered_or_retyped() -> None:
    """Additions are allowed; any other change breaks older versions."""
    fields, enums = generated()
    old_fields, old_enums = recorded(json.loads(BASELINE.read_text()))
    assert len(old_fields) > 80
    assert {key: fields.get(key) for key in old_fields} == old_fields
    for name, values in old_enums.items():
        assert values <= enums[name]


def test_generated_code_matches_the_proto_files() -> None:
    """Same messages, fields and numbers; `make proto` generates the code."""
    declared: set[tuple[str, str, int]] = set()
    for path in sorted((ROOT / "proto/gotax/wire/v1").glob("*.proto")):
        message = ""
        for line in path.read_text().splitlines():
            if match := re.match(r"message (\w+)", line):
                message = match[1]
            elif message and (
                match := re.match(r"\s+(?:repeated |optional )?[\w.]+ (\w+) = (\d+);", line)
            ):
                declared.add((message, match[1], int(match[2])))
            elif line.startswith(("enum", "}")):
                message = "" if line.startswith(("enum", "}")) else message
    fields, _ = generated()
    assert declared == {(message, name, number) for (message, number), (name, _) in fields.items()}


@pytest.mark.parametrize("command", [["lint"], ["breaking", "--against", str(BASELINE)]])
def test_buf_finds_no_fault(command: list[str]) -> None:
    """Its standard rules, and its rules on breaking changes, without exceptions."""
    if not BUF.exists():
        pytest.skip("no buf: `make proto-check` takes it from npm")
    whole = [str(BUF), *command]
    done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_buf_finds_a_violation(tmp_path: Path) -> None:
    """The rules are active: a field with another type is an error."""
    if not BUF.exists():
        pytest.skip("no buf: `make proto-check` takes it from npm")
    folder = tmp_path / "proto/gotax/wire/v1"
    folder.mkdir(parents=True)
    for path in (ROOT / "proto/gotax/wire/v1").glob("*.proto"):
        text = path.read_text().replace("uint64 sequence = 2;", "uint32 sequence = 2;")
        (folder / path.name).write_text(text)
    (tmp_path / "buf.yaml").write_text((ROOT / "buf.yaml").read_text())
    command = [str(BUF), "breaking", "--against", str(BASELINE)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert 'Field "2"' in done.stdout
