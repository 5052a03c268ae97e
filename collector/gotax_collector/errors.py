"""The base class of the collector's errors."""

from __future__ import annotations


class CollectorError(Exception):
    """The text is one sentence, for the user or for the log."""
