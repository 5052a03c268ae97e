"""Have bpf/profile.c compiled and loaded by a child process, which hands back the descriptors.

BCC maps about 80 MB of LLVM and keeps it. The daemon never pays for that: the child
(``compiler.py``) sends the descriptors over a socket (SCM_RIGHTS) and ends; the kernel keeps
program and maps alive as long as the parent holds the descriptors.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from gotax.errors import GotaxError, TransientError, UserError
from gotax.sampling import preflight

MAP_NAMES = (
    *("control", "counters"),
    *("stack_counts_0", "stack_counts_1"),
    *("user_stacks_0", "user_stacks_1"),
    *("kernel_stacks_0", "kernel_stacks_1"),
    *("announced", "new_processes"),
)
_LOAD_TIMEOUT_S = 300.0  # a second where nothing else runs, minutes on a small node that starts
_WATCH_EVERY_S = 0.5
_MESSAGE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Program:
    """Descriptors of the loaded program and of its maps by name. The holder closes them."""

    fd: int
    maps: dict[str, int]

    def close(self) -> None:
        for fd in (self.fd, *self.maps.values()):
            with contextlib.suppress(OSError):
                os.close(fd)


Watch = Callable[[float], None]
"""Called every half second with how long the compiler has taken so far; raises to give up."""


class LoadError(GotaxError):
    """The kernel or the compiler refused the program.

    The text is what the child wrote, for ``preflight.explain_refusal`` to make a sentence of."""


@contextlib.contextmanager
def source_directory() -> Iterator[Path]:
    with resources.as_file(resources.files("gotax") / "bpf") as path:
        yield path


def load_program(definitions: dict[str, str], watch: Watch) -> Program:
    """Load bpf/profile.c with ``definitions`` as macros.

    Raises UserError (bcc is not installed), TransientError (too slow, or killed), LoadError
    (refused), and what ``watch`` raises.
    """
    parent, child = socket.socketpair()
    # -P: a root tool must not import modules from the directory it happens to be started in.
    arguments = [sys.executable, "-P", "-m", "gotax.sampling.compiler", str(child.fileno())]
    with parent, source_directory() as source:
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[child.fileno()],
                env={**os.environ, "BCC_KERNEL_SOURCE": str(source)},
                start_new_session=True,  # a Ctrl-C is the parent's to handle
            )
        except OSError as error:  # no process, memory or descriptor left
            raise TransientError(
                f"the BPF compiler could not be started ({error.strerror}): see the limits of"
                " processes, memory and open files"
            ) from error
        finally:
            child.close()
        try:
            names = (*MAP_NAMES, "targets") if "TARGET_TGIDS" in definitions else MAP_NAMES
            request: dict[str, object] = {
                "source": str(source),
                "definitions": definitions,
                "maps": names,
            }
            stderr = _converse(process, request, watch)
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in filter(None, (process.stdin, process.stderr)):
                with contextlib.suppress(OSError):
                    pipe.close()
        received, fds = _receive(parent)
    if not fds:
        last_words = stderr.decode("utf-8", "replace").strip()
        if missing := preflight.explain_missing_compiler(last_words):
            raise UserError(missing)
        if process.returncode < 0:
            raise TransientError(
                f"the BPF compiler was ended by signal {-process.returncode}"
                " (9: most likely for want of memory, of which it takes 200 MB)"
            )
        raise LoadError(last_words or f"the loader ended with status {process.returncode}")
    by_name = dict(zip(received, fds, strict=True))
    return Program(fd=by_name.pop("program"), maps=by_name)


def _converse(process: subprocess.Popen[bytes], request: dict[str, object], watch: Watch) -> bytes:
    """Ask the child, and return what it writes to standard error until it ends.

    Not ``communicate``: with a timeout it sleeps up to 50 ms at a time, by a clock that tests
    cannot step.
    """
    assert process.stdin
    assert process.stderr
    with contextlib.suppress(BrokenPipeError):  # its last words say why it has ended
        process.stdin.write(json.dumps(request).encode())
        process.stdin.close()
    waiting = select.poll()
    waiting.register(process.stderr, select.POLLIN)
    said, began = b"", time.monotonic()
    while (waited_s := time.monotonic() - began) < _LOAD_TIMEOUT_S:
        watch(waited_s)
        patience_s = min(_WATCH_EVERY_S, _LOAD_TIMEOUT_S - waited_s)
        if not waiting.poll(math.ceil(patience_s * 1000)):
            continue
        more = os.read(process.stderr.fileno(), _MESSAGE_BYTES)
        if not more:
            return said
        said = (said + more)[-_MESSAGE_BYTES:]
    raise TransientError(
        f"compiling the BPF program took over {_LOAD_TIMEOUT_S:g} s: give gotax more CPU"
    )


def _receive(connection: socket.socket) -> tuple[list[str], list[int]]:
    connection.setblocking(False)
    try:
        message, fds, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 64)
    except BlockingIOError:
        return [], []
    for fd in fds:  # a child of this process would keep the program and the maps alive
        os.set_inheritable(fd, False)
    return (json.loads(message), list(fds)) if message else ([], list(fds))
