"""FakeApiServer: answers a Kubernetes client as a test says, over HTTP, and hangs up when told.

It is for what no real API server does on demand: forgetting a version, breaking off in the middle
of a line, refusing for a while.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kubernetes.client import Configuration

from controllers.cluster.connection import PatientClient

HANG_UP = object()
"""In place of a piece of an answer: the connection ends here, without a proper end."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """`pieces` are sent as they come; without them, `document` is."""

    document: object = None
    status: int = 200
    pieces: Iterable[Any] | None = None


@dataclass
class FakeApiServer:
    """`answer` is asked for each request, in threads of the server."""

    url: str
    answer: Callable[[Request], Answer]
    requests: list[Request] = field(default_factory=list)

    def client(self) -> PatientClient:
        configuration = Configuration(host=self.url)
        configuration.no_proxy = "127.0.0.1"
        return PatientClient(configuration)


@contextmanager
def api_server(answer: Callable[[Request], Answer]) -> Iterator[FakeApiServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    fake = FakeApiServer(f"http://127.0.0.1:{server.server_port}", answer)
    server.fake = fake  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


def status(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    """A `Status` as the API server gives one."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        fake: FakeApiServer = self.server.fake  # type: ignore[attr-defined]
        place = urlsplit(self.path)
        request = Request(self.command, place.path, dict(parse_qsl(place.query)))
        fake.requests.append(request)
        answer = fake.answer(request)
        if answer.pieces is None:
            body = json.dumps(answer.document).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_response(answer.status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in answer.pieces:
            if piece is HANG_UP:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            data = piece if isinstance(piece, bytes) else json.dumps(piece).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Tests print what they need."""
