"""What this host must allow before anything is loaded, and one sentence for each refusal."""

from __future__ import annotations

import errno
import os
import platform
import re
from pathlib import Path

from gotax.errors import UserError
from gotax.sampling.kernel import MACHINE

MINIMUM_KERNEL = (5, 8)
"""BPF_MAP_LOOKUP_AND_DELETE_BATCH came in 5.6, CAP_BPF and CAP_PERFMON in 5.8."""

_WORDS_MAX = 200
_VERIFIED = re.compile(r"processed \d+ insns")  # the last line of the verifier's log
_EXCEPTION = re.compile(r"^[\w.]*(Error|Exception|Interrupt|Exit): ")
_NO_MEMORY = ("Cannot allocate memory", "MemoryError", "out of memory", "failed to map segment")
_NO_RIGHTS = ("Operation not permitted", "Permission denied", "Need super-user privileges")
_CAP_SYS_ADMIN, _CAP_PERFMON, _CAP_BPF = 21, 38, 39


def kernel_release(release: str | None = None) -> tuple[int, int]:
    """(major, minor) of ``release`` or of the running kernel; (0, 0) when it does not say."""
    match = re.match(r"(\d+)\.(\d+)", release if release is not None else platform.release())
    return (int(match[1]), int(match[2])) if match else (0, 0)


def lockdown(sys_root: str = "/sys") -> str:
    """``none``, ``integrity`` or ``confidentiality`` (kernel_lockdown(7)); ``none`` if unknown."""
    try:
        text = Path(sys_root, "kernel/security/lockdown").read_text()
    except OSError:
        return "none"
    match = re.search(r"\[(\w+)\]", text)
    return match[1] if match else "none"


def effective_capabilities(proc_root: str = "/proc") -> int:
    for line in Path(proc_root, "self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def require() -> None:
    """Raise UserError with the remedy for the first thing that is missing."""
    if platform.system() != "Linux" or MACHINE not in ("x86_64", "aarch64"):
        raise UserError(
            f"gotax samples Linux on x86_64 and arm64, not {platform.system()} on {MACHINE}"
        )
    if kernel_release() < MINIMUM_KERNEL:
        raise UserError(
            f"Linux {platform.release()} is too old: gotax needs"
            f" {MINIMUM_KERNEL[0]}.{MINIMUM_KERNEL[1]} or newer"
        )
    held = effective_capabilities()
    may_sample = held >> _CAP_BPF & 1 and held >> _CAP_PERFMON & 1
    if not (may_sample or held >> _CAP_SYS_ADMIN & 1):
        raise UserError(
            "gotax needs root (or the capabilities BPF, PERFMON and SYS_PTRACE): run it with sudo"
        )
    if lockdown() == "confidentiality":
        raise UserError(
            "kernel lockdown is in confidentiality mode, which forbids BPF programs to read"
            " stacks: boot with lockdown=integrity"
        )


def explain_perf_refusal(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        level = _read("/proc/sys/kernel/perf_event_paranoid") or "unknown"
        return (
            f"the kernel refused perf events (perf_event_paranoid is {level}): run as root, or"
            " allow perf_event_open in the container's seccomp profile"
        )
    if error.errno in (errno.ENOENT, errno.ENOSYS, errno.EOPNOTSUPP):
        return (
            "this kernel has no perf events: boot one with CONFIG_PERF_EVENTS=y"
            " (gVisor and some sandboxes have none)"
        )
    if error.errno == errno.EMFILE:
        return "too few file descriptors for one timer per CPU: raise `ulimit -n`"
    return f"the kernel refused a perf event: {os.strerror(error.errno or 0)}"


def explain_namespace(why: str) -> str:
    return (
        "gotax runs in a nested PID namespace, and this kernel does not say how to translate the"
        f" PIDs by which it counts ({why}): run gotax in the initial namespace, on the machine"
        " itself, or boot a kernel with CONFIG_DEBUG_INFO_BTF=y"
    )


def explain_missing_compiler(last_words: str) -> str:
    """A sentence if the child could not import bcc, else ""."""
    remedy = (
        "install Debian's python3-bpfcc (not PyPI's bcc), and gotax for the system's Python with"
        " the system's packages (`pipx install --system-site-packages`)"
    )
    if "No module named 'bcc" in last_words:
        return f"the BPF compiler is missing: {remedy}"
    if "cannot import name 'BPF'" in last_words or "has no attribute 'BPF'" in last_words:
        return f"the module bcc is not the BPF compiler: {remedy}"
    library = re.search(r"(lib\S+\.so[.\d]*): cannot open shared object", last_words)
    if library or "undefined symbol" in last_words:
        what = f" ({library[1]} is missing)" if library else ""
        return f"the BPF compiler is not installed as a whole{what}: {remedy}"
    return ""


def explain_refusal(last_words: str) -> str:
    """One sentence of what bcc, clang and the kernel's verifier wrote before the loader ended."""
    lines = [line.strip() for line in last_words.splitlines() if line.strip()]
    verdict = next((n for n, line in enumerate(lines) if _VERIFIED.match(line)), 0)
    if verdict:
        return (
            f"the kernel's verifier refused the BPF program ({lines[verdict - 1][:_WORDS_MAX]}):"
            f" report it with this kernel's name ({platform.release()})"
        )
    if any(words in last_words for words in _NO_MEMORY):
        return (
            "there is too little memory to compile the BPF program, which takes 200 MB for some"
            " seconds: raise the memory limit"
        )
    if any(words in last_words for words in _NO_RIGHTS):
        return (
            "the kernel refused the BPF program: run as root, check that lockdown"
            f" ({lockdown()}) and the container's seccomp profile allow bpf()"
        )
    if "not implemented" in last_words:
        return "this kernel has no eBPF: boot one with CONFIG_BPF_SYSCALL=y"
    if refused := re.search(r"could not open bpf map: (\w+), error: (.*)", last_words):
        return f"the kernel refused the BPF map {refused[1]} ({refused[2][:_WORDS_MAX]})"
    if error := re.search(r"([^/\s]+:\d+):\d+: (?:fatal )?error: (.*)", last_words):
        return (
            f"the BPF program does not compile here ({error[1]}: {error[2][:_WORDS_MAX]}): install"
            " python3-bpfcc 0.26 or newer, and gotax once more"
        )
    if "Unable to find kernel headers" in last_words:
        return "files that belong to gotax are missing: install it once more"
    said = _EXCEPTION.sub("", lines[-1])[:_WORDS_MAX] if lines else "the loader ended"
    return f"the BPF program could not be loaded: {said}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
