"""Where a task's log lines go: a file on this host, and the database in batches.

Secrets are replaced before a line is written anywhere.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Max

from tuning.domain.names import LogSource
from tuning.models import LogChunk
from tuning.turns import take_turn

logger = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 0.5
LAST_ATTEMPTS = 5
"""How often the last lines are offered to the database; the file has them in any case."""
LONGEST_CHUNK = 2000
"""Lines of one row. A burst is split, so that a reader never has to take it in at once."""
REDACTED = "[redacted]"

_SECRET_NAME = re.compile(r"(TOKEN|KEY|PASSWORD|SECRET)$", re.IGNORECASE)
_SHORTEST_SECRET = 6
"""Shorter values are words such as `none` that would be blotted out of every line."""


class LogLine(NamedTuple):
    """One line: when (unix seconds), who wrote it, and its text without the newline."""

    time: float
    source: LogSource
    text: str


def known_secrets() -> dict[str, str]:
    """Environment variables, settings, and the passwords inside connection URLs, by name."""
    named = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
    texts = {name: value for name, value in named.items() if isinstance(value, str)}
    return {
        **texts,
        **os.environ,
        "DATABASE_PASSWORD": settings.DATABASES["default"].get("PASSWORD") or "",
        "REDIS_PASSWORD": urlsplit(settings.REDIS_URL).password or "",
    }


class Redactor:
    """Replaces the values whose names say that they are secret, wherever they turn up."""

    def __init__(self, values: Mapping[str, str]) -> None:
        secrets = {
            value
            for name, value in values.items()
            if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_SECRET
        }
        # Longest first, so that a secret that contains another is not left half readable.
        longest_first = sorted(secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if secrets else None

    def __call__(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(REDACTED, text)


def log_path(log_dir: Path, task_id: int) -> Path:
    return log_dir / f"task_{task_id}.log"


class TaskLog:
    """A `LogSink` for one task. Use it as a context manager, so that the last lines are written.

    Lines are taken from any thread and written by a thread of its own: one insert per interval,
    not one per line. `echo` is given each redacted line at once, in the caller's thread;
    `on_stored` is told the last sequence number after each insert, in the writing thread.
    """

    def __init__(
        self,
        task_id: int,
        log_dir: Path,
        echo: Callable[[LogLine], None] | None = None,
        on_stored: Callable[[int], None] | None = None,
        flush_interval_s: float = FLUSH_INTERVAL_S,
    ) -> None:
        self._task_id = task_id
        self._path = log_path(log_dir, task_id)
        self._echo = echo
        self._on_stored = on_stored
        self._flush_interval_s = flush_interval_s
        self._redact = Redactor(known_secrets())
        self._lines: queue.SimpleQueue[LogLine] = queue.SimpleQueue()
        self._unsaved: list[LogLine] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name=f"log-{task_id}", daemon=True)

    @property
    def path(self) -> Path:
        return self._path

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._thread.join()

    def __call__(self, source: LogSource, text: str) -> None:
        line = LogLine(time.time(), source, self._redact(text))
        self._lines.put(line)
        if self._echo is not None:
            self._echo(line)

    def _write(self) -> None:
        try:
            while not self._closing.wait(self._flush_interval_s):
                self._flush()
            for _ in range(LAST_ATTEMPTS):
                self._flush()
                if not self._unsaved:
                    break
                time.sleep(self._flush_interval_s)
        finally:
            connection.close()

    def _flush(self) -> None:
        fresh: list[LogLine] = []
        while not self._lines.empty():
            fresh.append(self._lines.get_nowait())
        if fresh:
            self._append_to_file(fresh)
        self._unsaved += fresh
        if self._unsaved:
            self._store()

    def _store(self) -> None:
        try:
            last_seq = _insert(self._task_id, self._unsaved)
        except DatabaseError:
            # The lines stay in memory and in the file; the next flush tries again.
            logger.warning("log of task %s not saved yet", self._task_id, exc_info=True)
            connection.close()
            return
        self._unsaved = []
        if self._on_stored is not None:
            self._on_stored(last_seq)

    def _append_to_file(self, lines: list[LogLine]) -> None:
        # One write in append mode: lines of several workers of this host never mix.
        with self._path.open("a", encoding="utf-8", errors="replace") as file:
            file.write("".join(f"{format_line(line)}\n" for line in lines))


def format_line(line: LogLine) -> str:
    """`2026-01-31T12:00:00.123Z engine  text`, as it stands in the log file."""
    stamp = datetime.fromtimestamp(line.time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return f"{stamp}Z {line.source.value:<12} {line.text}"


def _insert(task_id: int, lines: list[LogLine]) -> int:
    """Store the lines under the next sequence numbers; the last of them is returned."""
    with transaction.atomic():
        take_turn("log", task_id)
        last = LogChunk.objects.filter(task_id=task_id).aggregate(last=Max("last_seq"))["last"] or 0
        LogChunk.objects.bulk_create(
            _chunk(task_id, last + 1 + start, lines[start : start + LONGEST_CHUNK])
            for start in range(0, len(lines), LONGEST_CHUNK)
        )
    return int(last) + len(lines)


def _chunk(task_id: int, first_seq: int, lines: list[LogLine]) -> LogChunk:
    return LogChunk(
        task_id=task_id,
        first_seq=first_seq,
        last_seq=first_seq + len(lines) - 1,
        # NUL is no valid character in PostgreSQL's JSON.
        lines=[[line.time, line.source.value, line.text.replace("\0", "�")] for line in lines],
    )
