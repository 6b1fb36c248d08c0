"""A port before the API server whose connections can be torn, and which can be away for a while."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import yaml


class Relay:
    """`url` leads to the server while it is up. It has the server's certificate, for 127.0.0.1."""

    def __init__(self, server_url: str) -> None:
        self._server = ("127.0.0.1", urlsplit(server_url).port or 443)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self._port}"
        self._open: list[socket.socket] = []
        self._guard = threading.Lock()
        self._serve()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.go_away()

    def kubeconfig(self, of: Path) -> Path:
        """The same as `of`, through this port."""
        content = yaml.safe_load(of.read_text())
        content["clusters"][0]["cluster"]["server"] = self.url
        path = of.with_name(f"relay-{self._port}.kubeconfig")
        path.write_text(yaml.safe_dump(content))
        return path

    def tear(self) -> None:
        """Break every connection off; new ones are welcome."""
        with self._guard:
            ends, self._open = self._open, []
        for end in ends:
            _end(end)

    def go_away(self) -> None:
        """As when the server stops. Going away twice is no error."""
        _end(self._listener)
        self.tear()

    def come_back(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._serve()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._server)
                with self._guard:
                    self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=[source, target], daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        _end(end)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
