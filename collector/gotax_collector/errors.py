"""The base of every error that the collector raises on purpose."""

from __future__ import annotations


class CollectorError(Exception):
    """The text is one sentence, for the person who can mend it or for the log."""
