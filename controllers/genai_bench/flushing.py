"""Flushes the engine's prefix cache beside whoever waits for it."""

from __future__ import annotations

import threading
import time

from controllers.engines.prefix_cache import Answer, PrefixCache

PATIENCE_S = 5.0
"""How long an engine may be busy with requests that the last point dropped."""
PAUSE_S = 0.25


class Flushing:
    """One flush, in a thread of its own. It never fails: the answer tells what can't be flushed."""

    def __init__(self, cache: PrefixCache) -> None:
        self._cache = cache
        self._answer: Answer | None = None
        self._thread = threading.Thread(target=self._run, name="cache flush", daemon=True)
        self._thread.start()

    @property
    def answer(self) -> Answer | None:
        """None while it is under way."""
        return self._answer

    def _run(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        answer = self._cache.flush()
        while answer.is_busy and time.monotonic() < deadline:
            time.sleep(PAUSE_S)
            answer = self._cache.flush()
        self._answer = answer
