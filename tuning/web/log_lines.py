"""Stretches of a task's log, by line number, for the log viewer and its download."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async

from tuning.domain.names import LogSource
from tuning.logs import LogLine, format_line
from tuning.models import LogChunk, Task

LONGEST_STRETCH = 10_000
"""Lines that are read at once."""


def last_line(task: Task) -> int:
    """The number of the newest line; 0 when there is none."""
    newest = LogChunk.objects.filter(task=task).order_by("-last_seq")
    return newest.values_list("last_seq", flat=True).first() or 0


def read_lines(task: Task, first: int, last: int) -> list[list[Any]]:
    """`[number, unix time in seconds, source, text]` of the lines that there are from `first` to
    `last`, in order. Two queries, each by index."""
    chunks = LogChunk.objects.filter(task=task)
    start = chunks.start_of(first)
    return [] if start is None else chunks.lines(start, first, last)


async def text_of_log(task: Task) -> AsyncIterator[str]:
    """The whole log as in the log file, a stretch at a time: a large one is never in memory.

    It is read from the database and not from the file of this host, which only has what the
    workers of this host wrote. So line 120 here is `#L120` in the page.
    """
    read = sync_to_async(read_lines)
    last = await sync_to_async(last_line)(task)
    for first in range(1, last + 1, LONGEST_STRETCH):
        lines = await read(task, first, min(first + LONGEST_STRETCH - 1, last))
        yield "".join(_as_text(time, source, text) for _, time, source, text in lines)


def _as_text(time: float, source: str, text: str) -> str:
    return f"{format_line(LogLine(time, LogSource(source), text))}\n"
