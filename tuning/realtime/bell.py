"""Hearing the doorbell: a page is woken when there is something new, and now and then anyway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Self

from channels.layers import BaseChannelLayer, get_channel_layer
from redis.exceptions import TimeoutError as NothingHeard

from tuning.doorbell import UNHEARD

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
"""Longest time between two looks. A ring that got lost costs this much delay and nothing else."""

RETRY_S = 0.5
CANCEL_AGAIN_S = 0.2


class Bell:
    """Membership in one group of the channel layer, for as long as the context is open.

    The layer drops messages when it is full, forgets its groups when it is flushed or restarted,
    and raises while it is away. So the group is joined again and again, an error only means that
    nothing was heard, and `wait` returns by itself after a while.
    """

    def __init__(self, group: str) -> None:
        self._group = group
        self._rung = asyncio.Event()
        self._channel = ""
        self._is_open = True
        self._listeners: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Join first: what is announced from now on is heard, what was before can be read."""
        layer = get_channel_layer()
        if layer is not None:
            self._channel = await layer.new_channel()
            await self._join(layer)
            self._listeners = [
                asyncio.create_task(self._hear(layer)),
                asyncio.create_task(self._stay_joined(layer)),
            ]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._end_listeners()
        layer = get_channel_layer()
        if layer is not None:
            with contextlib.suppress(*UNHEARD):
                await layer.group_discard(self._group, self._channel)

    async def wait(self) -> None:
        """Until somebody rings, or `LOOK_EVERY_S`. Rings since the last call count as one."""
        with contextlib.suppress(TimeoutError):
            # Python 3.11's `wait_for` would swallow a cancellation that comes with a ring, and
            # the page of a client that went away would be fed for ever.
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._rung.wait()
        self._rung.clear()

    async def _end_listeners(self) -> None:
        """A read of the layer may report its cancellation as a timeout, or swallow it together
        with a message and go on reading. The flag ends the loop then, or the next cancellation."""
        self._is_open = False
        listening = set(self._listeners)
        while listening:
            for listener in listening:
                listener.cancel()
            _, listening = await asyncio.wait(listening, timeout=CANCEL_AGAIN_S)
        await asyncio.gather(*self._listeners, return_exceptions=True)

    async def _hear(self, layer: BaseChannelLayer) -> None:
        while self._is_open:
            try:
                await layer.receive(self._channel)
                self._rung.set()
            except NothingHeard:
                # redis-py gives up a quiet connection after its own timeout.
                await asyncio.sleep(0)
            except UNHEARD as error:
                logger.debug("channel layer away: %s", error)
                await asyncio.sleep(RETRY_S)
            except Exception:
                # A page without a bell still looks; one whose bell ends the socket shows nothing.
                logger.exception("channel layer failed")
                await asyncio.sleep(LOOK_EVERY_S)

    async def _stay_joined(self, layer: BaseChannelLayer) -> None:
        while self._is_open:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._join(layer)

    async def _join(self, layer: BaseChannelLayer) -> None:
        try:
            await layer.group_add(self._group, self._channel)
        except UNHEARD as error:
            logger.debug("can't join %s: %s", self._group, error)
