"""One executable or library as a reader sees it: parsed from its file."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import PurePath

import numpy as np

from gotax.errors import ParseError, ReadError, Refusal
from gotax.golang import gomaxprocs, runtimestate
from gotax.golang.automaxprocs import DEPENDENCIES
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.classmap import ClassMapReader, KnownCodes
from gotax.golang.gomaxprocs import find_gomaxprocs
from gotax.golang.live import GomaxprocsAddresses, StateAddresses
from gotax.golang.pclntab import Calls, Pclntab, Sizes, parse_pclntab
from gotax.golang.runtimestate import find_state
from gotax.linux.elf import Elf, SymbolTable, parse_elf
from gotax.process import GoBuild
from gotax.profile import Frame, FrameKind, UInt64Array
from gotax.reader.opened import PASSING, BorrowedFile

_CODES = KnownCodes()
_SETTINGS = frozenset({"CGO_ENABLED", "-compiler", "DefaultGODEBUG"})  # that rules ask for
_FURTHER_SETTINGS, _MAX_FURTHER_CHARS = 32, 256
_CGO = "crosscall2"  # the way back from C, in package runtime/cgo
_SIGRETURN = frozenset({"runtime.sigreturn__sigaction", "runtime.sigreturn"})  # 1.20 and older


class ParsedBinary:
    """``problem`` names what kept it from being understood ("" for nothing): an unreadable file has
    neither ``build`` nor frames, a Go binary with a strange pclntab has a ``build`` only.
    ``refused`` is what was in the way at first, and stays; ``problem`` may come later.
    ``module`` is its path as its process sees it. Unless it is ``for_processes``, gotax does not
    look for the variables of the runtime in it, which takes a pass over all names.
    """

    def __init__(self, file: BorrowedFile, module: str, for_processes: bool = True) -> None:
        self.file = file
        self.module = module
        self.problem = ""
        self.elf: Elf | None = None
        self.build: GoBuild | None = None
        self.build_id = ""
        self.pclntab: Pclntab | None = None
        self.gomaxprocs: GomaxprocsAddresses | Refusal = Refusal("binary-unread")
        self.state = StateAddresses()
        self.sigreturn = 0
        self.classes: ClassMapReader | None = None
        try:
            self._understand(for_processes)
        except ReadError as error:
            self.problem = error.reason
            self.gomaxprocs = error.refusal
        self.refused = self.problem
        self.release()

    def _understand(self, for_processes: bool) -> None:
        self.elf = elf = parse_elf(self.file)
        self.build = _what_is_used(parse_buildinfo(elf))
        self.build_id = elf.build_id()
        if self.build is None:
            if elf.is_packed:
                raise ParseError("elf-packed", "by UPX: what runs is not in the file")
            return
        if elf.bits != 64:
            raise ParseError("elf-unsupported", "a Go program for a 32-bit machine")
        if self.build.setting("-compiler") == "gccgo":
            raise ParseError("compiler-gccgo", "it has another runtime, without Go's own tables")
        self.pclntab = parse_pclntab(elf, self.build.version)
        if not for_processes:
            return
        # One pass over the names for all that need one.
        ranges = self.pclntab.function_ranges(
            gomaxprocs.FUNCTIONS | runtimestate.FUNCTIONS | _SIGRETURN | {_CGO}
        )
        # Go 1.18 and newer, the go command's builds; Bazel's, for one, say nothing.
        setting = self.build.setting("CGO_ENABLED")
        self.build = replace(self.build, cgo=setting == "1" or (not setting and _CGO in ranges))
        self.sigreturn = next((ranges[name][0] for name in _SIGRETURN if name in ranges), 0)
        try:
            self.gomaxprocs = find_gomaxprocs(elf, self.pclntab)
            self.state = find_state(elf, self.pclntab)
        except ReadError as error:
            if isinstance(self.gomaxprocs, Refusal):
                self.gomaxprocs = error.refusal

    @property
    def is_settled(self) -> bool:
        """Whether another look would show the same."""
        return self.refused not in PASSING

    def calls(self, addresses: UInt64Array, with_lines: bool) -> tuple[Calls, Sizes]:
        """Ranges that cover the link-time addresses, with the inline chain in each, innermost
        first and never empty, and with pcsp, -1 where there is none.

        With lines every address is a range of its own. Ranges are empty when the tables could
        not be read just now. The addresses are unique.
        """
        calls, sizes = self._go_calls(addresses, with_lines)
        chains = [
            chain or (self._native_frame(start),)
            for start, chain in zip(calls.starts.tolist(), calls.chains, strict=True)
        ]
        return replace(calls, chains=chains), sizes

    def _go_calls(self, addresses: UInt64Array, with_lines: bool) -> tuple[Calls, Sizes]:
        chains: list[tuple[Frame, ...]] = [()] * len(addresses)
        sizes = np.full(len(addresses), -1, np.int32)
        width = 1
        if self.pclntab is not None:
            try:
                if not with_lines:
                    return self.pclntab.calls(addresses)
                chains = self.pclntab.frames(addresses)
                sizes = self.pclntab.frame_sizes(addresses)
            except ReadError as error:
                self.problem = error.reason
                width = error.reason not in PASSING
        ends = addresses + np.uint64(width)
        return Calls(addresses, ends, chains), Sizes(addresses, ends, sizes)

    def read_classes(self, pairs: int) -> int:
        """Go on with ``classes``, the class map of this binary; returns how many pairs of tables
        were read."""
        if self.classes is None:
            assert self.pclntab is not None
            self.classes = ClassMapReader(self.pclntab, _CODES)
        try:
            return self.classes.go_on(pairs)
        except ReadError as error:
            self.problem = error.reason
            return pairs

    def _native_frame(self, address: int) -> Frame:
        """By the symbol table where there is one, else module + offset."""
        try:
            found = self._symbols.lookup(address) if self._symbols else None
        except ReadError as error:
            self.problem = error.reason
            found = None
        return Frame(found[0] if found else self.unnamed(address), kind=FrameKind.NATIVE)

    def unnamed(self, address: int) -> str:
        """What stands for the name of code that has none."""
        return f"{self._base}+{address:#x}"

    @cached_property
    def _base(self) -> str:
        return PurePath(self.module).name

    @cached_property
    def _symbols(self) -> SymbolTable | None:
        try:
            return self.elf.function_symbols() if self.elf else None
        except ReadError as error:
            self.problem = error.reason
            return None

    def release(self) -> None:
        """Close the file, drop what is large and can be read again."""
        self.file.close()
        if self.elf is not None:
            self.elf.forget()
        self.__dict__.pop("_symbols", None)


def _what_is_used(build: GoBuild | None) -> GoBuild | None:
    """Hundreds of binaries are remembered, some have thousands of dependencies, and hostile ones
    the same one thousands of times: the first counts."""
    if build is None:
        return None
    dependencies = {module.path: module for module in reversed(build.dependencies)}
    settings = {
        key: value
        for number, (key, value) in reversed(list(enumerate(build.settings)))
        if key in _SETTINGS
        or (number < _FURTHER_SETTINGS and len(key) + len(value) <= _MAX_FURTHER_CHARS)
    }
    return replace(
        build,
        dependencies=tuple(m for path, m in dependencies.items() if path in DEPENDENCIES),
        settings=tuple(reversed(settings.items())),
    )
