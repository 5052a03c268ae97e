"""Notices two agents that have one name.

An agent that was restarted has another epoch, and its old connection may look open for minutes. But
only its new stream sends reports. Two agents send in turn. Their reports are kept apart by the
epoch, but queries add up what they send as that of one node, and they share one rate.
"""

from __future__ import annotations

import logging
import time

from gotax_collector.ingest.stream import Stream

log = logging.getLogger(__name__)

_TURNS = 2
"""How often a stream must have sent after another one did. Once may be what was on its way when the
agent was restarted."""
_LOG_EVERY_S = 3600.0


class Namesakes:
    """Only streams that are open are known here, so the memory is theirs."""

    def __init__(self) -> None:
        self._last: dict[str, Stream] = {}  # by name: which stream sent last
        self._turns: dict[Stream, int] = {}
        self._found: dict[str, set[Stream]] = {}
        self._logged_s: dict[str, float] = {}
        self.total = 0

    @property
    def count(self) -> int:
        """How many names have more than one agent now."""
        return len(self._found)

    def note(self, stream: Stream) -> None:
        """The stream has sent a report."""
        before = self._last.get(stream.agent)
        self._last[stream.agent] = stream
        if before is None or before is stream or before.epoch == stream.epoch:
            return
        self._turns[stream] = self._turns.get(stream, 0) + 1
        if self._turns[stream] >= _TURNS:
            if stream.agent not in self._found:
                self.total += 1
                self._log(stream, before)
            self._found.setdefault(stream.agent, set()).update((before, stream))

    def remove(self, stream: Stream) -> None:
        """The stream has ended."""
        self._turns.pop(stream, None)
        if self._last.get(stream.agent) is stream:
            del self._last[stream.agent]
        both = self._found.get(stream.agent)
        if both is not None:
            both.discard(stream)
            if len(both) < 2:
                del self._found[stream.agent]

    def _log(self, one: Stream, other: Stream) -> None:
        now = time.monotonic()
        if now - self._logged_s.get(one.agent, -_LOG_EVERY_S) < _LOG_EVERY_S:
            return
        if len(self._logged_s) > 1000:
            self._logged_s.clear()
        self._logged_s[one.agent] = now
        log.warning(
            "two agents have one name: give each its own with --agent-name",
            extra={"agent": one.agent, "peer": one.peer, "other_peer": other.peer},
        )
