"""How the agent asks, whether a reader of its own answers or this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol

from gotax.reader.work import Work
from gotax.reader.worker import answer_bytes, parse_answer, question_bytes

PENDING = "binary-pending"
"""Of a binary or a process: no answer yet. It is asked again in the next round."""
HOSTILE = "binary-hostile"
"""It broke the bounds of a reader, and is not read again."""
STUCK = "reader-stuck"
"""Too many readers are stuck in files or memory that do not answer. So nothing is read."""
MALFORMED = "reader-malformed"
"""The reader itself answered what it cannot mean."""
NOT_NOW = frozenset({PENDING, STUCK})


class Subject(NamedTuple):
    """What a question is about: it bears the blame if the reader comes to harm.

    ``group`` is the pod or container that it was met in.
    """

    key: Hashable
    group: str


class Reader(Protocol):
    restarts: Counter[str]

    @property
    def hostile(self) -> int:
        """How many subjects are not asked about any more."""

    @property
    def abandoned(self) -> int:
        """How many readers were killed and have not ended."""

    def cpu_s(self) -> float:
        """CPU time of all readers so far."""

    def begin_round(self) -> None:
        """From now on waits count from zero."""

    def ask(self, _subject: Subject, question: str, *arguments: Any) -> Any:
        """The answer: see ``Work``. Raises ReadError and ProcessGoneError."""


class InProcess:
    """No process of its own: for tests, and files of the user's own."""

    def __init__(self) -> None:
        self.work = Work()
        self.restarts: Counter[str] = Counter()
        self.hostile = self.abandoned = 0

    def cpu_s(self) -> float:
        return 0.0

    def begin_round(self) -> None:
        pass

    def ask(self, _subject: Subject, question: str, *arguments: Any) -> Any:
        """By the same messages."""
        body = question_bytes(question, arguments)[4:]
        return parse_answer(question, answer_bytes(self.work, body))
