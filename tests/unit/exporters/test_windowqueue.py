from __future__ import annotations

from dataclasses import replace

from gotax.exporters.windowqueue import WindowQueue

from .windows import story_window


def test_a_full_queue_drops_the_oldest_window() -> None:
    """``put`` returns it, so that the caller can count the loss."""
    one, two, three = (replace(story_window(), start_unix_ns=n) for n in range(3))
    queue = WindowQueue(2)
    assert queue.put(one) is None
    assert queue.put(two) is None
    assert queue.put(three) is one
    assert len(queue) == 2
    assert [queue.take(), queue.take(), queue.take()] == [two, three, None]
    assert not queue


def test_a_cleared_queue_is_empty() -> None:
    """As at the end of a delivery."""
    queue = WindowQueue(2)
    queue.put(story_window())
    queue.clear()
    assert queue.take() is None
