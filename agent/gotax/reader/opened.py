"""Opening executables and libraries, which a container may own and swap at any time."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gotax.errors import AccessError
from gotax.linux.elf import FileReader
from gotax.linux.mappings import FileId

PASSING = frozenset({"binary-gone", "binary-changed", "elf-unreadable"})
"""What can be otherwise in the next round, when another process shows the same file."""
_CACHE_BYTES = 512 * 1024  # of each open file, until the answer


class BorrowedFile:
    """A reader that is open only while it is being read.

    A descriptor kept open would pin a container's file system after the container is gone. So it
    is opened through a process that runs the file, closed after each question, and opened again
    through whichever process runs it then; the content is proven to be the same by ``FileId``.
    """

    def __init__(self, file_id: FileId, path: str) -> None:
        self._id = file_id
        self._path = path
        self._file: FileReader | None = None

    @property
    def size(self) -> int:
        return self._id.size

    def lend(self, path: str) -> None:
        """From now on the file can be had at ``path``."""
        self._path = path

    def read(self, offset: int, length: int) -> bytes:
        """Like ``Reader.read``. When reopening: AccessError ``binary-gone``, ``binary-changed``."""
        if self._file is None:
            self._file = self._open()
        return self._file.read(offset, length)

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        if self._file is None:
            self._file = self._open()
        return self._file.extents(offset, length)

    def _open(self) -> FileReader:
        try:
            # NONBLOCK: the path may lead through a container, where a FIFO can stand in its place.
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise AccessError("binary-gone", f"{self._path}: {error.strerror}") from error
        try:
            status = os.fstat(fd)
            found = FileId(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
            if found != self._id:
                raise AccessError("binary-changed", self._path)
            return FileReader(fd, _CACHE_BYTES)
        finally:
            os.close(fd)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
