"""Answers as a Docker engine does, on a unix socket, for pages that are tested without one."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any, ClassVar

CONTAINER_PATH = re.compile(r"/containers/(?P<id>\w+)(?:/(?P<what>\w+))?$")


@dataclass
class StandIn:
    """`containers` by name, which is also their id: labels, and what they have printed."""

    address: str
    containers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    printed: str = ""
    removed: list[str] = field(default_factory=list)
    cpu_ns: int = 0
    info: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        if path.endswith("/version"):
            return 200, {"ApiVersion": "1.41", "Version": "29.1.0"}
        if path.endswith("/info"):
            return 200, {"ServerVersion": "29.1.0", **self.info}
        if path.endswith("/containers/json"):
            return 200, [
                {"Id": one, "Names": [f"/{one}"], "Status": "Up"} for one in self.containers
            ]
        found = CONTAINER_PATH.search(path)
        if found is None or found["id"] not in self.containers:
            return 404, {"message": f"no such container: {path}"}
        if method == "DELETE":
            del self.containers[found["id"]]
            self.removed.append(found["id"])
        return self._of_container(found["id"], found["what"])

    def _of_container(self, name: str, what: str | None) -> tuple[int, Any]:
        if what == "logs":
            return 200, self.printed
        if what == "stats":
            return 200, self._stats()
        if what == "json":
            return 200, self._inspected(name)
        return 204, ""

    def _stats(self) -> dict[str, Any]:
        return {
            "read": datetime.now(UTC).isoformat(),
            "cpu_stats": {"cpu_usage": {"total_usage": self.cpu_ns}},
            "memory_stats": {"usage": 96 << 20, "stats": {"inactive_file": 32 << 20}},
        }

    def _inspected(self, name: str) -> dict[str, Any]:
        devices = [{"Count": 0, "DeviceIDs": ["0", "1"]}, {"Count": -1, "DeviceIDs": None}]
        return {
            "Id": name,
            "Name": f"/{name}",
            "State": {"Status": "running", "StartedAt": "2026-01-02T03:04:05.123456789Z"},
            "Config": {"Image": "engine:1", "Tty": True, "Labels": self.containers[name]},
            "HostConfig": {"DeviceRequests": devices, "LogConfig": {"Type": "json-file"}},
        }


class _Handler(BaseHTTPRequestHandler):
    engine: ClassVar[StandIn]

    def do_GET(self) -> None:
        status, answer = self.engine.answer(self.command, self.path.partition("?")[0])
        body = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_DELETE = do_GET

    def log_message(self, *_: object) -> None:
        """Nothing: a unix socket has no address to log."""


@contextmanager
def docker_stand_in(directory: Path) -> Iterator[StandIn]:
    path = directory / "docker.sock"
    engine = StandIn(f"unix://{path}")
    handler = type("Handler", (_Handler,), {"engine": engine})
    with ThreadingUnixStreamServer(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield engine
        server.shutdown()
        thread.join()
