"""Log lines of a task from the database, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tuning.models import LogChunk, Task

MAX_LINES = 1000
"""Lines of one batch."""

MAX_CHARACTERS = 256 * 1024
"""Text of one batch, unless its first line alone is longer."""


@dataclass(frozen=True)
class LogBatch:
    """Lines as `[seq, unix time in seconds, source, text]`, in order, without a repetition."""

    lines: list[list[Any]]

    @property
    def last_seq(self) -> int:
        return int(self.lines[-1][0])


def read_batch(task: Task, after: int) -> LogBatch:
    """The first lines whose sequence number is greater than `after`. Two queries, each by index.

    The sequence numbers of a task have no gaps and become visible in order (`tuning.logs`), so
    "everything after the last one I have" loses nothing.
    """
    chunks = LogChunk.objects.filter(task=task)
    first = after + 1
    start = chunks.start_of(first)
    if start is None:
        return LogBatch([])
    last = max(start, first) + MAX_LINES - 1
    return LogBatch(_shortened(chunks.lines(start, first, last)))


def _shortened(lines: list[list[Any]]) -> list[list[Any]]:
    characters = 0
    for count, line in enumerate(lines):
        characters += len(line[-1])
        if characters > MAX_CHARACTERS:
            return lines[: max(count, 1)]
    return lines
