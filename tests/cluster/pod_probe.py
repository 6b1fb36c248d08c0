"""A kubelet's probes: HTTP and TCP."""

from __future__ import annotations

import asyncio
import contextlib

from tests.cluster.api import Document

_WITHIN_S = 1.0


async def is_alive(probe: Document, container: Document, address: str) -> bool:
    """Whether the probe succeeds now. One that runs a command is not known here: it succeeds."""
    try:
        async with asyncio.timeout(_WITHIN_S):
            if "httpGet" in probe:
                port = number_of(probe["httpGet"]["port"], container)
                return await _http_status(address, port, probe["httpGet"].get("path", "/")) < 400
            if "tcpSocket" in probe:
                _, writer = await asyncio.open_connection(
                    address, number_of(probe["tcpSocket"]["port"], container)
                )
                writer.close()
            return True
    except (OSError, TimeoutError, ValueError, IndexError):
        return False


def number_of(port: int | str, container: Document) -> int:
    """The number of a port that may be named by one of the container's ports."""
    for one in container.get("ports", []):
        if one.get("name") == port:
            return int(one["containerPort"])
    return int(port)


async def _http_status(address: str, port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
