"""The sockets of the live pages: all tasks, one task's state, and its log."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth.models import AbstractUser, AnonymousUser
from django.db import DatabaseError

from tuning.doorbell import OVERVIEW_GROUP, log_group, task_group
from tuning.models import Task
from tuning.realtime.access import BAD_REQUEST, Refusal, signed_in, visible_task
from tuning.realtime.bell import Bell
from tuning.realtime.log_reading import LogBatch, read_batch
from tuning.realtime.overview import read_overview
from tuning.realtime.task_document import TaskDocuments, says_the_same

logger = logging.getLogger(__name__)

NO_LAYER = "none"
"""No channel layer has this name, so a consumer of this alias listens to none."""

INTERNAL_ERROR = 1011
"""Close code of RFC 6455: the server met something it did not expect."""

_SEQUENCE_NUMBER = re.compile(r"[0-9]{1,18}")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def in_database(
    read: Callable[Arguments, Result],
) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
    """Run a read in a thread of the pool.

    Channels would put the reads of all pages into one thread, where a long one holds up the rest.
    """
    return database_sync_to_async(read, thread_sensitive=False)


class LiveConsumer(AsyncWebsocketConsumer):
    """Feeds one page from the database for as long as its socket is open.

    A look at the database sends what the page does not have yet; it follows every ring of the
    bell, and comes by itself now and then. What a page sends is ignored.
    """

    # Channels' own listening ends the socket when the channel layer is away, and holds up a
    # disconnect while a ring is handled. `Bell` listens instead.
    channel_layer_alias = NO_LAYER

    breath_s = 0.0
    """Seconds between two looks at least; rings in between count as one."""

    _feeding: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._feeding is not None:
                self._feeding.cancel()
                await asyncio.gather(self._feeding, return_exceptions=True)

    async def connect(self) -> None:
        # A socket refused before it is accepted gives the page no close code, only a failure.
        await self.accept()
        self._feeding = asyncio.create_task(self._feed())

    async def look(self) -> None:
        """Send what is new. Raises Refusal when the task is no longer there for this user."""
        raise NotImplementedError

    def group(self) -> str:
        """The group of the channel layer that rings for this page."""
        raise NotImplementedError

    def admit(self) -> None:
        """Raises Refusal when this user may not watch. For use in a database thread."""
        raise NotImplementedError

    def check_request(self) -> None:
        """Read the request's options. Raises Refusal when they make no sense."""

    @property
    def user(self) -> AbstractUser | AnonymousUser:
        return cast(AbstractUser | AnonymousUser, self.scope["user"])

    async def send_document(self, document: dict[str, Any]) -> None:
        await self.send(text_data=json.dumps(document))

    async def _feed(self) -> None:
        try:
            await in_database(self.admit)()
            self.check_request()
            async with Bell(self.group()) as bell:
                while True:
                    await self._look_or_try_later()
                    await asyncio.sleep(self.breath_s)
                    await bell.wait()
        except Refusal as refusal:
            # Daphne leaves the reason out of the close frame, so it is said before as well.
            await self.send_document({"error": refusal.reason})
            await self.close(refusal.code, refusal.reason)
        except Exception:
            logger.exception("socket %s failed", self.scope["path"])
            await self.close(INTERNAL_ERROR)

    async def _look_or_try_later(self) -> None:
        try:
            await self.look()
        except DatabaseError as error:
            logger.warning("%s not fed: %s; trying again", self.scope["path"], error)


class OverviewConsumer(LiveConsumer):
    """`/ws/tasks/`: how far the user's tasks are, whenever that has changed."""

    breath_s = 0.5

    _sent: dict[str, Any] | None = None

    def admit(self) -> None:
        signed_in(self.user)

    def group(self) -> str:
        return OVERVIEW_GROUP

    async def look(self) -> None:
        overview = await in_database(read_overview)(self.user)
        if overview != self._sent:
            await self.send_document(overview)
            self._sent = overview


class OneTaskConsumer(LiveConsumer):
    """Feeds a page about one task."""

    def admit(self) -> None:
        self.visible_task()

    @property
    def task_id(self) -> int:
        return int(self.scope["url_route"]["kwargs"]["task_id"])

    def visible_task(self) -> Task:
        """The task as it is now, for the signed-in user. For use in a database thread."""
        return visible_task(self.user, self.task_id)


class TaskConsumer(OneTaskConsumer):
    """`/ws/tasks/<id>/`: the task's document, whenever it has changed."""

    breath_s = 0.25

    _documents: TaskDocuments | None = None
    _sent: dict[str, Any] | None = None

    def group(self) -> str:
        return task_group(self.task_id)

    async def look(self) -> None:
        document = await in_database(self._read)()
        if self._sent is None or not says_the_same(document, self._sent):
            await self.send_document(document)
            self._sent = document

    def _read(self) -> dict[str, Any]:
        task = self.visible_task()
        if self._documents is None:
            self._documents = TaskDocuments(task)
        return self._documents.read(task)


class LogConsumer(OneTaskConsumer):
    """`/ws/tasks/<id>/logs/?after=<seq>`: every line after `seq`, once, in order.

    `{"lines": [[seq, unix time in seconds, source, text], …]}`, and `{"end": true}` when the task
    has ended and all its lines were sent. The socket stays open: the task may be resumed.
    """

    # Daphne takes what it is given into memory, however slowly the page reads. Twenty batches a
    # second, and daphne's own ping that ends a socket which does not answer, keep that within
    # bounds: a page cut off goes on from its last line.
    breath_s = 0.05

    _after = 0
    _said_end = False

    def group(self) -> str:
        return log_group(self.task_id)

    def check_request(self) -> None:
        query = parse_qs(self.scope["query_string"].decode("latin1"), keep_blank_values=True)
        after = query.get("after", ["0"])[-1]
        if not _SEQUENCE_NUMBER.fullmatch(after):
            raise Refusal(BAD_REQUEST, "after: give the number of the last line you have.")
        self._after = int(after)

    async def look(self) -> None:
        while True:
            has_ended, batch = await in_database(self._read)()
            if not batch.lines:
                break
            await self.send_document({"lines": batch.lines})
            self._after = batch.last_seq
            self._said_end = False
            await asyncio.sleep(self.breath_s)
        if has_ended and not self._said_end:
            await self.send_document({"end": True})
        self._said_end = has_ended

    def _read(self) -> tuple[bool, LogBatch]:
        # The state first: lines written before the end are then among those read after it.
        task = self.visible_task()
        return task.state.is_terminal, read_batch(task, self._after)
