"""A file on FUSE whose server does not answer: the reader that opens it cannot be killed."""

from __future__ import annotations

import ctypes
import enum
import errno
import gc
import os
import stat
import struct
import threading
from pathlib import Path

import pytest
from gotax.errors import AccessError
from gotax.reader import connection
from gotax.reader import pool as pool_module
from gotax.reader.asking import HOSTILE, PENDING, Subject
from gotax.reader.pool import Pool
from gotax.reader.server import ForkServer

from tests.patience import PATIENCE_S, is_readable

_CONTENT = b"content"


class _Code(enum.IntEnum):
    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    OPEN = 14
    READ = 15
    RELEASE = 18
    FLUSH = 25
    INIT = 26


class SilentFile:
    """A file system of one file, ``file``. ``taken``: a read of it was taken, and is not answered.

    The protocol is include/uapi/linux/fuse.h, of version 7.31.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "file"
        self.taken = threading.Event()
        self._folder = folder
        self._unanswered: list[int] = []
        self._fd = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"silent", str(folder).encode(), b"fuse", 0, options.encode()):
            os.close(self._fd)
            raise OSError(ctypes.get_errno(), "mount")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What waits for an answer gets an error."""
        for number in self._unanswered:
            self._answer(number, errno.EIO, b"")
        ctypes.CDLL(None).umount2(str(self._folder).encode(), 2)  # MNT_DETACH
        self._thread.join()
        os.close(self._fd)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, 1 << 20)
            except OSError:
                return
            _, code, number, node = struct.unpack_from("<IIQQ", request)
            if code == _Code.READ:
                self._unanswered.append(number)
                self.taken.set()
            elif code != _Code.FORGET:
                self._answer(number, *_answer(code, node))

    def _answer(self, number: int, error: int, body: bytes) -> None:
        head = struct.pack("<IiQ", 16 + len(body), -error, number)
        try:
            os.write(self._fd, head + body)
        except OSError:
            return


def _answer(code: int, node: int) -> tuple[int, bytes]:
    match code:
        case _Code.INIT:
            limits = (7, 31, 65536, 0, 12, 10, 65536, 1, 0, 0, 0)
            return 0, struct.pack("<4I2H2I2HI", *limits) + bytes(24)
        case _Code.LOOKUP:
            return 0, struct.pack("<QQQQII", 2, 0, 0, 0, 0, 0) + _attributes(2)
        case _Code.GETATTR:
            return 0, struct.pack("<QII", 0, 0, 0) + _attributes(node)
        case _Code.OPEN:
            return 0, struct.pack("<QII", 1, 1, 0)  # FOPEN_DIRECT_IO: each reader asks
        case _Code.RELEASE | _Code.FLUSH:
            return 0, b""
    return errno.ENOSYS, b""


def _attributes(node: int) -> bytes:
    mode, size = (stat.S_IFDIR | 0o755, 0) if node == 1 else (stat.S_IFREG | 0o755, len(_CONTENT))
    return struct.pack("<6Q10I", node, size, 1, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def test_a_reader_in_a_file_that_does_not_answer_is_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the questions about others nor the end wait for it, and it is not read again."""
    other = tmp_path / "other"
    other.write_bytes(b"other")
    (tmp_path / "mount").mkdir()
    with ForkServer() as server:
        gc.unfreeze()
        try:
            silent = SilentFile(tmp_path / "mount")
        except OSError as error:
            pytest.skip(f"no FUSE here: {error}")
        pool = Pool(server, PATIENCE_S)
        try:
            with monkeypatch.context() as patched:
                patched.setattr(pool_module, "WAIT_S", 0.1)
                assert _refused(pool, silent.path) == PENDING
                assert silent.taken.wait(PATIENCE_S)
                # On a busy host this answer takes longer than the wait for the silent one.
                patched.setattr(pool_module, "WAIT_S", PATIENCE_S)
                assert pool.ask(Subject("other", "other"), "head", str(other), 5) == b"other"
                patched.setattr(pool_module, "WAIT_S", 0.1)
                patched.setattr(pool_module, "WALL_S", 0.0)
                assert _refused(pool, silent.path) == HOSTILE
            pool.begin_round()
            assert pool.restarts == {"time": 1}
            assert pool.abandoned == 1  # SIGKILL does not end it: it is in state D
            monkeypatch.setattr(pool_module, "WAIT_S", PATIENCE_S)
            assert pool.ask(Subject("other", "other"), "head", str(other), 5) == b"other"
            assert _refused(pool, silent.path) == HOSTILE
            (stuck,) = [pid for pid in _children(server.pid) if pid not in pool.pids()]
            pidfd = os.pidfd_open(stuck)
        finally:
            silent.close()
        assert is_readable(pidfd, PATIENCE_S)
        os.close(pidfd)
        pool.begin_round()
        assert pool.abandoned == 0
        pool.close()


def test_readers_that_were_stopped_for_others_and_do_not_end_bar_their_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stopped reader stays. One container with twelve processes took all there may be."""
    (tmp_path / "mount").mkdir()
    with ForkServer() as server:
        gc.unfreeze()
        try:
            silent = SilentFile(tmp_path / "mount")
        except OSError as error:
            pytest.skip(f"no FUSE here: {error}")
        pool = Pool(server)
        try:
            with monkeypatch.context() as patched:
                patched.setattr(pool_module, "WAIT_S", 0.1)
                patched.setattr(pool_module, "DISPLACED_S", 0.0)
                patched.setattr(connection, "DIES_WITHIN_S", 0.0)
                number = 0
                while (reason := _refused(pool, silent.path, number)) == PENDING:
                    number += 1
            assert reason == HOSTILE
            assert pool.abandoned <= 3
            assert pool.restarts["time"] == 0
            pool.begin_round()
            other = pool.ask(Subject("other", "other"), "head", "/proc/self/comm", 5)
            assert other
        finally:
            silent.close()
        pool.close()


def _refused(pool: Pool, path: Path, number: int = 0) -> str:
    pool.begin_round()
    with pytest.raises(AccessError) as error:
        pool.ask(Subject(f"silent {number}", "silent"), "head", str(path), 5)
    return error.value.reason


def _children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
