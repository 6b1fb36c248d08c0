"""What a container printed, line by line with times, for as long as its pod is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

Line = tuple[datetime, str]


class PodLog:
    """One run of one container."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.closed = False
        self._more = asyncio.Event()

    def add(self, text: str) -> None:
        self.lines.append((datetime.now(UTC), text))
        self._wake()

    def close(self) -> None:
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    def tail(self, characters: int) -> str:
        return "\n".join(text for _, text in self.lines)[-characters:]

    async def follow(
        self, since: datetime | None = None, tail: int | None = None, follow: bool = False
    ) -> AsyncIterator[Line]:
        """Lines from `since` on, the last `tail` of them; with `follow` also those to come."""
        wanted = [line for line in self.lines if since is None or line[0] >= since]
        position = len(self.lines)
        for line in wanted if tail is None else wanted[len(wanted) - min(tail, len(wanted)) :]:
            yield line
        while follow:
            more = self._more
            while position < len(self.lines):
                position += 1
                yield self.lines[position - 1]
            if self.closed:
                return
            await more.wait()
