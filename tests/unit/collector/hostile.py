"""Reports that no gotax agent sends, each with the reason for which it must be refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache

from gotax.exporters.stream.encoding import encode
from gotax.wire.v1 import ingest_pb2
from gotax.wire.v1 import report_pb2 as wire
from gotax_collector.refusal import Reason

from tests.unit.exporters.windows import story_window

Change = Callable[[wire.Report], object]


_HONEST = encode(story_window())


def honest(sequence: int = 1) -> wire.Report:
    report = wire.Report()
    report.CopyFrom(_HONEST)
    report.epoch, report.sequence = 5, sequence
    return report


def packed(report: wire.Report) -> bytes:
    """As an agent sends it."""
    return request(zlib.compress(report.SerializeToString()))


def request(inflating: bytes) -> bytes:
    return ingest_pb2.StreamRequest(zlib_report=inflating).SerializeToString()


def raw(report: bytes) -> bytes:
    return request(zlib.compress(report, 1))


def field(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _string(text: str) -> Change:
    """A text that stands for the first container's name."""

    def change(report: wire.Report) -> None:
        report.dictionary.strings.append(text)
        report.dictionary.containers[0].name = len(report.dictionary.strings)

    return change


def _pod(text: str) -> Change:
    def change(report: wire.Report) -> None:
        report.dictionary.strings.append(text)
        report.dictionary.containers[0].pod = len(report.dictionary.strings)

    return change


def _set(path: str, value: int) -> Change:
    """A number somewhere in the report: ``window.containers.0.cpu_ns``."""

    def change(report: wire.Report) -> None:
        *way, last = path.split(".")
        target = report
        for step in way:
            target = target[int(step)] if step.isdigit() else getattr(target, step)  # type: ignore[index]
        if last.isdigit():
            target[int(last)] = value  # type: ignore[index]
        else:
            setattr(target, last, value)

    return change


def _finding_without_code(report: wire.Report) -> None:
    report.window.containers[0].findings.add(severity=wire.SEVERITY_WARNING)


def _deep(report: wire.Report) -> None:
    dictionary = report.dictionary
    dictionary.frame_parent.extend([1] * 1100)
    dictionary.frame_function.extend([1] * 1100)
    del dictionary.frame_line[:]


def _long_strings(report: wire.Report) -> None:
    report.dictionary.strings.extend(["x" * 4000] * 9000)


_LONG = '"' * 4096  # a quote takes two bytes in a row


def _long(report: wire.Report) -> int:
    """The id of a text of full length: a number of one byte stands for 8 kB of a row."""
    report.dictionary.strings.append(_LONG)
    return len(report.dictionary.strings)


def _bomb_of_findings(report: wire.Report) -> None:
    """64 containers with 64 findings each, of one text: 1.2 kB that become 100 MB of rows."""
    text = _long(report)
    for container in _containers(report, 64, name=1):
        for _ in range(64):
            container.findings.add(code=text, title=text, remedy=text)


def _bomb_of_containers(report: wire.Report) -> None:
    """400 containers with long names."""
    text = _long(report)
    names = ("name", "image", "command", "main_module", "go_version")
    _containers(report, 400, **dict.fromkeys(names, text))


def _containers(report: wire.Report, count: int, **names: int) -> list[wire.Observation]:
    first = len(report.dictionary.containers) + 1
    for _ in range(count):
        report.dictionary.containers.add(**names)
    return [report.window.containers.add(container=first + index) for index in range(count)]


def _bomb_of_stacks(report: wire.Report) -> None:
    """One stack of 1,000 frames with long names."""
    dictionary, text = report.dictionary, _long(report)
    dictionary.function_name.append(text)
    dictionary.function_file.append(text)
    if dictionary.function_kind:
        dictionary.function_kind.append(wire.FRAME_KIND_UNSPECIFIED)
    function, first = len(dictionary.function_name), len(dictionary.frame_parent) + 1
    dictionary.frame_parent.extend([first, *[1] * 999])
    dictionary.frame_function.extend([function] * 1000)
    if dictionary.frame_line:
        dictionary.frame_line.extend([0] * 1000)
    dictionary.stack_frame.append(first + 999)
    dictionary.stack_category.append(1)
    seen = report.window.containers[0]
    seen.stack.append(len(dictionary.stack_frame) - sum(seen.stack))
    seen.stack_samples.append(1)
    seen.category_samples[0] += 1


def _bomb_of_many_stacks(report: wire.Report) -> None:
    """Stacks that are just short enough, and a hundred of them: 400 MB of names."""
    dictionary, text = report.dictionary, _long(report)
    dictionary.function_name.append(text)
    dictionary.function_file.append(text)
    if dictionary.function_kind:
        dictionary.function_kind.append(wire.FRAME_KIND_UNSPECIFIED)
    function, first = len(dictionary.function_name), len(dictionary.frame_parent) + 1
    dictionary.frame_parent.extend([first, *[1] * 249])
    dictionary.frame_function.extend([function] * 250)
    for leaf in range(100):
        dictionary.frame_parent.append(1 + leaf)
        dictionary.frame_function.append(1)
    if dictionary.frame_line:
        dictionary.frame_line.extend([0] * 350)
    seen = report.window.containers[0]
    before = sum(seen.stack)
    for leaf in range(100):
        dictionary.stack_frame.append(first + 250 + leaf)
        dictionary.stack_category.append(1)
        seen.stack.append(1 if leaf else len(dictionary.stack_frame) - before)
        seen.stack_samples.append(1)
    seen.category_samples[0] += 100


def _many_findings(report: wire.Report) -> None:
    for _ in range(65):
        report.window.containers[0].findings.add(code=1)


def _many_losses(report: wire.Report) -> None:
    for _ in range(65):
        report.window.lost.add(reason=1)


def _twice(report: wire.Report) -> None:
    report.window.containers.append(report.window.containers[0])


CHANGES: dict[str, tuple[Change, Reason]] = {
    "a newline in a name": (_string("web\nroot: ok"), Reason.TEXT),
    "an escape in a name": (_string("\x1b[2Jweb"), Reason.TEXT),
    "a line separator in a name": (_string("web\u2028root"), Reason.TEXT),
    "a mark that reorders a page": (_string("web\u202egpj.exe"), Reason.TEXT),
    "a character without width": (_string("we\u200bb"), Reason.TEXT),
    "a nul in a name": (_string("web\0"), Reason.TEXT),
    "a name of 5000 bytes": (_string("x" * 5000), Reason.TEXT),
    "a name of 10 MB": (_string("x" * 10_000_000), Reason.TEXT),
    "HTML for a pod": (_pod("<script>alert(1)</script>"), Reason.TEXT),
    "a quote in a pod": (_pod("web'; DROP TABLE windows; --"), Reason.TEXT),
    "a container without a name": (_set("dictionary.containers.0.name", 0), Reason.TEXT),
    "a finding without a code": (_finding_without_code, Reason.TEXT),
    "a string id too high": (_set("dictionary.containers.0.name", 10**6), Reason.REFERENCE),
    "a function id too high": (_set("dictionary.frame_function.0", 10**6), Reason.REFERENCE),
    "a function id of 0": (_set("dictionary.frame_function.0", 0), Reason.REFERENCE),
    "a file id too high": (_set("dictionary.function_file.0", 10**6), Reason.REFERENCE),
    "a frame that is its own parent": (_set("dictionary.frame_parent.0", 0), Reason.REFERENCE),
    "a parent before the root": (_set("dictionary.frame_parent.0", 2), Reason.REFERENCE),
    "a leaf that is not there": (_set("dictionary.stack_frame.0", 10**6), Reason.REFERENCE),
    "a category that is not there": (_set("dictionary.stack_category.0", 99), Reason.REFERENCE),
    "a container that is not there": (_set("window.containers.0.container", 99), Reason.REFERENCE),
    "a category of no name": (_set("window.containers.0.category.0", 99), Reason.REFERENCE),
    "a category of id 0": (_set("window.containers.0.category.0", 0), Reason.REFERENCE),
    "a stack that is not there": (_set("window.containers.0.stack.0", 10**6), Reason.REFERENCE),
    "a reason that is not there": (_set("window.lost.0.reason", 10**6), Reason.REFERENCE),
    "a finding of no title": (_set("window.containers.0.findings.0.title", 9999), Reason.REFERENCE),
    "a stack of 1100 frames": (_deep, Reason.COUNT),
    "a line of 4 billion": (_set("dictionary.frame_line.0", 2**32 - 1), Reason.COUNT),
    "a stack twice": (_set("window.containers.0.stack.1", 0), Reason.COUNT),
    "a stack without samples": (_set("window.containers.0.stack_samples.0", 0), Reason.COUNT),
    "samples that overflow": (_set("window.containers.0.stack_samples.0", 2**64 - 1), Reason.COUNT),
    "category samples that overflow": (
        _set("window.containers.0.category_samples.0", 2**64 - 1),
        Reason.COUNT,
    ),
    "CPU time that overflows": (_set("window.containers.0.cpu_ns", 2**64 - 1), Reason.COUNT),
    "a limit that overflows": (
        _set("window.containers.0.cpu.limit_ucores", 2**64 - 1),
        Reason.COUNT,
    ),
    "throttling that overflows": (
        _set("window.containers.0.cpu.throttled_ns", 2**63),
        Reason.COUNT,
    ),
    "a saving that overflows": (
        _set("window.containers.0.findings.0.saving.low_ucores", -(2**63)),
        Reason.COUNT,
    ),
    "more CPUs than there are": (_set("window.cpu_count", 2**32 - 1), Reason.COUNT),
    "a window of a year": (_set("window.duration_ns", 365 * 86_400 * 10**9), Reason.COUNT),
    "a time before time": (_set("window.start_unix_ns", -1), Reason.COUNT),
    "a time after time": (_set("window.start_unix_ns", 2**63 - 1), Reason.COUNT),
    "a bomb of findings": (_bomb_of_findings, Reason.EXPANSION),
    "a bomb of containers": (_bomb_of_containers, Reason.EXPANSION),
    "a bomb of one stack": (_bomb_of_stacks, Reason.EXPANSION),
    "a bomb of many stacks": (_bomb_of_many_stacks, Reason.EXPANSION),
    "65 findings": (_many_findings, Reason.COUNT),
    "65 losses": (_many_losses, Reason.COUNT),
    "a container twice": (_twice, Reason.COUNT),
    "samples out of nothing": (_set("window.samples_drained", 0), Reason.CONSERVATION),
    "samples that don't add up": (
        _set("window.containers.0.stack_samples.0", 1),
        Reason.CONSERVATION,
    ),
    "no sequence number": (_set("sequence", 0), Reason.SEQUENCE),
    "36 MB of strings": (_long_strings, Reason.SIZE),
    "no reset at the start": (_set("dictionary.reset", 0), Reason.PROTOCOL),
}

_EMPTY_OBSERVATIONS = field(4, field(9, b"") * 1_000_000)
_EMPTY_CONTAINERS = field(3, field(12, b"") * 1_000_000)
_ONES = b"\x01" * 12_000_000

MESSAGES: dict[str, tuple[bytes, Reason]] = {
    "noise": (bytes(range(256)) * 40, Reason.SYNTAX),
    "text": (b"GET / HTTP/1.1\r\n\r\n", Reason.SYNTAX),
    "a cut message": (packed(honest())[:-20], Reason.SYNTAX),
    "no zlib": (request(b"not zlib at all"), Reason.SYNTAX),
    "half a zlib": (request(zlib.compress(honest().SerializeToString())[:-9]), Reason.SYNTAX),
    "zlib of noise": (raw(bytes(range(255, 0, -1)) * 9), Reason.SYNTAX),
    "something after the zlib": (request(zlib.compress(b"") + b"more"), Reason.SYNTAX),
    "a zlib bomb": (request(zlib.compress(bytes(100 << 20), 6)), Reason.SIZE),
    "a million empty containers": (raw(_EMPTY_OBSERVATIONS), Reason.COUNT),
    "a million identities": (raw(_EMPTY_CONTAINERS), Reason.DICTIONARY),
    "twelve million frames": (raw(field(3, field(6, _ONES))), Reason.DICTIONARY),
    "a million strings": (raw(field(3, field(2, b"a") * 1_000_000)), Reason.DICTIONARY),
    "a window twice": (raw(field(4, b"") * 2), Reason.SYNTAX),
    "an empty message": (b"", Reason.PROTOCOL),
    "a NaN for a count": (
        # Field 2 of a window is a varint; a double there is an unknown field, so this is a
        # window without length, and what refuses it is that it begins without a reset.
        raw(field(4, varint(2 << 3 | 1) + struct.pack("<d", float("nan")))),
        Reason.PROTOCOL,
    ),
    "a length of 2^63": (b"\x1a" + varint(2**63), Reason.SYNTAX),
    "a number without an end": (b"\x08" + b"\xff" * 30, Reason.SYNTAX),
    "groups": (b"\x0b\x0b\x0b", Reason.SYNTAX),
}


@cache
def hostile_messages() -> dict[str, tuple[bytes, Reason]]:
    """All of them, as they are sent."""
    found = dict(MESSAGES)
    for name, (change, reason) in CHANGES.items():
        report = honest()
        change(report)
        found[name] = (packed(report), reason)
    return found
