"""The HTTPS side of a kubelet, to which the API server hands requests for logs and for ports."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from aiohttp import WSMsgType, web

from tests.cluster.certificates import Authority
from tests.cluster.pod import FakePod
from tests.cluster.pod_container import FakeContainer
from tests.cluster.pod_log import PodLog

FindPod = Callable[[str, str], FakePod | None]
"""The pod of a namespace with a name, where it runs here."""

_DATA, _ERROR = 0, 1
"""Channels of v4.channel.k8s.io for one forwarded port."""


class KubeletServer:
    """Serves containerLogs and portForward on 127.0.0.1 to whom the cluster's authority trusts."""

    def __init__(self, authority: Authority, find_pod: FindPod) -> None:
        self._authority = authority
        self._find_pod = find_pod
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """The port, once it listens there."""
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        application.router.add_get("/portForward/{namespace}/{pod}", self._forward)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls())
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def _tls(self) -> ssl.SSLContext:
        pair = self._authority.issue("kubelet")
        context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=self._authority.pair.certificate
        )
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(pair.certificate, pair.key)
        return context

    def _pod_of(self, request: web.Request) -> FakePod:
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        pod = self._find_pod(namespace, name)
        if pod is None:
            raise web.HTTPNotFound(text=f'pods "{name}" not found')
        return pod

    # --- Logs ---

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod_of(request)
        name = request.match_info["container"]
        container = pod.container(name)
        if container is None:
            raise web.HTTPNotFound(text=f"container {name} not found in pod")
        log = _log_of(container, request)
        query = request.query
        tail = int(query["tailLines"]) if "tailLines" in query else None
        answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await answer.prepare(request)
        with contextlib.suppress(ConnectionResetError):
            async for at, text in log.follow(_since(query), tail, query.get("follow") == "true"):
                time = f"{at.strftime('%Y-%m-%dT%H:%M:%S.%f')}000Z "
                line = f"{time if query.get('timestamps') == 'true' else ''}{text}\n"
                await answer.write(line.encode())
            await answer.write_eof()
        return answer

    # --- Ports ---

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        """One port, `?port=`, as the Python client asks for it.

        https://github.com/kubernetes/kubernetes/blob/v1.20.2/pkg/kubelet/cri/streaming/portforward/websocket.go
        """
        pod = self._pod_of(request)
        port = int(request.query["port"])
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"], max_msg_size=0)
        await socket.prepare(request)
        number = port.to_bytes(2, "little")
        await socket.send_bytes(bytes([_DATA]) + number)
        await socket.send_bytes(bytes([_ERROR]) + number)
        try:
            reader, writer = await asyncio.open_connection(pod.address, port)
        except OSError as error:
            what = f"error forwarding port {port} to pod {pod.uid}: {error.strerror}"
            await socket.send_bytes(bytes([_ERROR]) + what.encode())
        else:
            await _carry(socket, reader, writer)
        await socket.close()
        return socket


def _log_of(container: FakeContainer, request: web.Request) -> PodLog:
    previous = request.query.get("previous") == "true"
    if len(container.logs) > previous:
        return container.logs[-1 - previous]
    where = f'container "{container.name}" in pod "{request.match_info["pod"]}"'
    if previous:
        raise web.HTTPBadRequest(text=f"previous terminated {where} not found")
    reason = container.state.get("waiting", {}).get("reason", "ContainerCreating")
    doing = "trying and failing to pull image" if "ImagePull" in reason else None
    raise web.HTTPBadRequest(text=f"{where} is {doing or f'waiting to start: {reason}'}")


def _since(query: Mapping[str, str]) -> datetime | None:
    if seconds := query.get("sinceSeconds"):
        return datetime.now(UTC) - timedelta(seconds=int(seconds))
    if time := query.get("sinceTime"):
        return datetime.fromisoformat(time)
    return None


async def _carry(
    socket: web.WebSocketResponse, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Both ways, until either side has ended."""

    async def to_client() -> None:
        while data := await reader.read(1 << 16):
            await socket.send_bytes(bytes([_DATA]) + data)

    async def to_pod() -> None:
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data[0] == _DATA:
                writer.write(message.data[1:])
                await writer.drain()

    ways = [asyncio.create_task(to_client()), asyncio.create_task(to_pod())]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        writer.close()
