"""A unix socket that leads to a Docker engine until it is cut: an engine that goes away."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class Relay:
    """`address` is the value for DOCKER_HOST. Connections of before a cut are torn too."""

    def __init__(self, path: Path, engine_address: str) -> None:
        self.address = f"unix://{path}"
        self._path = path
        self._engine_path = engine_address.removeprefix("unix://")
        self._listener = socket.socket(socket.AF_UNIX)
        self._open: list[socket.socket] = []
        self._guard = threading.Lock()

    def __enter__(self) -> Self:
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cut()

    def cut(self) -> None:
        """As when the engine's process ends. Cutting twice is no error."""
        self._path.unlink(missing_ok=True)
        with self._guard:
            ends = [self._listener, *self._open]
            self._open.clear()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._engine_path)
                with self._guard:
                    self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=[source, target], daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
