"""The PID namespace of a /proc, from folders in its form."""

from __future__ import annotations

from pathlib import Path

import pytest
from gotax.errors import AccessError
from gotax.linux import pidnamespace


def process(proc: Path, name: str, pids: str, namespace: int | None, parent: int = 0) -> None:
    """``pids`` as NSpid has them, from the namespace of this /proc inwards."""
    (proc / name / "ns").mkdir(parents=True)
    (proc / name / "status").write_text(f"Name:\tx\nPPid:\t{parent}\nNSpid:\t{pids}\n")
    if namespace is not None:
        (proc / name / "ns/pid").symlink_to(f"pid:[{namespace}]")


def test_our_own_namespace_where_we_have_one_pid(tmp_path: Path) -> None:
    process(tmp_path, "self", "7", 4026532178)
    assert pidnamespace.read_pid_namespace(str(tmp_path)) == 4026532178
    assert pidnamespace.shares_ours(str(tmp_path))


def test_a_proc_of_an_outer_namespace_is_not_ours(tmp_path: Path) -> None:
    """We have two PIDs there; a process with one PID shows it, also after unreadable ones."""
    process(tmp_path, "self", "700\t7", 4026532178)
    process(tmp_path, "1", "1", None)
    (tmp_path / "1/ns/pid").symlink_to("refused")
    process(tmp_path, "2", "2\t1", 4026532999)
    process(tmp_path, "3", "3", pidnamespace.INITIAL)
    assert pidnamespace.read_pid_namespace(str(tmp_path)) == pidnamespace.INITIAL
    assert not pidnamespace.shares_ours(str(tmp_path))


def test_a_kernel_without_pid_namespaces_has_the_initial_one(tmp_path: Path) -> None:
    """CONFIG_PID_NS=n: there is neither the link nor NSpid."""
    (tmp_path / "self/ns").mkdir(parents=True)
    assert pidnamespace.read_pid_namespace(str(tmp_path)) == pidnamespace.INITIAL


def test_an_unreadable_namespace_is_unknown(tmp_path: Path) -> None:
    """No /proc at all, and one with only processes of deeper namespaces readable."""
    with pytest.raises(AccessError, match="pid-namespace"):
        pidnamespace.read_pid_namespace(str(tmp_path))
    process(tmp_path, "5", "5\t1", 4026532999)
    with pytest.raises(AccessError, match="pid-namespace"):
        pidnamespace.read_pid_namespace(str(tmp_path))


def test_others_are_neither_we_nor_our_ancestors_nor_our_readers(tmp_path: Path) -> None:
    for name, parent in (("1", 0), ("20", 1), ("30", 20), ("40", 1), ("41", 30)):
        process(tmp_path, name, name, 4026532178, parent)
    for name, parent in (("50", 30), ("51", 50)):
        process(tmp_path, name, name, 4026532178, parent)
        status = tmp_path / name / "status"
        status.write_text(status.read_text().replace("Name:\tx", "Name:\tgotax-reader"))
    (tmp_path / "self").symlink_to("30")
    assert pidnamespace.read_own_pid(str(tmp_path)) == 30
    # A shell that started programs and then became gotax is their parent.
    assert pidnamespace.read_others(str(tmp_path)) == [40, 41]
