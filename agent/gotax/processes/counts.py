"""What went wrong while processes were read, by reason: counted here and nowhere else."""

from __future__ import annotations

from collections import Counter

from gotax.errors import ProcessGoneError, ReadError

GONE = "process-gone"


class ErrorCounts(Counter[str]):
    """One object per agent, handed to each collaborator. The reasons are those of the metrics."""

    def note(self, error: ReadError | ProcessGoneError) -> None:
        self[error.reason if isinstance(error, ReadError) else GONE] += 1
