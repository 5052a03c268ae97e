"""A reader: answers one question after the other until the agent closes the connection."""

from __future__ import annotations

import gc
import itertools
import os
import select
import socket
import struct
from typing import Any, NoReturn, TypeAlias

from gotax.errors import AccessError, ParseError, ProcessGoneError, ReadError
from gotax.linux import heap
from gotax.reader import confinement
from gotax.reader.message import MAX_BYTES, pack, unpack
from gotax.reader.work import OF_BINARIES, Work, ask, load_binary_work, signature

SIZE = struct.Struct("<I")
CPU_S = 5
"""That a question may take. The largest Go programs take half of one."""
_NAME_BYTES = 32
_KEPT_BYTES = 48 << 20
"""More than at its start. Of a node with 20 Go programs it keeps 4."""
_LOOKS_EACH = 16  # questions
_IDLE_MS = 1000
_COLLECTION = 20_000, 20, 20  # objects; nearly all are freed without the collector

ANSWER, GONE, PARSE, ACCESS, MEMORY = b"agpsm"
"""The first byte of an answer; behind the last four is (reason, text)."""
Failure: TypeAlias = tuple[str, str]


def question_bytes(question: str, arguments: tuple[Any, ...]) -> bytes:
    body = pack(signature(question)[0], arguments)
    return b"".join(
        (SIZE.pack(_NAME_BYTES + len(body)), question.encode().ljust(_NAME_BYTES), body)
    )


def parse_answer(question: str, data: bytes) -> Any:
    """Raises what the reader raised, MemoryError, and ParseError("reader-malformed")."""
    kind = data[:1]
    if kind == bytes((ANSWER,)):
        return unpack(signature(question)[1], data[1:])
    reason, text = unpack(Failure, data[1:])
    match kind:
        case b"g":
            raise ProcessGoneError(text)
        case b"p":
            raise ParseError(reason, text)
        case b"s":
            raise AccessError(reason, text)
        case b"m":
            raise MemoryError
    raise ParseError("reader-malformed", "an answer of no kind")


def question_of(data: bytes) -> str:
    return data[:_NAME_BYTES].decode().strip()


def answer_bytes(work: Work, data: bytes) -> bytes:
    question = question_of(data)
    kind, failure = ANSWER, ("", "")
    try:
        arguments, answer = signature(question)
        found = ask(work, question, unpack(arguments, data[_NAME_BYTES:]))
        return bytes((ANSWER,)) + pack(answer, found)
    except ProcessGoneError as error:
        kind, failure = GONE, ("", str(error))
    except ReadError as error:
        kind = ACCESS if isinstance(error, AccessError) else PARSE
        failure = error.reason, str(error).removeprefix(f"{error.reason}: ")
    except MemoryError:
        kind = MEMORY
    return bytes((kind,)) + pack(Failure, (failure[0], failure[1][:1000]))


def serve(connection: socket.socket) -> NoReturn:
    """In a process of its own. What it does not expect ends it, with a traceback."""
    try:
        confinement.be_the_first_to_die()
        gc.enable()  # the server does without
        gc.set_threshold(*_COLLECTION)
        work = Work()
        loaded = False
        heap.give_back()  # what the agent had freed is no room for a reader
        confinement.limit_memory()
        waiting = select.poll()
        waiting.register(connection, select.POLLIN)
        most_bytes = confinement.resident_bytes() + _KEPT_BYTES
        for number in itertools.count(1):
            if not waiting.poll(_IDLE_MS):
                heap.give_back()
                waiting.poll()
            size = SIZE.unpack(_receive(connection, SIZE.size))[0]
            if size > MAX_BYTES:
                os._exit(1)
            data = _receive(connection, size)
            if not loaded and question_of(data) in OF_BINARIES:
                loaded = True
                load_binary_work()
                confinement.limit_memory()
                most_bytes = confinement.resident_bytes() + _KEPT_BYTES
            confinement.limit_cpu(CPU_S)
            answer = answer_bytes(work, data)
            if answer[0] == MEMORY:  # what was read before may be what takes it
                work = Work()
                gc.collect()
                answer = answer_bytes(work, data)
            connection.sendall(SIZE.pack(len(answer)))
            connection.sendall(answer)
            if answer[0] == MEMORY:
                os._exit(1)
            if number % _LOOKS_EACH == 0 and confinement.resident_bytes() > most_bytes:
                work = Work()
                heap.give_back()
                most_bytes = max(most_bytes, confinement.resident_bytes() + _KEPT_BYTES // 2)
    except BaseException:
        import traceback

        traceback.print_exc()
        raise
    finally:
        os._exit(1)


def _receive(connection: socket.socket, length: int) -> bytes:
    """Exactly so many bytes; ends the process when the agent has closed the connection."""
    parts = []
    while length:
        part = connection.recv(min(length, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
