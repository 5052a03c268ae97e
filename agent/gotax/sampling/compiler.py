"""The child of ``loader.py``: compile and load a BPF program, send its descriptors, end.

This is the only file that imports bcc. It imports nothing else that takes time or memory.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
import threading
from typing import NoReturn

_TRIM_S = 0.02
_LIBRARIES = ("libLLVM", "libclang")
_MADV_DONTNEED = 4  # include/uapi/asm-generic/mman-common.h
_libc = ctypes.CDLL(None)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.dlopen.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.dlopen.restype = ctypes.c_void_p


def _compile_and_send(reply_fd: int) -> NoReturn:
    _Trimmer().start()
    # Not as bcc does it: ctypes binds every symbol at once and keeps other threads waiting.
    _libc.dlopen(b"libbcc.so.0", os.RTLD_LAZY)
    from bcc import BPF

    request = json.load(sys.stdin)
    cflags = [f"-D{name}={value}" for name, value in request["definitions"].items()]
    bpf = BPF(src_file=request["source"] + "/profile.c", cflags=cflags)
    fds = {"program": bpf.load_func("sample", BPF.PERF_EVENT).fd}
    fds |= {name: bpf[name].map_fd for name in request["maps"]}
    with socket.socket(fileno=reply_fd) as reply:
        socket.send_fds(reply, [json.dumps(list(fds)).encode()], list(fds.values()))
    sys.stderr.flush()
    os._exit(0)  # bcc's exit handlers have nothing left to do that the kernel does not


class _Trimmer(threading.Thread):
    """Unmaps the compiler's code again and again.

    Each pass of the compiler uses another part of its 80 MB. What is needed again comes back from
    the page cache, which takes some milliseconds in all.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_TRIM_S):
            for start, end in _code_of_libraries():
                _libc.madvise(start, end - start, _MADV_DONTNEED)


def _code_of_libraries() -> list[tuple[int, int]]:
    """Mappings that cannot be written to, so that the file has all that is in them."""
    found = []
    with open("/proc/self/maps") as lines:
        for line in lines:
            extent, rights, *_, path = line.split(maxsplit=5)
            if rights == "r-xp" and any(name in path for name in _LIBRARIES):
                start, _, end = extent.partition("-")
                found.append((int(start, 16), int(end, 16)))
    return found


if __name__ == "__main__":
    _compile_and_send(int(sys.argv[1]))
