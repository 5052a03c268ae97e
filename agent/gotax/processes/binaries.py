"""Executable files seen on this host, known once each, by identity of their content.

A reader parses them. What the agent keeps of a binary are its facts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from gotax.errors import ParseError, ReadError, Refusal
from gotax.golang.bias import load_bias
from gotax.golang.classmap import ClassMap
from gotax.golang.live import GomaxprocsAddresses, StateAddresses
from gotax.golang.pclntab import Calls, Sizes
from gotax.linux.elf import Elf
from gotax.linux.mappings import FileId, Mapping
from gotax.lru import LruCache
from gotax.process import GoBuild
from gotax.processes.longlists import LongLists
from gotax.profile import UInt64Array
from gotax.reader.asking import NOT_NOW, Reader, Subject
from gotax.reader.facts import BinaryFacts, BinaryPlace, CallColumns, ClassPart, Table
from gotax.reader.opened import PASSING

_BINARIES = 128
_NOT_GO = 2048
_PASSING = PASSING | NOT_NOW
_NO_ELF = "elf-magic"
"""Such a mapped file is no Go library. Every other refusal leaves it open whether it is one."""
_NO_FILE = FileId(0, 0, 0, 0)


class Binary:
    """One executable or library.

    ``problem`` names what kept it from being understood ("" for nothing): an unreadable file has
    neither ``build`` nor names, a Go binary with a strange pclntab has a ``build`` only.
    ``refused`` is what was in the way at first, and stays; ``problem`` may come later.
    ``module`` is its path as its process sees it. ``table`` is that of its Go functions.
    """

    def __init__(
        self, where: BinaryPlace, serial: int, reader: Reader | None, group: str = ""
    ) -> None:
        """Reads it, if there is a reader. ``group`` is the container that it was met in."""
        self._where = where
        self._subject = Subject(where.id, group)
        self._reader = reader
        self.serial = serial
        self.problem = ""
        self.elf: Elf | None = None
        self.build: GoBuild | None = None
        self.build_id = ""
        self.table: Table | None = None
        self.gomaxprocs: GomaxprocsAddresses | Refusal = Refusal("binary-unread")
        self.state = StateAddresses()
        self.sigreturn = 0
        if reader is not None:
            try:
                self._learn(self._ask("describe"))
            except ReadError as error:
                self.problem = error.reason
                self.gomaxprocs = error.refusal
        self.refused = self.problem

    @property
    def module(self) -> str:
        return self._where.module

    def _ask(self, question: str, *arguments: Any) -> Any:
        assert self._reader is not None
        return self._reader.ask(self._subject, question, self._where, *arguments)

    def _learn(self, facts: BinaryFacts) -> None:
        facts.check()
        if facts.headers is not None:
            self.elf = facts.headers.parse_elf()
        self.build, self.build_id = facts.build, facts.build_id
        self.table = facts.table
        self.gomaxprocs = facts.addresses
        self.state, self.sigreturn = facts.state, facts.sigreturn
        self.problem = facts.problem

    def lend(self, path: str) -> None:
        """From now on the file can be had at ``path``."""
        self._where = self._where._replace(path=path)

    @property
    def is_go(self) -> bool:
        return self.build is not None

    @property
    def is_settled(self) -> bool:
        """Whether another look would show the same."""
        return self.refused not in _PASSING

    @property
    def is_pending(self) -> bool:
        """There was no time to read it."""
        return self.refused in NOT_NOW

    def bias(self, mapping: Mapping) -> int | None:
        """Runtime minus link-time addresses of this file in one of its mappings."""
        return load_bias(self.elf, mapping) if self.elf is not None else None

    def in_go_text(self, address: int) -> bool:
        table = self.table
        return table is not None and table.text_start <= address < table.text_end

    def are_in_go_text(self, addresses: UInt64Array) -> npt.NDArray[np.bool_]:
        table = self.table
        if table is None:
            return np.zeros(len(addresses), bool)
        low, high = np.uint64(table.text_start), np.uint64(table.text_end)
        return (addresses >= low) & (addresses < high)

    def may_be_go(self, address: int) -> bool:
        """Of an address without a Go name: whether that is because the tables cannot be read."""
        if self.table is None:
            return self.is_go
        return bool(self.problem) and self.in_go_text(address)

    def calls(self, addresses: UInt64Array, with_lines: bool) -> tuple[Calls, Sizes]:
        """Ranges that cover the link-time addresses, with the inline chain in each, innermost
        first and never empty, and with pcsp, -1 where there is none.

        With lines every address is a range of its own. Raises ReadError if there is no answer.
        """
        try:
            columns: CallColumns = self._ask("calls", addresses, with_lines)
            found = columns.parse()
        except ReadError as error:
            self._refuse_later(error)
            raise
        self.problem = columns.problem
        return found

    def read_classes(self, pairs: int) -> tuple[int, bool, ClassMap | None]:
        """Go on with the class map of this binary.

        (How many pairs of tables were read, whether that is the end, the map if there is one.)
        """
        try:
            part: ClassPart = self._ask("classes", pairs)
            part.check()
        except ReadError as error:
            self._refuse_later(error)
            return pairs, error.reason not in NOT_NOW, None
        self.problem = part.problem
        return part.pairs, part.is_done, part.whole

    def _refuse_later(self, error: ReadError) -> None:
        """It was understood at first, and turns out to be one that cannot be read."""
        if error.reason not in NOT_NOW:
            self.problem = self.refused = error.reason
            self.gomaxprocs = error.refusal
            self.table = None


class BinaryTable:
    """The binaries of the processes that live, and others seen lately: at most 256."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.long_lists = LongLists()
        self._binaries: LruCache[FileId, Binary] = LruCache(_BINARIES)
        self._in_use: WeakValueDictionary[FileId, Binary] = WeakValueDictionary()
        self._not_go: LruCache[FileId, bool] = LruCache(_NOT_GO)
        self._serial = 0

    def __len__(self) -> int:
        return len(self._binaries)

    @property
    def evictions(self) -> int:
        return self._binaries.evictions

    def get(self, file_id: FileId, path: str, group: str, module: Callable[[], str]) -> Binary:
        """The binary with this content, to be had at ``path``; ``module()`` names a new one.

        ``group`` is the container of the process that runs it.
        """
        binary = self._known(file_id)
        if binary is None:
            self._serial += 1
            where = BinaryPlace(file_id, path, module())
            binary = Binary(where, self._serial, self.reader, group)
            self._keep(file_id, binary)
        binary.lend(path)
        return binary

    def _known(self, file_id: FileId) -> Binary | None:
        """None: it is to be read, for the first time or again."""
        found = self._binaries.get(file_id)
        if found is None:
            found = self._in_use.get(file_id)
            if found is not None:
                self._binaries.put(file_id, found)
        return found if found is not None and found.is_settled else None

    def _keep(self, file_id: FileId, binary: Binary) -> None:
        self._binaries.put(file_id, binary)
        self._in_use[file_id] = binary

    def get_go(
        self, file_id: FileId, path: str, group: str, module: Callable[[], str]
    ) -> Binary | None:
        """As ``get``, but None for what is not Go, of which nothing but that is kept.

        ReadError: it could not be read, so that it is not known.
        """
        if self._not_go.get(file_id):
            return None
        if self._known(file_id) is not None:
            binary = self.get(file_id, path, group, module)
            if binary.build is None and binary.refused not in ("", _NO_ELF):
                raise ParseError(binary.refused, path)
            return binary if binary.is_go else None
        binary = Binary(BinaryPlace(file_id, path, module()), self._serial + 1, self.reader, group)
        if not binary.is_go:
            if binary.refused not in ("", _NO_ELF):
                raise ParseError(binary.refused, path)
            self._not_go.put(file_id, True)
            return None
        self._serial += 1
        self._keep(file_id, binary)
        return binary

    def unread_go(self, module: str, reason: str) -> Binary:
        """A Go binary of which nothing is known, because its file cannot be read."""
        self._serial += 1
        binary = Binary(BinaryPlace(_NO_FILE, "", module), self._serial, None)
        binary.build = GoBuild("")
        binary.problem = binary.refused = reason
        binary.gomaxprocs = Refusal(reason)
        return binary
