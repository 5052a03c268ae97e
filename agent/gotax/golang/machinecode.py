"""Which variables the machine code of a function refers to, and in what role.

No disassembler: a few patterns of amd64 and arm64 that Go's compiler uses to reach a variable. What
is found is a suspicion. It becomes an answer where one variable has two roles that no other has.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from gotax.errors import ParseError
from gotax.linux.elf import EM_AARCH64, EM_X86_64


@dataclass(frozen=True, slots=True)
class Code:
    """The machine code of one function; ``address`` is the link-time address of its first byte."""

    address: int
    data: bytes


@dataclass(frozen=True, slots=True)
class References:
    """Addresses a function seems to refer to; those that are no variables are chance finds.

    ``loaded``: read as 32 bits. ``loaded_wide``: read as 64 bits, atomically or not.
    ``stored``: written plainly as 32 bits. ``published``: stored atomically as 32 bits, and how:
    ``exchange``, ``release-store`` or ``call``. ``added``: target of an atomic addition of 32 bits.
    ``incremented``: 32 bits, plainly, by one. ``flagged``: bytes set to 1 (arm64: to anything).
    ``passed``: addresses passed as the first argument, by the address of the function called.
    """

    loaded: set[int] = field(default_factory=set)
    loaded_wide: set[int] = field(default_factory=set)
    stored: set[int] = field(default_factory=set)
    published: dict[int, str] = field(default_factory=dict)
    added: set[int] = field(default_factory=set)
    incremented: set[int] = field(default_factory=set)
    flagged: set[int] = field(default_factory=set)
    passed: dict[int, set[int]] = field(default_factory=dict)


def find_references(machine: int, code: Code) -> References:
    """ParseError ``gomaxprocs-machine``: neither amd64 nor arm64."""
    if machine == EM_X86_64:
        return _amd64_references(code)
    if machine == EM_AARCH64:
        return _arm64_references(code)
    raise ParseError("gomaxprocs-machine", f"ELF machine {machine}")


def loads_from_argument(machine: int, code: Code) -> bool:
    """Whether the function seems to read 32 bits at the very place its first argument points to.

    Go passes that argument in rax and x0 (cmd/compile/abi-internal.md).
    """
    if machine == EM_X86_64:
        return _AMD64_LOAD_ARGUMENT.search(code.data) is not None
    if machine == EM_AARCH64:
        return any(word & 0xFFFFFFE0 in (0x88DFFC00, 0xB9400000) for word in _words(code))
    raise ParseError("gomaxprocs-machine", f"ELF machine {machine}")


# amd64. Instructions have no fixed length, so patterns are tried at every byte. One that starts
# inside another instruction would have to end in the address of a variable by chance, in both
# roles.

_RIP_OPERAND = rb"[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](.{4})"  # ModRM mod 00 rm 101: rip+disp32
_NO_REX_W = rb"(?<![\x48-\x4f])"  # with REX.W the operation is on 64 bits

# mov r32, [rip+d] and movsxd r64, [rip+d]
_AMD64_LOAD = re.compile(rb"(?s)(?=(?:" + _NO_REX_W + rb"\x8b|\x63)" + _RIP_OPERAND + rb")")
# mov r32, [abs32]: Go 1.2
_AMD64_LOAD_ABSOLUTE = re.compile(
    rb"(?s)(?=" + _NO_REX_W + rb"\x8b[\x04\x0c\x14\x1c\x24\x2c\x34\x3c]\x25(.{4}))"
)
# mov r64, [rip+d]
_AMD64_LOAD_WIDE = re.compile(rb"(?s)(?=[\x48\x4c]\x8b" + _RIP_OPERAND + rb")")
# mov [rip+d], r32
_AMD64_STORE = re.compile(rb"(?s)(?=" + _NO_REX_W + rb"\x89" + _RIP_OPERAND + rb")")
# inc dword [rip+d]
_AMD64_INCREMENT = re.compile(rb"(?s)(?=" + _NO_REX_W + rb"\xff\x05(.{4}))")
# lea r64, [rip+d]
_AMD64_ADDRESS = re.compile(rb"(?s)(?=([\x48\x4c])\x8d([\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(.{4}))")
# mov r32, imm32: how Go 1.2 takes an address
_AMD64_ADDRESS_ABSOLUTE = re.compile(rb"(?s)(?=([\xb8-\xbf])(.{4}))")
# mov byte [rip+d], 1
_AMD64_FLAG = re.compile(rb"(?s)(?=\xc6\x05(.{4})\x01)")
# mov r32, [rax] and movsxd r64, [rax]
_AMD64_LOAD_ARGUMENT = re.compile(
    rb"(?:" + _NO_REX_W + rb"\x8b|[\x48\x4c]\x63)[\x00\x08\x10\x18\x20\x28\x30\x38]"
)
_AMD64_CALL = re.compile(rb"(?s)(?=\xe8(.{4}))")
_AMD64_STORE_WINDOW = 24
_AMD64_CALL_WINDOW = 24  # between taking the first argument's address and the call


def _amd64_through(register: int, operation: bytes, locked: bytes = b"") -> re.Pattern[bytes]:
    """``operation`` on 32 bits at [register]."""
    low = register & 7
    mode = 0x40 if low == 5 else 0  # [rbp] and [r13] exist only with a displacement
    operand = b"".join(b"\\x%02x" % (mode | value << 3 | low) for value in range(8))
    tail = {4: rb"\x24", 5: rb"\x00"}.get(low, b"")  # [rsp] and [r12] need a SIB byte
    if locked:
        prefix = locked + (rb"[\x41\x45]" if register > 7 else rb"[\x40\x44]?")
    else:
        prefix = rb"[\x41\x45]" if register > 7 else rb"(?<![\x41\x43\x45\x47-\x4f])"
    return re.compile(rb"(?s)" + prefix + operation + rb"[" + operand + rb"]" + tail)


def _amd64_call(register: int) -> re.Pattern[bytes]:
    """mov [rsp], register; ...; mov [rsp+8], r32; call: up to Go 1.7 a call of atomicstore.

    Its second argument has 32 bits, unlike atomicstorep's.
    """
    first = bytes([0x48 | register >> 3 << 2, 0x89, (register & 7) << 3 | 4, 0x24])
    second = _NO_REX_W + rb"\x89[\x44\x4c\x54\x5c\x64\x6c\x74\x7c]\x24\x08"
    return re.compile(rb"(?s)" + re.escape(first) + rb".{0,12}?" + second + rb"\xe8")


# By register: xchg [register], r32 is the compiler's own atomic.Store since Go 1.8; lock xadd
# [register], r32 its atomic.Xadd.
_AMD64_EXCHANGES = tuple(_amd64_through(register, rb"\x87") for register in range(16))
_AMD64_CALLS = tuple(_amd64_call(register) for register in range(16))
_AMD64_ADDITIONS = tuple(
    _amd64_through(register, rb"\x0f\xc1", locked=rb"\xf0") for register in range(16)
)


def _amd64_references(code: Code) -> References:
    data = code.data
    found = References()

    def target(displacement: bytes, end: int) -> int:
        return code.address + end + int(struct.unpack("<i", displacement)[0])

    for pattern, role in (
        (_AMD64_LOAD, found.loaded),
        (_AMD64_LOAD_WIDE, found.loaded_wide),
        (_AMD64_STORE, found.stored),
        (_AMD64_INCREMENT, found.incremented),
    ):
        for match in pattern.finditer(data):
            role.add(target(match[1], match.end(1)))
    for match in _AMD64_LOAD_ABSOLUTE.finditer(data):
        found.loaded.add(int.from_bytes(match[1], "little"))
    for match in _AMD64_FLAG.finditer(data):
        found.flagged.add(target(match[1], match.end(1) + 1))
    arguments = []
    for match in _AMD64_ADDRESS.finditer(data):
        register = match[2][0] >> 3 & 7 | (match[1][0] & 4) << 1
        address, end = target(match[3], match.end(3)), match.end(3)
        _amd64_store(found, data, address, register, end)
        if register == 0:
            arguments.append((end, address))
    for match in _AMD64_ADDRESS_ABSOLUTE.finditer(data):
        address = int.from_bytes(match[2], "little")
        _amd64_store(found, data, address, match[1][0] & 7, match.end(2))
    taken = 0  # how many of the arguments were taken before the call
    for match in _AMD64_CALL.finditer(data):
        while taken < len(arguments) and arguments[taken][0] <= match.start():
            taken += 1
        if taken and match.start() - arguments[taken - 1][0] <= _AMD64_CALL_WINDOW:
            callee = target(match[1], match.end(1))
            found.passed.setdefault(callee, set()).add(arguments[taken - 1][1])
    return found


def _amd64_store(found: References, data: bytes, address: int, register: int, at: int) -> None:
    end = at + _AMD64_STORE_WINDOW
    if _AMD64_EXCHANGES[register].search(data, at, end):
        found.published.setdefault(address, "exchange")
    if _AMD64_CALLS[register].search(data, at, end):
        found.published.setdefault(address, "call")
    if _AMD64_ADDITIONS[register].search(data, at, end):
        found.added.add(address)


# arm64. Every instruction is one word; an address takes two of them, adrp for the page and the
# offset in the page in an add or in the load itself. (lld relaxes adrp+add to nop+adr.)

_ARM64_WINDOW = 12  # instructions between taking an address and using it; a few in practice
_ARM64_BRANCHES = (0x05, 0x25)  # b, bl: behind them registers mean something else
_ARM64_CALL = 0x25


def _words(code: Code) -> tuple[int, ...]:
    return struct.unpack(f"<{len(code.data) // 4}I", code.data[: len(code.data) & ~3])


def _arm64_references(code: Code) -> References:
    words = _words(code)
    found = References()
    for index, word in enumerate(words):
        kind = word & 0x9F000000
        if kind not in (0x10000000, 0x90000000):  # adr, adrp
            continue
        here = code.address + 4 * index
        immediate = _signed((word >> 5 & 0x7FFFF) << 2 | word >> 29 & 3, 21)
        uses = _Uses(here + 4, words[index + 1 : index + 1 + _ARM64_WINDOW])
        if kind == 0x10000000:
            _arm64_uses(found, here + immediate, word & 31, uses)
        else:
            _arm64_page_uses(found, (here & ~0xFFF) + (immediate << 12), word & 31, uses)
    return found


def _signed(value: int, bits: int) -> int:
    return value - ((value & 1 << bits - 1) << 1)


@dataclass(frozen=True, slots=True)
class _Uses:
    """The instructions after an address was taken; ``address`` is the first one's."""

    address: int
    words: tuple[int, ...]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return enumerate(self.words)

    def after(self, index: int) -> _Uses:
        return _Uses(self.address + 4 * (index + 1), self.words[index + 1 :])

    def increments(self, index: int) -> bool:
        """What the load at ``index`` has read is next but one made one more."""
        register = self.words[index] & 31
        return any(
            # add x, x, #1 and add w, w, #1
            word & 0x7FFFFFE0 == 0x11000400 | register << 5
            for word in self.words[index + 1 : index + 3]
        )


def _arm64_page_uses(found: References, page: int, register: int, uses: _Uses) -> None:
    """The first use of ``register``, which holds the page's address."""
    for index, use in uses:
        if use >> 26 in _ARM64_BRANCHES:
            return
        if use >> 5 & 31 == register:
            offset = use >> 10 & 0xFFF
            kind = use & 0xFFC00000
            if kind == 0x91000000:  # add x, register, #offset
                _arm64_uses(found, page + offset, use & 31, uses.after(index))
            elif kind in (0xB9400000, 0xB9800000):  # ldr w, ldrsw x, [register, #offset]
                (found.incremented if uses.increments(index) else found.loaded).add(
                    page + offset * 4
                )
            elif kind == 0xB9000000:  # str w, [register, #offset]
                found.stored.add(page + offset * 4)
            elif kind == 0xF9400000:  # ldr x, [register, #offset]
                found.loaded_wide.add(page + offset * 8)
            elif kind == 0x39000000:  # strb w, [register, #offset]
                found.flagged.add(page + offset)
            return


def _arm64_uses(found: References, address: int, register: int, uses: _Uses) -> None:
    """What is done to the variable while ``register`` holds its address."""
    base = register << 5
    arguments = 0
    for index, use in uses:
        operation = use & 0xFFFFFFE0  # without the other register
        if operation in (0xB9400000 | base, 0xB9800000 | base):  # ldr w, ldrsw x, [register]
            (found.incremented if uses.increments(index) else found.loaded).add(address)
        elif operation == 0xB9000000 | base:  # str w, [register]
            found.stored.add(address)
        elif operation in (0xF9400000 | base, 0xC8DFFC00 | base):  # ldr x, ldar x, [register]
            found.loaded_wide.add(address)
        elif operation == 0x889FFC00 | base:  # stlr w, [register]: since Go 1.8
            found.published.setdefault(address, "release-store")
        elif operation == 0x885FFC00 | base or use & 0xFFE0FFE0 == 0xB8E00000 | base:
            found.added.add(address)  # ldaxr w, and ldaddal w, where the CPU has it
        elif operation == 0x39000000 | base:  # strb w, [register]
            found.flagged.add(address)
        # Up to Go 1.7 a call: str register, [sp, #8]; str w, [sp, #16]; bl atomicstore
        elif use == 0xF90007E0 | register:
            arguments = 1
        elif arguments == 1 and operation == 0xB90013E0:
            arguments = 2
        if use >> 26 in _ARM64_BRANCHES:
            if arguments == 2:
                found.published.setdefault(address, "call")
            if register == 0 and use >> 26 == _ARM64_CALL:
                callee = uses.address + 4 * index + (_signed(use & 0x3FFFFFF, 26) << 2)
                found.passed.setdefault(callee, set()).add(address)
            return
