"""Log lines of the agent."""

from __future__ import annotations

import logging
from typing import Any

from gotax.exporters.text import printable


class Lines(logging.Formatter):
    """One line for each record, whatever a collector, a backend or an API server has answered: no
    line of its own, and no escape sequences. A traceback has several."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the base's name)
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the base's name)
        return "\n".join(printable(line) for line in super().formatException(ei).split("\n"))
