"""Failures of the loader's child as sentences, from real failures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from gotax.errors import GotaxError, UserError
from gotax.sampling import loader, preflight

TRACEBACK = """\
Traceback (most recent call last):
  File "/usr/lib/python3/dist-packages/bcc/__init__.py", line 479, in __init__
    raise Exception("Failed to compile BPF module %s" % (src_file or "<text>"))
"""
CLANG = """\
/virtual/main.c:1:9: error: expected expression
int x = ;
        ^
1 error generated.
"""
VERIFIER = """\
bpf: Failed to load program: Permission denied
0: R1=ctx() R10=fp0
1: (61) r0 = *(u32 *)(r1 +0)
R1 invalid mem access 'scalar'
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0

"""
REFUSALS = [
    (CLANG + TRACEBACK + "Exception: Failed to compile BPF module b'p.c'", "main.c:1: expected"),
    (VERIFIER + TRACEBACK + "Exception: Failed to load BPF program b'sample': Permission denied",
     "verifier refused the BPF program (R1 invalid mem access 'scalar')"),
    ("bpf: Failed to load program: Operation not permitted\n\n" + TRACEBACK
     + "Exception: Need super-user privileges to run", "run as root"),
    ("could not open bpf map: announced, error: Operation not permitted\n" + TRACEBACK
     + "Exception: Failed to compile BPF module b'p.c'", "run as root"),
    ("could not open bpf map: announced, error: Argument list too long\n" + TRACEBACK
     + "Exception: Failed to compile BPF module b'p.c'", "map announced (Argument list too long)"),
    ("could not open bpf map: announced, error: Cannot allocate memory\n" + TRACEBACK,
     "memory limit"),
    ("LLVM ERROR: out of memory\n", "memory limit"),
    (TRACEBACK + "OSError: libicudata.so.72: failed to map segment from shared object", "memory"),
    (TRACEBACK + "MemoryError", "memory limit"),
    ("bpf: Failed to load program: Function not implemented\n" + TRACEBACK, "no eBPF"),
    ("sh: 1: modprobe: not found\nUnable to find kernel headers. Try rebuilding kernel\n"
     + TRACEBACK + "Exception: Failed to compile BPF module b'p.c'", "install it once more"),
    (TRACEBACK + "Exception: something new", "loaded: something new"),
    ("", "the loader ended"),
]  # fmt: skip
MISSING = [
    ("ModuleNotFoundError: No module named 'bcc'", "the BPF compiler is missing"),
    ("ImportError: cannot import name 'BPF' from 'bcc' (/x/bcc/__init__.py)", "is not the BPF"),
    ("OSError: libbcc.so.0: cannot open shared object file", "libbcc.so.0 is missing"),
    ("OSError: libbcc.so.0: undefined symbol: x", "not installed as a whole"),
]  # fmt: skip


def is_sentence(text: str) -> bool:
    return "Traceback" not in text and "File " not in text and "\n" not in text and len(text) < 400


@pytest.mark.parametrize(("words", "said"), REFUSALS)
def test_a_refusal_is_one_sentence(words: str, said: str) -> None:
    found = preflight.explain_refusal(words)
    assert said in found
    assert is_sentence(found)
    assert preflight.explain_missing_compiler(words) == ""


@pytest.mark.parametrize(("words", "said"), MISSING)
def test_a_missing_compiler_is_a_sentence_with_the_remedy(words: str, said: str) -> None:
    found = preflight.explain_missing_compiler(TRACEBACK + words)
    assert said in found
    assert is_sentence(found)
    assert "python3-bpfcc" in found
    assert "--system-site-packages" in found


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ModuleNotFoundError(\"No module named 'bcc'\")", "python3-bpfcc"),
        ("VERSION = 'of something else'", "is not the BPF compiler"),
        ("import ctypes; ctypes.CDLL('libbcc-none.so.9')", "libbcc-none.so.9 is missing"),
        ("raise MemoryError", "memory limit"),
        ("import os; os.write(2, b'sudden\\xff'); os._exit(3)", "sudden"),
    ],
)
def test_a_child_that_fails_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    """The real child, with another module bcc."""
    (tmp_path / "bcc.py").write_text(source)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    monkeypatch.setenv("PYTHONPATH", path)
    with pytest.raises(GotaxError) as refused:
        loader.load_program({}, lambda _: None)
    text = str(refused.value)
    if not isinstance(refused.value, UserError):
        text = preflight.explain_refusal(text)
    assert said in text
    assert is_sentence(text)


def test_a_child_that_cannot_be_started_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(UserError, match="could not be started"):
        loader.load_program({}, lambda _: None)
