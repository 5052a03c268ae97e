"""Log lines that people and programs read: ``time level message key=value ...`` (logfmt)."""

from __future__ import annotations

import json
import logging
import re
import time

_USUAL = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_BARE = re.compile(r"[\w.:/@*+-]+\Z", re.ASCII)


class Logfmt(logging.Formatter):
    """Ambiguous values, and those with control characters, are quoted as in JSON."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        pairs = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **{k: v for k, v in record.__dict__.items() if k not in _USUAL},
        }
        line = " ".join(f"{key}={_value(value)}" for key, value in pairs.items())
        if record.exc_info:
            line += " error=" + json.dumps(self.formatException(record.exc_info))
        return line


def _value(value: object) -> str:
    text = str(value)
    return text if _BARE.match(text) else json.dumps(text)
