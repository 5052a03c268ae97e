"""The command line of a process. Errors are as in procfs.py."""

from __future__ import annotations

from gotax.linux.procfs import TaskPath, read_file

_MAX_ARGUMENTS_BYTES = 256 << 10


def read_arguments(root: str, task: TaskPath) -> tuple[str, ...]:
    """The command line, as the process has it in its memory; of a very long one the beginning.

    Command lines may hold secrets: only a reader keeps them, and only while it answers.
    """
    data = read_file(f"{root}/{task}/cmdline", _MAX_ARGUMENTS_BYTES)
    return tuple(data.decode("utf-8", "replace").removesuffix("\0").split("\0")) if data else ()
