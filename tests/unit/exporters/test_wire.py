from __future__ import annotations

import re
from pathlib import Path

from gotax.wire.pprof import profile_pb2

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


def test_generated_code_says_what_the_proto_file_says() -> None:
    """profile_pb2.py was generated from this profile.proto: same fields, numbers and types."""
    types = {3: "int64", 4: "uint64", 8: "bool", 9: "string"}  # FieldDescriptorProto.Type
    generated = {
        message.name: {
            field.name: (
                field.number,
                field.message_type.name if field.message_type else types[field.type],
                field.is_repeated,
            )
            for field in message.fields
        }
        for message in profile_pb2.DESCRIPTOR.message_types_by_name.values()
    }
    assert generated == declared_fields((PROTO / "pprof" / "profile.proto").read_text())
