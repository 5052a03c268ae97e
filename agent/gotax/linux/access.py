"""May we see what the host's processes are? Where we may not, "no Go process" would be a guess."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gotax.errors import ProcessGoneError, ReadError, UserError
from gotax.linux import pidnamespace
from gotax.linux.mappings import read_exe_link
from gotax.linux.procfs import list_pids, read_stat, read_status_line

_CAP_SYS_PTRACE = 19  # include/uapi/linux/capability.h


def require_access(root: str, pids: Collection[int] | None = None) -> None:
    """Raise UserError where the programs of these processes, or of all, cannot be identified.

    With the capability some may refuse all the same (a security module); gotax does without those.
    """
    everyone = list_pids(root)
    if 1 not in everyone:
        raise UserError(
            f"{root} hides the processes of other users: add the capability SYS_PTRACE, or mount it"
            " without hidepid"
        )
    held = may_trace(root)
    refused = None
    for pid, is_readable in _programs(root, everyone if pids is None else pids):
        if is_readable and held:
            return
        if not is_readable:
            refused = pid
            if not held:
                break
    if refused is None:
        return
    if not held:
        raise UserError(
            f"gotax may not read other programs (PID {refused} for one): run it as root, or add the"
            " capability SYS_PTRACE"
        )
    raise UserError(
        f"gotax may read none of the programs that it is to look at (PID {refused} for one): run it"
        " outside of a user namespace, with an AppArmor profile that allows ptrace (Unconfined)"
    )


def may_trace(root: str) -> bool:
    text = read_status_line(root, "self", "CapEff:") or read_status_line("/proc", "self", "CapEff:")
    return bool(int(text or "0", 16) >> _CAP_SYS_PTRACE & 1)


def _programs(root: str, pids: Collection[int]) -> Iterator[tuple[int, bool]]:
    """(PID, we may see which program it runs); neither kernel threads nor ourselves."""
    ours = pidnamespace.read_own_pid(root)
    for pid in sorted(pids):
        try:
            if pid == ours or read_stat(root, pid).is_kernel_thread:
                continue
            read_exe_link(root, pid)  # not the file, whose file system might not answer
        except ProcessGoneError:
            continue
        except ReadError:
            yield pid, False
        else:
            yield pid, True
