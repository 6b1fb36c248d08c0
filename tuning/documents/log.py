"""A line of a task's log as JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Self

from pydantic import Field

from tuning.documents.document import Document, Moment
from tuning.domain.names import LogSource


class LogLineDocument(Document):
    """One line, without its newline."""

    seq: int = Field(description="Its number in the task's log, from 1.")
    time: Moment
    source: LogSource
    text: str = Field(description="May hold ANSI colours.")

    @classmethod
    def of(cls, line: list[Any]) -> Self:
        """`line` is `[seq, unix time in seconds, source, text]`, as `read_batch` gives it."""
        seq, written_at, source, text = line
        time = datetime.fromtimestamp(written_at, UTC)
        return cls(seq=seq, time=time, source=source, text=text)
