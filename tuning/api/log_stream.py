"""A task's log as server-sent events.

It reads the database whenever the bell rings, and now and then anyway, as the live pages do. It
holds no database connection between two looks, and ends when the client goes away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from asgiref.sync import sync_to_async
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from tuning.documents.log import LogLineDocument
from tuning.doorbell import log_group
from tuning.logs import FLUSH_INTERVAL_S
from tuning.models import Task
from tuning.realtime.bell import Bell
from tuning.realtime.log_reading import read_batch

KEEP_ALIVE_S = 15.0
"""A comment at least this often, so that no proxy takes the silence for the end."""

BREATH_S = 0.05
"""Seconds between two batches at least: daphne takes what it is given into memory."""

LATE_LINES = timedelta(seconds=4 * FLUSH_INTERVAL_S)
"""For how long after a task's end its last lines may still be on their way."""

RECONNECT_MS = 2000


@dataclass(frozen=True)
class _Look:
    status: str
    is_over: bool
    lines: Sequence[list[Any]]


async def log_events(user: User, task_id: int, after: int) -> AsyncIterator[str]:
    """Every line after `after`, once and in order; then `end`, when the task has ended.

    It ends without that when the task is deleted, or no longer for this user.
    """
    # The thread that began the request is kept until its end, and a connection with it.
    await sync_to_async(connections.close_all)()
    look_at = database_sync_to_async(_look, thread_sensitive=False)
    yield f"retry: {RECONNECT_MS}\n\n"
    heard_of_at = time.monotonic()
    async with Bell(log_group(task_id)) as bell:
        while (look := await look_at(user, task_id, after)) is not None:
            if look.lines:
                after = look.lines[-1][0]
                yield "".join(map(_event, look.lines))
                heard_of_at = time.monotonic()
                await asyncio.sleep(BREATH_S)
                continue
            if look.is_over:
                yield f'event: end\ndata: {{"status": "{look.status}"}}\n\n'
                return
            if time.monotonic() - heard_of_at >= KEEP_ALIVE_S:
                yield ": still here\n\n"
                heard_of_at = time.monotonic()
            await bell.wait()


def _look(user: User, task_id: int, after: int) -> _Look | None:
    # The state first: lines written before the end are then among those read after it.
    task = Task.objects.visible_to(user).filter(pk=task_id).first()
    if task is None:
        return None
    is_over = task.finished_at is not None and timezone.now() - task.finished_at > LATE_LINES
    return _Look(task.status, is_over, read_batch(task, after).lines)


def _event(line: list[Any]) -> str:
    document = LogLineDocument.of(line)
    return f"id: {document.seq}\ndata: {document.model_dump_json()}\n\n"
