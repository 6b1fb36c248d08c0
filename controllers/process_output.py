"""Following what a child process prints, for as long as it lives and not longer."""

from __future__ import annotations

import logging
import math
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

KEPT_LINES = 1000
MAX_LINE_CHARS = 4_000
READ_BYTES = 1 << 16
QUIET_S = 0.2
"""How long the pipe of a dead process may stay silent before its reader gives up."""
LINGER_S = 1.0
"""How long the pipe of a dead process is read at most: a grandchild may go on writing for ever."""

_log = logging.getLogger(__name__)


class LineAssembler:
    """Turns chunks of bytes into lines, passes each on, and keeps the last ones."""

    def __init__(self, sink: Callable[[str], None]) -> None:
        self._sink = sink
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._pending = b""
        self._skipping = False

    def lines(self, count: int = KEPT_LINES) -> list[str]:
        """The last `count` lines, oldest first."""
        return list(self._lines)[-count:] if count > 0 else []

    def feed(self, chunk: bytes) -> None:
        *complete, rest = (self._pending + chunk).split(b"\n")
        for line in complete:
            self._emit(line)
        if len(rest) > MAX_LINE_CHARS:
            # Of a line without end, only the beginning is worth memory.
            self._emit(rest)
            self._skipping, rest = True, b""
        self._pending = b"" if self._skipping else rest

    def end(self) -> None:
        """What came last need not end with a newline."""
        self._emit(self._pending)
        self._pending = b""

    def _emit(self, raw: bytes) -> None:
        if self._skipping:
            self._skipping = False
            return
        # A progress bar rewrites its line; the last state is the one to keep.
        text = raw.rstrip(b"\r").rsplit(b"\r", 1)[-1].decode("utf-8", errors="replace").rstrip()
        if not text:
            return
        if len(text) > MAX_LINE_CHARS:
            text = text[:MAX_LINE_CHARS] + " … (cut)"
        self._lines.append(text)
        try:
            self._sink(text)
        except Exception:
            # Were this thread to end, the pipe would fill and the engine would stand still.
            _log.exception("A log line could not be passed on")


class OutputReader:
    """Reads the pipe `descriptor` in a thread, line by line.

    `has_exited` tells whether the process is gone. End of file alone would not do: children of
    the process inherit the pipe and may outlive it.
    """

    def __init__(
        self, descriptor: int, has_exited: Callable[[], bool], sink: Callable[[str], None]
    ) -> None:
        self._descriptor = descriptor
        self._has_exited = has_exited
        self._assembler = LineAssembler(sink)
        self._thread = threading.Thread(target=self._follow, name="engine-output", daemon=True)
        self._thread.start()

    def lines(self, count: int = KEPT_LINES) -> list[str]:
        """The last `count` lines, oldest first."""
        return self._assembler.lines(count)

    def join(self, timeout_s: float) -> None:
        """Wait until everything has been read."""
        self._thread.join(timeout_s)

    def _follow(self) -> None:
        give_up_at = math.inf
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN | select.POLLHUP)
        try:
            while time.monotonic() < give_up_at:
                readable = bool(poller.poll(QUIET_S * 1000))
                if readable and not self._read():
                    break
                if self._has_exited():
                    if not readable:
                        break
                    give_up_at = min(give_up_at, time.monotonic() + LINGER_S)
        finally:
            self._assembler.end()
            os.close(self._descriptor)

    def _read(self) -> bool:
        """Take what is there; False at the end of the file."""
        try:
            chunk = os.read(self._descriptor, READ_BYTES)
        except OSError:
            return False
        self._assembler.feed(chunk)
        return bool(chunk)
