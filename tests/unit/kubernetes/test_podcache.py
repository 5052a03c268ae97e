"""Which containers the cache knows, for how long, and how many at most."""

from __future__ import annotations

from typing import Any

import pytest
from gotax.kubernetes import podcache
from gotax.kubernetes.podcache import KEEP_S, PodCache

from .apiserver import pod

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def path(known: PodCache, container_id: str) -> str | None:
    found = known.find(container_id)
    return found.path if found else None


def numbered(n: int) -> str:
    return f"{n:064x}"


def test_a_restarted_container_and_its_predecessor_are_two() -> None:
    """Both have the name; only the new one is running."""
    known = PodCache()
    known.put(pod("one", A), 0)
    known.put(pod("one", B, "2"), 1)
    old, new = known.find(A), known.find(B)
    assert old is not None
    assert new is not None
    assert (old.path, old.ended) == (new.path, True)
    assert not new.ended


def test_a_crash_loop_is_bounded() -> None:
    """Only the last of the ended containers keep their names."""
    known = PodCache()
    for n in range(10_000):
        known.put(pod("one", numbered(n)), n)
    assert len(known) <= 18
    assert path(known, numbered(9_999)) == path(known, numbered(9_990)) == "shop/one/web"


def test_pods_are_bounded(monkeypatch: Any) -> None:
    """Pods beyond the bound are counted; deleted pods make room."""
    monkeypatch.setattr(podcache, "MAX_PODS", 3)
    known = PodCache()
    for n in range(5):
        known.put(pod(f"p{n}", numbered(n)), 0)
    assert (known.pods, known.refused) == (3, 2)
    known.remove(pod("p0", numbered(0)), 1)
    known.put(pod("p9", numbered(9)), 2)
    assert path(known, numbered(9)) == "shop/p9/web"


def test_a_deleted_pod_is_forgotten_after_a_while() -> None:
    """Its last samples get its name; then its memory is freed."""
    known = PodCache()
    known.put(pod("one", A), 0)
    known.remove(pod("one", A, "2"), 10)
    known.put(pod("two", B), 10 + KEEP_S)
    assert path(known, A) == "shop/one/web"
    known.put(pod("two", B), 11 + KEEP_S)
    assert path(known, A) is None
    assert len(known) == 1


def test_short_lived_pods_leave_no_data() -> None:
    """A node with a new job every second, for a week."""
    known = PodCache()
    for n in range(20_000):
        known.put(pod(f"job-{n}", numbered(n)), n)
        known.remove(pod(f"job-{n}", numbered(n)), n + 0.5)
    assert len(known) <= KEEP_S + 2
    assert len(known._gone) <= KEEP_S + 2


def test_the_old_name_of_the_annotation_is_read_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """For one release, and only if the new name is absent."""

    def annotated(name: str, container: str, **annotations: str) -> dict[str, Any]:
        made = pod(name, container)
        made["metadata"]["annotations"] = {f"gotax.dev/{k}": v for k, v in annotations.items()}
        return made

    known = PodCache()
    known.put(annotated("new", C, suppress="GT003"), 0)
    known.put(annotated("both", B, silence="GT001", suppress="GT002"), 0)
    assert not caplog.records
    known.put(annotated("old", A, silence="GT001"), 0)
    known.put(annotated("old", A, silence="GT001"), 1)
    found = [known.find(each) for each in (A, B, C)]
    assert [each.suppress for each in found if each] == ["GT001", "GT002", "GT003"]
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "'old'" in warning
    assert "gotax.dev/silence is now called gotax.dev/suppress" in warning


def test_a_list_replaces_the_contents() -> None:
    """Pods that are not in the list are deleted."""
    known = PodCache()
    known.replace([pod("one", A), pod("two", B)], 0)
    known.replace([pod("two", B), pod("three", C)], 1)
    assert known.pods == 2
    gone = known.find(A)
    assert gone is not None
    assert gone.ended


def test_a_static_pod_whose_mirror_was_recreated_keeps_its_name() -> None:
    """The new mirror has another UID; the container is the same."""
    known = PodCache()
    known.put(pod("etcd", A, uid="old"), 0)
    known.put(pod("etcd", A, uid="new"), 1)
    known.remove(pod("etcd", A, uid="old"), 2)
    known.put(pod("etcd", A, uid="new"), 3)
    known.put(pod("two", B), 2 * KEEP_S)
    assert path(known, A) == "shop/etcd/web"


def test_a_pod_that_reappears_is_not_forgotten() -> None:
    """The server's cache may lag behind: a pod seems to be deleted, and appears again."""
    known = PodCache()
    known.put(pod("one", A), 0)
    known.remove(pod("one", A), 1)
    known.put(pod("one", A), 2)
    known.put(pod("two", B), 2 * KEEP_S)
    found = known.find(A)
    assert found is not None
    assert not found.ended
