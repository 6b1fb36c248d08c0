"""What a browser does: open a socket with a cookie, read, lose the connection, come back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from socket import SHUT_RDWR
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.connection import Connection

MAX_MESSAGE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Browser:
    """Opens sockets of one server. `cookie` is empty for somebody who is not signed in."""

    address: str
    cookie: str = ""

    def open(self, path: str, origin: str | None = None) -> Connection:
        return connect(
            f"ws://{self.address}{path}",
            origin=origin or f"http://{self.address}",  # type: ignore[arg-type]
            additional_headers={"Cookie": self.cookie} if self.cookie else {},
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            close_timeout=1,
        )

    def open_task(self, task_id: int) -> Connection:
        return self.open(f"/ws/tasks/{task_id}/")

    def open_log(self, task_id: int, after: int | str = 0) -> Connection:
        return self.open(f"/ws/tasks/{task_id}/logs/?after={after}")


def receive(socket: Connection, timeout_s: float = 10.0) -> dict[str, Any]:
    document = json.loads(socket.recv(timeout=timeout_s))
    assert isinstance(document, dict)
    return document


def close_code(socket: Connection, timeout_s: float = 10.0) -> int | None:
    """Read to the end; the code with which the server closed the socket."""
    try:
        while True:
            socket.recv(timeout=timeout_s)
    except ConnectionClosed:
        return socket.close_code


@dataclass
class LogReader:
    """Keeps every line that arrived, and how late, through as many reconnects as it takes.

    `first_written` and `last_arrived` are unix times.
    """

    browser: Browser
    task_id: int
    sequence: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)
    reconnects: int = 0
    first_written: float = 0.0
    last_arrived: float = 0.0

    def read(
        self,
        lines: int,
        timeout_s: float,
        reconnect_after: Collection[int] = (),
        on_batch: Callable[[], None] = lambda: None,
    ) -> None:
        """Read until so many lines are there; drop the connection at each of some line counts.

        `on_batch` is called between messages.
        """
        deadline = time.monotonic() + timeout_s
        breaks = sorted(reconnect_after)
        while len(self.sequence) < lines:
            after = self.sequence[-1] if self.sequence else 0
            with self.browser.open_log(self.task_id, after) as socket:
                until = breaks[0] if breaks else lines
                while len(self.sequence) < until:
                    self._take(receive(socket, deadline - time.monotonic()))
                    on_batch()
                # No closing handshake: whatever is on its way to us is lost, as on a bad line.
                socket.socket.shutdown(SHUT_RDWR)
            if breaks:
                breaks.pop(0)
                self.reconnects += 1

    def _take(self, document: dict[str, Any]) -> None:
        self.last_arrived = arrived = time.time()
        for seq, written, _source, text in document.get("lines", []):
            self.first_written = self.first_written or written
            self.sequence.append(seq)
            self.texts.append(text)
            self.delays_s.append(arrived - written)

    @property
    def has_every_line_once_and_in_order(self) -> bool:
        """By sequence number, and by what the lines of `log_writer` say."""
        expected = range(1, len(self.sequence) + 1)
        said = [int(text.split()[1]) for text in self.texts]
        return self.sequence == list(expected) and said == list(expected)
