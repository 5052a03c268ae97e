"""Counts the reports of nodes whose clock is wrong, and names the agents in the log."""

from __future__ import annotations

import logging
import time

from gotax_collector.report import Clock, Report

log = logging.getLogger(__name__)

_LOG_EVERY_S = 3600.0
_AGENTS_MAX = 1000


class Clocks:
    """``reports``: those with a wrong clock, by ``Clock``."""

    def __init__(self) -> None:
        self.reports = {Clock.AHEAD: 0, Clock.BEHIND: 0}
        self._logged_s: dict[str, float] = {}

    def note(self, report: Report) -> None:
        if report.clock is Clock.RIGHT:
            return
        self.reports[report.clock] += 1
        agent, now = report.sender.agent, time.monotonic()
        if now - self._logged_s.get(agent, -_LOG_EVERY_S) < _LOG_EVERY_S:
            return
        if len(self._logged_s) > _AGENTS_MAX:
            self._logged_s.clear()
        self._logged_s[agent] = now
        log.warning(
            "a node's clock is wrong: its windows are stored at the time of their arrival",
            extra={
                "agent": agent,
                "clock": report.clock.value,
                "by_s": abs(report.start_unix_ns - report.received_unix_ns) // 10**9,
            },
        )
