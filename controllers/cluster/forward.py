"""A local port that leads to a port of a pod, through the API server.

The Python client has a port-forward of its own (`kubernetes.stream.portforward`), which is not
used: it swaps a method of a client that other threads share, ends both directions when one of them
does, drops what it has not passed on yet when the pod hangs up, and waits with `select`, which
takes no descriptor above 1023.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from kubernetes.client import ApiClient
from websockets.exceptions import ConnectionClosed

from controllers.cluster.pod_stream import NoWay, PodPort, PodStream
from tuning.domain.failures import Failure

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024
_BACKLOG = 1024
_RETRIES_AFTER_S = (0.2, 1.0)
_SILENCE_AFTER_END_S = 60.0
"""The protocol can't tell the pod that the client has sent all it had, and a client that has only
ended its sending looks like one that is gone. So it may wait for an answer this long."""
_PATIENCE_S = 5.0


class PortForward:
    """Listens on 127.0.0.1:`local_port` until it is closed.

    Each connection that it accepts has a websocket of its own, to the pod that `pod` names at that
    moment; so the next connection finds a pod that has taken another's place. While `pod` gives
    None, connections are broken off at once. `log` is told why connections can't be carried, once
    for each reason. It and `pod` are called from threads of this object; `pod` may block.

    Raises:
        OSError: something listens on the local port already.
    """

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        pod: Callable[[], str | None],
        port: int,
        local_port: int,
        log: Callable[[str], None],
    ) -> None:
        self.local_port = local_port
        self._way = PodPort(client, namespace, pod, port)
        self._log = log
        self._last_said = ""
        self.refusal: Failure | None = None
        """Set once the API server has said that a right is missing."""
        self._connections: set[asyncio.Task[None]] = set()
        self._listener = socket.create_server(("127.0.0.1", local_port), backlog=_BACKLOG)
        self._loop = asyncio.new_event_loop()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"port-forward-{local_port}", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening and break off every connection. Closing twice is no error."""
        # The loop is closed once the thread is about to end.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._closing.set)
        if self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._accepted, sock=self._listener, limit=_CHUNK_BYTES)
        try:
            await self._closing.wait()
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            await self._carry(reader, writer)
        except NoWay as reason:
            self.refusal = self.refusal or reason.refusal
            self._say(str(reason))
            # An end in good order would look like an empty answer.
            writer.transport.abort()
        except (OSError, ConnectionClosed, asyncio.CancelledError):
            # Nobody waits for this task, so that `close` has cancelled it.
            writer.transport.abort()
        except Exception:
            logger.exception("A forwarded connection ended")
            writer.transport.abort()
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what comes from either side, until both have ended.

        Raises:
            NoWay: there is no connection to the pod.
            OSError: the client is gone.
        """
        pod = await self._connected()
        to_client = _ToClient(writer)
        sending = asyncio.create_task(_send(reader, pod, to_client))
        try:
            async for data in pod.received():
                await to_client.write(data)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await pod.close()
        writer.close()
        await writer.wait_closed()

    async def _connected(self) -> PodStream:
        """Raises NoWay: the last of several tries failed."""
        for wait_s in _RETRIES_AFTER_S:
            try:
                return await self._tried()
            except NoWay as reason:
                if not reason.again:
                    raise
            await asyncio.sleep(wait_s)
        return await self._tried()

    async def _tried(self) -> PodStream:
        stream = await self._way.open(*await asyncio.to_thread(self._way.address))
        self._last_said = ""
        return stream

    def _say(self, reason: str) -> None:
        if reason != self._last_said:
            self._last_said = reason
            self._log(f"port-forward: {reason}")


class _ToClient:
    """The way back to the client, and how long nothing has been sent there."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.begins_to_be_silent()

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self.begins_to_be_silent()

    def begins_to_be_silent(self) -> None:
        self._silent_since = asyncio.get_running_loop().time()

    @property
    def silent_s(self) -> float:
        return asyncio.get_running_loop().time() - self._silent_since


async def _send(reader: asyncio.StreamReader, pod: PodStream, to_client: _ToClient) -> None:
    """Pass on what the client sends; after its end, hang up once nothing comes back any more."""
    with suppress(OSError, ConnectionClosed):
        while data := await reader.read(_CHUNK_BYTES):
            await pod.send(data)
        to_client.begins_to_be_silent()
        while (left_s := _SILENCE_AFTER_END_S - to_client.silent_s) > 0:
            await asyncio.sleep(left_s)
    await pod.close()
