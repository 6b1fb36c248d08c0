"""Events as Kubernetes' components write them: what goes wrong with an object, in a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import httpx

from tests.cluster.api import Api, Document, Refused, now

_numbers = itertools.count(1)


class Recorder:
    """Writes events in the background; none is waited for."""

    def __init__(self, api: Api, component: str) -> None:
        self._api = api
        self._component = component
        self._writing: set[asyncio.Task[None]] = set()

    def warn(self, about: Document, reason: str, message: str, container: str = "") -> None:
        task = asyncio.create_task(self._write(self._event(about, reason, message, container)))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def _event(self, about: Document, reason: str, message: str, container: str) -> Document:
        metadata = about["metadata"]
        involved = {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        if container:
            involved["fieldPath"] = f"spec.containers{{{container}}}"
        name = f"{metadata['name']}.{metadata['uid'][:8]}{next(_numbers):x}"
        time = now()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": involved,
            "type": "Warning",
            "reason": reason,
            "message": message[:1024],
            "source": {"component": self._component},
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }

    async def _write(self, event: Document) -> None:
        # The namespace may be on its way out.
        with contextlib.suppress(Refused, httpx.TransportError):
            await self._api.create(event)
