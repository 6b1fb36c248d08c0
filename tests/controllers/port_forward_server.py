"""A stand-in for the API server's port-forward, for what can't be provoked on a real one."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

_CHUNK_BYTES = 32 * 1024


class FakeApiServer:
    """Forwards to ports of this host, by the pod's name, over `v4.channel.k8s.io`.

    `refusals` are answered instead of the next connections, first one first.
    """

    def __init__(self) -> None:
        self.pods: dict[str, int] = {}
        self.refusals: list[HTTPStatus] = []
        self.paths: list[str] = []
        self.tokens: list[str | None] = []
        self.connections: set[ServerConnection] = set()
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextmanager
    def running(self) -> Iterator[FakeApiServer]:
        self._thread.start()
        assert self._serving.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    def break_connections(self) -> None:
        """As an API server that is restarted."""
        for connection in list(self.connections):
            self._loop.call_soon_threadsafe(connection.transport.abort)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with serve(
            self._forward,
            "127.0.0.1",
            0,
            subprotocols=[Subprotocol("v4.channel.k8s.io")],
            process_request=self._refuse,
            compression=None,
            max_size=None,
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            self._serving.set()
            await self._stop.wait()
            self.break_connections()

    def _refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        self.tokens.append(request.headers.get("Authorization"))
        if self.refusals:
            return _status(self.refusals.pop(0), "refused for a test")
        pod = self._pod_of(request.path)
        return (
            None if pod in self.pods else _status(HTTPStatus.NOT_FOUND, f'pods "{pod}" not found')
        )

    @staticmethod
    def _pod_of(path: str) -> str:
        return path.partition("?")[0].split("/")[-2]

    async def _forward(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        try:
            assert connection.request is not None
            path = connection.request.path
            port = struct.pack("<H", int(path.rpartition("=")[2]))
            for channel in (b"\x00", b"\x01"):
                await connection.send(channel + port)
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self.pods[self._pod_of(path)], limit=_CHUNK_BYTES
                )
            except OSError as error:
                await connection.send(b"\x01" + f"error forwarding port: {error}".encode())
                return
            await self._pump(connection, reader, writer)
        except ConnectionClosed:
            return
        finally:
            self.connections.discard(connection)

    async def _pump(
        self,
        connection: ServerConnection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        async def to_pod() -> None:
            try:
                async for frame in connection:
                    assert isinstance(frame, bytes)
                    assert frame[:1] == b"\x00"
                    writer.write(frame[1:])
                    await writer.drain()
            finally:
                writer.close()

        upwards = asyncio.create_task(to_pod())
        try:
            while data := await reader.read(_CHUNK_BYTES):
                await connection.send(b"\x00" + data)
        finally:
            upwards.cancel()
            writer.close()


def _status(status: HTTPStatus, message: str) -> Response:
    body = json.dumps({"kind": "Status", "message": message}).encode()
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body))})
    return Response(status, status.phrase, headers, body)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
