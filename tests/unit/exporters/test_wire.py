from __future__ import annotations

import re
from pathlib import Path

import pytest
from gotax.wire.parca import profilestore_pb2
from gotax.wire.pprof import profile_pb2
from gotax.wire.pyroscope import push_pb2

PROTO = Path(__file__).parents[3] / "proto"
FIELD = re.compile(r"^\s*(repeated )?([\w.]+) (\w+) = (\d+);")


def declared_fields(proto: str) -> dict[str, dict[str, tuple[int, str, bool]]]:
    """{message: {field: (number, type, repeated)}} of a flat proto3 file."""
    messages: dict[str, dict[str, tuple[int, str, bool]]] = {}
    fields: dict[str, tuple[int, str, bool]] = {}
    for line in proto.splitlines():
        if line.startswith("message "):
            fields = messages[line.split()[1]] = {}
        elif match := FIELD.match(line):
            repeated, kind, name, number = match.groups()
            fields[name] = (int(number), kind, bool(repeated))
    return messages


FILES = {
    "pprof/profile.proto": profile_pb2.DESCRIPTOR,
    "pyroscope/push.proto": push_pb2.DESCRIPTOR,
    "parca/profilestore.proto": profilestore_pb2.DESCRIPTOR,
}


@pytest.mark.parametrize("name", FILES)
def test_generated_code_matches_the_proto_file(name: str) -> None:
    """The same fields, numbers and types."""
    types = {3: "int64", 4: "uint64", 8: "bool", 9: "string", 12: "bytes"}  # FieldDescriptorProto
    generated = {
        message.name: {
            field.name: (
                field.number,
                field.message_type.name if field.message_type else types[field.type],
                field.is_repeated,
            )
            for field in message.fields
        }
        for message in FILES[name].message_types_by_name.values()
    }
    assert generated == declared_fields((PROTO / name).read_text())
