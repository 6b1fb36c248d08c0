"""Ctrl-C and SIGTERM as a polite request: the engine is stopped and what was measured is kept."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While the `with` block runs, a signal sets `requested` instead of raising.

    A second signal changes nothing: the engine is being stopped already, and to leave it behind
    would be worse than to wait the ten seconds that takes at the most.
    """

    def __init__(self, on_request: Callable[[], None]) -> None:
        self._on_request = on_request
        self._previous: dict[signal.Signals, Any] = {}
        self.requested = False

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first = not self.requested
        self.requested = True
        if first:
            self._on_request()
