"""Answers with gzip."""

from __future__ import annotations

import gzip
import re

from starlette.requests import Request
from starlette.responses import Response

_PACKED_FROM, _LEVEL = 1024, 5  # bytes
# RFC 9110, 12.5.3: a weight of 0 is a refusal.
_GZIP = re.compile(r"gzip(;q=(0\.\d{0,2}[1-9]\d{0,2}|1(\.0{0,3})?))?")


def packed(request: Request, answer: Response) -> Response:
    """With gzip, for a client that takes it. Runs on the thread of the question: a page with a
    flame graph is a megabyte, which would hold the event loop up."""
    takes = request.headers.get("Accept-Encoding", "").lower().replace(" ", "").split(",")
    if len(answer.body) >= _PACKED_FROM and any(_GZIP.fullmatch(part) for part in takes):
        answer.body = gzip.compress(answer.body, _LEVEL, mtime=0)
        answer.headers["Content-Encoding"] = "gzip"
        answer.headers["Content-Length"] = str(len(answer.body))
    answer.headers["Vary"] = "Accept-Encoding"
    return answer
